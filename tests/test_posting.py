"""Handing pulled events to a running gateway: all of them are in its log, whatever its limits are, or it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from served import configured, served

from turnout import Fetcher, Refusal, Source, TurnoutError, pull
from turnout.accepting import Acceptor, now_ms
from turnout.cli import main
from turnout.config import LogSettings
from turnout.errors import ConfigError
from turnout.gateway import Gateway
from turnout.posting import Posting
from turnout.sections import GatewaySettings
from turnout.sqlite_log import SqliteLog
from turnout.writekeys import WriteKeys, pulling
from turnout_sources.flagsmith import Flagsmith
from turnout_sources.flagsmith_simulator import DEMO_KEY, FlagsmithSimulator

KEY = "wk-pull-17"
NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
BROWSER = {"library": {"name": "analytics.js"}}


async def at_once(_: float) -> None:
    """Wait for nothing."""


class Station:
    """A gateway with a log in this process, and a sink that hands events to it."""

    def __init__(self, folder: Path, key: str = KEY, **given: Any) -> None:
        self.log = SqliteLog(folder / "turnout.log")
        settings = LogSettings.configure({}, owner="log")
        sources: dict[str, Source] = {
            "flags": Flagsmith({"write_key": KEY}, id="flags"),
            "none": Flagsmith({}, id="none"),
        }
        keys = WriteKeys(pulling(sources))
        self.acceptor = Acceptor(self.log, settings, now_ms)
        self.gateway = Gateway(
            self.acceptor, keys, GatewaySettings.configure(given, owner="gateway"), clock=lambda: NOON
        )
        self.refused: list[Refusal] = []
        self.asked: list[httpx.Request] = []
        self.posting = Posting("http://gate.example/v1/", key, self.refused.append, self.fetcher)

    def fetcher(self) -> Fetcher:
        transport = httpx.ASGITransport(self.gateway, client=("203.0.113.9", 5123))
        return Fetcher(transport=transport, wait=at_once, attempts=2)

    def hand(self, *events: dict[str, Any]) -> None:
        asyncio.run(self.posting(list(events)))

    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(one.data) for one in self.log.read(0, events=10_000)]


@contextmanager
def opened(folder: Path, **given: Any) -> Iterator[Station]:
    station = Station(folder, **given)
    with closing(station.log), station.acceptor:
        yield station


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """A gateway with the usual limits."""
    with opened(tmp_path) as made:
        yield made


def event(number: int, **given: Any) -> dict[str, Any]:
    told = {"type": "track", "event": f"Event {number}", "userId": f"user-{number}", "messageId": f"message-{number}"}
    return {**told, "projectId": "flags", **given}


def test_events_are_in_the_log_as_accept_would_put_them_there(station: Station) -> None:
    """With the id of the source and their own times; the address of whoever pulled is not the visitor's."""
    time = {"timestamp": "2026-01-02T03:04:05.678Z"}
    station.hand(event(1, **time), event(2, context=BROWSER, integrations={"All": False, "Amplitude": True}))
    one, two = station.kept()
    assert (one["messageId"], one["projectId"], one["timestamp"]) == ("message-1", "flags", time["timestamp"])
    assert (two["context"], two["integrations"]) == (BROWSER, {"All": False, "Amplitude": True})
    assert not station.refused


def test_the_same_again_counts_once(station: Station) -> None:
    """A pull that is repeated from the same state changes nothing."""
    station.hand(event(3), event(4))
    station.hand(event(3), event(4), event(5))
    assert [one["messageId"] for one in station.kept()] == ["message-3", "message-4", "message-5"]


def test_an_event_without_a_message_id_gets_one_before_it_is_sent(station: Station) -> None:
    """So that a request that has to be repeated counts once; each event has its own."""
    bare = {"type": "track", "event": "Bare", "userId": "user-6"}
    station.hand(bare, bare)
    ids = [one["messageId"] for one in station.kept()]
    assert len(set(ids)) == len(ids) == 2
    assert all(ids)


def test_what_the_gateway_refuses_is_told(station: Station) -> None:
    """With its code and place; the others are kept."""
    station.hand(event(7), {"type": "track", "userId": "user-8"}, event(9))
    assert [one["messageId"] for one in station.kept()] == ["message-7", "message-9"]
    [refused] = station.refused
    assert (refused.reason.code, refused.reason.path) == ("event_not_defined", "/event")


@pytest.mark.parametrize("limits", [{"max_batch_events": 3}, {"max_body_bytes": 1500}])
def test_the_limits_of_the_gateway_are_found(tmp_path: Path, limits: dict[str, Any]) -> None:
    """However low they are, everything arrives, in order and once."""
    with opened(tmp_path, **limits) as station:
        station.hand(*[event(number) for number in range(50)])
        assert [one["messageId"] for one in station.kept()] == [f"message-{number}" for number in range(50)]
    assert not station.refused


def test_large_events_go_in_several_batches(station: Station) -> None:
    """A gateway with its usual limit takes them all at the first try."""
    station.hand(*[event(number, properties={"text": f"{number:05}" * 6000}) for number in range(30)])
    assert len(station.kept()) == 30
    assert station.gateway.tally.requests == {200: 3}


