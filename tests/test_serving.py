"""`turnout serve` as a process: what it promises while it is stopped, killed, started twice, or out of room."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from served import (
    LIMIT,
    PLAIN,
    WEB,
    Served,
    Tables,
    configured,
    free_port,
    reached,
    runs,
    served,
    settled,
    state,
    track,
)

from turnout.log import LogError
from turnout.reasons import Code, Outcome
from turnout.sqlite_log import SqliteLog
from turnout_amplitude.simulator import AmplitudeSimulator

Vendor = tuple[AmplitudeSimulator, str]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A simulated Amplitude and its URL."""
    simulator = AmplitudeSimulator()
    with simulator.serve() as url:
        yield simulator, url


def turnout(*words: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "turnout", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, input=given)


def taken(simulator: AmplitudeSimulator) -> Counter[str]:
    """Return how often the vendor took each event, by insert id."""
    entries = [entry for entry in simulator.ledger if entry.status == 200]
    return Counter(event["insert_id"] for entry in entries for event in entry.body["events"])


def kept(folder: Path) -> set[str]:
    """Return the message ids in the log."""
    with closing(SqliteLog(folder / "turnout.log")) as log:
        texts = [accepted.data for accepted in log.read(0, events=10**6, size=10**9)]
    return {text.rpartition(b'"messageId":"')[2].partition(b'"')[0].decode() for text in texts}


class Load:
    """Clients that send events one after the other, until one of their calls fails."""

    def __init__(self, one: Served, clients: int = 4) -> None:
        self.accepted: set[str] = set()
        """The message ids of the calls that were answered with 200."""
        self.others: Counter[object] = Counter()
        """Other answers, and errors."""
        self._url, self._stop = one.url, threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(client,)) for client in range(clients)]
        for thread in self._threads:
            thread.start()

    def _send(self, client: int) -> None:
        with httpx.Client(base_url=self._url, auth=(WEB, ""), **PLAIN) as http:
            number = 0
            while not self._stop.is_set():
                number += 1
                name = f"{os.urandom(4).hex()}-{client}-{number}"
                try:
                    answer = http.post("/v1/track", json=track(name))
                except httpx.HTTPError as error:
                    self.others[type(error)] += 1
                    return
                if answer.status_code != 200:
                    self.others[answer.status_code] += 1
                    return
                self.accepted.add(f"m-{name}")

    def end(self) -> None:
        """Wait until every client has given up."""
        for thread in self._threads:
            thread.join(LIMIT)

    def stop(self) -> None:
        """Let the clients end after the call that they are at."""
        self._stop.set()
        self.end()


# What it does


def test_it_takes_calls_and_delivers_them(tmp_path: Path, vendor: Vendor) -> None:
    """One command; it says where it listens, and SIGTERM ends both processes with 0."""
    simulator, url = vendor
    with served(configured(tmp_path, url)) as one:
        delivering = one.deliverer()
        assert [one.post("/v1/track", track(number)).json() for number in range(3)] == [{"success": True}] * 3
        reached(lambda: settled(tmp_path), "the end of delivery")
        assert taken(simulator) == {"m-0": 1, "m-1": 1, "m-2": 1}
        one.terminate()
        assert one.wait() == 0
        assert not runs(delivering)
    assert f"taking calls at {one.url}/v1\n" in one.output
    assert "Traceback" not in one.output


def test_the_gateway_and_delivery_can_be_started_each_alone(tmp_path: Path, vendor: Vendor) -> None:
    """`--no-deliver` only takes calls; `turnout deliver` does the rest beside it."""
    simulator, url = vendor
    config = configured(tmp_path, url)
    with served(config, "--no-deliver") as one:
        assert one.post("/v1/track", track(1)).status_code == 200
        assert one.health("/readyz").status_code == 200
        assert state(tmp_path) is None
        done = turnout("deliver", "--config", config, "--until-empty")
        assert (done.returncode, taken(simulator)) == (0, {"m-1": 1})
        one.terminate()
        assert one.wait() == 0


