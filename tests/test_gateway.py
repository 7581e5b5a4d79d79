"""The gateway as a client sees it: what each call is answered, and what is in the log then."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout.accepting import Acceptor, now_ms
from turnout.config import LogSettings
from turnout.errors import ConfigError
from turnout.gateway import PATHS, Gateway
from turnout.log import LogFull
from turnout.sections import GatewaySettings, HttpSourceSettings
from turnout.sqlite_log import SqliteLog
from turnout.writekeys import WriteKeys

NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
WEB, APP, BACK = "wk-web-51", "wk-app-52", "wk-back-53"


def source(key: str, **given: Any) -> Any:
    return HttpSourceSettings.configure({"write_key": key, **given}, owner="source")


class Bench:
    """A gateway over a log, asked without a network."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.log = SqliteLog(path / "turnout.log")
        self.acceptor = Acceptor(self.log, LogSettings.configure({}, owner="log"), now_ms)
        keys = WriteKeys(
            {
                "web": source(WEB),
                "app": source(APP, allow_delete=True, client_ip=False),
                "back": source(BACK, bearer_token="tok-61"),
            }
        )
        settings = GatewaySettings.configure(given, owner="gateway")
        self.gateway = Gateway(self.acceptor, keys, settings, clock=lambda: NOON)

    def ask(self, method: str, path: str, address: str = "203.0.113.7", **given: Any) -> httpx.Response:
        """Return the answer to one request."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(self.gateway, client=(address, 5123))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, **given)

        return asyncio.run(main())

    def post(self, path: str, body: object, key: str | None = WEB, **given: Any) -> httpx.Response:
        """Return the answer to a call, with the write key as Basic authentication."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        given.setdefault("auth", (key, "") if key else None)
        return self.ask("POST", path, content=content, **given)

    def kept(self) -> list[dict[str, Any]]:
        """Return the events of the log."""
        return [json.loads(accepted.data) for accepted in self.log.read(0)]

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Return what was counted of events."""
        return {labels: times for labels, times in self.gateway.tally.events.items() if times}


@contextmanager
def opened(path: Path, **given: Any) -> Iterator[Bench]:
    bench = Bench(path, **given)
    with bench.acceptor:
        yield bench
    bench.log.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as made:
        yield made


def track(**given: Any) -> dict[str, Any]:
    return {"event": "Seat Booked", "userId": "u-71", "messageId": "m-72", **given}


def code(answer: httpx.Response) -> tuple[int, str | None]:
    """Return the status and the code of an answer; every body is JSON."""
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json().get("code")


# What is taken


SINGLE = {
    "track": {"event": "Seat Booked", "userId": "u-71"},
    "identify": {"userId": "u-71", "traits": {"tier": "gold"}},
    "page": {"anonymousId": "a-73", "name": "Seats"},
    "screen": {"anonymousId": "a-73", "name": "Seats"},
    "group": {"userId": "u-71", "groupId": "g-74"},
    "alias": {"userId": "u-71", "previousId": "a-73"},
}


@pytest.mark.parametrize("path", sorted(path for path, kind in PATHS.items() if kind in SINGLE))
def test_a_single_call_is_kept_with_the_type_of_its_path(bench: Bench, path: str) -> None:
    """Long paths and the short ones of browsers; a type in the body doesn't count."""
    answer = bench.post(path, {**SINGLE[PATHS[path]], "type": "delete", "messageId": "m-72"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    (event,) = bench.kept()
    assert event["type"] == PATHS[path]
    assert (event["messageId"], event["projectId"]) == ("m-72", "web")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b", "/v1/batch/"])
def test_a_batch_is_kept_with_what_its_root_says(bench: Bench, path: str) -> None:
    """`context`, `integrations` and `sentAt` of the root go to every event, as Segment does."""
    body = {
        "batch": [{"type": "track", **track()}, {"type": "identify", "userId": "u-75", "messageId": "m-76"}],
        "context": {"app": {"name": "Cinema"}},
        "sentAt": "2026-11-22T11:59:59.000Z",
    }
    assert bench.post(path, body).json() == {"success": True}
    first, second = bench.kept()
    assert first["context"] == second["context"] == {"app": {"name": "Cinema"}}
    assert first["sentAt"] == "2026-11-22T11:59:59.000Z"
    assert (first["messageId"], second["messageId"]) == ("m-72", "m-76")


def test_the_gateway_stamps_the_arrival_over_what_the_sender_says(bench: Bench) -> None:
    """And so corrects the sender's clock: timestamp = receivedAt - (sentAt - originalTimestamp)."""
    bench.post(
        "/v1/track",
        track(
            timestamp="2026-11-22T10:00:00.000Z", sentAt="2026-11-22T10:00:10.000Z", receivedAt="2020-01-01T00:00:00Z"
        ),
    )
    (accepted,) = bench.log.read(0)
    event = bench.gateway.normaliser.event(accepted.data)
    assert event.received_at == NOON
    assert event.timestamp == datetime(2026, 11, 22, 11, 59, 50, 250_000, tzinfo=UTC)


def test_text_plain_and_gzip_are_read(bench: Bench) -> None:
    """Browsers send JSON as text/plain; some senders forget to say that they pack."""
    plain = {"content-type": "text/plain"}
    packed = gzip.compress(json.dumps(track(messageId="m-2")).encode())
    assert bench.post("/v1/t", track(messageId="m-1"), headers=plain).status_code == 200
    assert bench.post("/v1/track", packed, headers={"content-encoding": "gzip"}).status_code == 200
    assert bench.post("/v1/track", gzip.compress(json.dumps(track(messageId="m-3")).encode())).status_code == 200
    assert [event["messageId"] for event in bench.kept()] == ["m-1", "m-2", "m-3"]


def test_a_second_copy_is_answered_and_not_kept(bench: Bench) -> None:
    """From the same source; another source may use the same id."""
    for key in (WEB, WEB, APP):
        assert bench.post("/v1/track", track(), key).json() == {"success": True}
    assert [event["projectId"] for event in bench.kept()] == ["web", "app"]
    assert bench.counts() == {
        ("web", "accepted", ""): 1,
        ("web", "duplicate", ""): 1,
        ("app", "accepted", ""): 1,
    }


def test_metrics_of_a_browser_are_answered_and_forgotten(bench: Bench) -> None:
    """analytics.js posts how it is doing; that is no event."""
    assert bench.post("/v1/m", {"series": []}).json() == {"success": True}
    assert bench.kept() == []


# Who may send


def test_the_write_key_may_come_in_three_ways(bench: Bench) -> None:
    """In the body, as Basic authentication (also without the colon), or with a bearer token in the body."""
    bare = "Basic " + base64.b64encode(WEB.encode()).decode()
    asked = [
        bench.post("/v1/track", track(messageId="m-1")),
        bench.post("/v1/track", track(messageId="m-2"), None, headers={"authorization": bare}),
        bench.post("/v1/track", track(messageId="m-3", writeKey=WEB), None),
        bench.post("/v1/batch", {"batch": [{"type": "track", **track(messageId="m-4")}], "writeKey": WEB}, None),
        bench.post("/v1/batch", {"batch": [{"type": "track", **track(messageId="m-5", writeKey=WEB)}]}, None),
        bench.post("/v1/track", track(messageId="m-6", writeKey=WEB), None, headers={"authorization": "Bearer any"}),
        bench.post(
            "/v1/track", track(messageId="m-7", writeKey=BACK), None, headers={"authorization": "Bearer tok-61"}
        ),
    ]
    assert [answer.status_code for answer in asked] == [200] * 7
    assert [event["projectId"] for event in bench.kept()] == ["web"] * 6 + ["back"]


def test_no_write_key_gets_into_the_log(bench: Bench) -> None:
    """Neither from a single call nor from a batch or its events; everything else stays."""
    bench.post("/v1/track", track(messageId="m-1", writeKey=WEB, extra={"writeKey": "kept"}))
    bench.post("/v1/batch", {"batch": [{"type": "track", **track(messageId="m-2", writeKey=WEB)}], "writeKey": WEB})
    kept = bench.kept()
    assert all("writeKey" not in event for event in kept)
    assert not any(WEB.encode() in accepted.data for accepted in bench.log.read(0))
    assert kept[0]["extra"] == {"writeKey": "kept"}


@pytest.mark.parametrize(
    ("key", "headers", "body"),
    [
        (None, {}, {}),
        ("wk-none", {}, {}),
        ("", {}, {}),
        (None, {}, {"writeKey": "wk-none"}),
        (None, {}, {"writeKey": 5}),
        (None, {"authorization": "Bearer tok-61"}, {}),
        (None, {"authorization": "Bearer wrong"}, {"writeKey": BACK}),
        (BACK, {}, {}),
        (None, {"authorization": "Basic %%%"}, {}),
        (None, {"authorization": "Digest x"}, {"writeKey": WEB}),
    ],
)
def test_a_call_without_a_known_key_is_refused(
    bench: Bench, key: str | None, headers: Mapping[str, str], body: Mapping[str, Any]
) -> None:
    """401, and nothing is kept; the answer never holds a key."""
    answer = bench.post("/v1/track", {**track(), **body}, key, headers=headers)
    assert code(answer) == (401, "write_key_unknown")
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert not any(one in answer.text for one in (WEB, APP, BACK, "tok-61", "wk-none"))
    assert bench.kept() == []


def test_two_sources_with_one_key_are_refused() -> None:
    """Nobody could tell whose events they are."""
    with pytest.raises(ConfigError, match="'one' and 'two' have the same write_key") as caught:
        WriteKeys({"one": source(WEB), "two": source(WEB)})
    assert WEB not in str(caught.value)


# What is refused


def test_a_bad_single_call_gets_400_with_the_reason(bench: Bench) -> None:
    """Code, message and the place in the event."""
    answer = bench.post("/v1/track", {"userId": "u-71", "properties": []})
    assert answer.status_code == 400
    assert answer.json() == {
        "success": False,
        "code": "properties_not_object",
        "message": answer.json()["message"],
        "path": "/properties",
    }
    assert "list" in answer.json()["message"]


def test_a_batch_keeps_its_good_events_and_lists_the_bad_ones(bench: Bench) -> None:
    """With their places, their ids as far as they can be read, and the reasons."""
    batch: list[Any] = [
        {"type": "track", **track(messageId="m-1")},
        {"type": "track", "userId": "u-71", "messageId": "m-2"},
        "no object",
        {"type": "group", "userId": "u-71"},
        {"type": "delete", "userId": "u-71", "messageId": "m-5"},
        {"type": "track", **track(messageId="m-6")},
    ]
    answer = bench.post("/v1/batch", {"batch": batch})
    assert answer.status_code == 200
    told = answer.json()
    assert told["success"] is True
    assert [(one["index"], one["messageId"], one["code"], one["path"]) for one in told["rejected"]] == [
        (1, "m-2", "event_not_defined", "/event"),
        (2, None, "bad_request", ""),
        (3, None, "id_required", "/groupId"),
        (4, "m-5", "delete_not_allowed", "/type"),
    ]
    assert [event["messageId"] for event in bench.kept()] == ["m-1", "m-6"]
    assert bench.counts() == {
        ("web", "accepted", ""): 2,
        ("web", "refused", "event_not_defined"): 1,
        ("web", "refused", "bad_request"): 1,
        ("web", "refused", "id_required"): 1,
        ("web", "refused", "delete_not_allowed"): 1,
    }


def test_a_source_may_delete_when_it_is_allowed(bench: Bench) -> None:
    """Write keys of browsers are public: it has to be said."""
    assert code(bench.post("/v1/delete", {"userId": "u-71"})) == (400, "delete_not_allowed")
    assert bench.post("/v1/delete", {"userId": "u-71"}, APP).status_code == 200
    assert [(event["type"], event["projectId"]) for event in bench.kept()] == [("delete", "app")]


def test_a_batch_may_have_so_many_events(tmp_path: Path) -> None:
    """What comes behind is refused, the rest is kept, as Segment does."""
    with opened(tmp_path, max_batch_events=3) as bench:
        batch = [{"type": "track", **track(messageId=f"m-{number}")} for number in range(5)]
        (told,) = bench.post("/v1/batch", {"batch": batch}).json()["rejected"]
        assert (told["index"], told["count"], told["code"]) == (3, 2, "batch_too_long")
        assert len(bench.kept()) == 3


BROKEN = [b"", b"{", b'{"event":1', b"[1]", b"null", b"\xff\xfe", b'{"userId":"u"} x', b"{" * 400_000]


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("key", [WEB, None])
def test_what_is_no_json_object_gets_400(bench: Bench, path: str, body: bytes, key: str | None) -> None:
    """Also without a write key, which may be in what can't be read."""
    assert code(bench.post(path, body, key)) == (400, "bad_request")


@pytest.mark.parametrize("key", [WEB, None])
def test_what_nests_too_deep_gets_400(bench: Bench, key: str | None) -> None:
    """However deep; it is not decoded to its end."""
    deep = b"[" * 100_000
    for body in (deep, b'{"a":' * 80_000 + b"1" + b"}" * 80_000):
        assert code(bench.post("/v1/track", body, key)) in ((400, "nesting_too_deep"), (400, "bad_request"))
    batch = b'{"batch":[{"type":"track","properties":{"a":' + deep + b"]" * 100_000 + b"}}]}"
    assert bench.post("/v1/batch", batch, key).status_code in (200, 400, 401)
    assert bench.kept() == []


@pytest.mark.parametrize("body", [{"batch": []}, {"batch": {}}, {}, {"batch": [{}], "context": 5}])
def test_a_bad_batch_body_gets_400(bench: Bench, body: dict[str, Any]) -> None:
    """Before any of its events is looked at."""
    answer = bench.post("/v1/batch", body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("empty_batch", "bad_request", "context_not_object")


def test_a_single_event_is_told_where_to_go(bench: Bench) -> None:
    """When it comes to the path for batches."""
    answer = bench.post("/v1/batch", track(type="track"))
    assert code(answer) == (400, "bad_request")
    assert "/v1/track" in answer.json()["message"]


def test_always_200_answers_as_segment_does(tmp_path: Path) -> None:
    """For what is wrong in an event; not for JSON, size or authentication."""
    with opened(tmp_path, always_200=True) as bench:
        assert bench.post("/v1/track", {"userId": "u-71"}).json() == {"success": True}
        assert bench.post("/v1/delete", {"userId": "u-71"}).json() == {"success": True}
        assert bench.post("/v1/batch", {"batch": []}).json() == {"success": True}
        assert code(bench.post("/v1/track", b"{")) == (400, "bad_request")
        assert code(bench.post("/v1/batch", b"{")) == (400, "bad_request")
        assert code(bench.post("/v1/track", track(properties={"x": "y" * 40_000}))) == (400, "event_too_large")
        assert code(bench.post("/v1/track", track(), None)) == (401, "write_key_unknown")
        assert code(bench.post("/v1/track", b" " * 600_000)) == (413, "body_too_large")
        assert bench.kept() == []


def test_other_paths_and_methods_are_refused(bench: Bench) -> None:
    """404 and 405, as JSON."""
    assert code(bench.post("/v1/tracks", track())) == (404, "not_found")
    assert code(bench.ask("GET", "/")) == (404, "not_found")
    answer = bench.ask("GET", "/v1/track")
    assert (*code(answer), answer.headers["allow"]) == (405, "method_not_allowed", "POST")


# Bodies


def pieces(*given: bytes) -> AsyncIterator[bytes]:
    async def send() -> AsyncIterator[bytes]:
        for piece in given:
            yield piece

    return send()


def test_a_body_that_is_too_large_gets_413(bench: Bench) -> None:
    """By its length, in pieces without one, and unpacked, however small it was packed."""
    large = json.dumps(track(properties={"x": "y" * 600_000})).encode()
    assert code(bench.post("/v1/track", large)) == (413, "body_too_large")
    chunked = bench.ask("POST", "/v1/track", content=pieces(*[b"x" * 100_000] * 6), auth=(WEB, ""))
    assert code(chunked) == (413, "body_too_large")
    packed = {"content-encoding": "gzip"}
    assert code(bench.post("/v1/track", gzip.compress(large), headers=packed)) == (413, "body_too_large")
    assert bench.kept() == []


def test_reading_ends_at_the_limit(bench: Bench) -> None:
    """A body without an end is not read to its end."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65_536

    async def main() -> int:
        sent: list[Any] = []
        stream = endless()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(stream), "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/batch", "headers": [], "client": None}
        await bench.gateway(scope, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(main()) == 413
    assert read == 8


def bomb(size: int) -> bytes:
    """Return a gzip text of so many bytes that is a thousandth of that."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(size // 1_000_000)) + packer.flush()


def test_a_zip_bomb_is_not_unpacked_beyond_the_limit(bench: Bench) -> None:
    """100 MB in 100 KB end at half a megabyte."""
    answer = bench.post("/v1/batch", bomb(100_000_000), headers={"content-encoding": "gzip"})
    assert code(answer) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("body", "packing", "expected"),
    [
        (b"x" * 40, "gzip", (400, "bad_request")),
        (gzip.compress(b'{"event":"x","userId":"u"}')[:-9], "gzip", (400, "bad_request")),
        (gzip.compress(b'{"event":"x","userId":"u"}') + b"more", "gzip", (400, "bad_request")),
        (gzip.compress(gzip.compress(b'{"event":"x","userId":"u"}')), "gzip", (400, "bad_request")),
        (b"{}", "br", (415, "encoding_unsupported")),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip", (415, "encoding_unsupported")),
    ],
    ids=["no gzip", "cut off", "more", "twice", "brotli", "two packings"],
)
def test_a_body_that_is_badly_packed_is_refused(
    bench: Bench, body: bytes, packing: str, expected: tuple[int, str]
) -> None:
    """Damaged, cut off, with something behind it, twice, or in another way."""
    assert code(bench.post("/v1/track", body, headers={"content-encoding": packing})) == expected


@pytest.mark.parametrize("headers", [{"content-encoding": "gzip"}, {}])
def test_a_body_that_is_packed_twice_is_told_so(bench: Bench, headers: dict[str, str]) -> None:
    """A library and a proxy that both pack: not that the JSON is wrong, whose bytes nobody sees."""
    twice = gzip.compress(gzip.compress(b'{"event":"Seat Booked","userId":"u-1"}'))
    answer = bench.post("/v1/track", twice, headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "The body is packed with gzip twice: unpacked, it is gzip again. Pack it once, or send it plain.",
    )


def test_a_packed_body_without_content_has_an_end(bench: Bench) -> None:
    """Gzip can go on for ever and unpack to nothing: what comes counts, too."""
    begin, nothing = gzip.compress(b"")[:10], b"\0\0\0\xff\xff"
    content = pieces(begin, *[nothing * 20_000] * 6)
    answer = bench.ask("POST", "/v1/track", content=content, auth=(WEB, ""), headers={"content-encoding": "gzip"})
    assert code(answer) == (413, "body_too_large")


def test_common_keys_are_not_copied_without_an_end(bench: Bench) -> None:
    """A small batch with a large context would be a large one: 413, also with `always_200`; a usual one is taken."""
    events = [track(type="track", messageId=f"m-{number}") for number in range(2000)]
    large = {"batch": events, "context": {"note": "x" * 5000}}
    assert code(bench.post("/v1/batch", large)) == (413, "body_too_large")
    assert bench.kept() == []
    assert bench.post("/v1/batch", {"batch": events, "context": {"note": "x" * 1500}}).json() == {"success": True}
    assert bench.log.last() == 2000


def test_a_batch_of_bad_events_lets_others_have_their_turn(bench: Bench) -> None:
    """Saying what is wrong takes its time; a call that comes after it is answered before it."""

    async def main() -> list[str]:
        transport, answered = httpx.ASGITransport(bench.gateway), list[str]()
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", auth=(WEB, "")) as client:

            async def post(name: str, path: str, body: object) -> None:
                assert (await client.post(path, json=body)).status_code == 200
                answered.append(name)

            bad = {"batch": [track(type="track", event=7)] * 2500}
            await asyncio.gather(post("batch", "/v1/batch", bad), *(post("single", "/v1/t", track()) for _ in range(3)))
        return answered

    assert asyncio.run(main()) == ["single"] * 3 + ["batch"]


def test_bodies_that_come_at_a_time_share_their_room(tmp_path: Path) -> None:
    """What has come counts, not what could: clients that send nothing keep nobody out; beyond it a call gets 429."""
    with opened(tmp_path, max_waiting_megabytes=1) as bench:

        async def slow(size: int, enough: asyncio.Event) -> AsyncIterator[bytes]:
            yield b" " * size
            await enough.wait()

        async def main() -> list[httpx.Response]:
            enough = asyncio.Event()
            transport = httpx.ASGITransport(bench.gateway)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway", auth=(WEB, "")) as client:
                open_ = [asyncio.create_task(client.post("/v1/t", content=slow(1, enough))) for _ in range(50)]
                await asyncio.sleep(0.05)
                idle = await client.post("/v1/t", json=track())
                open_ += [asyncio.create_task(client.post("/v1/t", content=slow(400_000, enough))) for _ in range(3)]
                done, _ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
                after = await client.post("/v1/t", json=track(messageId="m-75"))
                enough.set()
                await asyncio.gather(*open_)
                return [idle, *(task.result() for task in done), after]

        idle, refused, after = asyncio.run(main())
        assert (idle.status_code, after.status_code) == (200, 200)
        assert code(refused) == (429, "too_busy")
        assert refused.headers["retry-after"] == "1"


def test_a_body_that_does_not_come_gets_408(tmp_path: Path) -> None:
    """And one whose sender goes away is forgotten."""
    with opened(tmp_path, body_seconds=0.05) as bench:

        async def main(*messages: dict[str, Any]) -> list[Any]:
            sent: list[Any] = []
            left = iter(messages)

            async def receive() -> dict[str, Any]:
                message = next(left, None)
                if message is None:
                    await asyncio.sleep(3600)
                return message or {}

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/v1/batch", "headers": [], "client": None}
            await bench.gateway(scope, receive, send)
            return sent

        begun = {"type": "http.request", "body": b'{"batch":', "more_body": True}
        started, body = asyncio.run(main(begun))
        assert started["status"] == 408
        assert json.loads(body["body"])["code"] == "body_timed_out"
        assert asyncio.run(main(begun, {"type": "http.disconnect"})) == []
        assert bench.gateway.tally.requests == {408: 1, 0: 1}


# Browsers


def test_pages_of_other_sites_may_send(bench: Bench) -> None:
    """The browser asks first, unless the page sends text/plain."""
    origin = {"origin": "https://cinema.example"}
    asked = bench.ask("OPTIONS", "/v1/t", headers={**origin, "access-control-request-method": "POST"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    allowed = asked.headers["access-control-allow-headers"].split(", ")
    # analytics.js and RudderStack's library for browsers send these.
    assert {"authorization", "content-type", "x-retry-count", "anonymousid"} <= set(allowed)
    assert bench.post("/v1/t", track(), headers=origin).headers["access-control-allow-origin"] == "*"
    assert bench.post("/v1/t", b"{", headers=origin).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in bench.post("/v1/t", track()).headers


def test_pages_may_read_when_to_come_again(bench: Bench) -> None:
    """A browser hides every header that isn't named, and analytics.js waits as long as Retry-After says."""
    bench.acceptor.waiting_bytes += 32_000_001
    answer = bench.post("/v1/t", track(), headers={"origin": "https://cinema.example"})
    bench.acceptor.waiting_bytes -= 32_000_001
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["access-control-expose-headers"] == "retry-after"


@pytest.mark.parametrize("header", [("origin", "https://cinema.example"), ("sec-fetch-mode", "cors")])
def test_a_page_is_asked_for_no_password(bench: Bench, header: tuple[str, str]) -> None:
    """A challenge would have the browser ask the visitor for one, when page and gateway are one site."""
    for method, path in (("POST", "/v1/t"), ("GET", "/v1/projects/wk-none/settings")):
        for headers in (dict([header]), {}):
            answer = bench.ask(method, path, headers=headers, content=b'{"writeKey":"wk-none"}')
            assert answer.status_code == 401
            assert ("www-authenticate" in answer.headers) is not bool(headers)


def test_sites_can_be_named(tmp_path: Path) -> None:
    """Then the browser keeps the answer from any other page."""
    with opened(tmp_path, allowed_origins=["https://cinema.example"]) as bench:
        mine = bench.post("/v1/t", track(), headers={"origin": "https://cinema.example"})
        assert mine.headers["access-control-allow-origin"] == "https://cinema.example"
        other = bench.post("/v1/t", track(), headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
        assert mine.headers["vary"] == other.headers["vary"] == "origin"


def test_analytics_js_gets_its_settings(bench: Bench) -> None:
    """It asks for them before it sends; a key that nobody has gets none."""
    answer = bench.ask("GET", f"/v1/projects/{WEB}/settings")
    assert answer.json()["integrations"]["Segment.io"]["apiKey"] == WEB
    assert code(bench.ask("GET", "/v1/projects/wk-none/settings")) == (401, "write_key_unknown")


@pytest.mark.parametrize(
    ("address", "context", "expected"),
    [
        ("203.0.113.7", {"library": {"name": "analytics.js"}}, "203.0.113.7"),
        ("203.0.113.7", {"library": {"name": "analytics-ios"}}, "203.0.113.7"),
        ("::ffff:203.0.113.7", {"library": {"name": "analytics-android"}}, "203.0.113.7"),
        ("203.0.113.7", {"direct": True}, "203.0.113.7"),
        ("203.0.113.7", {"library": {"name": "analytics.js"}, "ip": "198.51.100.9"}, "198.51.100.9"),
        ("203.0.113.7", {"library": {"name": "analytics-python"}}, None),
        ("203.0.113.7", None, None),
        ("2001:db8::7", {"library": {"name": "analytics.js"}}, None),
        ("testclient", {"library": {"name": "analytics.js"}}, None),
    ],
)
def test_events_of_devices_get_their_address(
    bench: Bench, address: str, context: dict[str, Any] | None, expected: str | None
) -> None:
    """IPv4 only, for browsers, phones and `context.direct`; one that the sender gives stays."""
    bench.post("/v1/track", track(**({} if context is None else {"context": context})), address=address)
    (event,) = bench.kept()
    assert event.get("context", {}).get("ip") == expected
    assert {**event.get("context", {}), **(context or {})} == event.get("context", {})


def test_a_source_can_go_without_addresses(bench: Bench) -> None:
    """`client_ip = false`."""
    bench.post("/v1/track", track(context={"library": {"name": "analytics.js"}}), APP)
    assert "ip" not in bench.kept()[0]["context"]


# When it can't take more


def test_a_log_that_is_full_gets_503(tmp_path: Path) -> None:
    """With a time to come again, and nothing is kept or forgotten: the same call works afterwards."""
    with opened(tmp_path) as bench:
        bench.log.append = _full  # type: ignore[method-assign]
        answer = bench.post("/v1/track", track())
        assert code(answer) == (503, "log_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert not bench.acceptor.writable
        del bench.log.append
        assert bench.post("/v1/track", track()).status_code == 200
        assert len(bench.kept()) == 1


def _full(_entries: object) -> int:
    raise LogFull("The disk is full.")


def test_more_than_can_wait_gets_429(bench: Bench) -> None:
    """What waits to be kept is bounded; who is told so comes again."""
    bench.acceptor.waiting_bytes += 32_000_001
    answer = bench.post("/v1/track", track())
    assert code(answer) == (429, "too_busy")
    assert answer.headers["retry-after"] == "1"
    bench.acceptor.waiting_bytes -= 32_000_001
    assert bench.post("/v1/track", track()).status_code == 200


def test_a_gateway_that_is_being_stopped_gets_503(bench: Bench) -> None:
    """Its clients come again, to the next one."""
    bench.gateway.stopping = True
    answer = bench.post("/v1/track", track())
    assert code(answer) == (503, "log_unavailable")
    assert answer.headers["connection"] == "close"


def test_many_calls_at_a_time_are_all_kept(bench: Bench) -> None:
    """They share commits; each gets its own answer."""

    async def main() -> list[int]:
        transport = httpx.ASGITransport(bench.gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", auth=(WEB, "")) as client:
            calls = [client.post("/v1/track", json=track(messageId=f"m-{number}")) for number in range(200)]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [200] * 200
    assert {event["messageId"] for event in bench.kept()} == {f"m-{number}" for number in range(200)}
    assert bench.acceptor.waiting_bytes == 0