def test_an_event_that_no_body_can_hold_is_told(tmp_path: Path) -> None:
    """And the others are kept."""
    with opened(tmp_path, max_body_bytes=2000) as station:
        station.hand(event(11), event(12, properties={"text": "x" * 3000}), event(13))
        assert [one["messageId"] for one in station.kept()] == ["message-11", "message-13"]
    [refused] = station.refused
    assert refused.reason.code == "body_too_large"


def test_a_wrong_key_ends_the_pull(tmp_path: Path) -> None:
    """With what to compare, and not with the key."""
    with (
        opened(tmp_path, key="not-this-one") as station,
        pytest.raises(TurnoutError, match="refuses the write key") as caught,
    ):
        station.hand(event(14))
    assert "not-this-one" not in str(caught.value)


def test_a_gateway_that_can_keep_nothing_now_ends_the_pull(station: Station) -> None:
    """It was asked again first; the state stays where it was."""
    station.gateway.stopping = True
    with pytest.raises(TurnoutError, match=r"did not take the events: .*\(status 503\)"):
        station.hand(event(15))
    saved: list[Any] = []
    simulator = FlagsmithSimulator()
    source = Flagsmith({"environment_key": DEMO_KEY, "base_url": "http://flags.example"}, id="flags")
    fetch = Fetcher(transport=httpx.ASGITransport(simulator), wait=at_once)
    with pytest.raises(TurnoutError):
        pull(source, station.posting, {"identifier": ["user-16"]}, save=saved.append, fetch=fetch)
    assert saved == []


@pytest.mark.parametrize("body", [b"ok", b"[]", b'{"success": false}', b'{"success": "yes"}', b""])
def test_something_that_is_no_gateway_is_told(body: bytes) -> None:
    """Also when it says 200: what it has not promised to keep is not safe."""

    def answered(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    posting = Posting("http://gate.example", KEY, print, lambda: Fetcher(transport=httpx.MockTransport(answered)))
    with pytest.raises(TurnoutError, match=r"http://gate\.example did not take the events: its answer is not"):
        asyncio.run(posting([event(17)]))


def test_an_answer_without_an_end_is_cut_off() -> None:
    """It is none of a gateway."""

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b" " * 1_000_000

    def answered(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    posting = Posting("http://gate.example", KEY, print, lambda: Fetcher(transport=httpx.MockTransport(answered)))
    with pytest.raises(TurnoutError, match="its answer is not"):
        asyncio.run(posting([event(19)]))


def test_a_gateway_that_is_not_there_is_told() -> None:
    """With its address."""
    posting = Posting("http://127.0.0.1:9", KEY, print, lambda: Fetcher(attempts=2, wait=at_once))
    with pytest.raises(TurnoutError, match=r"127\.0\.0\.1:9 can't be reached"):
        asyncio.run(posting([event(18)]))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gate.example:8080",
        "ftp://gate.example",
        "http://",
        "http://[",
        "http://gate.example?x=1",
        "http://user:password@gate.example",
    ],
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(ConfigError, match="one such as http://"):
        Posting(url, KEY, print)


# The command line


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """A configuration with a source that pulls from a Flagsmith that is served."""
    with FlagsmithSimulator().serve() as url:
        flags = {"plugin": "flagsmith", "environment_key": DEMO_KEY, "base_url": url, "write_key": KEY}
        yield configured(tmp_path, sources={"flags": flags, "bare": {**flags, "write_key": ""}})


def run(config: Path, *words: str, name: str = "flags") -> Any:
    given = ("--config", str(config), "--id", name, "--identifier", "u-1", "--identifier", "u-2")
    return CliRunner().invoke(main, ["pull", "flagsmith", *given, *words])


def test_pull_gives_its_events_to_the_gateway_that_holds_the_log(live: Path) -> None:
    """`--accept` says who has the log and what to do; `--gateway` does it, and keeps the state."""
    with served(live, "--no-deliver") as gateway:
        held = run(live, "--accept")
        assert held.exit_code == 1
        assert f"the process {gateway.process.pid} has it" in held.stderr
        assert "--gateway" in held.stderr
        assert not live.with_name("flags.state.json").exists()
        done = run(live, "--gateway", gateway.url)
        assert (done.exit_code, done.stdout) == (0, ""), done.stderr
        again = run(live, "--gateway", f"{gateway.url}/v1")
        assert (again.exit_code, again.stdout) == (0, ""), again.stderr
    log = SqliteLog(live.with_name("turnout.log"))
    kept = [json.loads(one.data) for one in log.read(0)]
    log.close()
    assert [(one["userId"], one["projectId"]) for one in kept] == [("u-1", "flags"), ("u-2", "flags")]
    assert live.with_name("flags.state.json").exists()


@pytest.mark.parametrize(
    ("words", "name", "said"),
    [
        (("--gateway", "localhost:8080"), "flags", "--gateway: A gateway's address is one such as"),
        (("--gateway", "http://127.0.0.1:8080"), "bare", "the source 'bare' has no write_key"),
        (("--gateway", "http://127.0.0.1:8080", "--accept"), "flags", "Name one of --accept, --gateway and --send"),
        (("--gateway", "http://127.0.0.1:8080", "--send"), "flags", "Name one of --accept, --gateway and --send"),
    ],
)
def test_mistakes_are_one_sentence(live: Path, words: tuple[str, ...], name: str, said: str) -> None:
    """On stderr, and nothing is fetched."""
    done = run(live, *words, name=name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert KEY not in done.stderr
