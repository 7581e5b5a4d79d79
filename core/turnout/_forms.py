"""Stand-ins in the form of what they replace: an email for an email, as many digits for digits, a UUID for a UUID.

Each function takes the original text and a number from 1, and uses of the original nothing but its form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from turnout._personal import UUID, words_of

__all__ = ["FORMS", "identifier", "patterned"]

_HEX = re.compile(r"[0-9a-f]{8,}|[0-9A-F]{8,}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHORT = 5
"""Vendors ask ids for a length such as this; a shorter one keeps its length."""
_OWNERS = {"user", "anonymous", "message", "group", "device", "previous", "advertising", "order", "customer", "account"}


def patterned(text: str, number: int) -> str:
    """Return a text with its digits and letters replaced and all else kept; the number stands in its last digits."""
    places = [place for place, one in enumerate(text) if one.isdigit()]
    if not places:
        return _lettered(text, number)
    made = [_plain(one) for one in text]
    digits = _counted(number, len(places))
    made[places[0]] = digits[: len(digits) - len(places) + 1]
    for place, digit in zip(places[1:], digits[len(digits) - len(places) + 1 :], strict=True):
        made[place] = digit
    return "".join(made)


def _plain(one: str) -> str:
    if not one.isalpha():
        return one
    return "X" if one.isupper() else "x"


def _counted(number: int, length: int) -> str:
    """Return a number as so many digits, of which the first is not 0; more when it doesn't fit."""
    return str(number) if length == 1 else str(10 ** (length - 1) + number)


def _lettered(text: str, number: int) -> str:
    """Return a text without digits with its letters replaced; the last ones count."""
    made = [_plain(one) for one in text]
    for place in reversed([place for place, one in enumerate(text) if one.isalpha()]):
        number, rest = divmod(number, 23)
        made[place] = chr(ord("A" if text[place].isupper() else "a") + rest)
        if not number:
            break
    return "".join(made) + (str(number) if number else "")


def identifier(text: str, number: int, key: str) -> str:
    """Return an id: a UUID, hexadecimal or digits where the original is so, else named for what it is the id of."""
    if UUID.fullmatch(text):
        made = f"00000000-0000-{text[14]}000-8000-{number:012x}"
        return made.upper() if text.isupper() else made
    if text.isdigit() or not any(one.isalpha() for one in text):
        return patterned(text, number)
    if _HEX.fullmatch(text) and any(one.isdigit() for one in text):
        made = f"{number:0{len(text)}x}"
        return made.upper() if text.isupper() else made
    if len(text) < _SHORT:
        return patterned(text, number)
    owner = next((word for word in words_of(key) if word in _OWNERS), "id")
    return f"{owner}-{number}"


def _phone(text: str, number: int) -> str:
    return patterned(text, number) if any(one.isdigit() for one in text) else f"phone-{number}"


def _address(text: str, number: int) -> str:
    """Return an IP address of the ranges for documentation: version 6 for version 6."""
    if ":" in text:
        return f"2001:db8::{number:x}"
    blocks = ("192.0.2", "198.51.100", "203.0.113")
    block, host = divmod(number - 1, 254)
    if block < len(blocks):
        return f"{blocks[block]}.{host + 1}"
    return f"198.{18 + (block >> 8) % 2}.{block % 256}.{host + 1}"


def _name(text: str, number: int) -> str:
    return f"Name{number}" if text[:1].isupper() else f"name{number}"


def _birthday(text: str, number: int) -> str:
    if not _DATE.match(text):
        return patterned(text, number)
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat() + text[10:]


def _coordinate(text: str, number: int) -> str:
    """Return a coordinate with as many digits behind its point, near the equator."""
    sign = "-" if text.startswith("-") else ""
    whole, point, decimals = text.lstrip("+-").partition(".")
    if not (whole + decimals).isdigit():
        return patterned(text, number)
    return f"{sign}{number}{point}{'5' * len(decimals)}"


def _text(text: str, number: int) -> str:
    return f"Text {number}" if " " in text.strip() else f"text-{number}"


FORMS: dict[str, Callable[[str, int], str]] = {
    "birthday": _birthday,
    "city": lambda text, number: f"City{number}",
    "company": lambda text, number: f"Company {number}",
    "coordinate": _coordinate,
    "device": lambda text, number: f"Device {number}",
    "email": lambda text, number: f"person-{number}@example.com",
    "ip": _address,
    "key": lambda text, number: f"key-{number}",
    "name": _name,
    "phone": _phone,
    "postcode": patterned,
    "region": lambda text, number: f"Region{number}",
    "site": lambda text, number: f"https://example.com/{number}",
    "street": lambda text, number: f"{number} Example Street",
    "text": _text,
}
"""What makes the stand-ins of each kind but ids."""
