"""A gateway as its users have it: the process of `turnout serve` with delivery, before a simulated Amplitude.

And a wire to put between a client and the gateway: it writes down what the client sends, and can lose answers.
"""

from __future__ import annotations

import gzip
import http.client
import http.server
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from turnout import Dispatcher, Event, Normaliser
from turnout.config import load_config
from turnout.log import Log, open_log
from turnout_amplitude.simulator import AmplitudeSimulator

LIMIT = 120
"""Seconds after which something hangs."""

_CONFIGURATION = """
[log]
path = {log}

[gateway]
port = {port}
admin_port = 0

[destinations.amplitude]
plugin = "amplitude"
api_key = "key-amplitude"
base_url = "{vendor}"
track_named_pages = true
enable_alias = true
group_type_trait = "kind"
group_value_trait = "label"
"""


def reached(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail when it never does."""
    until = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"This never came: {what}")
        time.sleep(0.02)


class Station:
    """The gateway and its delivery, which can be killed and started again on the same port.

    `keys` are the write keys of its sources; a source's id is its key. Use it as a context manager.
    """

    def __init__(self, folder: Path, keys: Iterable[str]) -> None:
        self.vendor = AmplitudeSimulator()
        self._folder = folder
        self._keys = keys
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Log | None = None
        self._normaliser = Normaliser()

    def __enter__(self) -> Station:
        self._serving = self.vendor.serve()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        text = _CONFIGURATION.format(
            log=json.dumps(str(self._folder / "turnout.log")), port=port, vendor=self._serving.__enter__()
        )
        text += "".join(f'\n[sources.{key}]\nwrite_key = "{key}"\n' for key in self._keys)
        self.config = self._folder / "turnout.toml"
        self.config.write_text(text, encoding="utf-8")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._log is not None:
            self._log.close()
        self._serving.__exit__(None, None, None)

    def start(self) -> None:
        """Start the gateway and wait until it answers."""
        with (self._folder / "serve.output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "turnout", "serve", "--config", str(self.config)],
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        reached(self._answers, f"an answer of the gateway; see {output.name}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self._folder / "serve.output").read_text(encoding="utf-8"))
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))):
            return True
        return False

    def kill(self, *, delivery: bool = True) -> None:
        """End the gateway with SIGKILL, and in the same moment its delivery, which else ends by itself."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            (os.killpg if delivery else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    @property
    def log(self) -> Log:
        """The log, to look into it."""
        if self._log is None:
            self._log = open_log(load_config(str(self.config)).log)
        return self._log

    @property
    def settled(self) -> bool:
        """Whether delivery is through with everything that is in the log."""
        state = self.log.states().get("amplitude")
        return state is not None and not state.pending

    def kept(self, source: str) -> list[Event]:
        """Return the events of a source that are in the log."""
        found = (self._normaliser.event(kept.data) for kept in self.log.read(0, events=10_000))
        return [event for event in found if event.project_id == source]

    def planned(self, source: str) -> list[dict[str, Any]]:
        """Return the items that `turnout plan` says of a source's events."""
        dispatcher = Dispatcher.from_config(str(self.config))
        plans = [plan for event in self.kept(source) for plan in dispatcher.plan(event)]
        return [item for plan in plans for request in plan.to_dict()["requests"] for item in items(request["body"])]

    def arrived(self) -> list[dict[str, Any]]:
        """Return the items of the requests that the vendor took, in order."""
        return [item for entry in self.vendor.ledger if entry.status == 200 for item in items(entry.body)]


def items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a request to Amplitude."""
    found = next(body[key] for key in ("events", "identification", "mapping") if key in body)
    return found if isinstance(found, list) else [found]


def _free_port() -> int:
    """Return a free port that no system gives to somebody who asks for any: it has to stay ours."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Call(NamedTuple):
    """One request of a client, with the status that it was answered; None when the answer was lost."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int | None

    def json(self) -> Any:
        """Return the body, unpacked."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


@contextmanager
def wire(url: str, *, lose: bool) -> Iterator[tuple[str, list[Call]]]:
    """Put a wire before a gateway: gives its URL, and the calls that go through it.

    With `lose` the answer to the first call is lost, and the second one's is a 502: the gateway has kept both, and
    the client can't know.
    """
    calls: list[Call] = []
    lost = [None, 502] if lose else []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _wired(url.removeprefix("http://"), calls, lost))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _wired(address: str, calls: list[Call], lost: list[int | None]) -> type[http.server.BaseHTTPRequestHandler]:
    """Return the handler of a wire; `lost` are the answers to give in place of the gateway's first ones to a POST."""

    class Wire(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            connection = http.client.HTTPConnection(address)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            wanted = lost.pop(0) if lost and self.command == "POST" else answer.status
            calls.append(Call(self.command, self.path, headers, body, wanted))
            if wanted is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif wanted != answer.status:
                self.answer(wanted, [("content-length", "0")], b"")
            else:
                self.answer(wanted, answer.getheaders(), data)

        def answer(self, status: int, headers: Iterable[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_OPTIONS = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Wire
