"""What `turnout serve` runs: the gateway and its admin port in one process, delivery in another.

It needs the extra `turnout[server]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from turnout._protocol import limited
from turnout.admin import Admin
from turnout.errors import ConfigError
from turnout.gateway import Gateway
from turnout.listening import listen
from turnout.log import Log, LogError
from turnout.settings import Config

__all__ = ["Deliverer", "Service", "free_role"]

_logger = logging.getLogger("turnout")
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STEADY = 60.0
"""Seconds after which a delivery process that ends counts as one that had worked."""


class Deliverer:
    """The delivery process: started again when it ends, ended with this one.

    `command` is the command line. It reads its standard input and ends when that is closed, so that it doesn't outlive
    a gateway that was killed.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    @property
    def alive(self) -> bool:
        """Return whether it is running."""
        return self._process is not None and self._process.returncode is None

    async def run(self, stop: asyncio.Event) -> None:
        """Keep it running until `stop` is set, then end it and wait for it."""
        wait = _FIRST_WAIT
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                started = time.monotonic()
                self.starts += 1
                self._process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
                ended = asyncio.create_task(self._process.wait())
                await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    break
                wait = _FIRST_WAIT if time.monotonic() - started > _STEADY else min(_LONGEST_WAIT, wait * 2)
                _logger.error("Delivery ended with %s; it is started again in %g s.", ended.result(), wait)
                await asyncio.wait({stopping}, timeout=wait)
        finally:
            stopping.cancel()
            await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._ready()


class Service:
    """The gateway with its two ports, and perhaps a delivery process; `run` until it is told to stop."""

    def __init__(self, gateway: Gateway, settings: Config, deliverer: Deliverer | None) -> None:
        self.gateway = gateway
        self.settings = settings
        self.deliverer = deliverer
        self.listener, self.url = listen(settings.host, settings.port)
        self.admin_listener, self.admin_url = listen(settings.admin_host, settings.admin_port)
        self._servers: list[_Server] = []

    async def run(self, stop: asyncio.Event, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until `stop` is set; then take no more calls, finish those under way, and end delivery.

        `ready` is called when both ports answer.
        """
        waiting = 2

        def one_ready() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                ready()

        admin = Admin(self.gateway, self.deliverer)
        main = _Server(self._config(self.gateway), one_ready)
        beside = _Server(self._admin_config(admin), one_ready)
        ended = asyncio.Event()
        tasks = [
            asyncio.create_task(main.serve([self.listener])),
            asyncio.create_task(beside.serve([self.admin_listener])),
        ]
        delivery = asyncio.create_task(self.deliverer.run(ended)) if self.deliverer else None
        await stop.wait()
        self.gateway.stopping = True
        main.should_exit = True
        await tasks[0]
        ended.set()
        if delivery:
            await delivery
        beside.should_exit = True
        await tasks[1]

    def _config(self, app: Any) -> uvicorn.Config:
        settings = self.settings
        return uvicorn.Config(
            app,
            http=limited(settings, lambda status: self.gateway.tally.requests.update((status,))),
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a line for each bad request would let clients fill the disk
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            limit_concurrency=int(settings.max_connections),
            backlog=1024,
            timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=settings.grace_seconds,
        )

    def _admin_config(self, app: Any) -> uvicorn.Config:
        return uvicorn.Config(
            app, loop="none", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )


def free_role(log: Log, role: str, seconds: float, advice: str) -> None:
    """Wait until nobody holds a role at a log, at most so many seconds; then raise `ConfigError` with advice."""
    until = time.monotonic() + seconds
    while True:
        try:
            with log.own(role):
                return
        except LogError as error:
            if time.monotonic() >= until:
                raise ConfigError(f"{error} {advice}") from None
        time.sleep(0.1)


def command(config: str) -> list[str]:
    """Return the command line of the delivery process for a configuration file."""
    return [sys.executable, "-m", "turnout", "deliver", "--config", config, "--until-stdin-ends"]
