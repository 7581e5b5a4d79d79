"""What ties a delivery process to the gateway that has started it: it tells its figures, and ends when that is gone.

The two hold the ends of a pair of sockets; the one of delivery is its standard input. No port is open, nobody else can
ask, and the kernel closes an end with its process, however that ends. A question is one byte, an answer a length of
four bytes and so many bytes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from turnout.errors import ConfigError

__all__ = ["Tether", "answer"]

_QUESTION = b"?"
_LENGTH = 4
_PATIENCE = 2.0
"""Seconds that an answer may take; who scrapes waits ten by default."""


class Tether:
    """The gateway's end of a pair of sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asked: asyncio.Task[bytes | None] | None = None

    @classmethod
    async def tie(cls, end: socket.socket) -> Tether:
        """Return what asks through that end, which belongs to it from then on."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def figures(self) -> bytes | None:
        """Return what the delivery process tells; None when it doesn't within two seconds."""
        if self._asked is None or self._asked.done():  # a late answer is of then, not of now
            self._asked = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return None

    async def _ask(self) -> bytes | None:
        try:
            self._writer.write(_QUESTION)
            await self._writer.drain()
            length = int.from_bytes(await self._reader.readexactly(_LENGTH))
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return None

    def close(self) -> None:
        """Let go of the delivery process, which ends then."""
        self._writer.close()


async def answer(figures: Callable[[], bytes]) -> None:
    """Tell the gateway at the other end of standard input the figures whenever it asks; return when it is gone.

    Raises `ConfigError` when nobody can be there.
    """
    try:
        end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    except (OSError, AttributeError):
        raise ConfigError("--until-stdin-ends is for a delivery that turnout serve starts. Leave it out.") from None
    reader, writer = await asyncio.open_unix_connection(sock=end)
    try:
        while await reader.read(1):
            told = figures()
            writer.write(len(told).to_bytes(_LENGTH) + told)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
