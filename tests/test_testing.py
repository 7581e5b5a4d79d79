"""The base of every simulator: routing, ledger, faults, control over HTTP, and serving."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnout.errors import ConfigError
from turnout.testing import Answer, Call, Fault, Simulator

DOCS = Path(__file__).parent.parent / "docs" / "simulators.md"


class Shop(Simulator):
    """A small vendor that keeps what it is given."""

    def reset(self) -> None:
        super().reset()
        self.kept: list[Any] = []

    def routes(self) -> dict[str, Any]:
        return {"POST /things": self.keep, "GET|DELETE /things/{name}": self.show, "GET /broken": self.broken}

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def keep(self, call: Call) -> Answer:
        self.kept.append(call.decoded())
        return Answer(201, {"kept": len(self.kept)}, effect={"kept": 1})

    def show(self, call: Call) -> Answer:
        return Answer(200, f"{call.method} {call.params['name']}")

    def broken(self, call: Call) -> Answer:
        raise RuntimeError("a bug of the simulator's author")


@pytest.fixture
def shop() -> Shop:
    return Shop(clock=lambda: datetime.fromtimestamp(1_700_000_000, UTC))


def in_process(app: Simulator, method: str, path: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


def test_routes_with_parameters(shop: Shop) -> None:
    """`{name}` in a route matches one part of the path, and several methods can share a route."""
    assert shop.check("GET", "/things/cup").body == "GET cup"
    assert shop.check("delete", "/things/cup").body == "DELETE cup"


@pytest.mark.parametrize(("sent", "read"), [("a%2Fb", "a/b"), ("b%20%C3%BC", "b ü"), ("%257B", "%7B"), ("a+b", "a+b")])
def test_a_part_of_a_path_is_decoded_for_itself(shop: Shop, sent: str, read: str) -> None:
    """So a slash in an item's field reaches the simulator as it reaches a vendor, in process and over TCP."""
    assert shop.check("GET", f"/things/{sent}").body == f"GET {read}"
    assert in_process(shop, "GET", f"/things/{sent}").text == f"GET {read}"
    with shop.serve() as url:
        assert httpx.get(f"{url}/things/{sent}", trust_env=False).text == f"GET {read}"
    assert {entry.path for entry in shop.ledger} == {f"/things/{read}"}


def test_unknown_path_and_method(shop: Shop) -> None:
    """A path that no route has is 404; a known one with another method is 405 and says what is allowed."""
    assert shop.check("GET", "/nothing").status == 404
    answer = shop.check("PUT", "/things/cup")
    assert (answer.status, answer.headers) == (405, {"allow": "GET, DELETE"})


def test_ledger_entry(shop: Shop) -> None:
    """A request is in the ledger with number, time, decoded body, status and effect, its secrets masked."""
    shop.check("GET", "/things/a")
    shop.check(
        "POST",
        "/things?api_key=hidden-1&page=2",
        {"Authorization": "Basic hidden-2", "Host": "shop.example", "Content-Type": "application/json"},
        b'{"api_key": "hidden-3", "n": 1}',
    )
    entry = shop.ledger[1]
    assert (entry.number, entry.time, entry.method, entry.path) == (2, 1_700_000_000_000, "POST", "/things")
    assert entry.query == {"api_key": "***", "page": "2"}
    assert entry.headers == {
        "authorization": "***",
        "host": "shop.example",
        "content-type": "application/json",
    }
    assert entry.body == {"api_key": "***", "n": 1}
    assert (entry.host, entry.status, entry.effect, entry.fault) == ("shop.example", 201, {"kept": 1}, None)
    assert "hidden" not in repr(shop.ledger)


