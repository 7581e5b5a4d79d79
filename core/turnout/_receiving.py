"""The body of a request, read within limits of size and time, and unpacked as it comes."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from turnout.reasons import Code, Reason

__all__ = ["BodyError", "Receive", "Room", "read_body"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_GZIP = b"\x1f\x8b"
_PLAIN = (b"", b"identity")


class BodyError(Exception):
    """A body that can't be read: the status to answer with, and why."""

    def __init__(self, status: int, code: Code, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = Reason(code, message)


class GoneError(Exception):
    """The client went away before it had sent everything."""


class Room:
    """How many bytes the bodies that are being read take together, and how many they may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int, seconds: float, room: Room) -> bytes:
    """Return the body, unpacked, of at most `most` bytes.

    Raises `BodyError` as soon as it is too large (413), takes more than `seconds` (408), finds no room beside other
    bodies (429), is packed in another way than gzip (415; 501 when its transfer-encoding says so), not rightly packed
    or packed twice (400), and `GoneError` when the client goes away. Nothing behind the limit is read.
    """
    packing = headers.get(b"content-encoding", b"").strip().lower()
    if packing not in (*_PLAIN, b"gzip", b"x-gzip"):
        shown = packing[:40].decode("ascii", "replace")
        raise BodyError(415, Code.ENCODING_UNSUPPORTED, f"The body is packed as '{shown}'. Send it plain or with gzip.")
    coding = headers.get(b"transfer-encoding", b"chunked").strip().lower()
    if coding != b"chunked":  # the server has taken the chunks apart, and left what is in them as it is
        raise BodyError(501, Code.ENCODING_UNSUPPORTED, "The body has another transfer-encoding than chunked.")
    if _told(headers) > most:
        raise too_large(most)
    try:
        async with asyncio.timeout(seconds):
            return await _whole(receive, most, room, packed=packing not in _PLAIN)
    except TimeoutError:
        message = f"The body did not come within {seconds:g} seconds. Send it again."
        raise BodyError(408, Code.BODY_TIMED_OUT, message) from None


def too_large(most: int) -> BodyError:
    """Return the error for a body of more bytes than are allowed."""
    message = f"The body has more than {most:,} bytes, unpacked. Send fewer events at a time."
    return BodyError(413, Code.BODY_TOO_LARGE, message)


def _told(headers: Mapping[bytes, bytes]) -> int:
    told = headers.get(b"content-length", b"")
    return int(told) if told.isdigit() and len(told) < 20 else 0


async def _whole(receive: Receive, most: int, room: Room, *, packed: bool) -> bytes:
    body: bytearray | bytes = bytearray()
    came, more, unpacker = 0, True, zlib.decompressobj(wbits=31) if packed else None
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            piece, more = message.get("body", b""), message.get("more_body", False)
            if not came and unpacker is None and piece.startswith(_GZIP):
                unpacker = zlib.decompressobj(wbits=31)  # some senders forget the header
            came += len(piece)
            if unpacker is not None:
                piece = _unpacked(unpacker, piece, most - len(body))
            if not body and not more:
                body = piece  # nearly always it comes in one piece by the time that somebody asks for it
            else:
                body += piece
            room.taken += len(piece)
            if max(came, len(body)) > most:  # what is packed may unpack to nothing, for ever
                raise too_large(most)
            if more and room.taken > room.most:
                raise BodyError(429, Code.TOO_BUSY, "Too many calls are being sent. Send it again later.")
    finally:
        room.taken -= len(body)
    if unpacker is not None and not unpacker.eof:
        raise _broken("it is cut off")
    if unpacker is not None and body.startswith(_GZIP):
        twice = "The body is packed with gzip twice: unpacked, it is gzip again. Pack it once, or send it plain."
        raise BodyError(400, Code.BAD_REQUEST, twice)
    return bytes(body)


def _unpacked(unpacker: Any, piece: bytes, room: int) -> bytes:
    """Return what a piece unpacks to, at most one byte more than there is room for."""
    try:
        found: bytes = unpacker.decompress(piece, room + 1)
    except zlib.error:
        raise _broken("it is damaged") from None
    if unpacker.unused_data:
        raise _broken("there is something behind it")
    return found


def _broken(what: str) -> BodyError:
    return BodyError(400, Code.BAD_REQUEST, f"The body can't be unpacked as gzip: {what}. Send it again.")
