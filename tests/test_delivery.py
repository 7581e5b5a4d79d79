"""Delivery: retries, order, answers item by item, and one outcome for each event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from turnout import (
    ITEMS,
    Answer,
    Batch,
    Code,
    Dispatcher,
    Endpoint,
    Event,
    Fate,
    Item,
    Outcome,
    Reason,
    TurnoutError,
    Verdict,
    json_body,
    rule,
    setting,
)
from turnout.config import SendSettings
from turnout.testing import Answer as Told
from turnout_amplitude import Amplitude

Make = Callable[..., dict[str, Any]]
AGAIN = {"retry-after": "0"}


def outcomes(settled: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(row.message_id, row.outcome.value, row.reason and row.reason.code.value, row.attempts) for row in settled]


def test_events_share_requests_and_are_delivered(bench: Any, call: Make) -> None:
    """Requests are filled up to the limit of three; each event has its outcome."""
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(5)])
    assert outcomes(settled) == [(f"m-{number}", "delivered", None, 1) for number in range(5)]
    assert bench.sent() == [["m-0", "m-1", "m-2"], ["m-3", "m-4"]]


def test_the_secret_is_sent_and_never_settled(bench: Any, call: Make) -> None:
    """The vendor gets the key; what is shown has none."""
    got: list[tuple[bytes, str]] = []

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        got.append((message["body"], dict(scope["headers"])[b"authorization"].decode()))
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"no: " + message["body"]})

    settled = bench.dispatcher(transport=httpx.ASGITransport(app=vendor)).send([call("m-1")])
    assert b'"key":"key-1234"' in got[0][0]
    assert got[0][1] == "Bearer key-1234"
    assert outcomes(settled) == [("m-1", "dead", "vendor_refused", 1)]
    assert "key-1234" not in settled[0].reason.message
    assert '"key":"***"' in settled[0].reason.message


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limited"), (500, "vendor_unavailable"), (503, "vendor_unavailable")]
)
def test_a_retry_that_succeeds_is_delivered(bench: Any, call: Make, status: int, code: str) -> None:
    """The second attempt carries the same items."""
    bench.vendor.fail(status, headers=AGAIN)
    settled = bench.dispatcher().send([call("m-1"), call("m-2")])
    assert outcomes(settled) == [("m-1", "delivered", None, 2), ("m-2", "delivered", None, 2)]
    assert bench.sent() == [["m-1", "m-2"], ["m-1", "m-2"]]


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (502, "vendor_unavailable")])
def test_after_the_last_attempt_an_event_is_dead(bench: Any, call: Make, status: int, code: str) -> None:
    """The reason is the vendor's; the events behind go on."""
    bench.vendor.fail(status, times=2, headers=AGAIN)
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(4)])
    assert outcomes(settled) == [
        *[(f"m-{number}", "dead", code, 2) for number in range(3)],
        ("m-3", "delivered", None, 1),
    ]


def test_a_wait_longer_than_a_minute_is_not_waited_for(bench: Any, call: Make) -> None:
    """`send` keeps nothing for later: the event is dead at once, with the vendor's reason."""
    bench.vendor.fail(429, headers={"retry-after": "3000"})
    assert outcomes(bench.dispatcher().send([call("m-1")])) == [("m-1", "dead", "rate_limited", 1)]


def test_a_refusal_is_final(bench: Any, call: Make) -> None:
    """A 400 is not tried again."""
    bench.vendor.fail(400)
    assert outcomes(bench.dispatcher().send([call("m-1")])) == [("m-1", "dead", "vendor_refused", 1)]
    assert len(bench.vendor.ledger) == 1


def test_a_request_that_is_too_large_is_halved(bench: Any, call: Make) -> None:
    """413: each half in its turn, in order; one item that is still too large is dead, its mates are not."""
    bench.vendor.script("/v1/p-1/events", [413, None, 413, None, 413])
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(5)])
    assert bench.sent() == [["m-0", "m-1", "m-2"], ["m-0"], ["m-1", "m-2"], ["m-1"], ["m-2"], ["m-3", "m-4"]]
    assert [row.outcome.value for row in settled] == [
        "delivered",
        "delivered",
        "dead",
        "delivered",
        "delivered",
    ]


@pytest.mark.parametrize("status", [400, 422])
def test_one_item_at_fault_takes_no_others_along(bench: Any, call: Make, status: int) -> None:
    """A vendor that refuses a request and names nobody gets smaller ones, until one item is refused alone."""
    bench.vendor.script("/v1/p-1/events", [status, status, None])
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(3)])
    assert bench.sent() == [["m-0", "m-1", "m-2"], ["m-0"], ["m-1", "m-2"]]
    assert outcomes(settled) == [
        ("m-0", "dead", "vendor_refused", 2),
        ("m-1", "delivered", None, 2),
        ("m-2", "delivered", None, 2),
    ]