def test_form_bodies_are_decoded(shop: Shop) -> None:
    """A form is the object of its fields, and a field that holds a JSON object is decoded."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    shop.check("POST", "/things", form, b"a=1&b=%7B%22c%22%3A%5B1%5D%7D&d=%7Bnot+json")
    assert shop.kept == [{"a": "1", "b": {"c": [1]}, "d": "{not json"}]


def test_multipart_bodies_are_decoded() -> None:
    """A multipart form gives the same fields as an urlencoded one."""
    request = httpx.Request("POST", "http://shop.example/", files={"a": (None, "ä&b=1"), "c": (None, "2")})
    call = Call(method="POST", path="/", headers=dict(request.headers), body=request.read())
    assert call.form() == {"a": "ä&b=1", "c": "2"}


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b'{"a":', b"NaN", b"1e999", b'"\\ud800"', b"[" * 300 + b"]" * 300, b"[" * 100_000],
)
def test_bodies_that_are_not_strict_json(shop: Shop, body: bytes) -> None:
    """What is not strict JSON is a ValueError for the author, and only its size is kept in the ledger."""
    with pytest.raises(ValueError, match="not JSON"):
        Call(method="POST", path="/", body=body).json()
    shop.check("POST", "/things", {"content-type": "application/json"}, body)
    assert shop.ledger[0].body == {"bytes": len(body)}


@pytest.mark.parametrize("value", ["", "Basic", "Basic !!", "Basic bm9jb2xvbg==", "Bearer abc", "Basic /w=="])
def test_basic_authentication_that_cannot_be_read(value: str) -> None:
    """A missing or broken Basic header is None, never an exception."""
    assert Call(method="GET", path="/", headers={"authorization": value}).basic() is None


def test_basic_authentication() -> None:
    """User and password are split at the first colon."""
    assert Call(method="GET", path="/", headers={"authorization": "basic dTpwOnE="}).basic() == ("u", "p:q")


def packed(body: bytes, packing: str = "gzip") -> Call:
    return Call(method="POST", path="/", headers={"content-encoding": packing, "x-one": "1"}, body=body)


def test_a_body_is_unpacked() -> None:
    """gzip; what is too long is cut one byte behind the limit; a plain body stays as it is."""
    call = packed(gzip.compress(b'{"a": 1}')).unpacked()
    assert (call.json(), call.headers) == ({"a": 1}, {"x-one": "1"})
    assert packed(gzip.compress(bytes(1_000_000)), "X-GZIP").unpacked(1000).body == bytes(1001)
    assert packed(gzip.compress(bytes(1000))).unpacked(1000).body == bytes(1000)
    assert packed(b"plain", "identity").unpacked().body == b"plain"
    assert Call(method="POST", path="/", body=b"plain").unpacked().body == b"plain"


@pytest.mark.parametrize(
    ("body", "packing", "words"),
    [
        (b"not gzip", "gzip", "no gzip"),
        (b"", "gzip", "cut off"),
        (gzip.compress(b"cut off")[:-3], "gzip", "cut off"),
        (gzip.compress(b"one") + b"more", "gzip", "something behind it"),
        (b"\x28\xb5\x2f\xfd", "zstd", "packed as 'zstd'"),
    ],
    ids=["no gzip", "empty", "cut off", "more", "zstd"],
)
def test_bodies_that_cannot_be_unpacked(shop: Shop, body: bytes, packing: str, words: str) -> None:
    """ValueError says why; the ledger says how many bytes there were."""
    with pytest.raises(ValueError, match=words):
        packed(body, packing).unpacked()
    shop.check("POST", "/things", {"content-encoding": packing, "content-type": "application/json"}, body)
    assert shop.ledger[-1].body == ({"bytes": len(body)} if body else None)


def test_faults_apply_in_order_to_matching_requests(shop: Shop) -> None:
    """Each fault serves the next requests that match its path, as often as it says, and nothing is stored."""
    shop.fail(503, times=2, path="/things")
    shop.fail(429)
    answers = [shop.check("POST", "/things").status for _ in range(4)]
    assert answers == [503, 503, 429, 201]
    assert len(shop.kept) == 1
    assert [entry.fault for entry in shop.ledger][2:] == [{"status": 429}, None]


def test_fault_after_store(shop: Shop) -> None:
    """With `after_store` the request takes effect although its answer is an error."""
    shop.fail(500, after_store=True)
    assert shop.check("POST", "/things").status == 500
    assert shop.kept == [None]
    assert shop.ledger[0].effect == {"kept": 1}


def test_fault_bodies(shop: Shop) -> None:
    """A fault sends the vendor's body, an HTML page, or the body and headers it was given."""
    shop.fail(400, html=True)
    shop.fail(429, body={"slow": "down"}, headers={"Retry-After": "7"})
    shop.fail(418)
    page, slow, teapot = (in_process(shop, "GET", "/things/a") for _ in range(3))
    assert page.headers["content-type"] == "text/html"
    assert "<h1>400</h1>" in page.text
    assert (slow.json(), slow.headers["retry-after"]) == ({"slow": "down"}, "7")
    assert teapot.json() == {"code": 418, "error": "I'm a Teapot"}


def test_fault_with_a_path_pattern(shop: Shop) -> None:
    """`*` in a fault's path matches whatever follows; times=None holds until a reset."""
    shop.fail(500, path="/things/*", times=None)
    assert [shop.check("GET", "/things/a").status for _ in range(3)] == [500, 500, 500]
    assert shop.check("POST", "/things").status == 201
    shop.reset()
    assert shop.check("GET", "/things/a").status == 200