def test_each_source_has_its_destinations(tmp_path: Path) -> None:
    """Three write keys; what a source doesn't send to a destination is dropped there with the reason."""
    sources = {
        "web": {"write_key": WEB, "destinations": ["one"]},
        "app": {"write_key": "wk-app-83", "destinations": ["two"]},
        "back": {"write_key": "wk-back-84"},
    }
    vendors = {"one": AmplitudeSimulator(), "two": AmplitudeSimulator()}
    with vendors["one"].serve() as first, vendors["two"].serve() as second:
        urls = {"one": first, "two": second}
        amplitude = {"plugin": "amplitude", "api_key": "key-85"}
        destinations = {name: {**amplitude, "base_url": url} for name, url in urls.items()}
        with served(configured(tmp_path, destinations=destinations, sources=sources)) as one:
            for key, number in ((WEB, 1), ("wk-app-83", 2), ("wk-back-84", 3)):
                assert one.post("/v1/track", track(number), key).status_code == 200
            reached(lambda: settled(tmp_path, *urls), "the end of delivery")
            away = {("outcome", "dropped"), ("code", Code.SOURCE_NOT_CONNECTED.value)}
            metrics = one.metrics()
            assert [metrics["turnout_events", frozenset({("destination", name), *away})] for name in urls] == [1, 1]
    assert {name: set(taken(one)) for name, one in vendors.items()} == {"one": {"m-1", "m-3"}, "two": {"m-2", "m-3"}}


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ([], "203.0.113.7", "127.0.0.1"),
        (["192.0.2.1"], "203.0.113.7", "127.0.0.1"),
        (["127.0.0.1"], "203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        (["127.0.0.1", "203.0.113.0/24"], "198.51.100.9, 203.0.113.7", "198.51.100.9"),
    ],
)
def test_only_a_trusted_proxy_names_the_sender(
    tmp_path: Path, trusted: list[str], forwarded: str, expected: str
) -> None:
    """Of X-Forwarded-For counts what the last untrusted one in it is; others could write there what they like."""
    gateway = {"trusted_proxies": trusted}
    with served(configured(tmp_path, gateway=gateway), "--no-deliver") as one:
        call = track(1, context={"library": {"name": "analytics.js"}})
        assert one.post("/v1/track", call, **{"x-forwarded-for": forwarded}).status_code == 200
    with closing(SqliteLog(tmp_path / "turnout.log")) as log:
        assert f'"ip":"{expected}"'.encode() in log.read(0)[0].data


# What it refuses to start


@contextmanager
def taking(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.mark.parametrize("name", ["port", "admin_port"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, name: str) -> None:
    """The gateway's and the one beside it: one sentence, exit 2."""
    port = free_port()
    with taking(port):
        told(configured(tmp_path, gateway={name: port}), f"Can't listen on 127.0.0.1, port {port}: ", "Choose another")


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"sources": {}}, ("nobody may send", "[sources.<id>]")),
        ({"log": {"path": ""}}, ("a gateway needs a log", "[log]")),
        ({"gateway": {"host": ""}}, ("There is no address to listen on", "0.0.0.0")),
        ({"log": {"path": "/nowhere/turnout.log"}}, ("/nowhere isn't there", "Make it first")),
        ({"destinations": {}}, ("there is no [destinations.…] table", "--no-deliver")),
        ({"destinations": {"a": {"plugin": "amplitud"}}}, ("amplitud", "Did you mean 'amplitude'?")),
        ({"destinations": {"a": {"plugin": "amplitude"}}}, ("api_key",)),
        ({"gateway": {"prot": 8080}}, ("prot", "Did you mean 'port'?")),
        ({"gateway": {"port": 65_536}}, ("port",)),
        ({"gateway": {"host": "192.0.2.1"}}, ("Can't listen on 192.0.2.1", "Choose an address")),
        ({"sources": {"a": {"write_key": "k-1"}, "b": {"write_key": "k-1"}}}, ("'a' and 'b'", "same write_key")),
        ({"sources": {"a": {"write_key": ""}}}, ("write_key",)),
        ({"sources": {"web": {"write_key": WEB, "destinations": ["amplitud"]}}}, ("Did you mean 'amplitude'?",)),
    ],
)
def test_what_is_configured_wrongly_is_one_sentence(
    tmp_path: Path, tables: Mapping[str, Tables], expected: tuple[str, ...]
) -> None:
    """It says what and where; nothing is started, and nothing secret is told."""
    told(configured(tmp_path, **tables), *expected)


