"""Processes that work for this one: messages to and fro over pipes, each behind its length."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

__all__ = ["Frames", "Helper", "own_pipes"]

_LENGTH = struct.Struct(">Q")


class Frames:
    """Two streams over which messages go, in either direction."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source = source
        self._sink = sink

    def send(self, message: bytes) -> None:
        """Send a message; raises `EOFError` when nobody reads it."""
        try:
            self._sink.write(_LENGTH.pack(len(message)))
            self._sink.write(message)
            self._sink.flush()
        except (OSError, ValueError):
            raise EOFError from None

    def receive(self) -> bytes:
        """Return the next message; raises `EOFError` when there is none any more."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        try:
            data = self._source.read(length)
        except (OSError, ValueError):
            raise EOFError from None
        if len(data) < length:
            raise EOFError
        return data


def own_pipes() -> Frames:
    """Return the streams to the process that started this one; what is printed goes to standard error from now on."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return Frames(source, sink)


class Helper(Frames):
    """A process that was started to work for this one.

    It has a session of its own, so that Ctrl-C is for this process to handle; when this process ends, however it does,
    its pipe ends, and so does the helper. Raises `OSError` when it can't be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - an interpreter, named by the caller
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if environ is None else dict(environ),
            start_new_session=sys.platform != "win32",
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        super().__init__(self.process.stdout, self.process.stdin)

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        with contextlib.suppress(OSError):
            self._sink.close()
        self.process.wait()
        with contextlib.suppress(OSError):
            self._source.close()
