"""What is personal or secret in an event, told by the place of a value, the words of its key, and its form.

It errs on the side of privacy: in traits every text counts as personal unless its key or form says otherwise. What
drives a mapping is no personal data: event and page names, types, libraries and platforms, products, prices, times.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnout._times import TIME

__all__ = ["EMAIL", "TOKEN", "UUID", "Path", "kind_of", "words_of"]

Path = tuple[str | int, ...]

_ATOM = r"""[^\s@<>"'(),;:\\/?&=#\[\]{}|]"""
EMAIL = re.compile(rf"{_ATOM}+@{_ATOM}+\.(?!\.){_ATOM}{{2,}}(?<!\.)")
TOKEN = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|glpat|shpat|xox[abprs]|AKIA|AIza|ya29|SG)[-_.]?[\w.-]{14,}"
    r"|(?<=Bearer )\S+|(?<=Basic )\S+"
    r"|(?<=[?&;]session=)[^\s&#]+|(?<=[?&;]sid=)[^\s&#]+|(?<=[?&;_]token=)[^\s&#]+"
)
UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NO_ID = re.compile(r"[0-]+")
_HEX = re.compile(r"(?=.*[0-9])[0-9a-fA-F]{24,}")
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[\w+/=.-]{20,}", re.ASCII)
_PHONE = re.compile(r"\+[0-9](?:[ ().\-/]*[0-9]){6,14}|\([0-9]{2,4}\)[ ]?[0-9](?:[ .\-/]*[0-9]){5,11}")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TIME = re.compile(TIME)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+|/[^\s?]*\?[^\s=&]+=\S+", re.IGNORECASE)
_TURN = re.compile(r"(?<=[a-zA-Z])(?=[0-9])|(?<=[0-9])(?=[a-zA-Z])")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|[0-9]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDLIKE = _set("true false yes no on off none null n/a na unknown undefined")
_KEPT = _set("type event name category channel version timestamp originalTimestamp sentAt receivedAt")
"""Keys of an event itself whose values stay."""
_KEPT_CONTEXT = _set(
    "active app campaign library locale network os screen timezone userAgent userAgentData channel direct consent"
)
_KEPT_DEVICE = _set("type manufacturer model brand version")
_PAGE = _set("url referrer path search title")
_PRODUCT = _set("product_id productId sku price quantity brand variant category position image_url imageUrl")
_PERSONS = _set(
    "traits user users customer contact recipient person people profile address billing passenger guest member "
    "employee patient sender author owner lead"
)
_EMAILS = _set("email emails mail mails emailaddress")
_PHONES = _set("phone phones mobile telephone tel fax msisdn cellphone whatsapp phonenumber")
_SECRETS = _set(
    "password passwd pwd secret token tokens jwt authorization cookie cookies otp cvv cvc pin credential credentials "
    "signature passphrase apikey writekey"
)
_KEYS = _set("api access private write secret auth public license encryption ssh client")
_NAMED = _set("first last middle full given family user nick display maiden contact author owner recipient customer")
_NAMES = _set("username firstname lastname fullname surname nickname givenname familyname displayname login handle")
_COMPANIES = _set("company organization organisation employer")
_STREETS = _set("street address addr line1 line2 address1 address2")
_CITIES = _set("city town village suburb")
_REGIONS = _set("state province county region")
_POSTS = _set("zip zipcode postcode postal plz")
_COORDINATES = _set("lat latitude lng lon longitude")
_BIRTHS = _set("birthday birthdate birth dob")
_IDS = _set(
    "id ids uuid guid uid cid imei imsi idfa idfv gaid adid aaid ssn iban bic passport vat gclid fbclid msclkid mac "
    "unmap fingerprint userid customerid accountid orderid deviceid clientid visitorid transactionid memberid contactid"
)
_NUMBERED = _set(
    "order account customer user member passport license card invoice ticket booking reservation policy tax security "
    "confirmation phone serial"
)
_NUMBERS = _set("number no nr ref reference")
_NO_PERSON = _set(
    "product sku variant plan category content campaign experiment variation event currency country language creative "
    "item feature version"
)
"""Ids of these things are nobody's."""
_TEXTS = _set("message comment comments note notes feedback bio about question query subject review keyword term")
_SESSIONS = _set(
    "session sessionid sess sessid sid phpsessid jsessionid aspsessionid auth oauth sso nonce sig hmac ticket csrf "
    "xsrf assertion samlresponse relaystate"
)
"""Words in the names of an address's parameters: their values let somebody in."""
_DOORS = _set("code state key hash access invite invitation reset verify verification confirm activation magic link")
"""The same, where the value looks made up by a machine."""
_TURNS = 3
_SHORTEST_TOKEN = 12
_OPEN = _set(
    "plan industry country language locale timezone currency status type kind role tier segment source medium platform "
    "os version gender level category stage build code event"
)
"""Keys whose texts stay, also in traits."""


