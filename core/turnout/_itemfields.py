"""What an endpoint takes out of the fields of an item: parts of the URL, and the part that stands in the body."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote

import msgspec

from turnout._json import encode
from turnout.errors import PluginError

__all__ = ["check_fields", "check_form", "filled", "picked", "url_fields"]

_FIELD = re.compile(r"\{item\.(\w+)\}")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_scalar = msgspec.json.Decoder(str | int).decode


def url_fields(url: str) -> tuple[str, ...]:
    """Return the fields of an item that stand in a URL as `{item.name}`, in their order."""
    return tuple(_FIELD.findall(url))


def filled(url: str, data: bytes) -> str:
    """Return a URL with the fields of an item in their places, quoted so that they can't leave them."""
    fields = _fields(data)
    return _FIELD.sub(lambda found: quote(str(_scalar(fields[found[1]])), safe="*"), url)


def picked(data: bytes, field: str, left_out: Collection[str]) -> bytes:
    """Return a field of an item, or with none the item without the fields that are left out; byte by byte as it was.

    What is no object is returned whole.
    """
    if data[:1] != b"{":
        return data
    fields = _fields(data)
    if field:
        return bytes(fields[field])
    kept = (encode(name) + b":" + bytes(raw) for name, raw in fields.items() if name not in left_out)
    return b"{" + b",".join(kept) + b"}"


def check_fields(data: bytes, in_url: Iterable[str], in_body: str, endpoint: str) -> None:
    """Raise `PluginError` unless the item has each field that its endpoint takes out of it."""
    fields = _fields(data) if data[:1] == b"{" else {}
    if in_body and in_body not in fields:
        raise _lacking(endpoint, in_body, "which goes into the body")
    for name in in_url:
        if not _is_part(fields.get(name)):
            raise _lacking(endpoint, name, "a part of the URL: a whole number, or a text other than '', '.' and '..'")


def check_form(data: bytes, beside: Collection[str], endpoint: str) -> None:
    """Raise `PluginError` unless the fields of the item can be those of a form that has other fields `beside` them."""
    if data[:1] != b"{":
        raise PluginError(f"An item of the endpoint '{endpoint}' must be an object: its fields are those of the form.")
    twice = sorted(_fields(data).keys() & beside) if beside else ()
    if twice:
        message = (
            f"An item of the endpoint '{endpoint}' has the field '{twice[0]}', which stands beside it in the form."
        )
        raise PluginError(f"{message} Let the rule leave it out, or the endpoint.")


def _lacking(endpoint: str, field: str, what: str) -> PluginError:
    message = f"An item of the endpoint '{endpoint}' needs the field '{field}', {what}."
    return PluginError(f"{message} Let the rule raise Refusal for an event that has none.")


def _is_part(raw: msgspec.Raw | None) -> bool:
    try:
        return raw is not None and _scalar(raw) not in ("", ".", "..")
    except msgspec.ValidationError:
        return False