def test_smaller_requests_take_none_of_the_attempts(bench: Any, call: Make) -> None:
    """Whose request was halved before may be tried again as often as anybody."""
    bench.vendor.script("/v1/p-1/events", [400, 400, {"status": 503, "headers": AGAIN}, None])
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(4)])
    assert bench.sent() == [["m-0", "m-1", "m-2"], ["m-0"], ["m-1", "m-2"], ["m-1", "m-2"], ["m-3"]]
    assert outcomes(settled) == [
        ("m-0", "dead", "vendor_refused", 2),
        ("m-1", "delivered", None, 3),
        ("m-2", "delivered", None, 3),
        ("m-3", "delivered", None, 1),
    ]


def test_a_refused_key_stops_its_endpoint_without_asking_again(bench: Any, call: Make) -> None:
    """A 401 blames the settings; no more requests go to that endpoint, the others go on."""
    bench.vendor.fail(401, path="/v1/p-1/*")
    events = [call(f"m-{number}") for number in range(4)] + [call("m-9", "identify")]
    settled = bench.dispatcher().send(events)
    assert [row[:3] for row in outcomes(settled)] == [
        *[(f"m-{number}", "dead", "credentials_refused") for number in range(4)],
        ("m-9", "delivered", None),
    ]
    assert bench.sent() == [["m-0", "m-1", "m-2"], ["m-9"]] or bench.sent() == [
        ["m-9"],
        ["m-0", "m-1", "m-2"],
    ]


def test_what_is_not_planned_keeps_its_outcome(bench: Any, call: Make) -> None:
    """Dropped, invalid and failed are settled as they were planned, in their place."""
    events = [
        call("m-1", do="drop"),
        call("m-2"),
        call("m-3", do="raise"),
        b"nonsense",
        call("m-5", do="refuse"),
    ]
    assert outcomes(bench.dispatcher().send(events)) == [
        ("m-1", "dropped", "filtered", 0),
        ("m-2", "delivered", None, 1),
        ("m-3", "failed", "plugin_raised", 0),
        (None, "invalid", "bad_request", 0),
        ("m-5", "invalid", "value_invalid", 0),
    ]
    assert bench.sent() == [["m-2"]]


def test_a_users_items_arrive_in_order_across_endpoints(bench: Any, call: Make) -> None:
    """Also under retry: nothing of the user overtakes what waits."""
    bench.vendor.fail(503, headers=AGAIN)
    events = [call("m-1", userId="ann"), call("m-2", "identify", userId="ann"), call("m-3", userId="ann")]
    assert [row.outcome.value for row in bench.dispatcher().send(events)] == ["delivered"] * 3
    assert bench.vendor.kept == ["m-1", "m-2", "m-3"]


def test_an_event_of_many_items_is_dead_if_one_of_them_is(bench: Any, call: Make) -> None:
    """Its other items are delivered; the outcome counts them and has the reason of the dead one."""
    bench.vendor.script("/v1/p-1/events", [None, 409])
    (row,) = bench.dispatcher().send([call("m-1", copies=4)])
    assert (row.items, row.outcome.value, row.reason.code.value) == (5, "dead", "vendor_refused")
    assert bench.vendor.kept == ["m-1"] * 3


@pytest.mark.parametrize("fault", [{"hang": True}, {"drop_connection": True}])
def test_a_broken_connection_is_tried_again(bench: Any, call: Make, fault: dict[str, Any]) -> None:
    """A vendor that hangs or cuts the line once gets the same request again."""
    bench.vendor.fail(**fault)
    settings = SendSettings.configure({"attempts": 3, "timeout_seconds": 0.2}, owner="[send]")
    assert outcomes(bench.dispatcher(send=settings).send([call("m-1")])) == [("m-1", "delivered", None, 2)]


def test_a_vendor_that_is_gone_costs_its_attempts_once(bench: Any, call: Make) -> None:
    """After one request has used up its attempts, the others try once each; all have the reason."""
    bench.vendor.fail(drop_connection=True, times=None)
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(7)])
    assert {row.reason.code.value for row in settled} == {"unreachable"}
    assert [row.attempts for row in settled] == [2, 2, 2, 1, 1, 1, 1]


