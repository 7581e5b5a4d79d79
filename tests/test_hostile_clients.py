"""Clients that want to harm the gateway: twenty of each at a time, against the process that users have.

Each is answered or cut off by a defence, though most would go on for ever; meanwhile others are served, the process
takes less than 50 MB more, and it writes no line about it. The defences that are timeouts are set short where they are
tried, and for all others so long that none of them decides.
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
from served import LIMIT, Served, configured, forget_peak, memory, reached, served, track

from turnout.sqlite_log import SqliteLog

AT_ONCE = 20
MEGABYTES = 50
PATIENT = {"head_seconds": 3600.0, "body_seconds": 3600.0, "idle_seconds": 0.2}
SHORT = {"head_seconds": 3.0, "body_seconds": 3.0, "idle_seconds": 0.2}
CUT_OFF = None
"""The status of a connection that is closed without an answer."""

Pieces = Callable[[], Iterator[bytes]]

AUTH = b"authorization: Basic d2std2ViLTgxOg==\r\n"


def head(path: str = "/v1/batch", *more: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: gateway\r\n%b%b\r\n" % (
        path.encode(),
        AUTH,
        b"".join(one + b"\r\n" for one in more),
    )


def whole(body: bytes, path: str = "/v1/batch", *more: bytes) -> bytes:
    return head(path, b"content-length: %d" % len(body), *more) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def for_ever(first: bytes, again: bytes, pause: float = 0.0) -> Pieces:
    """Return a client that sends something, and then something else for ever."""

    def pieces() -> Iterator[bytes]:
        yield first
        while True:
            time.sleep(pause)
            yield again

    return pieces


def once(*pieces: bytes) -> Pieces:
    """Return a client that sends something and waits for what comes."""
    return lambda: iter(pieces)


def single(text: bytes) -> Pieces:
    return once(whole(text, "/v1/track"))


def packed(data: bytes) -> bytes:
    """Return what gzip makes of data, open to go on."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def zeros() -> Iterator[bytes]:
    """Yield chunks that unpack to a million bytes each; after a full flush, the same comes again and again."""
    packer = zlib.compressobj(9, wbits=31)
    while True:
        yield chunk(packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH))


def batch(events: list[bytes], more: bytes = b"") -> bytes:
    return whole(b'{"batch":[' + b",".join(events) + b"]" + more + b"}")


FIRST, AGAIN = islice(zeros(), 2)
CHUNKED = b"transfer-encoding: chunked"
GZIP = b"content-encoding: gzip"
EVENT = b'{"type":"track","event":"Seat Booked","userId":"u-1","messageId":"m-1"}'
BAD = b'{"type":"track","event":1,"userId":"u-1"}'
WIDE = b',"context":{%b}' % b",".join(b'"k%d":{}' % number for number in range(2800))


class Attack(NamedTuple):
    """What a client sends, and how it is answered."""

    pieces: Pieces
    expected: frozenset[int | None]
    half_closes: bool = False


def attack(pieces: Pieces, *expected: int | None, **options: bool) -> Attack:
    return Attack(pieces, frozenset(expected), **options)


