"""Events out of a stream: JSON lines or one JSON array, a piece at a time, so that a file of any size can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from turnout.errors import Refusal
from turnout.reasons import Code

__all__ = ["Record", "records"]

_LONGEST = 16 * 1024 * 1024
_CHUNK = 1 << 16
_STRING = rb'"(?>[^"\\]+|\\.)*+"'
_IN_STRING = re.compile(rb'(?>[^"\\]+|\\.)*+', re.DOTALL)
_IN_ELEMENT = re.compile(rb'(?>[^"\[\]{}]+|' + _STRING + rb")*+", re.DOTALL)
_BETWEEN = re.compile(rb'(?>[^"\[\]{},]+|' + _STRING + rb")*+", re.DOTALL)
_BOM = b"\xef\xbb\xbf"


class Record(msgspec.Struct, frozen=True):
    """One piece of the input: its place for people (`line 3`, `element 3`), its bytes, or why it can't be read."""

    place: str
    raw: bytes
    refusal: Refusal | None = None


def records(stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of a stream: the lines that are not blank, or the elements of one JSON array.

    Never more than one record (at most 16 MB) is held in memory; a longer one is refused and skipped.
    """
    first = stream.readline(_CHUNK).removeprefix(_BOM)
    number = 1
    while first and not first.strip():
        if first.endswith(b"\n"):
            number += 1
        first = stream.readline(_CHUNK)
    if first.lstrip().startswith(b"["):
        return _elements(first.lstrip()[1:], stream)
    return _lines(first, number, stream)


def _lines(first: bytes, number: int, stream: BinaryIO) -> Iterator[Record]:
    line = first
    while line:
        if not line.endswith(b"\n"):
            line += stream.readline(_LONGEST)
        if len(line) > _LONGEST:
            _skip_line(line, stream)
            yield Record(f"line {number}", b"", _too_long("line"))
        elif line.strip():
            yield Record(f"line {number}", line.strip())
        number += 1
        line = stream.readline(_CHUNK)


def _skip_line(line: bytes, stream: BinaryIO) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(_CHUNK)


def _too_long(what: str) -> Refusal:
    message = f"This {what} has more than {_LONGEST:,} bytes; an event may have 32 KB. Is it one event a line?"
    return Refusal(Code.EVENT_TOO_LARGE, message)


def _elements(rest: bytes, stream: BinaryIO) -> Iterator[Record]:
    splitter = _Splitter()
    while True:
        yield from splitter.feed(rest)
        if splitter.mismatched:
            yield splitter.broken("it is closed by } instead of ]")
            return
        if splitter.closed:
            tail = rest[splitter.end :] + stream.read(_CHUNK)
            if tail.strip():
                yield splitter.broken("there is more after the end of the array")
            return
        rest = stream.read(_CHUNK)
        if not rest:
            yield splitter.broken("the array is not closed")
            return


def _skipped(form: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = form.match(data, position)
    return found.end() if found else position


class _Splitter:
    """Cuts the text of a JSON array into its elements, whatever the pieces it is fed with."""

    def __init__(self) -> None:
        self.closed = False
        self.mismatched = False
        self.end = 0
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._number = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the elements that end in this piece."""
        start = position = 0
        while not self.closed:
            if self._quoted:
                position = self._string(data, position)
            if not self._quoted:
                position = _skipped(_IN_ELEMENT if self._depth else _BETWEEN, data, position)
            if position == len(data):
                self._keep(data[start:])
                return
            position += 1
            if self._ends(data[position - 1 : position]):
                self._keep(data[start : position - 1])
                yield from self._element()
                start = position
        self.end = position

    def _string(self, data: bytes, position: int) -> int:
        """Go on in a string that an earlier piece began; return the place behind it, or the end of the piece."""
        if self._escaped and position < len(data):
            self._escaped = False
            position += 1
        position = _skipped(_IN_STRING, data, position)
        if data[position : position + 1] == b'"':
            self._quoted = False
            return position + 1
        self._escaped = position < len(data)  # a backslash is the last byte of the piece
        return len(data)

    def _ends(self, mark: bytes) -> bool:
        """Take note of a mark and tell whether it ends an element."""
        if mark == b'"':  # of a string that doesn't end in this piece
            self._quoted = True
        elif mark in b"[{":
            self._depth += 1
        elif mark in b"]}":
            self._depth -= 1
            self.closed = self._depth < 0
            self.mismatched = self.closed and mark == b"}"
            return self.closed
        return mark == b"," and self._depth == 0

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= _LONGEST:
            self._parts.append(piece)
        else:
            self._parts.clear()

    def _element(self) -> Iterator[Record]:
        raw, size = b"".join(self._parts).strip(), self._size
        self._parts, self._size = [], 0
        if self.closed and not raw and size <= _LONGEST and self._number == 0:
            return
        self._number += 1
        place = f"element {self._number}"
        if size > _LONGEST:
            yield Record(place, b"", _too_long("element"))
        elif raw:
            yield Record(place, raw)
        else:
            yield Record(place, b"", Refusal(Code.BAD_REQUEST, "There is nothing between two commas of the array."))

    def broken(self, what: str) -> Record:
        """Return a record that says what is wrong with the array itself."""
        self._number += 1
        message = f"The input is not one JSON array: {what}. Mend the file, or write one event a line."
        return Record(f"element {self._number}", b"", Refusal(Code.BAD_REQUEST, message))