def test_a_vendor_that_is_back_gets_all_attempts_again(bench: Any, call: Make) -> None:
    """Any answer, also one that asks to retry, ends the time of single attempts."""
    bench.vendor.script(
        "/v1/p-1/events",
        [{"drop_connection": True}, {"drop_connection": True}, {"status": 503, "headers": AGAIN}, None],
    )
    settled = bench.dispatcher().send([call(f"m-{number}") for number in range(4)])
    assert outcomes(settled)[3] == ("m-3", "delivered", None, 2)


def test_one_transport_serves_several_destinations_and_calls(bench: Any, acme: Any, call: Make) -> None:
    """A function that makes transports serves every lane, and again the next `send`; here over TCP."""
    with bench.vendor.serve() as url:
        both = [acme({"api_key": f"key-{name}", "base_url": url}, id=name) for name in ("one", "two")]
        dispatcher = bench.dispatcher(*both, transport=httpx.AsyncHTTPTransport)
        for _ in range(2):
            settled = dispatcher.send([call("m-1"), call("m-2")])
            assert [row.outcome.value for row in settled] == ["delivered"] * 4
        assert [row.destination for row in settled] == ["one", "two", "one", "two"]


def test_destinations_dont_wait_for_each_other(bench: Any, acme: Any, call: Make) -> None:
    """While one vendor hangs, the other one has its requests."""
    arrived = asyncio.Event()
    kept: list[str] = []

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        host = dict(scope["headers"])[b"host"].decode()
        if host == "slow.example":
            await arrived.wait()
        kept.append(host)
        arrived.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    slow = acme({"api_key": "k-1", "base_url": "http://slow.example"}, id="slow")
    quick = acme({"api_key": "k-2", "base_url": "http://quick.example"}, id="quick")
    patient = SendSettings.configure({"attempts": 1, "timeout_seconds": 30}, owner="[send]")
    dispatcher = bench.dispatcher(slow, quick, send=patient, transport=httpx.ASGITransport(app=vendor))
    assert [row.outcome.value for row in dispatcher.send([call("m-1")])] == ["delivered", "delivered"]
    assert kept == ["quick.example", "slow.example"]


def by_item(*fates: Any) -> Callable[[Answer, int], Any]:
    """Return a reader that gives these fates to the first request's items, and `delivered` afterwards."""
    turns = iter([fates])

    def read(answer: Answer, count: int) -> Any:
        told = next(turns, None)
        return [Verdict(Fate.DELIVERED)] * count if told is None else list(told)

    return read


def reading(acme: Any, read: Any) -> Any:
    class Reading(acme):
        """The little vendor with another reader."""

        events = Endpoint(
            "POST",
            "https://acme.example/v1/p-1/events",
            body=json_body({"key": setting("api_key"), "events": ITEMS}),
            batch=Batch(items=4),
            read=read,
        )

        @rule("screen")
        def screened(self, event: Event) -> Item:
            """Never."""
            raise AssertionError

    return Reading({"api_key": "key-1234"}, id="acme")


def test_an_answer_belongs_to_its_items(bench: Any, acme: Any, call: Make) -> None:
    """One item is refused in the vendor's words, one is sent again, the mates are delivered or resent."""
    refused = Verdict(Fate.REFUSED, Reason(Code.VENDOR_REFUSED, "HTTP 400: bad colour of key-1234"))
    retried = Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, "slow"), 0.0)
    read = by_item(Verdict(Fate.DELIVERED), refused, retried, Verdict(Fate.RESEND))
    settled = bench.dispatcher(reading(acme, read)).send([call(f"m-{number}") for number in range(4)])
    assert outcomes(settled) == [
        ("m-0", "delivered", None, 1),
        ("m-1", "dead", "vendor_refused", 1),
        ("m-2", "delivered", None, 2),
        ("m-3", "delivered", None, 2),
    ]
    assert settled[1].reason.message == "HTTP 400: bad colour of ***"
    assert bench.sent() == [["m-0", "m-1", "m-2", "m-3"], ["m-2", "m-3"]]


def test_a_throttled_user_holds_up_nobody_else(bench: Any, acme: Any, call: Make) -> None:
    """The others go out at once; then all that waits of the user, in order, in one request."""
    throttled = Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, "slow down, u-a"), 0.0, own=True)
    read = by_item(throttled, *[Verdict(Fate.RESEND)] * 3)
    names = ["a-1", "b-1", "a-2", "b-2", "a-3", "b-3"]
    settled = bench.dispatcher(reading(acme, read)).send([call(name, userId=f"u-{name[0]}") for name in names])
    assert bench.sent() == [names[:4], ["b-1", "b-2"], ["b-3"], ["a-1", "a-2", "a-3"]]
    assert {row.outcome.value for row in settled} == {"delivered"}
    assert [row.attempts for row in settled] == [2, 2, 2, 2, 1, 1]