def told(config: Path, *expected: str, environ: Mapping[str, str] | None = None) -> None:
    """See to it that `turnout serve` ends with 2 and one sentence."""
    command = [sys.executable, "-m", "turnout", "serve", "--config", str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **(environ or {})}
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert all(words in done.stderr for words in expected), done.stderr
    assert "k-1" not in done.stderr


@pytest.mark.parametrize("name", ["httptools", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(tmp_path: Path, name: str) -> None:
    """A plain `pip install turnout` has no server."""
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')\n")
    environ = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    told(configured(tmp_path), f"turnout serve needs {name}: install turnout[server].", environ=environ)


@pytest.mark.parametrize("options", [(), ("--no-deliver",)])
def test_a_second_gateway_on_the_same_log_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    """It names the first one, which goes on."""
    with served(configured(tmp_path), *options) as one:
        if not options:
            one.deliverer()
        told(configured(tmp_path), f"the process {one.process.pid} has it", "Only one may at a time")
        assert one.post("/v1/track", track(1)).status_code == 200


def test_a_gateway_beside_a_delivery_of_its_own_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    """`turnout deliver` stays, so two would deliver; the sentence says what helps."""
    config = configured(tmp_path, vendor[1])
    command = [sys.executable, "-m", "turnout", "deliver", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as alone:
        assert alone.stderr is not None
        alone.stderr.readline()
        lock = tmp_path / "turnout.log-deliver.lock"
        reached(lambda: lock.exists() and lock.read_text() == str(alone.pid), "the delivery")
        told(config, f"the process {alone.pid} has it", "--no-deliver")
        with served(config, "--no-deliver") as one:
            assert one.post("/v1/track", track(1)).status_code == 200
            reached(lambda: settled(tmp_path), "the end of delivery")
        alone.terminate()


# How it ends


@pytest.mark.parametrize("seed", range(5))
def test_sigterm_under_load_loses_nothing_and_repeats_nothing(tmp_path: Path, vendor: Vendor, seed: int) -> None:
    """Whatever was answered with 200 is at the vendor once, then or after the next start; the exit code is 0."""
    simulator, url = vendor
    config = configured(tmp_path, url)
    with served(config) as one:
        load = Load(one)
        reached(lambda: len(load.accepted) > 20, "some accepted calls")
        time.sleep(random.Random(seed).random())
        one.terminate()
        load.end()
        assert one.wait() == 0
        assert one.output.count("Traceback") == one.output.count("started again") == 0
    assert {503} >= {kind for kind in load.others if isinstance(kind, int)}
    assert load.accepted <= kept(tmp_path)
    done = turnout("deliver", "--config", config, "--until-empty")
    assert done.returncode == 0, done.stderr
    assert set(taken(simulator)) == kept(tmp_path)
    assert set(taken(simulator).values()) == {1}


def test_calls_under_way_are_finished(tmp_path: Path) -> None:
    """A call whose body is still coming gets its 200; one that comes later finds nobody."""
    with served(configured(tmp_path), "--no-deliver") as one, socket.create_connection(one.address) as slow:
        slow.sendall(_begun(one, b'{"event":"Seat Booked","userId":"u-1","messageId":"m-slow"}', 5))
        reached(lambda: _reading(one), "the first bytes of the call")
        one.terminate()
        reached(lambda: _refused(one), "the end of taking calls")
        slow.sendall(b'{"event":"Seat Booked","userId":"u-1","messageId":"m-slow"}'[5:])
        slow.settimeout(LIMIT)
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert one.wait() == 0
    assert kept(tmp_path) - {"m-late"} == {"m-slow"}  # the signal may come behind the first of the late calls


def test_a_call_that_is_not_finished_in_time_is_told_to_come_again(tmp_path: Path) -> None:
    """After `grace_seconds`; the operator reads no traceback."""
    config = configured(tmp_path, gateway={"grace_seconds": 0.1})
    with served(config, "--no-deliver") as one, socket.create_connection(one.address) as slow:
        slow.settimeout(LIMIT)
        slow.sendall(_begun(one, b'{"event":"Seat Booked","userId":"u-1"}', 5))
        reached(lambda: _reading(one), "the first bytes of the call")
        one.terminate()
        assert slow.makefile("rb").read().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert one.wait() == 0
    assert "Traceback" not in one.output
    assert kept(tmp_path) == set()


def _begun(one: Served, body: bytes, first: int) -> bytes:
    """Return a request without the end of its body."""
    head = b"POST /v1/track HTTP/1.1\r\nhost: gateway\r\nauthorization: Basic d2std2ViLTgxOg==\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body[:first]


def _reading(one: Served) -> bool:
    """Return whether a call that has come in part is being read: then an idle connection would be closed."""
    return one.metrics()["turnout_gateway_reading_bytes", frozenset()] > 0


def _refused(one: Served) -> bool:
    """Return whether a new call is refused, by status or by nobody listening."""
    try:
        return one.post("/v1/track", track("late")).status_code == 503
    except httpx.HTTPError:
        return True


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    """Though a call is still under way; delivery ends by itself then."""
    with served(configured(tmp_path)) as one, socket.create_connection(one.address) as slow:
        delivering = one.deliverer()
        slow.sendall(_begun(one, b"x" * 100, 5))
        reached(lambda: _reading(one), "the first bytes of the call")
        one.terminate()
        reached(lambda: _refused(one), "the end of taking calls")
        assert one.process.poll() is None
        one.terminate()
        assert one.wait() == 1
        reached(lambda: not runs(delivering), "the end of the delivery process")


def test_a_signal_for_both_processes_ends_both(tmp_path: Path) -> None:
    """As systemd and a terminal send it: delivery is not started again while the gateway finishes its calls."""
    with served(configured(tmp_path)) as one, socket.create_connection(one.address) as slow:
        delivering = one.deliverer()
        slow.sendall(_begun(one, b'{"event":"Seat Booked","userId":"u-1"}', 5))
        reached(lambda: _reading(one), "the first bytes of the call")
        os.killpg(one.process.pid, signal.SIGTERM)
        reached(lambda: not runs(delivering), "the end of the delivery process")
        slow.sendall(b'{"event":"Seat Booked","userId":"u-1"}'[5:])
        assert one.wait() == 0
    assert "started again" not in one.output
    assert one.output.count("delivering ") == 1


# When it is killed


def test_a_killed_gateway_takes_delivery_with_it_and_is_replaced_at_once(tmp_path: Path, vendor: Vendor) -> None:
    """On the same ports, also while the old delivery still waits for the vendor: calls are taken, nothing is lost."""
    simulator, url = vendor
    deliver = {"timeout_seconds": 3600.0, "grace_seconds": 3600.0}
    config = configured(tmp_path, url, gateway={"port": free_port(), "admin_port": free_port()}, deliver=deliver)
    simulator.fail(hang=True, times=None)
    with served(config) as one:
        delivering = one.deliverer()
        assert one.post("/v1/track", track(1)).status_code == 200
        reached(lambda: simulator.ledger, "a request that hangs")
        one.kill()
        with served(config) as two:
            assert two.post("/v1/track", track(2)).status_code == 200
            assert runs(delivering)
            answer = two.health("/readyz")
            assert (answer.status_code, answer.json()["faults"]) == (503, ["delivery is not running"])
            os.kill(delivering, signal.SIGKILL)
            simulator.reset()
            two.deliverer(delivering)
            reached(lambda: settled(tmp_path), "the end of delivery")
            assert two.health("/readyz").status_code == 200
    assert taken(simulator) == {"m-1": 1, "m-2": 1}


def test_an_idle_delivery_ends_with_its_gateway(tmp_path: Path, vendor: Vendor) -> None:
    """It reads its standard input, which the kernel closes."""
    with served(configured(tmp_path, vendor[1])) as one:
        delivering = one.deliverer()
        one.kill()
        reached(lambda: not runs(delivering), "the end of the delivery process")


@contextmanager
def instead(one: Served) -> Iterator[None]:
    """Kill the process that delivers, and stand in its place, so that it can't come back yet."""
    with closing(SqliteLog(one.config.parent / "turnout.log")) as log, ExitStack() as stack:

        def mine() -> bool:
            with suppress(LogError):
                stack.enter_context(log.own("deliver"))
                return True
            with suppress(ProcessLookupError):
                os.kill(one.deliverer(), signal.SIGKILL)
            return False

        one.deliverer()
        reached(mine, "a log from which nobody delivers")
        yield


def test_a_killed_delivery_is_started_again(tmp_path: Path, vendor: Vendor) -> None:
    """Meanwhile calls are taken, and /readyz and /metrics say what is missing."""
    simulator, url = vendor
    with served(configured(tmp_path, url)) as one:
        with instead(one):
            assert one.post("/v1/track", track(1)).status_code == 200
            reached(lambda: one.health("/readyz").status_code == 503, "a gateway that isn't ready")
            assert one.health("/readyz").json() == {"status": "unready", "faults": ["delivery is not running"]}
            assert one.health("/livez").json() == {"status": "ok"}
            assert not figures_of_delivery(one)
        reached(lambda: settled(tmp_path), "the end of delivery")
        assert one.health("/readyz").json() == {"status": "ok", "faults": []}
        assert figures_of_delivery(one) == (1.0, "closed")
    assert "Delivery ended with -9; it is started again in 1 s.\n" in one.output
    assert taken(simulator) == {"m-1": 1}


# Figures


AMPLITUDE = ("destination", "amplitude")


def figures_of_delivery(one: Served) -> tuple[float, str] | None:
    """Return how many requests went out, and how its breaker stands; None when delivery doesn't tell."""
    found = one.metrics()
    if not found["turnout_delivery_up", frozenset()]:
        assert not any(name in ("turnout_requests_total", "turnout_breaker") for name, _ in found)
        return None
    states = ("closed", "open", "setup")
    breaker = {state: found["turnout_breaker", frozenset({AMPLITUDE, ("state", state)})] for state in states}
    [state] = [state for state, value in breaker.items() if value]
    return found["turnout_requests_total", frozenset({AMPLITUDE})], state


def test_the_figures_of_both_processes_are_at_one_place(tmp_path: Path, vendor: Vendor) -> None:
    """Requests and breakers come from the delivery process at each scrape, beside what stands in the log."""
    simulator, url = vendor
    simulator.fail(401, times=1)
    with served(configured(tmp_path, url, deliver={"setup_wait_seconds": 0.2})) as one:
        reached(lambda: state(tmp_path), "the start of delivery")
        assert one.post("/v1/track", track(1)).status_code == 200
        reached(lambda: settled(tmp_path), "the end of delivery")
        assert figures_of_delivery(one) == (2.0, "closed")
        simulator.fail(401, times=10**6)
        assert one.post("/v1/track", track(2)).status_code == 200
        reached(lambda: (figures_of_delivery(one) or (0, ""))[1] == "setup", "a breaker that says what is wrong")
        assert one.metrics()["turnout_events_pending", frozenset({AMPLITUDE})] == 1


def test_a_delivery_that_does_not_answer_holds_no_scrape_up(tmp_path: Path, vendor: Vendor) -> None:
    """turnout_delivery_up is 0 then, and what stands in the log is told; its late answer is nobody's."""
    with served(configured(tmp_path, vendor[1])) as one:
        delivering = one.deliverer()
        assert one.post("/v1/track", track(1)).status_code == 200
        reached(lambda: settled(tmp_path), "the end of delivery")
        os.kill(delivering, signal.SIGSTOP)  # perhaps while it writes: only reading goes on for certain
        try:
            assert figures_of_delivery(one) is None
            assert one.metrics()["turnout_events_received_total", frozenset({AMPLITUDE})] == 1
        finally:
            os.kill(delivering, signal.SIGCONT)
        assert one.post("/v1/track", track(2)).status_code == 200
        reached(lambda: settled(tmp_path), "the end of delivery")
        assert figures_of_delivery(one) == (2.0, "closed")


def test_a_gateway_alone_tells_nothing_of_a_delivery(tmp_path: Path) -> None:
    """Another process delivers, and tells its figures itself: with --no-deliver, nobody is missed here."""
    with served(configured(tmp_path), "--no-deliver") as one:
        assert ("turnout_delivery_up", frozenset()) not in one.metrics()


def test_a_second_delivery_says_only_that_it_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    """Not that it delivers, nor where its metrics are, nor what the log keeps in vain: one sentence, exit 2."""
    config = configured(tmp_path, vendor[1])
    with closing(SqliteLog(tmp_path / "turnout.log")) as log:
        log.register("gone")
        with log.own("deliver"):
            done = turnout("deliver", "--config", config, "--metrics-port", 0)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "only one may" in done.stderr.lower()


def test_only_a_gateway_holds_a_delivery_by_its_input(tmp_path: Path, vendor: Vendor) -> None:
    """--until-stdin-ends means nothing where standard input is a file or a pipe."""
    done = turnout("deliver", "--config", configured(tmp_path, vendor[1]), "--until-stdin-ends", given="")
    assert done.returncode == 2
    assert done.stderr.endswith("--until-stdin-ends is for a delivery that turnout serve starts. Leave it out.\n")


def test_every_scrape_adds_up(tmp_path: Path, vendor: Vendor) -> None:
    """received = what came to its end + what is pending, while calls come and requests fail."""
    simulator, url = vendor
    simulator.fail(503, times=3, headers={"retry-after": "0"})
    simulator.fail(400, times=2)
    place, scrapes = frozenset({AMPLITUDE}), 0
    with served(configured(tmp_path, url)) as one:
        one.deliverer()
        reached(lambda: state(tmp_path), "the start of delivery")
        load = Load(one)
        while scrapes < 20 or len(load.accepted) < 100:
            scrapes += 1
            found = one.metrics()
            ends = sum(value for (name, labels), value in found.items() if name == "turnout_events" and place <= labels)
            pending = found["turnout_events_pending", place]
            assert found["turnout_events_received_total", place] == ends + pending
        load.stop()
        accepted = frozenset({("source", "web"), ("result", "accepted"), ("code", "")})
        found = one.metrics()
        assert found["turnout_gateway_events_total", accepted] == len(load.accepted)
        assert found["turnout_gateway_requests_total", frozenset({("status", "200")})] == len(load.accepted)
        reached(lambda: settled(tmp_path), "the end of delivery")
        last = state(tmp_path)
    assert last is not None
    assert last.received == sum(last.counts.values()) == len(load.accepted)
    assert last.counts[Outcome.DELIVERED, None] > 0
    assert load.others == {}


# Without room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        found = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("needs a disk that can be filled: run it where tmpfs can be mounted, as root on Linux")
    if found.returncode:
        pytest.skip("needs a disk that can be filled: run it where tmpfs can be mounted, as root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_a_full_disk_gets_503_until_there_is_room(tmp_path: Path, small_disk: Path, vendor: Vendor) -> None:
    """With Retry-After; what was accepted is delivered meanwhile, and the first call after it is taken."""
    simulator, url = vendor
    config = configured(tmp_path, url, log={"path": str(small_disk / "turnout.log")})
    with served(config) as one:
        assert one.post("/v1/track", track(1)).status_code == 200
        reached(lambda: "m-1" in taken(simulator), "the first event at the vendor")
        simulator.fail(500, times=None)
        assert one.post("/v1/track", track(2)).status_code == 200
        _take_all(small_disk / "foreign")
        refused = _until_refused(one)
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("log_unavailable", "5")
        answer = one.health("/readyz")
        assert (answer.status_code, answer.json()["faults"]) == (503, ["the log can't be written"])
        assert one.health("/livez").status_code == 200
        simulator.reset()
        reached(lambda: "m-2" in taken(simulator), "the second event at the vendor, from a full disk")
        (small_disk / "foreign").unlink()
        assert one.health("/readyz").status_code == 200
        assert one.post("/v1/track", track("last")).status_code == 200
        reached(lambda: "m-last" in taken(simulator), "the last event at the vendor")
        one.terminate()
        assert one.wait() == 0
    assert one.output.count("Events can't be kept") == 1
    assert "Traceback" not in one.output


def test_a_log_of_its_size_is_not_ready(tmp_path: Path) -> None:
    """As long as the next call would hardly find room; where small calls still do, nobody is told so for each."""
    config = configured(tmp_path, log={"path": str(tmp_path / "turnout.log"), "max_megabytes": 1})
    with served(config, "--no-deliver") as one:
        for name in range(400):
            answer = one.post("/v1/track", track(name, properties={"note": os.urandom(6000).hex()}))
            if answer.status_code != 200:
                break
        assert answer.status_code == 503
        for name in range(3):
            assert one.health("/readyz").status_code == 503
            one.post("/v1/track", track(f"small-{name}"))
            assert (
                one.post("/v1/track", track("large", properties={"note": os.urandom(15_000).hex()})).status_code == 503
            )
        one.terminate()
        assert one.wait() == 0
    assert one.output.count("Events can't be kept") == 1


@pytest.mark.parametrize("foreign", [False, True])
def test_a_disk_full_of_delivered_events_takes_more(
    tmp_path: Path, small_disk: Path, vendor: Vendor, foreign: bool
) -> None:
    """They go before `keep_hours` are over; as long as they are not delivered they stay, and calls get 503.

    Also when another program has taken the last byte.
    """
    simulator, url = vendor
    config = configured(tmp_path, url, log={"path": str(small_disk / "turnout.log")})
    with served(config, "--no-deliver") as one:
        for fill in range(3):
            accepted = _fill(one, fill)
            assert _until_refused(one).status_code == 503
            if foreign:
                _take_all(small_disk / f"foreign-{fill}")
            done = turnout("deliver", "--config", config, "--until-empty")
            assert (done.returncode, len(accepted - taken(simulator).keys())) == (0, 0)
            assert "goes before its keep_hours" in done.stderr
            assert one.post("/v1/track", track(f"after-{fill}")).status_code == 200
        one.terminate()
        assert one.wait() == 0


def _fill(one: Served, fill: int) -> set[str]:
    """Send noise until it is refused, and return the ids of what was accepted."""
    accepted: set[str] = set()
    for batch in range(100):
        texts = [random.Random(f"{fill}-{batch}-{number}").randbytes(9_000).hex() for number in range(20)]
        calls = [track(f"{fill}-{batch}-{number}") for number in range(20)]
        events = [call | {"properties": {"noise": text}} for call, text in zip(calls, texts, strict=True)]
        if one.post("/v1/batch", {"batch": events}).status_code != 200:
            return accepted
        accepted.update(event["messageId"] for event in events)
    raise AssertionError("18 MB found room on a disk of 24 MB that has 8 in reserve")


def _take_all(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def _until_refused(one: Served) -> httpx.Response:
    """Return the first refusal, of the calls for which there is no more room."""
    for number in range(100_000):
        answer = one.post("/v1/track", track(f"full-{number}"))
        if answer.status_code != 200:
            assert answer.status_code == 503
            return answer
    raise AssertionError("nothing was refused")


def test_calls_that_the_log_cannot_keep_up_with_get_429(tmp_path: Path) -> None:
    """What waits is bounded; what had come before is kept when it can be, and answered then."""
    config = configured(tmp_path, gateway={"max_waiting_megabytes": 1})
    answers: Counter[tuple[int, str | None]] = Counter()
    accepted: set[str] = set()

    def send(number: int) -> None:
        batch = [track(f"{number}-{one}", type="track", properties={"note": "x" * 20_000}) for one in range(10)]
        answer = one.post("/v1/batch", {"batch": batch})
        answers[answer.status_code, answer.headers.get("retry-after")] += 1
        if answer.status_code == 200:
            accepted.update(event["messageId"] for event in batch)

    with served(config, "--no-deliver") as one:
        with closing(sqlite3.connect(tmp_path / "turnout.log", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # another process writes, and goes on
            threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            reached(lambda: answers[429, "1"], "a call that is refused")
            other.execute("ROLLBACK")
        for thread in threads:
            thread.join()
        assert one.post("/v1/track", track("after")).status_code == 200
    assert answers.keys() <= {(200, None), (429, "1"), (503, "5")}
    assert accepted | {"m-after"} <= kept(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the limits of another process")
def test_files_are_allowed_for_as_many_connections_as_there_may_be(tmp_path: Path) -> None:
    """As far as the system lets it; where that is too little it says so, and starts."""
    config = configured(tmp_path, gateway={"max_connections": 500})
    for hard, expected in ((1000, 564), (300, 300)):
        with served(config, "--no-deliver", files=(128, hard)) as one:
            soft = resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE)[0]
            assert (soft, one.post("/v1/track", track(hard)).status_code) == (expected, 200)
    assert one.output.count("files may be open") == 1
    assert "300 files may be open, too few for 500 connections. Raise the limit (ulimit -n)" in one.output
