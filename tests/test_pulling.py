"""Pulling: events go to a sink, and the state moves on only when the sink has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import (
    Checkpoint,
    Config,
    ConfigError,
    Fetcher,
    FetchError,
    Refusal,
    Section,
    SettingsError,
    Source,
    TurnoutError,
    pull,
    pull_async,
)
from turnout.pulling import Accepting, Delivering, StateFile
from turnout.settings import integer


class StepOptions(Section):
    """How far to go."""

    steps = integer("How many.", default=3, minimum=0)


class Steps(Source):
    """Yields two events and a checkpoint for each step; a step of the name `fails` raises what it says."""

    name = "Steps"
    options = StepOptions
    fails: Mapping[int, Exception] = {}
    closed = False

    async def pull(self, fetch: Fetcher, options: Config, state: Mapping[str, Any]) -> AsyncIterator[Any]:
        try:
            for step in range(state.get("step", 0), options.steps):
                yield {"type": "track", "event": f"first {step}", "userId": "u-1", "messageId": f"m-{step}-1"}
                if step in self.fails:
                    raise self.fails[step]
                yield {"type": "track", "event": f"second {step}", "userId": "u-2", "messageId": f"m-{step}-2"}
                yield Checkpoint({"step": step + 1}, step + 1, options.steps)
        finally:
            self.closed = True


def steps(**fails: Exception) -> Steps:
    made = Steps({}, id="steps")
    made.fails = {int(name.removeprefix("at_")): error for name, error in fails.items()}
    return made


def test_everything_goes_to_the_sink_with_the_id_of_its_source() -> None:
    """In order; the state is the last one."""
    taken: list[dict[str, Any]] = []
    done = pull(steps(), taken.extend, {"steps": 2})
    assert [one["event"] for one in taken] == ["first 0", "second 0", "first 1", "second 1"]
    assert {one["projectId"] for one in taken} == {"steps"}
    assert (done.events, done.refused, done.state) == (4, 0, {"step": 2})


def test_a_state_is_saved_when_the_sink_has_all_before_it() -> None:
    """Never earlier: what is saved is preceded by its events."""
    seen: list[Any] = []
    pull(steps(), lambda events: seen.append([one["event"] for one in events]), {"steps": 2}, save=seen.append)
    assert seen == [["first 0", "second 0"], {"step": 1}, ["first 1", "second 1"], {"step": 2}]


def test_a_sink_that_fails_ends_the_pull_where_it_was() -> None:
    """Its exception comes out, and the state behind it is not saved; the source is closed."""
    saved: list[Any] = []
    source, calls = steps(), iter([None, OSError("disk")])

    async def sink(events: list[dict[str, Any]]) -> None:
        error = next(calls)
        if error:
            raise error

    with pytest.raises(OSError, match="disk"):
        pull(source, sink, save=saved.append)
    assert saved == [{"step": 1}]
    assert source.closed


def test_the_next_pull_goes_on() -> None:
    """With the state of the last one: what was safe is not fetched again, what was not is."""
    taken: list[dict[str, Any]] = []
    saved: list[dict[str, Any]] = []
    with pytest.raises(FetchError, match="asleep"):
        pull(steps(at_1=FetchError("the vendor is asleep")), taken.extend, save=saved.append)
    assert [one["event"] for one in taken] == ["first 0", "second 0"]
    pull(steps(), taken.extend, state=saved[-1])
    assert [one["event"] for one in taken[2:]] == ["first 1", "second 1", "first 2", "second 2"]


@pytest.mark.parametrize("error", [LookupError("no key-777"), Refusal("bad_request", "not JSON")])
def test_a_plugin_that_fails_is_a_fetch_error_with_its_name(error: Exception) -> None:
    """So that nobody gets a traceback of somebody else's code."""
    with pytest.raises(FetchError, match="The source 'steps' can't go on"):
        pull(steps(at_0=error), lambda _: None)


def test_a_state_that_is_no_json_is_told() -> None:
    """Before the events behind it are taken for safe."""

    class Odd(Steps):
        """Its state holds a set."""

        async def pull(self, fetch: Fetcher, options: Config, state: Mapping[str, Any]) -> AsyncIterator[Any]:
            yield Checkpoint({"seen": {1, 2}})

    saved: list[Any] = []
    with pytest.raises(FetchError, match="its state is no JSON"):
        pull(Odd({}, id="odd"), lambda _: None, save=saved.append)
    assert saved == []


def test_wrong_options_are_told_before_anything_is_fetched() -> None:
    """As settings are."""
    with pytest.raises(SettingsError, match="stepps"):
        pull(steps(), lambda _: None, {"stepps": 2})
    with pytest.raises(SettingsError, match="steps"):
        pull(steps(), lambda _: None, {"steps": -1})


def test_a_source_that_does_not_pull_says_so() -> None:
    """And not with NotImplementedError."""
    with pytest.raises(ConfigError, match="fetches nothing by itself"):
        pull(Source({}, id="still"), lambda _: None)


