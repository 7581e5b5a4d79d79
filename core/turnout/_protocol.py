"""HTTP as uvicorn speaks it, with limits on the head of a request: how large it may be, and how long it may take.

uvicorn limits neither: a client that sends its headers a byte at a time, or never ends them, would keep its connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["limited"]

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def limited(most: int, seconds: float) -> type[HttpToolsProtocol]:
    """Return a protocol whose requests have heads of at most `most` bytes, sent within `seconds`."""

    class Protocol(HttpToolsProtocol):
        """HTTP/1.1 with a limited head."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head: int | None = 0
            self._late = self.loop.call_later(seconds, self._refuse, _TOO_SLOW)

        def connection_lost(self, exc: Exception | None) -> None:
            self._late.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._head is None or self._head + len(data) <= most:
                self._count(data)
                super().data_received(data)
                return
            # The head may end within the first bytes, with the beginning of a body behind them.
            room = most - self._head
            self._head = most
            super().data_received(data[:room])
            if self._head is None:
                super().data_received(data[room:])
            else:
                self._refuse(_TOO_LARGE)

        def _count(self, data: bytes) -> None:
            if self._head is not None:
                self._head += len(data)

        def on_message_begin(self) -> None:
            if self._head is None:  # another request on the same connection
                self._head = 0
                self._late = self.loop.call_later(seconds, self._refuse, _TOO_SLOW)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._late.cancel()
            self._head = None
            super().on_headers_complete()

        def _refuse(self, answer: bytes) -> None:
            transport: Any = self.transport
            if not transport.is_closing():
                transport.write(answer)
                transport.close()

    return Protocol
