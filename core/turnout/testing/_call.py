"""What a simulator is asked, and what it answers."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

__all__ = ["Answer", "Call", "dump", "new_call"]

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_DEEPEST = 200
_LONGEST = 64_000_000


class Answer(msgspec.Struct, frozen=True):
    """One answer: `body` is sent as JSON, a `str` as text and `bytes` as they are.

    `effect` says for the ledger what the request changed (for example `{"events": 2}`); it is never sent.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = {}
    effect: dict[str, Any] = {}

    def encoded(self) -> tuple[dict[str, str], bytes]:
        """Return the headers (names in lower case) and the bytes that go over the wire."""
        kind, data = _encode(self.body)
        headers = {"content-type": kind} | {name.lower(): value for name, value in self.headers.items()}
        return headers | {"content-length": str(len(data))}, data


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Header names are in lower case; `params` holds the `{name}` parts of the route's path."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    client: str = "127.0.0.1"
    params: dict[str, str] = {}
    segments: tuple[str, ...] = ()
    """The parts of the path, each decoded for itself: one may hold a slash."""

    @property
    def host(self) -> str:
        """The host that the client asked for, without port."""
        return self.headers.get("host", "").rsplit(":", 1)[0].lower()

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty when none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def unpacked(self, most: int = _LONGEST) -> Call:
        """Return the same call with its body unpacked, when its `content-encoding` is gzip.

        One that unpacks to more than `most` bytes is cut one byte behind them. ValueError when it is no gzip, or is
        packed in another way.
        """
        packing = self.headers.get("content-encoding", "").strip().lower()
        if packing in ("", "identity"):
            return msgspec.structs.replace(self, headers=_plain(self.headers))
        if packing not in ("gzip", "x-gzip"):
            raise ValueError(f"packed as {packing!r}")
        return msgspec.structs.replace(self, headers=_plain(self.headers), body=_unpacked(self.body, most))

    def json(self) -> Any:
        """Return the decoded body; ValueError when it is not strict JSON in UTF-8.

        NaN, numbers beyond a double, lone surrogates and more than 200 layers are refused.
        """
        return loads(self.body)

    def args(self) -> dict[str, str]:
        """Return the parameters of the query string (the last of a name wins)."""
        return _pairs(self.query)

    def form(self) -> dict[str, str]:
        """Return query parameters and form fields (urlencoded or multipart) as one; a field of the body wins.

        A body of any other media type holds no fields.
        """
        fields: dict[str, str] = {}
        if self.content_type == _FORM:
            fields = _pairs(self.body.decode("utf-8", "replace"))
        elif self.content_type == _MULTIPART:
            fields = _multipart(self.headers["content-type"], self.body)
        return self.args() | fields

    def basic(self) -> tuple[str, str] | None:
        """Return user and password of HTTP Basic authentication, None when there is none that can be read."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        return (user, password) if colon else None

    def decoded(self) -> Any:
        """Return the body for people: unpacked, JSON decoded, a form as the object of its fields, text as it is.

        A form field that holds a JSON object or array is decoded as well.
        What can't be read is `{"bytes": size}`.
        """
        if not self.body:
            return None
        if "content-encoding" in self.headers:
            try:
                return self.unpacked().decoded()
            except ValueError:
                return {"bytes": len(self.body)}
        if self.content_type in (_FORM, _MULTIPART):
            fields = new_call(self.method, self.path, self.headers, self.body).form()
            return {name: _field(value) for name, value in fields.items()}
        try:
            return self.json()
        except ValueError:
            text = self.content_type.startswith("text/")
            return self.body.decode("utf-8", "replace") if text else {"bytes": len(self.body)}


def new_call(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    client: str = "127.0.0.1",
) -> Call:
    """Return the call for a request target such as `/identify?api_key=k`."""
    path, _, query = target.partition("?")
    segments = tuple(map(unquote, path.split("/")))
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    return Call(
        method=method.upper(),
        path="/".join(segments),
        query=query,
        headers=lowered,
        body=body,
        client=client,
        segments=segments,
    )


def loads(data: bytes | str) -> Any:
    """Decode strict JSON; ValueError for whatever is none."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if _deeper_than(value, _DEEPEST):
        raise ValueError(f"not JSON: more than {_DEEPEST} layers")
    return value


def _deeper_than(value: Any, most: int) -> bool:
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(most + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in layer]
        layer = [each for values in inner for each in values if isinstance(each, dict | list)]
        if not layer:
            return False
    return True


def dump(value: Any) -> bytes:
    """Encode as JSON in ASCII."""
    return json.dumps(value, default=msgspec.to_builtins).encode()


def _encode(body: Any) -> tuple[str, bytes]:
    if isinstance(body, bytes):
        return "application/octet-stream", body
    if isinstance(body, str):
        return "text/plain; charset=utf-8", body.encode("utf-8", "replace")
    return "application/json", b"" if body is None else dump(body)


def _plain(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-encoding"}


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError(f"no gzip: {error}") from None
    if len(found) <= most and (not unpacker.eof or unpacker.unused_data):
        raise ValueError("no gzip: it is cut off, or there is something behind it")
    return found


def _pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def _multipart(content_type: str, body: bytes) -> dict[str, str]:
    # Imported late: only the rare multipart request needs a MIME parser.
    from email.parser import BytesParser
    from email.policy import HTTP

    header = b"content-type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(header + body)
    fields = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode("utf-8", "replace")
    return fields


def _field(value: str) -> Any:
    if value[:1] not in ("{", "["):
        return value
    try:
        return loads(value)
    except ValueError:
        return value
