"""Serving a simulator over TCP with uvicorn. Imported late: it needs the extra `turnout[server]`."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnout.listening import listen

__all__ = ["run", "serving"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


@contextmanager
def serving(app: Any, host: str, port: int) -> Iterator[str]:
    """Serve `app` in a thread while the block runs; gives its URL."""
    listener, url = listen(host, port)
    ready = threading.Event()
    server = _Server(app, ready.set)
    thread = threading.Thread(target=server.run, args=([listener],), name=f"simulator {url}", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join()


def run(app: Any, host: str, port: int, announce: Callable[[str], object]) -> None:
    """Serve `app` in the foreground until Ctrl-C."""
    listener, url = listen(host, port)
    with suppress(KeyboardInterrupt):
        _Server(app, lambda: announce(url)).run([listener])


class _Line:
    """One client's connection, as a simulator may mistreat it."""

    def __init__(self, abort: Callable[[], None], server: _Server) -> None:
        self._abort = abort
        self._server = server

    async def hold(self, receive: Receive) -> None:
        """Wait until the client goes away, or the server stops."""
        self._server.held.add(self._abort)
        try:
            if self._server.stopping:
                self._abort()
            await _gone(receive)
        finally:
            self._server.held.discard(self._abort)

    async def drop(self, receive: Receive) -> None:
        """Cut the connection."""
        self._abort()
        await _gone(receive)


class _Server(uvicorn.Server):
    """A quiet server that says when it is ready and lets go of held connections when it stops."""

    def __init__(self, app: Any, ready: Callable[[], object]) -> None:
        super().__init__(_config(app, _protocol(self)))
        self._ready = ready
        self.held: set[Callable[[], None]] = set()
        self.stopping = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stopping = True
        for abort in list(self.held):
            abort()
        await super().shutdown(sockets)


def _protocol(server: _Server) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """HTTP, with the connection itself at hand for the app."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            line, app = _Line(transport.abort, server), self.app

            async def with_line(scope: Any, receive: Any, send: Any) -> None:
                scope["extensions"] = {**(scope.get("extensions") or {}), "turnout.line": line}
                await app(scope, receive, send)

            self.app = with_line

    return Protocol


def _config(app: Any, protocol: type[H11Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