def kind_of(path: Path, value: str | int | float, event: Any) -> str | None:
    """Return what kind of personal or secret value stands at a place of an event, None when it may stay.

    Kinds: email, phone, ip, id, key, name, company, street, city, region, postcode, coordinate, birthday, device, text;
    site for an address of somebody's own; url, page and query for parts of addresses that hold other values; `kept` for
    what must stay as it is, but for an email or a secret inside it.
    """
    if value == "":
        return None
    if _is_kept(path, event):
        return "kept"
    form = _by_form(value) if isinstance(value, str) else None
    if form == "zero":
        return None
    last = words_of(_key(path))
    if _is_page(path):
        return {"search": "query", "path": "page", "title": None}.get(str(path[-1]), "url")
    if form not in (None, "url"):
        return None if form == "ip" and "version" in last else form
    return _by_key(path, last, value, event) or _of_parameter(path, last, value) or _otherwise(path, last, value, form)


def words_of(key: str) -> list[str]:
    """Return the words of a key, in small letters: `shippingAddress_line1` is shipping, address, line, 1."""
    return [word.lower() for word in _WORD.findall(key)]


def _key(path: Path) -> str:
    """Return the key that a value has; an element of a list has the list's."""
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _is_kept(path: Path, event: Any) -> bool:
    match path:
        case (key,) if key in _KEPT:
            return True
        case ("context", key, *_) if key in _KEPT_CONTEXT:
            return True
        case ("context", "device", key) if key in _KEPT_DEVICE:
            return True
        case ("_metadata", *_):
            return True
    return _is_product(path, event)


def _is_product(path: Path, event: Any) -> bool:
    """Return whether a value belongs to a product, or is the name of a page."""
    if "products" in path[1:]:
        return True
    if path[0] != "properties" or len(path) != 2 or not isinstance(event, dict):
        return False
    if path[1] in _PRODUCT:
        return True
    page = event.get("type") in ("page", "screen")
    beside = event["properties"].keys() & _PRODUCT if isinstance(event.get("properties"), dict) else ()
    return path[1] in ("name", "title", "label") and (page or bool(beside))


def _is_page(path: Path) -> bool:
    inside = path[:2] in (("context", "page"), ("context", "referrer"))
    return (inside or path[:1] == ("properties",)) and path[-1] in _PAGE and (inside or len(path) == 2)


def _by_form(value: str) -> str | None:
    """Return the kind of a text that its form alone tells; `zero` for the id that says that there is none."""
    if UUID.fullmatch(value):
        return "zero" if _NO_ID.fullmatch(value) else "id"
    if EMAIL.fullmatch(value):
        return "email"
    if value.startswith(("http://", "https://")) or _ADDRESS.fullmatch(value):
        return "url"
    if TOKEN.fullmatch(value):
        return "key"
    if _HEX.fullmatch(value):
        return "id"
    if _PHONE.fullmatch(value):
        return "phone"
    if _CARD.fullmatch(value) and _luhn(value):
        return "id"
    return "ip" if _is_ip(value) else None


