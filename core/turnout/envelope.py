"""The envelope of a request: what stands around the items in a body, with settings filled in.

`json_body` and `form_body` make one from a template in which `ITEMS` (or `ITEM`) is the place of the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec

from turnout._itemfields import picked
from turnout._json import encode
from turnout.errors import PluginError, did_you_mean
from turnout.settings import Config

__all__ = [
    "ITEM",
    "ITEMS",
    "Body",
    "BoundBody",
    "Placeholder",
    "fill",
    "form_body",
    "json_body",
    "setting",
    "settings_in",
    "value_of",
]


class Placeholder(msgspec.Struct, frozen=True):
    """Stands in a template for the items (no name), for a field of each, or for the value of a setting."""

    setting: str | None = None
    field: str = ""

    # With `__getitem__` alone, Python would look for items 0, 1, 2 and so on, and never end.
    __iter__: ClassVar[None] = None

    def __getitem__(self, field: str) -> Placeholder:
        """Return the placeholder for one field of the items instead of the whole items."""
        return msgspec.structs.replace(self, field=field)


ITEMS = Placeholder()
"""In a body template: the place of the items. Alone, it makes a body that is the list of the items.

`ITEMS["key"]` is the list of what stands in the field `key` of each item."""


ITEM = Placeholder("")
"""In a body template: the place of one item that stands alone, for endpoints that take one item a request."""


def setting(name: str) -> Any:
    """Return a placeholder for the value of the setting `name`, for body templates and headers.

    A secret that is placed so is masked wherever the request is shown.
    """
    return Placeholder(name)


class Body(msgspec.Struct, frozen=True):
    """The envelope of a request, made by `json_body` and `form_body`."""

    template: Any
    form: bool = False

    @property
    def content_type(self) -> str:
        """Return the media type of the encoded body."""
        return "application/x-www-form-urlencoded" if self.form else "application/json"

    def bind(self, config: Config) -> BoundBody:
        """Return the envelope with the settings filled in."""
        return _bind_form(self.template, config) if self.form else _bind_json(self.template, config)


class BoundBody(msgspec.Struct, frozen=True):
    """An envelope with its settings: what stands before, between and after the items."""

    before: bytes
    after: bytes
    opening: bytes
    separator: bytes
    closing: bytes
    quoted: bool = False
    bare: bool = False
    """A single item stands alone, without the list around it."""
    single: bool = False
    """There is room for one item only."""
    json_fields: frozenset[str] = frozenset()
    field: str = ""
    """The field of an item that stands in the body; empty for the whole item."""
    left_out: frozenset[str] = frozenset()
    """The fields of an item that do not stand in the body."""
    flat: bool = False
    """The fields of the item are fields of the form."""
    beside: frozenset[str] = frozenset()
    """The fields of such a form that are not the item's."""

    @property
    def verbatim(self) -> bool:
        """Return whether items stand in the body byte by byte as they are."""
        return not (self.quoted or self.field or self.left_out)

    @property
    def overhead(self) -> int:
        """Return the bytes of the envelope without any item."""
        return len(self.before) + len(self.after) + len(self.opening) + len(self.closing)

    def wire(self, data: bytes) -> bytes:
        """Return an item's bytes as they stand in the body."""
        if self.field or self.left_out:
            data = picked(data, self.field, self.left_out)
        if self.flat:
            return _form_fields(data)
        return quote_plus(data).encode() if self.quoted else data

    def lengths(self, items: Sequence[bytes]) -> list[int]:
        """Return the length of each item as it stands in the body."""
        return list(map(len, items if self.verbatim else map(self.wire, items)))

    def join(self, items: Sequence[bytes]) -> bytes:
        """Return the body that holds these items."""
        pieces = [*items] if self.verbatim else [self.wire(item) for item in items]
        if self.bare and len(pieces) == 1:
            return self.before + pieces[0] + self.after
        pieces[0] = self.before + self.opening + pieces[0]
        pieces[-1] += self.closing + self.after
        return self.separator.join(pieces)

    def decode(self, body: bytes) -> Any:
        """Return the body as plain data: a form as the object of its fields, its JSON fields decoded."""
        if not self.quoted:
            return msgspec.json.decode(body)
        fields = parse_qsl(body.decode(), keep_blank_values=True)
        return {key: msgspec.json.decode(text) if self._is_json(key, text) else text for key, text in fields}

    def _is_json(self, key: str, text: str) -> bool:
        return key in self.json_fields or (self.flat and _is_container(text))


_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _form_fields(data: bytes) -> bytes:
    """Return an object as fields of a form: texts as they are, null left out, anything else as JSON.

    What is no object has none: so the form without an item can be looked at.
    """
    if data[:1] != b"{":
        return b""
    fields = ((name, bytes(raw)) for name, raw in _raw_fields(data).items())
    texts = [(name, msgspec.json.decode(raw) if raw[:1] == b'"' else raw) for name, raw in fields if raw != b"null"]
    return urlencode(texts).encode()


