"""HTTP as uvicorn speaks it, with limits on everything around a body: what uvicorn lets a client do without an end.

A client may take its time with the head, send one that never ends, hide megabytes between the chunks of a body or
behind it, go on after it was refused, send requests faster than they are answered, or never read an answer.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from turnout.gateway import told
from turnout.gatewaymetrics import Tally
from turnout.reasons import Code, Reason
from turnout.settings import Config

__all__ = ["limited"]

_HEAD, _BODY, _BETWEEN = "head", "body", "between"
"""Where in a request a connection is; between two of them."""
_ANSWER = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
_QUEUED = 16
"""Requests that may wait on a connection for the answer to one before them."""
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_CHUNK = 300_000
"""Bytes of what came at once that need no cutting up: no event loop reads more."""
_HEAD_END = b"\r\n\r\n"
_IGNORED = b"\r\nignored:"
_AT_ONCE = struct.pack("ii", 1, 0)
"""Closing a socket with this tells the client at once, and leaves nothing unsent in the kernel."""


def limited(settings: Config, tally: Tally, crowded: Any) -> type[HttpToolsProtocol]:
    """Return a protocol with the limits of the section `[gateway]`; it counts connections and what it answers.

    `crowded` is the ASGI app that answers on connections beyond the limit; those that were there before go on.
    """
    most, connections = int(settings.max_header_bytes), int(settings.max_connections)
    answers = _answers(settings)
    head_seconds, body_seconds, idle_seconds = settings.head_seconds, settings.body_seconds, settings.idle_seconds

    class Protocol(HttpToolsProtocol):
        """HTTP/1.1 with limits."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            tally.connections += 1
            self._beyond = len(self.connections) > connections
            self._place = _HEAD
            self._size = self._begun = 0
            self._late = self.loop.call_later(head_seconds, self._refuse, 408)
            self._stuck: asyncio.TimerHandle | None = None
            self._running: RequestResponseCycle | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            tally.connections -= 1
            self._late.cancel()
            self.resume_writing()
            if self._running:  # which is not the last one, when requests are queued
                self._running.disconnected = True
                self._running.message_event.set()
            super().connection_lost(exc)

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._running = cycle
            super()._start_asgi_task(cycle, app)

        def data_received(self, data: bytes) -> None:
            if self._place is _BETWEEN:
                data = data.lstrip(b"\r\n")  # they may stand there, and are no sign of life
            if not data or self.transport.is_closing():
                return
            if self._place is _BODY:
                self._size += len(data)
                super().data_received(data)
                if self._place is _BODY and self._size > most:
                    self._refuse(431)
            else:
                self._head_received(data)

        def _head_received(self, data: bytes) -> None:
            """Take data that begins within a head, or begins one; a body may stand behind it, and more requests."""
            # Java's client asks for HTTP/2 like this. Whoever doesn't know it has to go on as if it weren't there, but
            # the parser would leave out the body.
            end = data.find(_HEAD_END)
            if _UPGRADE.search(data, 0, end + len(_HEAD_END) if end >= 0 else most):
                data = _UPGRADE.sub(_IGNORED, data, count=1)
            before, begun = self._size if self._place is _HEAD else 0, self._begun
            if 0 <= end <= most - before - len(_HEAD_END) and len(data) <= _CHUNK:
                super().data_received(data)  # the head ends here, and what stands behind it is no more than a chunk
                if self._place is _HEAD:
                    self._size = 1 if self._begun - begun > (before == 0) else before + len(data)
                    if self._size > most:
                        self._refuse(431)
                return
            piece, rest = data[: most - before], data[most - before :]
            if piece:
                super().data_received(piece)
            another = self._begun - begun > (before == 0)
            if self._place is _HEAD:
                self._size = 1 if another else before + len(piece)
            if rest and self._place is _HEAD and not another:
                self._refuse(431)
            elif rest:
                self.data_received(rest)

        def on_message_begin(self) -> None:
            self._begun += 1
            if self._place is not _HEAD:  # the time for the first one counts from the connection
                self._place, self._size = _HEAD, 0
                self._late = self.loop.call_later(head_seconds, self._refuse, 408)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._late.cancel()
            if len(self.pipeline) >= _QUEUED:
                self._cut()
            self._beyond = self._beyond and len(self.connections) > connections
            if self._beyond:
                self.app = crowded  # it closes the connection
            if not self.transport.is_closing():
                super().on_headers_complete()
            self._place, self._size = _BODY, 0

        def on_body(self, body: bytes) -> None:
            # What is around a body may be as long as the body itself, and a little more.
            self._size -= 2 * len(body)
            if not self.transport.is_closing():
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._late.cancel()
            self._place = _BETWEEN
            if self.transport.is_closing():
                return
            super().on_message_complete()
            if self.cycle.response_complete and self.timeout_keep_alive_task is None:
                wait = self.loop.call_later(idle_seconds, self.timeout_keep_alive_handler)
                self.timeout_keep_alive_task = wait

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():  # closing waits until everything is read
                self._late = self.loop.call_later(body_seconds, self._cut)
            elif self._place is _BODY and self.cycle.response_complete:
                # Reading on for a while lets the client see its answer, which a reset would take from it.
                self._late = self.loop.call_later(idle_seconds, self._cut)

        def timeout_keep_alive_handler(self) -> None:
            if self.transport.get_write_buffer_size():
                self._cut()  # closing would wait for a client that doesn't read
            super().timeout_keep_alive_handler()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self._stuck or self.loop.call_later(body_seconds, self._cut)

        def resume_writing(self) -> None:
            if self._stuck:
                self._stuck.cancel()
                self._stuck = None
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400)

        def _cut(self) -> None:
            transport: Any = self.transport
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()

        def _refuse(self, status: int) -> None:
            """Close the connection, with an answer where the client waits for one to what it is sending."""
            transport: Any = self.transport
            if transport.is_closing():
                return
            tally.requests[status] += 1
            if transport.get_write_buffer_size():
                self._cut()
            elif self._may_answer():
                transport.write(answers[status])
            if self._running:
                self._running.disconnected = True
            transport.close()

        def _may_answer(self) -> bool:
            cycle = self.cycle
            if self._place is _BODY:
                return cycle is self._running and not cycle.response_started
            return cycle is None or cycle.response_complete

    return Protocol


def _answers(settings: Config) -> dict[int, bytes]:
    """Return what is written to a client whose request never becomes one, by status."""
    longest, seconds = f"{settings.max_header_bytes:,}", f"{settings.head_seconds:g}"
    return {
        400: _answer(400, b"Bad Request", Code.BAD_REQUEST, "This is not HTTP/1.1 as it should be."),
        408: _answer(
            408,
            b"Request Timeout",
            Code.BODY_TIMED_OUT,
            f"The head of the request did not come within {seconds} seconds. Send it again.",
        ),
        431: _answer(
            431,
            b"Request Header Fields Too Large",
            Code.BAD_REQUEST,
            f"The head of the request, or what is around its body, has more than {longest} bytes. Send fewer headers.",
        ),
    }


def _answer(status: int, words: bytes, code: Code, message: str) -> bytes:
    body = told(Reason(code, message))
    return _ANSWER % (status, words, len(body), body)
