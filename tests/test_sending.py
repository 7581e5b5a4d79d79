"""Sending: one request to a real server, one answer or one reason back."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import httpx
import pytest

from turnout import (
    ITEMS,
    Answer,
    Batch,
    ConfigError,
    Destination,
    Endpoint,
    Reason,
    Request,
    Settings,
    bearer,
    json_body,
)
from turnout.endpoint import BoundEndpoint
from turnout.sending import Sender, Silence
from turnout.settings import text
from turnout.testing import Answer as Told
from turnout.testing import Call, Simulator


class KeySettings(Settings):
    """A key."""

    key = text("The key.", secret=True, default="key-1")


class Echo(Destination):
    """One endpoint."""

    name = "Echo"
    settings = KeySettings
    out = Endpoint("PUT", "https://x.example/in?a=b", body=json_body(ITEMS), auth=bearer("key"), headers={"X-One": "1"})


class Packing(Destination):
    """An endpoint that compresses."""

    name = "Packing"
    out = Endpoint("PUT", "https://x.example/in", body=json_body(ITEMS), batch=Batch(items=9), gzip=True)


class Server(Simulator):
    """Answers by path."""

    def routes(self) -> dict[str, Any]:
        return {
            "PUT /in": lambda call: Told(202, {"ok": call.unpacked().body.decode()}, {"X-Two": "2"}),
            "PUT /away/in": lambda call: Told(302, "", {"location": "/in"}),
            "PUT /packed/in": lambda call: Told(200, gzip.compress(b"unpacked"), {"content-encoding": "gzip"}),
            "PUT /spoiled/in": lambda call: Told(200, b"not gzip at all", {"content-encoding": "gzip"}),
            "PUT /long/in": self.long,
        }

    def long(self, call: Call) -> Told:
        return Told(200, b"x" * 3_000_000)


def send(url: str, timeout: float = 5.0, **settings: Any) -> Answer | Reason:
    echo = Echo({"base_url": url, **settings})

    async def run() -> Answer | Reason:
        async with Sender(timeout) as sender:
            return await sender.send(Request(echo.out, (echo.out.item({"n": 1}),)))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Server]]:
    simulator = Server()
    with simulator.serve() as url:
        yield url, simulator


@contextmanager
def raw(*answer: bytes, gap: threading.Event | None = None) -> Iterator[str]:
    """Serve one connection with these bytes; with a gap, hold it open until it is set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    for piece in answer:
                        connection.sendall(piece)
                        if gap is not None and gap.wait(0.05):
                            break
                    if gap is not None:
                        gap.wait(30)
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        if gap is not None:
            gap.set()
        thread.join()


def test_a_request_goes_out_as_it_was_made(server: tuple[str, Server]) -> None:
    """Method, path, query, headers and the bytes of the body; the answer has its headers in lower case."""
    url, simulator = server
    answer = send(url)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.json(), answer.headers["x-two"]) == (202, {"ok": '[{"n":1}]'}, "2")
    entry = simulator.ledger[-1]
    assert (entry.method, entry.path, entry.query) == ("PUT", "/in", {"a": "b"})
    assert entry.headers["content-type"] == "application/json"
    assert entry.headers["x-one"] == "1"