def test_a_throttled_user_is_given_up_after_the_last_attempt(bench: Any, acme: Any, call: Make) -> None:
    """What comes behind is tried nonetheless."""
    throttled = Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, "slow down, u-a"), 0.0, own=True)
    answers = iter([[throttled, Verdict(Fate.RESEND)], [throttled, Verdict(Fate.RESEND)]])
    read = reading(acme, lambda answer, count: next(answers, [Verdict(Fate.DELIVERED)] * count))
    settled = bench.dispatcher(read).send([call("a-1", userId="u-a"), call("a-2", userId="u-a")])
    assert outcomes(settled) == [("a-1", "dead", "rate_limited", 2), ("a-2", "delivered", None, 3)]


def test_resending_the_same_request_for_ever_is_a_retry(bench: Any, acme: Any, call: Make) -> None:
    """A reader that always says `resend` ends with the attempts."""
    patient = SendSettings.configure({"attempts": 2}, owner="[send]")
    dispatcher = bench.dispatcher(reading(acme, lambda answer, count: [Verdict(Fate.RESEND)] * count), send=patient)
    assert outcomes(dispatcher.send([call("m-1")])) == [("m-1", "dead", "vendor_unavailable", 2)]


def explode(answer: Answer, count: int) -> Any:
    raise KeyError("key-1234")


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (explode, "plugin_raised"),
        (lambda answer, count: None, "plugin_bad_result"),
        (lambda answer, count: [], "plugin_bad_result"),
        (lambda answer, count: [Verdict(Fate.DELIVERED)] * (count + 1), "plugin_bad_result"),
        (lambda answer, count: ["delivered"] * count, "plugin_bad_result"),
        (lambda answer, count: 5, "plugin_bad_result"),
    ],
)
def test_a_reader_that_is_wrong_harms_its_own_items_only(
    bench: Any, acme: Any, call: Make, read: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The items are dead with plugin, place and the vendor's words; the other destination has delivered."""
    wrong = reading(acme, read)
    dispatcher = bench.dispatcher(wrong, acme({"api_key": "key-5678"}, id="good"))
    with caplog.at_level(logging.ERROR, logger="turnout"):
        settled = dispatcher.send([call("m-1")])
    assert outcomes(settled) == [("m-1", "dead", code, 1), ("m-1", "delivered", None, 1)]
    assert "'acme'" in settled[0].reason.message
    assert "Reading, not installed as a plugin" in settled[0].reason.message
    assert 'HTTP 200: {"taken": 1}' in settled[0].reason.message
    assert "key-1234" not in caplog.text + settled[0].reason.message


@pytest.mark.parametrize(
    "answer",
    [
        Told(200, b"\xff\xfe"),
        Told(200, "<html>"),
        Told(429, "[" * 5000, AGAIN),
        Told(500, b"\x00" * 100, AGAIN),
        Told(400, "x" * 100_000),
        Told(429, "", {"retry-after": "99999999999999999999"}),
    ],
)
def test_whatever_a_vendor_answers_is_an_outcome(bench: Any, call: Make, answer: Told) -> None:
    """Binary, HTML, deep or endless: each event has one outcome, and its message stays short."""
    bench.vendor.script("/v1/p-1/events", [answer, answer])
    (row,) = bench.dispatcher().send([call("m-1")])
    assert row.outcome.value in ("delivered", "dead")
    assert row.reason is None or len(row.reason.message) < 400


def test_a_lent_transport_stays_open() -> None:
    """A transport that was given is used by one send after the other, and never closed; a function makes new ones."""
    closed, made = [], []

    class Watched(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(self)

    def new() -> httpx.AsyncBaseTransport:
        made.append(Watched(lambda request: httpx.Response(200, json={"code": 200})))
        return made[-1]

    event = {"type": "track", "event": "e", "userId": "user-1"}
    lent = Dispatcher(
        [Amplitude({"api_key": "k"}, id="a")],
        transport=Watched(lambda request: httpx.Response(200, json={"code": 200})),
    )
    assert [lent.send([event])[0].outcome for _ in range(2)] == [Outcome.DELIVERED] * 2
    assert closed == []
    owned = Dispatcher([Amplitude({"api_key": "k"}, id="a")], transport=new)
    assert [owned.send([event])[0].outcome for _ in range(2)] == [Outcome.DELIVERED] * 2
    assert closed == made
    assert len(made) == 2


def test_send_inside_a_loop_says_what_to_call() -> None:
    """`send` in a running event loop names `send_async`."""

    async def main() -> None:
        Dispatcher([]).send([])

    with pytest.raises(TurnoutError, match="send_async"):
        asyncio.run(main())
