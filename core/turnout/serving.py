"""What `turnout serve` runs: the gateway and its admin port in one process, delivery in another.

It needs the extra `turnout[server]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
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
from turnout.log import SERVED, Log, LogError
from turnout.settings import Config
from turnout.tether import Tether

__all__ = ["Deliverer", "Service", "allow_files", "check_alone", "command", "delivering"]

_logger = logging.getLogger("turnout")
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STEADY = 60.0
"""Seconds after which a delivery process that ends counts as one that had worked."""
_OTHER_FILES = 64
_PATIENCE = 15.0
"""Seconds for which the delivery of a gateway that was killed may still finish before it is spoken of."""


class Deliverer:
    """The delivery process: started again when it ends, ended with this one.

    `command` is the command line. Its standard input is one end of a `Tether`: it tells its figures there, and ends
    when that is closed, so that it doesn't outlive a gateway that was killed. `held` says why it can't be started yet,
    None when it can.
    """

    def __init__(self, command: list[str], held: Callable[[], object] = lambda: None) -> None:
        self._command, self._held = command, held
        self._process: asyncio.subprocess.Process | None = None
        self._tether: Tether | None = None
        self._last = False
        self.starts = 0

    @property
    def alive(self) -> bool:
        """Return whether it is running."""
        return self._process is not None and self._process.returncode is None

    async def figures(self) -> bytes | None:
        """Return what only that process knows, in Prometheus' text format; None when it doesn't answer."""
        return await self._tether.figures() if self._tether and self.alive else None

    def retire(self) -> None:
        """Don't start it again when it ends by itself."""
        self._last = True

    async def run(self, stop: asyncio.Event) -> None:
        """Keep it running until `stop` is set, then end it and wait for it."""
        wait = _FIRST_WAIT
        stopping = asyncio.create_task(stop.wait())
        try:
            while not (stop.is_set() or self._last):
                await self._freed(stopping)
                started = time.monotonic()
                how = await self._one(stopping)
                if stop.is_set() or self._last:
                    break
                wait = _FIRST_WAIT if time.monotonic() - started > _STEADY else min(_LONGEST_WAIT, wait * 2)
                _logger.error("Delivery ended with %s; it is started again in %g s.", how, wait)
                await asyncio.wait({stopping}, timeout=wait)
        finally:
            stopping.cancel()
            await self._end()

    async def _freed(self, stopping: asyncio.Task[Any]) -> None:
        """Wait until nothing holds it up."""
        until: float | None = time.monotonic() + _PATIENCE
        while not stopping.done() and (reason := self._held()):
            if until and time.monotonic() > until:
                _logger.error("Delivery waits: %s", reason)
                until = None
            await asyncio.wait({stopping}, timeout=0.1)

    async def _one(self, stopping: asyncio.Task[Any]) -> object:
        """Return how one process ended; it may still run when it is time to stop."""
        if stopping.done():
            return None
        self.starts += 1
        try:
            process = await self._started()
        except OSError as error:
            return error.strerror
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        return process.returncode

    async def _started(self) -> asyncio.subprocess.Process:
        if self._tether:
            self._tether.close()
        ours, theirs = socket.socketpair()
        self._tether = await Tether.tie(ours)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=theirs.fileno())
        return self._process

    async def _end(self) -> None:
        if self._tether:
            self._tether.close()
        if (process := self._process) is None:
            return
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
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self.gateway.stopping = main.should_exit = True
        if self.deliverer:
            self.deliverer.retire()
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
            http=limited(settings, self.gateway.tally, self.gateway.crowded),
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
            backlog=1024,
            timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=settings.grace_seconds,
        )

    def _admin_config(self, app: Any) -> uvicorn.Config:
        return uvicorn.Config(
            app, loop="none", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )


def delivering(log: Log) -> LogError | None:
    """Return who delivers from a log, None for nobody."""
    return _held(log, "deliver") or _held(log, SERVED)


def check_alone(log: Log) -> None:
    """Raise `ConfigError` when a process delivers from a log and is not one that a gateway has left behind."""
    if (error := _held(log, "deliver")) and not _held(log, SERVED):
        raise ConfigError(f"{error} Or serve with --no-deliver.")


def _held(log: Log, role: str) -> LogError | None:
    try:
        with log.own(role):
            return None
    except LogError as error:
        return error


def allow_files(connections: int) -> None:
    """Let this process have as many files open as that many connections need; warn when the system doesn't."""
    if sys.platform == "win32":
        return
    import resource

    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        advice = "Raise the limit (ulimit -n), or lower max_connections"
        _logger.warning("%d files may be open, too few for %d connections. %s.", most, connections, advice)


def command(config: str) -> list[str]:
    """Return the command line of the delivery process for a configuration file."""
    return [sys.executable, "-m", "turnout", "deliver", "--config", config, "--until-stdin-ends"]