def _is_ip(value: str) -> bool:
    if not 2 < len(value) < 46 or not (value.count(".") == 3 or ":" in value):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _luhn(value: str) -> bool:
    digits = [int(one) for one in reversed(value) if one.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _by_key(path: Path, last: list[str], value: Any, event: Any) -> str | None:
    words, text = set(last), isinstance(value, str)
    if text and (_TIME.fullmatch(value) or value.lower() in _WORDLIKE) and not words & _BIRTHS:
        return None
    if kind := _of_anything(last, words, value):
        return kind
    if not text:
        return None
    for known, kind in (
        (_EMAILS, "email"),
        (_STREETS, "street"),
        (_CITIES, "city"),
        (_TEXTS, "text"),
    ):
        if words & known and not (kind == "text" and _is_open(last)):
            return kind
    if words & _REGIONS and _is_personal(path):
        return "region"
    if "groups" in path and path[0] == "integrations":
        return "id"
    return _name(path, last, words, event)


def _of_anything(last: list[str], words: set[str], value: Any) -> str | None:
    """Return the kind by keys under which numbers are personal too."""
    if words & _SECRETS or ("key" in words and words & _KEYS):
        return "key"
    if words & _BIRTHS:
        return "birthday"
    if words & _COORDINATES:
        return "coordinate"
    if words & _PHONES:
        return "phone"
    if words & _POSTS:
        return "postcode"
    if "ip" in words:
        return "ip" if isinstance(value, str) else "id"
    if words & _NUMBERS and words & _NUMBERED:
        return "id"
    if last and (last[-1] in _IDS or "mac" in words) and not words & _NO_PERSON:
        return None if "session" in words and not isinstance(value, str) else "id"
    return None


def _of_parameter(path: Path, last: list[str], value: Any) -> str | None:
    """Return the kind of a parameter of an address: a session, or a text that looks like a token."""
    if path[:1] != ("query",) or not isinstance(value, str) or value.lower() in _WORDLIKE or _TIME.fullmatch(value):
        return None
    words = set(last)
    token = _is_token(value, _SHORTEST_TOKEN) or (bool(words & _DOORS) and _is_token(value, _SHORTEST_TOKEN // 2))
    return "key" if token or words & _SESSIONS else None


def _is_token(value: str, shortest: int) -> bool:
    """Return whether a text has a part in which letters and digits stand as nobody writes them."""
    parts = re.split(r"[^a-zA-Z0-9]", value)
    return any(len(part) >= shortest and len(_TURN.findall(part)) >= _TURNS for part in parts)


def _name(path: Path, last: list[str], words: set[str], event: Any) -> str | None:
    if path == ("context", "device", "name"):
        return "device"
    if words & _COMPANIES:
        return "company"
    if words & _NAMES or ("name" in words and words & _NAMED):
        return "name"
    if last != ["name"]:
        return None
    inside = set(words_of(_key(path[:-1])))
    group = path[:-1] == ("traits",) and isinstance(event, Mapping) and event.get("type") == "group"
    return "company" if group or inside & _COMPANIES else "name"


def _otherwise(path: Path, last: list[str], value: Any, form: str | None) -> str | None:
    """Return the kind of a value of which neither key nor form say it: in traits every text is personal."""
    if not isinstance(value, str):
        return None
    if form == "url":
        return "site" if _is_personal(path) else "url"
    if _RANDOM.fullmatch(value) and not _TIME.fullmatch(value):
        return "key"
    if not _is_personal(path) or _is_open(last) or _NUMBER.fullmatch(value):
        return None
    return None if value.lower() in _WORDLIKE or _TIME.fullmatch(value) else "text"


def _is_open(last: Iterable[str]) -> bool:
    words = list(last)
    return bool(words) and words[-1] in _OPEN


def _is_personal(path: Path) -> bool:
    """Return whether a value stands in the traits, or in an object about a person."""
    return any(set(words_of(part)) & _PERSONS for part in path[:-1] if isinstance(part, str)) or (
        path[:2] == ("context", "location")
    )