ATTACKS = {
    # Bodies that unpack to more than they are
    "gzip_bomb": attack(for_ever(head("/v1/batch", GZIP, CHUNKED) + FIRST, AGAIN * 10), 413),
    "gzip_of_gzip": attack(once(whole(gzip.compress(gzip.compress(bytes(50_000_000))), "/v1/batch", GZIP)), 400),
    "gzip_of_nothing": attack(
        for_ever(head("/v1/batch", GZIP, CHUNKED) + chunk(gzip.compress(b"")[:10]), chunk(b"\0\0\0\xff\xff" * 10_000)),
        413,
    ),
    "gzip_cut_off": attack(once(whole(packed(b"{}"), "/v1/batch", GZIP)), 400),
    "common_keys_for_all": attack(once(batch([EVENT] * 2500, WIDE)), 413),
    # Bodies that are bad to read
    "deep_lists": attack(once(whole(b'{"batch":' + b"[" * 100_000 + b"]" * 100_000 + b"}")), 400),
    "deep_objects": attack(
        single(b'{"event":"e","userId":"u","properties":' + b'{"a":' * 80_000 + b"1" + b"}" * 80_001), 400
    ),
    "deep_and_open": attack(single(b"[" * 100_000), 400),
    "not_a_number": attack(single(b'{"event":"e","userId":"u","properties":{"a":NaN}}'), 400),
    "out_of_range": attack(single(b'{"event":"e","userId":"u","properties":{"a":1e999}}'), 400),
    "digits": attack(single(b'{"event":"e","userId":"u","properties":{"a":' + b"9" * 500_000 + b"}}"), 400),
    "half_a_surrogate": attack(single(b'{"event":"e\\ud800","userId":"u"}'), 400),
    "not_utf_8": attack(single(b'{"event":"\xff\xfe","userId":"u"}'), 400),
    "many_keys": attack(single(b'{"properties":{' + b",".join(b'"%d":1' % one for one in range(40_000)) + b"}}"), 400),
    "nothing_many_times": attack(once(batch([b"[]"] * 150_000)), 200),
    "bad_many_times": attack(once(batch([BAD] * 1000)), 200),
    # Bodies without an end, or with a wrong one
    "endless_chunks": attack(for_ever(head("/v1/batch", CHUNKED), chunk(b" " * 65_536)), 413),
    "tiny_chunks": attack(for_ever(head("/v1/batch", CHUNKED), chunk(b" ") * 1000), 431, CUT_OFF),
    "endless_chunk_extension": attack(for_ever(head("/v1/batch", CHUNKED) + b"1;", b"x" * 65_536), 431, CUT_OFF),
    "endless_trailers": attack(
        for_ever(head("/v1/batch", CHUNKED) + b"0\r\n", b"x: yyyyyyyyyyyyyyyy\r\n" * 1000), 431, CUT_OFF
    ),
    "endless_trailer": attack(for_ever(head("/v1/batch", CHUNKED) + b"0\r\nx: ", b"y" * 65_536), 431, CUT_OFF),
    "huge_length": attack(for_ever(head("/v1/batch", b"content-length: 9999999999"), b"x" * 65_536), 413),
    "length_that_overflows": attack(for_ever(head("/v1/batch", b"content-length: 99999999999999999999"), b"x"), 400),
    "negative_length": attack(once(head("/v1/batch", b"content-length: -5") + b"x"), 400),
    "two_lengths": attack(once(head("/v1/batch", b"content-length: 5", b"content-length: 6") + b"x" * 6), 400),
    "length_and_chunks": attack(once(head("/v1/batch", b"content-length: 5", CHUNKED) + b"0\r\n\r\n"), 400),
    "refused_and_going_on": attack(
        for_ever(head("/v1/batch", CHUNKED).replace(b"TgxO", b"TgyO"), chunk(b" " * 65_536)), 401
    ),
    # Heads
    "endless_headers": attack(
        for_ever(b"POST /v1/batch HTTP/1.1\r\n", b"x: yyyyyyyyyyyyyyyy\r\n" * 1000), 431, CUT_OFF
    ),
    "endless_header": attack(for_ever(b"POST /v1/batch HTTP/1.1\r\nx: ", b"y" * 65_536), 431, CUT_OFF),
    "endless_url": attack(for_ever(b"POST /", b"y" * 65_536), 431, CUT_OFF),
    "empty_lines_behind_a_call": attack(for_ever(whole(EVENT, "/v1/track"), b"\r\n", 0.1), 200),
    "noise": attack(once(bytes(range(256)) * 400), 400),
    "tls": attack(once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)), 400),
    "http_2": attack(once(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100)), 400),
    "connect": attack(once(b"CONNECT vendor:443 HTTP/1.1\r\nhost: vendor\r\n\r\n" + b"x" * 100), 400),
    # Connections
    "more_requests_than_answers": attack(for_ever(b"", b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n" * 200), CUT_OFF, 404),
    "more_calls_than_answers": attack(for_ever(b"", whole(EVENT, "/v1/track") * 100), CUT_OFF, 200),
    "half_closed": attack(once(whole(b" " * 100)[:-50]), CUT_OFF, half_closes=True),
    "half_closed_in_the_head": attack(once(b"POST /v1/ba"), CUT_OFF, half_closes=True),
}

SLOW = {
    "slow_body": attack(for_ever(head("/v1/batch", b"content-length: 5000"), b"[", 0.1), 408),
    "body_that_stops": attack(once(head("/v1/batch", b"content-length: 5000") + b"["), 408),
    "slow_head": attack(for_ever(b"POST /v1/batch HTTP/1.1\r\n", b"x: y\r\n", 0.1), 408),
    "head_that_stops": attack(once(b"POST /v1/ba"), 408),
    "nothing_at_all": attack(once(), 408),
    "empty_lines": attack(for_ever(b"\r\n", b"\r\n", 0.1), 408),
}
"""Attacks that only a timeout ends."""


def strike(one: Served, attack: Attack) -> int | None:
    """Be one client until the gateway has closed the connection; return the status of its first answer."""
    answer = left = b""
    pieces, sending = attack.pieces(), True
    with socket.create_connection(one.address) as client, suppress(ConnectionError):
        client.setblocking(False)
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            if sending and not left:
                piece = next(pieces, None)
                sending, left = piece is not None, piece or b""
                if not sending and attack.half_closes:
                    client.shutdown(socket.SHUT_WR)
            events = happening(client, bool(left), wait=not sending or bool(left))
            if events & select.POLLIN:
                got = client.recv(65_536)
                if not got:
                    return status(answer)
                answer = (answer + got)[:100]
            if left and events & select.POLLOUT:
                left = left[client.send(left) :]
        raise TimeoutError("the connection was not closed")
    return status(answer)


def happening(client: socket.socket, writes: bool, *, wait: bool) -> int:
    """Return what can be done with a connection."""
    poll = select.poll()
    poll.register(client, select.POLLIN | (select.POLLOUT if writes else 0))
    return sum(events for _, events in poll.poll(1000 if wait else 0))


def read(client: socket.socket) -> int | None:
    """Return the status of the next answer, when all of it has come; None when the connection is closed."""
    with client.makefile("rb", buffering=0) as stream:
        first, length = stream.readline(), 0
        while line := stream.readline().strip():
            length = int(line.split(b":")[1]) if line.startswith(b"content-length:") else length
        while length:
            length -= len(stream.read(length))
    return status(first)


def status(answer: bytes) -> int | None:
    return int(answer.split(b" ", 2)[1]) if answer else None


class Other:
    """A client that only wants to send its events, while others attack."""

    def __init__(self, one: Served) -> None:
        self.answers: Counter[int] = Counter()
        self._url, self._stop = one, threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.is_set():
            number = sum(self.answers.values())
            self.answers[self._url.post("/v1/track", track(f"other-{number}")).status_code] += 1

    def stop(self) -> None:
        """Send once more, and no more."""
        self._stop.set()
        self._thread.join(LIMIT)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that waits for everybody."""
    with served(configured(tmp_path_factory.mktemp("patient"), gateway=PATIENT), "--no-deliver") as one:
        yield one


@pytest.mark.parametrize("name", ATTACKS)
def test_twenty_clients_that_attack_at_a_time_harm_nobody(patient: Served, name: str) -> None:
    """Each gets the answer of the defence, or is cut off; others are served, memory stays small, nothing is said."""
    withstand(patient, {name: ATTACKS[name]})


def test_slow_clients_of_all_kinds_at_a_time_harm_nobody(tmp_path: Path) -> None:
    """Twenty of each: a timeout ends them, and the same holds."""
    with served(configured(tmp_path, gateway=SHORT), "--no-deliver") as one:
        withstand(one, SLOW)


def withstand(one: Served, attacks: Mapping[str, Attack]) -> None:
    """Attack a gateway with twenty clients of each kind, and see to it that nobody is harmed."""
    assert one.post("/v1/track", track("first")).status_code == 200
    forget_peak(one.process.pid)
    before, met = memory(one.process.pid, "VmRSS"), {name: list[int | None]() for name in attacks}
    other = Other(one)
    clients = [
        threading.Thread(target=lambda name=name: met[name].append(strike(one, attacks[name])))
        for name in list(attacks) * AT_ONCE
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(LIMIT)
    other.stop()
    grown = memory(one.process.pid, "VmHWM") - before
    assert one.post("/v1/track", track("last")).status_code == 200
    assert one.process.poll() is None
    assert {name: len(statuses) for name, statuses in met.items()} == dict.fromkeys(attacks, AT_ONCE)
    assert {name: set(met[name]) - attacks[name].expected for name in attacks} == {name: set() for name in attacks}
    assert set(other.answers) == {200}
    assert grown < MEGABYTES
    assert one.output.count("\n") == 2, one.output


def test_a_client_that_reads_no_answer_is_cut_off(tmp_path: Path) -> None:
    """Its answers would wait in the memory of the gateway; they are thrown away, and the client sees a reset."""
    with served(configured(tmp_path, gateway=SHORT), "--no-deliver") as one, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(one.address)
        client.sendall(batch([b"[]"] * 2500) * 15)
        poll = select.poll()
        poll.register(client, 0)
        reached(lambda: poll.poll(0), "a reset")
        assert open_connections(one) == 0


def open_connections(one: Served) -> float:
    return one.metrics()["turnout_gateway_connections", frozenset()]


def test_connections_beyond_the_limit_get_503(tmp_path: Path) -> None:
    """Those that are open go on, and room that comes free is given away again."""
    gateway = {"max_connections": 20, "head_seconds": 3600.0}
    with served(configured(tmp_path, gateway=gateway), "--no-deliver") as one, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(one.address)) for _ in range(20)]
        reached(lambda: open_connections(one) == 20, "twenty connections")
        answer = one.post("/v1/track", track(1), origin="https://cinema.example")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "too_busy", "1")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert one.metrics()["turnout_gateway_requests_total", frozenset({("status", "503")})] == 1
        for client in (clients[0], clients[0], clients[-1]):
            client.settimeout(LIMIT)
            client.sendall(whole(EVENT, "/v1/track"))
            assert read(client) == 200
        stack.close()
        reached(lambda: not open_connections(one), "the end of those connections")
        assert one.post("/v1/track", track(1)).status_code == 200


def test_a_connection_that_found_room_keeps_it(tmp_path: Path) -> None:
    """It was one too many once; who comes after it is one too many now."""
    gateway = {"max_connections": 2, "head_seconds": 3600.0}
    with served(configured(tmp_path, gateway=gateway), "--no-deliver") as one, ExitStack() as stack:

        def client() -> socket.socket:
            made = stack.enter_context(socket.create_connection(one.address))
            made.settimeout(LIMIT)
            return made

        first, _, third = client(), client(), client()
        reached(lambda: open_connections(one) == 3, "three connections")
        first.close()
        reached(lambda: open_connections(one) == 2, "the end of the first")
        third.sendall(whole(EVENT, "/v1/track"))
        assert read(third) == 200
        fourth = client()
        reached(lambda: open_connections(one) == 3, "another one")
        for each, status in ((third, 200), (fourth, 503)):
            each.sendall(whole(EVENT, "/v1/track"))
            assert read(each) == status


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "bad_request"),
        (b"PLEASE /v1/track HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/track HTTP/1.1\r\nx: " + b"y" * 2000, 431, "bad_request"),
        (b"POST /v1/tra", 408, "body_timed_out"),
    ],
)
def test_what_is_no_request_is_told_why(tmp_path: Path, sent: bytes, status: int, code: str) -> None:
    """As JSON, as everybody else is told."""
    gateway = {"max_header_bytes": 1024, "head_seconds": 0.2}
    with served(configured(tmp_path, gateway=gateway), "--no-deliver") as one:
        with socket.create_connection(one.address) as client:
            client.settimeout(LIMIT)
            client.sendall(sent)
            top, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 %d " % status)
        assert f"content-length: {len(body)}" in top.decode().split("\r\n")
        told = json.loads(body)
        assert (told["success"], told["code"], told["path"]) == (False, code, None)
        assert told["message"]


def test_a_transfer_encoding_that_is_not_undone_is_refused(tmp_path: Path) -> None:
    """The chunks would be taken apart, and what is in them read as if it weren't packed."""
    with served(configured(tmp_path), "--no-deliver") as one, socket.create_connection(one.address) as client:
        client.settimeout(LIMIT)
        client.sendall(head("/v1/track", b"transfer-encoding: gzip, chunked") + chunk(EVENT) + b"0\r\n\r\n")
        assert read(client) == 501


@pytest.mark.parametrize("key", [b"upgrade", b"Upgrade", b"UPGRADE"])
def test_a_client_that_would_rather_speak_http_2_is_served(tmp_path: Path, key: bytes) -> None:
    """As Java's does with every request until it is told otherwise; nobody is told, so it goes on with HTTP/1.1."""
    asks = (b"connection: Upgrade, HTTP2-Settings", key + b": h2c", b"http2-settings: AAMAAABkAAQAAP__")
    with served(configured(tmp_path), "--no-deliver") as one, socket.create_connection(one.address) as client:
        client.settimeout(LIMIT)
        for number in range(2):
            client.sendall(whole(json.dumps(track(number)).encode(), "/v1/track", *asks))
            assert read(client) == 200
    assert kept(tmp_path) == ["m-0", "m-1"]


def kept(folder: Path) -> list[str]:
    with closing(SqliteLog(folder / "turnout.log")) as log:
        return [json.loads(accepted.data)["messageId"] for accepted in log.read(0)]


def test_a_head_may_have_so_many_bytes_and_not_one_more(tmp_path: Path) -> None:
    """On the first request of a connection and on later ones, in one piece and byte by byte."""
    with served(configured(tmp_path, gateway={"max_header_bytes": 1024}), "--no-deliver") as one:
        for extra, expected in ((0, 200), (1, 431)):
            for first in (b"", whole(EVENT, "/v1/track")):
                bare = len(whole(EVENT, "/v1/track", b"x: ")) - len(EVENT)
                request = whole(EVENT, "/v1/track", b"x: " + b"y" * (1024 - bare + extra))
                # What is sent behind a refusal could reset the connection before the answer is read.
                sent = request if expected == 200 else request[:1025]
                assert answered(one, first, [sent]) == expected
                assert answered(one, first, [sent[at : at + 1] for at in range(len(sent))]) == expected


def answered(one: Served, first: bytes, pieces: list[bytes]) -> int | None:
    """Return the status of the answer to a request that is sent in pieces, after a first one."""
    with socket.create_connection(one.address) as client:
        client.settimeout(LIMIT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if first:
            client.sendall(first)
            assert read(client) == 200
        for piece in pieces:
            client.sendall(piece)
        return read(client)


def test_requests_that_are_sent_at_once_are_answered_in_order(tmp_path: Path) -> None:
    """Sixteen may wait for the first one, whatever they hold together."""
    calls = [json.dumps(track(number, properties={"note": "x" * 3000})).encode() for number in range(16)]
    with served(configured(tmp_path), "--no-deliver") as one, socket.create_connection(one.address) as client:
        client.sendall(b"".join(whole(call, "/v1/track") for call in calls) + b"GET / HTTP/1.1\r\n\r\n")
        client.settimeout(LIMIT)
        assert [read(client) for _ in range(17)] == [200] * 16 + [404]
    assert kept(tmp_path) == [f"m-{number}" for number in range(16)]


def test_a_refusal_can_be_read_by_a_client_that_sends_first(tmp_path: Path) -> None:
    """It sends a body that is too large to its end, and only then looks; a reset would have taken the answer."""
    with served(configured(tmp_path), "--no-deliver") as one, socket.create_connection(one.address) as client:
        client.settimeout(LIMIT)
        client.sendall(whole(b" " * 5_000_000, "/v1/track"))
        assert read(client) == 413
        client.sendall(whole(EVENT, "/v1/track"))
        assert read(client) == 200


def test_of_duplicate_keys_the_last_one_counts(tmp_path: Path) -> None:
    """For the gateway as for every destination; also for the write key and the id."""
    text = b'{"event":"First","userId":"u-1","messageId":"m-1","event":"Last","messageId":"m-2","userId":"u-2"}'
    with served(configured(tmp_path), "--no-deliver") as one:
        assert one.post("/v1/track", text).status_code == 200
    assert kept(tmp_path) == ["m-2"]