def _is_container(text: str) -> bool:
    if text[:1] not in ("{", "["):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def json_body(template: Any) -> Body:
    """Return a JSON envelope: `{"api_key": setting("api_key"), "events": ITEMS}`, or `ITEMS` alone.

    `ITEM` instead of `ITEMS` stands for one item without a list; a request then holds one item.
    """
    return Body(template)


def form_body(template: Mapping[str, Any] | Placeholder, beside: Mapping[str, Any] | None = None) -> Body:
    """Return a form envelope, each field URL-encoded as UTF-8.

    `form_body(ITEM)` makes the fields of the item fields of the form: texts as they are, null left out, anything else
    as JSON. `beside` has more fields of such a form, and no item may have one of them:
    `form_body(ITEM, {"token": setting("token")})`.
    In `form_body({"events": ITEMS})` the items stand in one field, as JSON: one object, or the list of several (with
    `ITEM` always one). Its other fields that are not text are JSON as well.
    """
    if isinstance(template, Placeholder):
        return Body([dict(beside or {}), template], form=True)
    return Body(dict(template) | dict(beside or {}), form=True)


_MARK = "\x00items\x00"
_ENCODED_MARK = encode(_MARK)


def value_of(name: str, config: Config) -> Any:
    """Return the value of a setting that an endpoint uses; raise `PluginError` for an unknown one."""
    if name not in config:
        raise PluginError(f"An endpoint uses the setting '{name}', which is not there.{did_you_mean(name, config)}")
    return config[name]


def fill(value: Any, config: Config) -> Any:
    """Return a template with the settings in their places, and a mark in the place of the items."""
    if isinstance(value, Placeholder):
        return _MARK if not value.setting else value_of(value.setting, config)
    if isinstance(value, Mapping):
        return {key: fill(inner, config) for key, inner in value.items()}
    return [fill(inner, config) for inner in value] if isinstance(value, list) else value


def settings_in(template: Any) -> Iterator[str]:
    """Yield the names of the settings that stand in a template, in their order."""
    if isinstance(template, Placeholder):
        yield from (template.setting,) if template.setting else ()
    elif isinstance(template, Mapping | list):
        for inner in template.values() if isinstance(template, Mapping) else template:
            yield from settings_in(inner)


def _bind_json(template: Any, config: Config) -> BoundBody:
    before, mark, after = encode(fill(template, config)).partition(_ENCODED_MARK)
    if not mark or _ENCODED_MARK in after:
        raise PluginError("A body template needs ITEMS in one place (or ITEM).")
    place = _place(template) or ITEMS
    if place.setting == "":
        return BoundBody(before, after, b"", b"", b"", bare=True, single=True, field=place.field)
    return BoundBody(before, after, b"[", b",", b"]", field=place.field)


def _place(template: Any) -> Placeholder | None:
    """Return what stands in a template for the items, or for one of them."""
    if isinstance(template, Placeholder):
        return None if template.setting else template
    inner = template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ()
    return next((found for one in inner if (found := _place(one)) is not None), None)


def _bind_form(template: Any, config: Config) -> BoundBody:
    if isinstance(template, list):
        beside, place = template
        return _bind_flat(beside, place, config)
    fields, decoded = _filled_form(template, config)
    before, mark, after = "&".join(fields).partition(_MARK)
    if not mark or _MARK in after:
        raise PluginError(
            "A form needs ITEMS (or ITEM) as the value of one field. "
            "If the fields of an item are to be fields of the form, write form_body(ITEM)."
        )
    place = _place(template) or ITEMS
    return BoundBody(
        before.encode(),
        after.encode(),
        b"%5B",
        b"%2C",
        b"%5D",
        quoted=True,
        bare=True,
        single=place.setting == "",
        json_fields=frozenset(decoded),
        field=place.field,
    )


def _bind_flat(beside: Mapping[str, Any], place: Placeholder, config: Config) -> BoundBody:
    """Return a form whose fields are those of one item, behind the fields `beside`."""
    fields, decoded = _filled_form(beside, config)
    if place != ITEM or _place(beside) is not None:
        raise PluginError(
            "A form is form_body(ITEM), whose fields are those of one item, "
            "or an object in which ITEMS is the value of one field."
        )
    before = "".join(f"{field}&" for field in fields)
    return BoundBody(
        before.encode(),
        b"",
        b"",
        b"",
        b"",
        quoted=True,
        bare=True,
        single=True,
        flat=True,
        beside=frozenset(beside),
        json_fields=frozenset(decoded),
    )


def _filled_form(template: Mapping[str, Any], config: Config) -> tuple[list[str], set[str]]:
    """Return the fields of a form with the settings filled in, and the names of those that hold JSON."""
    fields = []
    decoded = set()
    for name, value in template.items():
        filled = fill(value, config)
        if filled == _MARK or not isinstance(filled, str):
            decoded.add(name)
        text = filled if isinstance(filled, str) else encode(filled).decode()
        fields.append(f"{quote_plus(name)}={_MARK if filled == _MARK else quote_plus(text)}")
    return fields, decoded
