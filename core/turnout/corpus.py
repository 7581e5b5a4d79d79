"""Recorded events out of files of any size: JSON lines or a JSON array, plain or compressed with gzip or zstd."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from turnout.errors import ConfigError
from turnout.reading import Record, records

__all__ = ["Corpus"]

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 18


class Corpus:
    """The records of files, one file after the other; `-` is standard input.

    A file is unpacked when its first bytes are those of gzip or zstd, whatever its name. Each record's place names file
    and line, as `events.jsonl:3`. Making one looks whether the files are there, and raises `ConfigError` when one can't
    be read; so does going through it when the packed data are broken.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self._done = 0
        self._file: BinaryIO | None = None
        sizes = [_size(file) for file in files]
        self.size = None if None in sizes else sum(filter(None, sizes))
        """The bytes of all files; None when that can't be told beforehand."""

    @property
    def position(self) -> int:
        """Return how many bytes of the files have been read."""
        return self._done + (self._file.tell() if self._file is not None else 0)

    def __iter__(self) -> Iterator[Record]:
        for file in self.files:
            with ExitStack() as stack:
                stream = stack.enter_context(_opened(file)) if file != "-" else _standard_input(stack)
                self._file = stream if file != "-" and stream.seekable() else None
                yield from _records(file, _unpacked(file, stream))
                self._done, self._file = self.position, None


def _size(file: str) -> int | None:
    """Return the size of a file, None for a pipe; raises `ConfigError` when it can't be read."""
    path = Path(file)
    if file == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        return None  # opening a pipe and closing it again would end who writes into it
    with _opened(file):
        return path.stat().st_size


def _opened(file: str) -> BinaryIO:
    try:
        return Path(file).open("rb")
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}.") from None


def _standard_input(stack: ExitStack) -> BinaryIO:
    """Return standard input as a stream that can be peeked into; raises `ConfigError` when it is closed."""
    if sys.stdin is None:
        raise ConfigError("Standard input is closed. Name a file.")
    stream: Any = sys.stdin.buffer
    if hasattr(stream, "peek"):
        return stream  # type: ignore[no-any-return]
    buffered = io.BufferedReader(stream)
    stack.callback(buffered.detach)  # else it would close what it doesn't own
    return buffered


def _unpacked(file: str, stream: Any) -> BinaryIO:
    """Return a stream of what is packed in another one, or that one itself."""
    head = stream.peek(len(_ZSTD))
    if head.startswith(_GZIP):
        packed: Any = gzip.GzipFile(fileobj=stream)
        return io.BufferedReader(packed, _BUFFER)
    if head.startswith(_ZSTD):
        return io.BufferedReader(_Zstd(stream, file), _BUFFER)
    return stream  # type: ignore[no-any-return]


class _Zstd(io.RawIOBase):
    """Reads what is packed in frames of zstd; one that is cut off is an `EOFError`, where the library says nothing."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        try:
            import zstandard
        except ModuleNotFoundError:
            message = "is packed with zstd, and the module that unpacks it is missing. Run: pip install zstandard"
            raise ConfigError(f"{file}: {message}") from None
        self._stream = stream
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed = self._ready = b""
        self._broken = zstandard.ZstdError

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something; return the number of bytes, 0 at the end."""
        while not self._ready and self._more():
            pass
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _more(self) -> bool:
        """Unpack some more; return whether there may be something after that."""
        self._packed = self._packed or self._stream.read(1 << 14)
        if not self._packed:
            if self._frame is not None:
                raise EOFError("they end too early")
            return False
        self._frame = self._frame or self._new()
        try:
            self._ready = self._frame.decompress(self._packed)
        except self._broken as error:
            raise EOFError(str(error)) from None
        self._packed = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None
        return True


def _records(file: str, stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of one file, with its name in their places."""
    place = "the start"
    try:
        for record in records(stream):
            kind, number = record.place.split()
            place = f"{file}:{number}" if kind == "line" else f"{file}, {record.place}"
            yield Record(place, record.raw, record.refusal)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        advice = "Unpack what can be saved, and give that."
        raise ConfigError(f"{file}: the packed data are broken after {place}: {error}. {advice}") from None
    except OSError as error:
        raise ConfigError(f"{file}: can't be read after {place}: {error.strerror or error}.") from None