def test_script(shop: Shop) -> None:
    """A script answers one request to its path with each step; None and a 200 answer as usual."""
    shop.script("/things", [429, None, {"status": 500, "after_store": True}, Answer(202, "later"), 200])
    assert [shop.check("POST", "/things").status for _ in range(6)] == [429, 201, 500, 202, 201, 201]
    assert len(shop.kept) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "does nothing"),
        ({"status": 99}, "between 200 and 599"),
        ({"status": 600}, "between 200 and 599"),
        ({"status": 500, "times": 0}, "1 or more"),
        ({"delay": -1}, "between 0 and 86400"),
        ({"status": "500"}, "Expected `int | null`"),
        ({"status": 500, "path": 3}, "path"),
    ],
)
def test_wrong_faults(shop: Shop, options: dict[str, Any], words: str) -> None:
    """A fault that is wrong or does nothing is refused with a sentence, and none is ordered."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        shop.fail(**options)
    assert shop.check("POST", "/things").status == 201


def test_silent_faults_without_a_server(shop: Shop) -> None:
    """Without a connection, `check` raises what a socket would, and ASGITransport what httpx would."""
    shop.fail(hang=True, after_store=True)
    shop.fail(drop_connection=True)
    shop.fail(hang=True)
    shop.fail(drop_connection=True)
    with pytest.raises(TimeoutError):
        shop.check("POST", "/things")
    with pytest.raises(ConnectionResetError):
        shop.check("POST", "/things")
    with pytest.raises(httpx.ReadTimeout):
        in_process(shop, "POST", "/things")
    with pytest.raises(httpx.ReadError):
        in_process(shop, "POST", "/things")
    assert len(shop.kept) == 1
    assert [entry.status for entry in shop.ledger] == [None] * 4


def test_control_over_http(shop: Shop) -> None:
    """Ledger, state, faults and reset are there over HTTP and are not in the ledger themselves."""
    with shop.serve() as url, httpx.Client(base_url=url) as client:
        ordered = client.post("/_turnout/faults", json=[{"status": 503, "times": 2}, {"status": 429}])
        assert ordered.json() == [{"status": 503, "times": 2}, {"status": 429, "times": 1}]
        assert client.get("/_turnout/faults").json() == ordered.json()
        assert client.post("/things", json={"a": 1}).status_code == 503
        client.post("/_turnout/faults", json={"status": 500, "path": "/none"})
        assert [entry["status"] for entry in client.get("/_turnout/ledger").json()] == [503]
        assert client.post("/_turnout/reset").json() == {"reset": True}
        assert client.post("/things", json={"a": 1}).json() == {"kept": 1}
        assert client.get("/_turnout/state").json() == {"kept": [{"a": 1}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b'[{"statu": 1}]', "Did you mean 'status'?"),
        (b'[{"status": 500}, 7]', "option is wrong"),
        (b'[{"status": 500}, {}]', "does nothing"),
        (b"\xff", "not JSON"),
    ],
)
def test_wrong_faults_over_http(shop: Shop, body: bytes, words: str) -> None:
    """A wrong list of faults is a 400 that says why, and none of the list is ordered."""
    answer = shop.check("POST", "/_turnout/faults", {}, body)
    assert answer.status == 400
    assert words in answer.body["error"]
    assert shop.check("GET", "/_turnout/faults").body == []


def test_unknown_control_path(shop: Shop) -> None:
    """An unknown control path says which there are."""
    answer = shop.check("GET", "/_turnout/legder")
    assert answer.status == 404
    assert "GET /_turnout/ledger" in answer.body["error"]


def test_served_connections_that_are_cut_or_held(shop: Shop) -> None:
    """Over TCP a dropped connection and a hanging one look to the client as they do in life."""
    with shop.serve() as url:
        shop.fail(drop_connection=True)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(url + "/things")
        shop.fail(hang=True)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url + "/things", timeout=0.05)
        shop.fail(delay=3600)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url + "/things", timeout=0.05)
        shop.fail(delay=0.001)
        assert httpx.post(url + "/things").status_code == 201


def test_stopping_lets_go_of_held_connections(shop: Shop) -> None:
    """A server that stops does not wait for the connections that it was told to hold."""
    with socket.socket() as client:
        with shop.serve() as url:
            shop.fail(hang=True)
            client.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
            client.sendall(b"GET /things/a HTTP/1.1\r\nHost: shop\r\n\r\n")
            while not shop.ledger:
                httpx.get(url + "/_turnout/state")
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_serving_twice_and_two_at_once(shop: Shop) -> None:
    """One simulator can be served again, and at two ports at once with one store (two regions)."""
    with shop.serve() as first, shop.serve() as second:
        httpx.post(first + "/things")
        httpx.post(second + "/things")
    with shop.serve() as again:
        assert httpx.post(again + "/things").json() == {"kept": 3}


def test_a_taken_port_is_named(shop: Shop) -> None:
    """A port that is taken or impossible is a ConfigError that says so."""
    with (
        shop.serve() as url,
        pytest.raises(ConfigError, match="Choose another port"),
        shop.serve(int(url[-5:])),
    ):
        pass
    with pytest.raises(ConfigError, match="Choose another port"), shop.serve(70_000):
        pass
    with pytest.raises(ConfigError, match=r"Can't listen on 192.*Choose an address"), shop.serve(host="192.0.2.1"):
        pass
    with pytest.raises(ConfigError, match=r"port 0: [^()]*\. Choose an address"), shop.serve(host="no.such.invalid"):
        pass


def test_a_body_over_the_limit_is_dropped() -> None:
    """A body over `max_body` is answered 413 and never reaches a route."""

    class Small(Shop):
        max_body = 10

    small = Small()
    assert in_process(small, "POST", "/things", content=b"x" * 11).status_code == 413
    assert in_process(small, "POST", "/things", content=b"x" * 10).status_code == 201


def test_a_bug_in_a_route_is_seen(shop: Shop) -> None:
    """An exception of a route reaches the test, and the ledger says what was raised."""
    with pytest.raises(RuntimeError, match="author"):
        shop.check("GET", "/broken")
    assert shop.ledger[0].status == 500
    assert "author" in shop.ledger[0].effect["raised"]


def test_run_announces_its_url_and_ends_at_interrupt() -> None:
    """`run` says where it listens once it does, serves, and ends without a traceback at Ctrl-C."""
    code = "from turnout.testing import Simulator; Simulator().run(port=0)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(url + "/_turnout/ledger").json() == []
        process.send_signal(2)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def test_importing_stays_light() -> None:
    """`turnout.testing` pulls in no HTTP server and no client."""
    code = (
        "import sys, turnout.testing; "
        "print([m for m in ('uvicorn', 'starlette', 'httpx', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_lifespan_is_answered(shop: Shop) -> None:
    """Another ASGI server may send lifespan messages; a websocket is refused in words."""

    async def live() -> list[str]:
        incoming = iter(["lifespan.startup", "lifespan.shutdown"])
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": next(incoming)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await shop({"type": "lifespan"}, receive, send)
        with pytest.raises(ConfigError, match="HTTP only, not websocket"):
            await shop({"type": "websocket"}, receive, send)
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(sorted(Fault.__struct_fields__)), st.none() | st.integers() | st.text()),
    st.binary(max_size=50),
)
def test_no_fault_option_breaks_a_simulator(options: dict[str, Any], body: bytes) -> None:
    """Whatever is ordered as a fault is taken or refused with a 400, never an exception."""
    shop = Shop()
    as_json = httpx.Request("POST", "http://shop", json=options).read()
    assert shop.check("POST", "/_turnout/faults", {}, as_json).status in (200, 400)
    assert shop.check("POST", "/_turnout/faults", {}, body).status in (200, 400)


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)


def test_the_page_s_own_simulator() -> None:
    """The simulator of docs/simulators.md runs as it stands there, in about thirty lines."""
    names: dict[str, Any] = {}
    exec(examples()[0], names)
    acme = names["AcmeSimulator"]()
    assert len(examples()[0].splitlines()) < 40
    good = {"authorization": "Bearer t"}
    assert acme.check("POST", "/v1/events", {}, b"{}").status == 401
    assert acme.check("POST", "/v1/events", good, b"{").status == 400
    assert acme.check("POST", "/v1/events", good, b"[]").status == 400
    assert acme.check("POST", "/v1/events", good, b'{"events": [{}]}').body["indexes"] == [0]
    assert acme.check("POST", "/v1/events", good, b'{"events": [{"event": "a"}]}').body == {"accepted": 1}
    assert acme.check("GET", "/v1/events/0").body == {"event": "a"}
    assert acme.check("GET", "/v1/events/1").status == 404
    assert acme.check("GET", "/_turnout/state").body == {"events": [{"event": "a"}]}


@pytest.mark.parametrize("number", range(1, len(examples())))
def test_the_page_s_examples_of_vendors(number: int) -> None:
    """The examples of docs/simulators.md for Amplitude and other vendors hold."""
    exec(examples()[number], {})
