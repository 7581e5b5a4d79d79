"""The benchmark's events and harness, and the example events with their configuration."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """The generator, imported as `bench.py` imports it."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("generate")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def sent_events() -> list[dict[str, Any]]:
    """Return the events of examples/events.jsonl, those of the batch bodies one by one."""
    bodies = [json.loads(line) for line in (EXAMPLES / "events.jsonl").read_bytes().splitlines()]
    return [event for body in bodies for event in body.get("batch", [body])]


@pytest.mark.parametrize("kind", ["track", "order"])
def test_generated_events_are_the_same_for_the_same_seed(generate: ModuleType, kind: str) -> None:
    """Two runs with one seed give equal lines, another seed gives other lines, and no two lines are equal."""
    lines = generate.lines(kind, 50)
    assert lines == generate.lines(kind, 50)
    assert not set(lines) & set(generate.lines(kind, 50, seed=1))
    assert len(set(lines)) == 50


@pytest.mark.parametrize(("kind", "size"), [("track", 1560), ("order", 2820)])
def test_generated_events_have_the_sizes_of_the_reference(generate: ModuleType, kind: str, size: int) -> None:
    """The mean size is within two per cent of the events that the reference figures were measured with."""
    lines = generate.lines(kind, 500)
    assert sum(map(len, lines)) / len(lines) == pytest.approx(size, rel=0.02)


def test_generated_orders_hold_five_products(generate: ModuleType) -> None:
    """Every order has five products and a revenue that is the sum of their prices times quantities."""
    for line in generate.lines("order", 50):
        properties = json.loads(line)["properties"]
        assert len(properties["products"]) == 5
        spent = sum(product["price"] * product["quantity"] for product in properties["products"])
        assert properties["revenue"] == pytest.approx(spent)


def test_generated_events_come_from_four_libraries(generate: ModuleType) -> None:
    """Browser, iOS, Android and Python events are mixed, and all have the common keys of `context`."""
    contexts = [json.loads(line)["context"] for line in generate.lines("track", 200)]
    assert {context["library"]["name"] for context in contexts} == {
        "analytics.js",
        "analytics-ios",
        "analytics-android",
        "analytics-python",
    }
    common = {
        "app",
        "device",
        "os",
        "network",
        "location",
        "page",
        "campaign",
        "screen",
        "userAgent",
        "locale",
    }
    assert all(common | {"timezone", "traits", "ip"} <= context.keys() for context in contexts)


def test_the_mix_is_nine_tenths_tracks(generate: ModuleType) -> None:
    """Of 200 events of the mix 20 are orders, spread over it, and each event is there once."""
    tracks, orders = generate.lines("track", 200), generate.lines("order", 200)
    mixed = generate.mix(tracks, orders)
    assert len(mixed) == len(set(mixed)) == 200
    assert len(set(mixed) & set(orders)) == 20
    assert set(mixed[:100]) & set(orders)
    assert set(mixed[100:]) & set(orders)


def test_bench_runs_and_writes_its_figures(tmp_path: Path) -> None:
    """The short run maps tracks, orders and the mix for every set-up of Amplitudes and judges every must."""
    written = tmp_path / "figures.json"
    done = run("benchmarks/bench.py", "--quick", "--json", str(written))
    assert done.returncode == 0, done.stderr.decode()
    figures = json.loads(written.read_bytes())
    measured = {(one["workload"], one["setup"]): one["items"] / one["events"] for one in figures["trials"]}
    items = {"track": 1, "order": 6, "90/10 mix": 1.5}
    for workload, expected in items.items():
        assert measured.pop((workload, "one")) == expected
        assert measured.pop((workload, "three alike")) == 3 * expected
        assert measured.pop((workload, "three that differ")) == 3 * expected
        assert measured.pop((workload, "one, device mode")) >= 1
    assert not measured
    assert all(one["floor"]["least"] > 0 and one["turnout"]["least"] > 0 for one in figures["trials"])
    assert len(figures["musts"]) == 5
    assert b"share of the floor, 90/10 mix, Amplitudes: one" in done.stdout


def test_bench_refuses_an_unknown_option() -> None:
    """A misspelt option is one sentence and exit code 2, no traceback."""
    done = run("benchmarks/bench.py", "--quik")
    assert done.returncode == 2
    assert b"unrecognized arguments: --quik" in done.stderr
    assert b"Traceback" not in done.stderr