@pytest.mark.parametrize("size", [10, 400_000])
def test_a_compressed_request_arrives_whole(server: tuple[str, Server], size: int) -> None:
    """Short ones and long ones, which are compressed beside the event loop; the ledger shows them plain."""
    url, simulator = server
    out = Packing({"base_url": url}).out

    async def run() -> Answer | Reason:
        async with Sender(5.0) as sender:
            return await sender.send(Request(out, (out.item({"word": "ab" * (size // 2)}), out.item({"n": 2}))))

    answer = asyncio.run(run())
    assert isinstance(answer, Answer)
    assert answer.json() == {"ok": '[{"word":"%s"},{"n":2}]' % ("ab" * (size // 2))}
    entry = simulator.ledger[-1]
    assert entry.headers["content-encoding"] == "gzip"
    assert int(entry.headers["content-length"]) < max(100, size // 50)
    assert entry.body[1] == {"n": 2}


def test_redirects_are_not_followed(server: tuple[str, Server]) -> None:
    """A key is not carried to where a vendor's answer points."""
    answer = send(server[0] + "/away")
    assert isinstance(answer, Answer)
    assert answer.status == 302


def test_a_packed_answer_is_unpacked(server: tuple[str, Server]) -> None:
    """gzip is what vendors send."""
    answer = send(server[0] + "/packed")
    assert isinstance(answer, Answer)
    assert answer.body == b"unpacked"


def test_of_a_long_answer_the_first_megabyte_is_kept(server: tuple[str, Server]) -> None:
    """A vendor's page of errors doesn't fill our memory."""
    answer = send(server[0] + "/long")
    assert isinstance(answer, Answer)
    assert len(answer.body) == 1_000_000


def test_an_answer_that_cant_be_unpacked_is_a_reason(server: tuple[str, Server]) -> None:
    """A broken encoding is the vendor's trouble, not an exception of ours."""
    answer = send(server[0] + "/spoiled")
    assert isinstance(answer, Reason)
    assert answer.code == "unreachable"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("http://proxy.example", "is one of str"),
        (httpx.HTTPTransport(), "is one of HTTPTransport"),
        (httpx.HTTPTransport, "makes one of HTTPTransport"),
        (lambda: None, "makes one of NoneType"),
    ],
)
def test_a_transport_that_is_none_is_told(wrong: Any, what: str) -> None:
    """What it is, and what it has to be: httpx has one for threads, which can't be used here."""
    with pytest.raises(ConfigError, match=rf"The transport {what}; it has to be an httpx\.AsyncBaseTransport"):
        Sender(1.0, wrong)


def test_a_closed_port_is_unreachable() -> None:
    """The host is named, and nothing is raised."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = send(f"http://127.0.0.1:{port}")
    assert isinstance(answer, Reason)
    assert (answer.code, "The connection to 127.0.0.1:" in answer.message) == ("unreachable", True)


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    """`.invalid` is reserved for names that never resolve."""
    answer = send("http://nowhere.invalid")
    assert isinstance(answer, Reason)
    assert answer.code == "unreachable"
    assert answer.message.startswith("The connection to nowhere.invalid failed: ")


def test_a_host_without_good_tls_is_a_matter_of_the_settings() -> None:
    """It is no use to try again soon; what to look at stands there. One that hangs up may be better the next time."""
    with raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        answer = send(url.replace("http:", "https:"))
    assert isinstance(answer, Silence)
    assert (answer.code, answer.setup, answer.sent) == ("unreachable", True, False)
    assert answer.message.endswith(". Compare its address, and its certificate with those that this machine trusts.")
    with raw(b"") as url:
        assert not cast(Silence, send(url.replace("http:", "https:"))).setup
    assert not cast(Silence, send("http://nowhere.invalid")).setup


@pytest.mark.parametrize("told", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"])
def test_a_broken_answer_is_unreachable(told: bytes) -> None:
    """No answer, no HTTP, or half an answer: a reason."""
    with raw(told) as url:
        answer = send(url)
    assert isinstance(answer, Reason)
    assert answer.code == "unreachable"


def test_a_vendor_that_never_answers_times_out() -> None:
    """After `timeout` seconds there is a reason, and the host is named."""
    with raw(gap=threading.Event()) as url:
        answer = send(url, timeout=0.1)
    assert isinstance(answer, Reason)
    assert answer.code == "timed_out"
    assert answer.message == f"{url.removeprefix('http://')} did not answer within 0.1 s."


def test_a_vendor_that_trickles_times_out() -> None:
    """The timeout is for the whole answer, not for each byte of it."""
    pieces = [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", *[b"x"] * 99]
    with raw(*pieces, gap=threading.Event()) as url:
        answer = send(url, timeout=0.3)
    assert isinstance(answer, Reason)
    assert answer.code == "timed_out"


class Silent:
    """A server that reads what comes, and answers only what it is asked at `/there/in`."""

    def __init__(self) -> None:
        self.open = 0
        """Connections."""
        self.reading = 0
        """Those on which a request waits for its answer."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b" /there/in" not in head:
                    self.reading += 1
                    await reader.read()
                    self.reading -= 1
                    break
                await reader.readexactly(len(b'[{"n":1}]'))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.open -= 1


def test_requests_that_are_given_up_leave_their_places() -> None:
    """At whatever moment: the first of those under way, and then the others while one of them takes its place."""
    silent = Silent()

    async def run() -> Answer | Reason:
        async with await asyncio.start_server(silent.take, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Sender(30.0) as sender:
                for steps in (*range(12), *range(12)):
                    await give_up(sender, Echo({"base_url": url}).out, silent, steps)
                out = Echo({"base_url": f"{url}/there"}).out
                answer = await sender.send(Request(out, (out.item({"n": 1}),)))
            await until(lambda: silent.open == 0)
        return answer

    assert isinstance(asyncio.run(run()), Answer)


async def give_up(sender: Sender, out: BoundEndpoint, silent: Silent, steps: int) -> None:
    waiting = [asyncio.create_task(sender.send(Request(out, (out.item({"n": 1}),)))) for _ in range(6)]
    await until(lambda: silent.reading == 5)
    waiting[0].cancel()
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.wait(waiting)
    await until(lambda: silent.reading == 0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)


def test_a_tls_error_is_unreachable(server: tuple[str, Server]) -> None:
    """https to a server that speaks plain HTTP."""
    answer = send(server[0].replace("http:", "https:"))
    assert isinstance(answer, Reason)
    assert answer.code == "unreachable"


def test_a_key_that_no_header_can_hold_is_a_reason(server: tuple[str, Server]) -> None:
    """A key with letters beyond ASCII is reported, without an exception and without the key."""
    answer = send(server[0], key="schlüssel-☃")
    assert isinstance(answer, Reason)
    assert "schl" not in answer.message


def test_nothing_is_logged_of_requests_of_ours(server: tuple[str, Server], caplog: pytest.LogCaptureFixture) -> None:
    """httpx and httpcore would log the URL and the vendor's headers, in which a secret may stand; others' they may."""
    caplog.set_level(logging.DEBUG)
    send(server[0])
    told = [record for record in caplog.records if record.name.startswith("http")]
    assert not [record for record in told if record.name == "httpx" or "headers" in record.getMessage()]
    httpx.get(server[0])
    assert "httpx" in {record.name for record in caplog.records}
