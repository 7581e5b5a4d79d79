"""A batch body: its items, and what its root gives to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from turnout._json import article, compact, encode_source, read, strict, too_deep
from turnout._times import parse
from turnout.errors import Refusal
from turnout.event import Event
from turnout.reasons import Code

__all__ = ["Body"]

_DEPTH = 64
_ROOT = {
    "context": "context",
    "integrations": "integrations",
    "sentAt": "sent_at",
    "timestamp": "timestamp",
    "receivedAt": "received_at",
    "writeKey": "write_key",
}
_MERGED = ("context", "integrations")
_SPLICED = frozenset({"sentAt", "writeKey"})
_NOT_OBJECT = {"context": Code.CONTEXT_NOT_OBJECT, "integrations": Code.INTEGRATIONS_NOT_OBJECT}
_raw_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Text(msgspec.Struct, rename="camel"):
    """A batch body in one scan: the items aren't decoded yet. Other keys of the root are ignored."""

    batch: list[msgspec.Raw]
    context: Any = None
    integrations: Any = None
    sent_at: Any = None
    timestamp: Any = None
    received_at: Any = None
    write_key: Any = None


_text = msgspec.json.Decoder(_Text).decode


class Body:
    """The items of a batch body, each as the source of one event."""

    def __init__(self, items: Sequence[Any], root: dict[str, Any]) -> None:
        self.items = items
        self._root = root
        sent = root.get("sentAt")
        self._sent_at = parse(sent) if isinstance(sent, str) else None
        self._splice()

    def _splice(self) -> None:
        root = self._root
        self._head = compact(root)[:-1] + b"," if root and root.keys() <= _SPLICED else b""

    @classmethod
    def read(cls, source: object) -> Body:
        """Return the body that a JSON text or a mapping holds; raise `Refusal` when it can't be one."""
        return cls.of_mapping(source) if isinstance(source, Mapping) else cls.of_text(encode_source(source))

    @classmethod
    def of_text(cls, raw: bytes) -> Body:
        """Return the body of a JSON text; raise `Refusal` when it can't be one. The items aren't read yet."""
        try:
            text = _text(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _bad(read(raw)) from None
        root = {key: getattr(text, attribute) for key, attribute in _ROOT.items()}
        deep = too_deep(root, _DEPTH)
        if deep is not None:
            message = f"The batch's common keys nest deeper than {_DEPTH} levels here. Flatten them."
            raise Refusal(Code.NESTING_TOO_DEEP, message, deep)
        return cls(_some(text.batch), _checked(root))

    @classmethod
    def of_mapping(cls, body: Mapping[str, Any]) -> Body:
        """Return the body of a mapping; raise `Refusal` when it can't be one."""
        items = body.get("batch")
        if not isinstance(items, list | tuple):
            raise _bad(body)
        return cls(_some(items), _checked({key: body.get(key) for key in _ROOT}))

    @property
    def common(self) -> Mapping[str, Any]:
        """Return the keys that all items have in common, without nulls."""
        return self._root

    def take(self, key: str) -> Any:
        """Return what the body says of a key that all items have in common, and keep it from them."""
        value = self._root.pop(key, None)
        self._splice()
        return value

    def spliced(self, index: int) -> bytes | None:
        """Return one item with the root's keys put before its own, None if that can't be done.

        It is the cheap way to give an item `sentAt` and `writeKey`: of duplicate keys the last wins. When the
        event doesn't agree, the item has such a key itself; its `source` says the same without duplicates.
        """
        item = self.items[index]
        if not self._head or not isinstance(item, msgspec.Raw):
            return None
        text = bytes(item)
        return self._head + text[1:] if text.startswith(b"{") and b'"' in text else None

    def agrees(self, event: Event) -> bool:
        """Tell whether an event has the root's `sentAt` and `writeKey`."""
        root = self._root
        return ("sentAt" not in root or event.sent_at == self._sent_at) and (
            "writeKey" not in root or event.write_key == root["writeKey"]
        )

    def source(self, index: int) -> bytes:
        """Return the JSON text of one item with the root's keys merged in, or as it is.

        Raises `Refusal` for an item of a mapping that is not JSON.
        """
        item = self.items[index]
        if not isinstance(item, msgspec.Raw):
            plain = strict(item)
            return compact(_merge(plain, strict(self._root)) if isinstance(plain, dict) else plain)
        return self._merged(bytes(item)) if self._root else bytes(item)

    def told(self, index: int) -> bytes | None:
        """Return the `source` of one item, None for one that JSON can't say."""
        try:
            return self.source(index)
        except Refusal:
            return None

    def _merged(self, text: bytes) -> bytes:
        try:
            item: dict[str, Any] = dict(_raw_keys(text))
            for key in {*self._root, "originalTimestamp"} & item.keys():
                item[key] = read(bytes(item[key]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refusal):
            return text  # it will be refused, with the reason, when it is read as an event
        return compact(_merge(item, self._root))


def _merge(item: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the item with what the root adds: whole keys that it lacks, and what its objects lack."""
    lacking = {key: value for key, value in root.items() if item.get(key) is None}
    if item.get("originalTimestamp") is not None:
        lacking.pop("timestamp", None)  # RudderStack's Node library: there it says when the batch was sent
    both = {key: _under(root[key], item[key]) for key in _MERGED if key in root and key not in lacking}
    return {**item, **lacking, **both}


def _under(root: Any, item: Any, traits: bool = False) -> Any:
    """Return the objects of `item` with the keys that only `root` has; what `item` says wins.

    Null is absent, but inside traits it says something.
    """
    if item is None and not traits:
        return root
    if not (isinstance(root, dict) and isinstance(item, dict)):
        return item
    own = {key: _under(root.get(key), value, traits or key == "traits") for key, value in item.items()}
    return {**root, **own}


def _some(items: Sequence[Any]) -> Sequence[Any]:
    if not items:
        raise Refusal(Code.EMPTY_BATCH, "The batch is empty. Put at least one event into `batch`.", "/batch")
    return items


def _checked(root: dict[str, Any]) -> dict[str, Any]:
    """Return the root's keys without nulls; raise `Refusal` if something can't be merged."""
    for key, code in _NOT_OBJECT.items():
        if root.get(key) is not None and not isinstance(root[key], Mapping):
            given = article(root[key])
            message = f"`{key}` of the batch must be an object, but is {given}. Send one, or leave it out."
            raise Refusal(code, message, f"/{key}")
    return {key: value for key, value in root.items() if value is not None}


def _bad(body: Any) -> Refusal:
    if not isinstance(body, Mapping):
        message = f"A batch body must be an object, but is {article(body)}. "
        return Refusal(Code.BAD_REQUEST, message + 'Send {"batch": [...]}.', "")
    if "batch" in body:
        message = f"`batch` must be a list of events, but is {article(body['batch'])}. Send a list."
        return Refusal(Code.BAD_REQUEST, message, "/batch")
    hint = 'Send {"batch": [...]}'
    if "type" in body:
        hint += (
            ", or a single event to the path of its type, such as /v1/track; in Python, give it to `Normaliser.event`"
        )
    return Refusal(Code.BAD_REQUEST, f"The body has no `batch`. {hint}.", "/batch")