def test_generator_refuses_an_unknown_kind() -> None:
    """A kind that does not exist is one sentence with the kinds that do, and exit code 2."""
    done = run("benchmarks/generate.py", "trak")
    assert done.returncode == 2
    assert b"trak" in done.stderr
    assert b"order" in done.stderr
    assert b"Traceback" not in done.stderr


def test_capture_still_catches_what_the_examples_hold() -> None:
    """The real client, run again, sends the events of the examples' batch bodies but for ids and times."""
    pytest.importorskip("segment.analytics", reason="segment-analytics-python is a development tool")
    caught = run("examples/capture.py")
    assert caught.returncode == 0, caught.stderr.decode()
    kept = [line for line in (EXAMPLES / "events.jsonl").read_bytes().splitlines() if b'"batch"' in line]
    assert lasting(caught.stdout.splitlines()) == lasting(kept)


def lasting(bodies: list[bytes]) -> list[dict[str, Any]]:
    """Return the events of batch bodies without what differs from run to run and between client versions."""
    events = [event for body in bodies for event in json.loads(body)["batch"]]
    for event in events:
        del event["messageId"], event["timestamp"], event["context"]["library"]["version"]
    return events


def test_examples_hold_all_six_calls_and_one_that_is_switched_off() -> None:
    """The example events are of all six calls; one is switched off by `integrations`; no id stands twice."""
    events = sent_events()
    assert {event["type"] for event in events} == {"identify", "track", "page", "screen", "group", "alias"}
    assert [event["integrations"].get("Amplitude") for event in events].count(False) == 1
    assert len({event["messageId"] for event in events}) == len(events)


def test_examples_plan_as_their_configuration_says() -> None:
    """Every example event is accepted; only the switched-off one and the category-only page are dropped."""
    from turnout.dispatcher import Dispatcher

    dispatcher = Dispatcher.from_config(EXAMPLES / "turnout.toml")
    dropped = {}
    for event in sent_events():
        (plan,) = dispatcher.plan(event)
        assert plan.outcome in {"planned", "dropped"}, plan.reason
        if plan.outcome == "dropped":
            dropped[event.get("event") or event.get("category")] = plan.reason.code.value
    assert dropped == {"Application Opened": "integration_disabled", "Help": "nothing_to_map"}


def test_example_configuration_stays_on_this_machine() -> None:
    """The example configuration sends to loopback, so that the demo needs no account and no network."""
    configured = tomllib.loads((EXAMPLES / "turnout.toml").read_text())
    assert configured["destinations"]["amplitude"]["base_url"] == "http://127.0.0.1:8765"


def test_the_benchmark_of_diff_runs_and_writes_its_figures(tmp_path: Path) -> None:
    """Each comparison changes what it says, with one job and with four, over a fourth of the corpus and all of it."""
    written = tmp_path / "figures.json"
    done = run("benchmarks/diff.py", "--quick", "--json", str(written))
    assert done.returncode == 0, done.stderr.decode()
    figures = json.loads(written.read_bytes())
    assert {(one["events"], one["jobs"]) for one in figures} == {(100, 1), (100, 4), (400, 1), (400, 4)}
    shares = {(one["comparison"], one["changed"] / one["events"]) for one in figures}
    assert shares == {("nothing changes", 0), ("one event in ten changes", 0.1), ("every event changes", 1)}


def test_the_benchmark_of_explain_runs_and_writes_its_figures(tmp_path: Path) -> None:
    """It explains calls of some sixty values, orders, and an order of 150 products."""
    written = tmp_path / "figures.json"
    done = run("benchmarks/explain.py", "--quick", "--json", str(written))
    assert done.returncode == 0, done.stderr.decode()
    figures = {one["kind"]: one for one in json.loads(written.read_bytes())}
    assert list(figures) == ["track", "page", "identify", "order", "order, whole", "order, large"]
    assert all(50 <= figures[kind]["values"] < 70 for kind in ("track", "page", "identify", "order"))
    assert figures["order, large"]["values"] > 600
    for one in figures.values():
        assert one["edges"] > 60
        assert 0 < one["median"] <= one["p95"]


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    """Run one of the scripts as a person would, from the root of the project."""
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, env=dict(os.environ))