def test_inside_an_event_loop_the_other_one_is_named() -> None:
    """`pull` would wait for ever there."""

    async def main() -> None:
        with pytest.raises(TurnoutError, match="pull_async"):
            pull(steps(), lambda _: None)
        done = await pull_async(steps(), lambda _: None)
        assert done.events == 6

    asyncio.run(main())


def test_accepted_events_are_in_the_log_once(bench: Any, tmp_path: Path) -> None:
    """A pull that is repeated from its beginning adds nothing; an event that can't be accepted is told."""
    from turnout.config import LogSettings

    refused: list[Refusal] = []
    log = LogSettings.configure({"path": str(tmp_path / "turnout.log")})
    with bench.dispatcher(log=log) as dispatcher:
        for _ in range(2):
            pull(steps(), Accepting(dispatcher, refused.append))
        assert dispatcher._acceptor().log.last() == 6
        asyncio.run(_accept_bad(dispatcher, refused))
    assert [one.reason.code for one in refused] == ["event_not_defined"]


async def _accept_bad(dispatcher: Any, refused: list[Refusal]) -> None:
    await Accepting(dispatcher, refused.append)([{"type": "track", "userId": "u-9"}])


def test_delivery_that_may_succeed_later_stops_a_pull(bench: Any) -> None:
    """What a vendor refuses for good is final; a vendor that is down holds the state where it is."""
    saved: list[Any] = []
    outcomes: list[str] = []
    sink = Delivering(bench.dispatcher(), lambda settled, plan: outcomes.append(settled.outcome.value))
    bench.vendor.script("/v1/p-1/events", [200, 400, 400, 400])  # both together, then each alone
    pull(steps(), sink, {"steps": 2}, save=saved.append)
    assert outcomes == ["delivered", "delivered", "dead", "dead"]
    assert saved == [{"step": 1}, {"step": 2}]
    bench.vendor.fail(503, times=None)
    with pytest.raises(TurnoutError, match="2 events could not be delivered, as to 'acme'"):
        pull(steps(), sink, state={"step": 2}, save=saved.append)
    assert saved == [{"step": 1}, {"step": 2}]


# The file of the state


def test_a_state_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """What is there is the last state, readable, and no other file stays behind."""
    file = StateFile(tmp_path / "steps.state.json", "steps")
    assert file.load() == {}
    file.save({"step": 1})
    file.save({"step": 2})
    assert file.load() == {"step": 2}
    assert json.loads(file.path.read_text()) == {"source": "steps", "state": {"step": 2}}
    assert list(tmp_path.iterdir()) == [file.path]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "is no state of a source"),
        ('{"source": "steps", "state": 3}', "is no state of a source"),
        ('{"source": "other", "state": {}}', "is the state of the source \"other\", not of 'steps'"),
    ],
)
def test_a_file_that_is_no_state_is_told(tmp_path: Path, text: str, said: str) -> None:
    """It is never taken for the beginning: that would fetch everything once more."""
    path = tmp_path / "steps.state.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        StateFile(path, "steps").load()
    assert said in str(caught.value)


def test_a_folder_that_is_missing_is_told_before_the_pull(tmp_path: Path) -> None:
    """Not after an hour of fetching."""
    with pytest.raises(ConfigError, match="can't be written"):
        StateFile(tmp_path / "none" / "steps.state.json", "steps").load()


# The fetcher


class Patient:
    """Notes the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def fetched(handler: Callable[[httpx.Request], httpx.Response], **given: Any) -> Any:
    async def main() -> Any:
        async with Fetcher(transport=httpx.MockTransport(handler), **given) as fetch:
            return await fetch.get("https://vendor.example/a")

    return asyncio.run(main())


def test_a_vendor_that_is_busy_is_asked_again() -> None:
    """As long as `Retry-After` says; the answer is the one that comes in the end."""
    patient = Patient()
    answers = iter([httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200, text="here")])
    assert fetched(lambda _: next(answers), wait=patient).body == b"here"
    assert patient.waits == [7.0]


def test_a_vendor_that_stays_silent_is_an_error_with_its_time() -> None:
    """It names host and seconds, and no secret."""

    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with pytest.raises(FetchError, match=r"vendor\.example did not answer within 3 s"):
        fetched(silent, wait=Patient(), timeout=3.0)


def test_a_key_that_no_header_can_hold_is_told_without_the_key(bench: Any) -> None:
    """At once: to ask again would change nothing."""
    patient = Patient()

    async def main(url: str) -> Any:
        async with Fetcher(wait=patient, secrets=["key-77\n"]) as fetch:
            return await fetch.get(url, headers={"x-key": "key-77\n"})

    with bench.vendor.serve() as url, pytest.raises(FetchError, match="a character that HTTP does not") as caught:
        asyncio.run(main(url))
    assert "key-77" not in str(caught.value)
    assert patient.waits == []


def test_an_answer_without_an_end_is_cut_off() -> None:
    """Nobody's memory is filled by a vendor."""

    async def main() -> Any:
        async with Fetcher(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"x" * 500))) as fetch:
            assert len((await fetch.get("https://vendor.example/a", most=500)).body) == 500
            return await fetch.get("https://vendor.example/a", most=499)

    with pytest.raises(FetchError, match="more than 499 bytes"):
        asyncio.run(main())
