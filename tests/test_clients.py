"""Real SDKs send to the real gateway, and a simulated Amplitude has what `turnout plan` says: once, whatever is lost.

The programs are in `clients`. Those for Node and browsers need `make clients`, and node and chromium.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gateways import LIMIT, Call, Station, reached, wire

CLIENTS = Path(__file__).parent / "clients"
GUIDE = CLIENTS.parents[1] / "docs" / "guides" / "send-events.md"


class Sdk(NamedTuple):
    """An SDK: its package, the programs that send with it, and how its calls look.

    `number` is what its program's values begin with, `packing` the content encoding of its calls.
    """

    package: str
    calls: list[str]
    many: list[str]
    number: str
    paths: set[str]
    type: str
    packing: str | None = None


BATCH = {"/v1/batch"}
SDKS = {
    "segment-python": Sdk(
        "segment-analytics-python", [sys.executable, "segment_python.py"], [sys.executable, "many.py", "segment"],
        "", BATCH, "application/json",
    ),
    "rudder-python": Sdk(
        "rudder-sdk-python", [sys.executable, "rudder_python.py"], [sys.executable, "many.py", "rudder"],
        "2", BATCH, "application/json", "gzip",
    ),
    "segment-node": Sdk(
        "@segment/analytics-node", ["node", "segment_node.mjs"], ["node", "many.mjs", "segment"],
        "3", BATCH, "application/json",
    ),
    "rudder-node": Sdk(
        "@rudderstack/rudder-sdk-node", ["node", "rudder_node.mjs"], ["node", "many.mjs", "rudder"],
        "4", BATCH, "application/x-www-form-urlencoded", "gzip",
    ),
    "browser-key": Sdk(
        "@segment/analytics-next", [sys.executable, "browse.py", "page.html"],
        [sys.executable, "browse.py", "many.html"],
        "5", {"/v1/i", "/v1/g", "/v1/p", "/v1/s", "/v1/t", "/v1/a"}, "text/plain",
    ),
}  # fmt: skip
"""The SDKs by their write keys."""
BROWSER = "browser-key"


def missing(name: str) -> str | None:
    """Return what an SDK needs that isn't there, None when it can run."""
    package = SDKS[name].package
    wanted: dict[str, object] = {"node": shutil.which("node")} if name.endswith("node") else {}
    if name == BROWSER:
        wanted = {"chromium": shutil.which("chromium"), "playwright": importlib.util.find_spec("playwright")}
    lacking = [program for program, found in wanted.items() if not found]
    if package.startswith("@") and not (CLIENTS / "node_modules" / package).exists():
        lacking.append("its packages")
    if not lacking:
        return None
    return f"{package} can't run without {' and '.join(lacking)}: install node, npm and chromium, then `make clients`."


ABLE = [name for name in SDKS if missing(name) is None]


@pytest.fixture(params=list(SDKS))
def name(request: pytest.FixtureRequest) -> str:
    """Each SDK that can run here; the others are skipped, with a sentence."""
    reason = missing(request.param)
    if reason:
        pytest.skip(reason)
    found: str = request.param
    return found


class Program:
    """A program that sends with an SDK; it is ended when the block is left."""

    def __init__(self, name: str, command: list[str], gateway: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, cwd=CLIENTS, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, GATEWAY=gateway, WRITE_KEY=name),
        )  # fmt: skip

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def wait_for_part(self) -> None:
        """Wait until it is about to send a part."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "part\n":
            raise AssertionError(self.end())

    def send_part(self) -> None:
        """Let it send the part."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> str:
        """Let it end, and return what it said last; fail when it failed."""
        said, faults = self._process.communicate("\n", timeout=LIMIT)
        assert self._process.returncode == 0, f"{self.name}: {said}\n{faults}"
        return said


# The six calls and an order


class Sent(NamedTuple):
    """What came of the calls of every SDK."""

    station: Station
    calls: Mapping[str, list[Call]]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """Every SDK sends its calls, all at a time; of each the answer to the first is lost, the next one's is a 502."""
    calls: dict[str, list[Call]] = {}
    with Station(tmp_path_factory.mktemp("calls"), SDKS) as station:
        with ExitStack() as stack:
            programs = []
            for name in ABLE:
                url, calls[name] = stack.enter_context(wire(station.url, lose=True))
                programs.append(stack.enter_context(Program(name, SDKS[name].calls, url)))
            for program in programs:
                if program.name == BROWSER:
                    reached(lambda: _answered(calls[BROWSER]), "the browser's calls")
                program.end()
        reached(lambda: station.settled, "the end of delivery")
        yield Sent(station, calls)


def _answered(calls: list[Call]) -> bool:
    """Tell whether each of the seven calls of the page was answered with 200 in the end."""
    done = {call.json()["messageId"] for call in list(calls) if call.method == "POST" and call.status == 200}
    return len(done) == 7


def as_counted(found: list[dict[str, Any]]) -> Counter[str]:
    """Return how often each item is there."""
    return Counter(json.dumps(item, sort_keys=True) for item in found)


def test_amplitude_gets_what_the_plan_says(sent: Sent) -> None:
    """Each item of the plans of all events once, and no other."""
    planned = [item for name in ABLE for item in sent.station.planned(name)]
    assert as_counted(sent.station.arrived()) == as_counted(planned)
    assert max(as_counted(planned).values()) == 1


def test_each_call_is_kept_once(sent: Sent, name: str) -> None:
    """Although the SDK sent at least two of them again, with other headers and another `sentAt`."""
    kept = sent.station.kept(name)
    types = ["alias", "group", "identify", "page", "screen", "track", "track"]
    assert sorted(event.type for event in kept) == types
    assert len({event.message_id for event in kept}) == 7
    calls = [call for call in sent.calls[name] if call.method == "POST"]
    assert [call.status for call in calls].count(None) == 1
    assert [call.status for call in calls].count(502) == 1
    events = [event for call in calls for event in call.json().get("batch", [call.json()])]
    assert Counter(event["messageId"] for event in events).most_common(1)[0][1] >= 2


def test_what_amplitude_holds(sent: Sent, name: str) -> None:
    """The user with their traits, group and other id; pages, the order split into its products, and its revenue."""
    number, vendor = SDKS[name].number, sent.station.vendor
    user, device = f"user-{number}11", f"anon-{number}13"
    events = [event for event in vendor.events if event["user_id"] == user]
    order, first, second = f"order-{number}24", f"sku-{number}26", f"sku-{number}29"
    by_type = {event["event_type"]: event for event in events}
    assert Counter(event["event_type"] for event in events) == {
        f"Loaded Shop-{number}17 Cart-{number}18 Page": 1,
        f"Viewed App-{number}20 Scan-{number}21 Screen": 1,
        "Report Exported": 1,
        "Order Completed": 1,
        "Product Purchased": 2,
    }
    completed = by_type["Order Completed"]
    assert completed["event_properties"] == {"order_id": order, "revenue": float(f"{number}25.5")}
    assert completed["revenue"] == float(f"{number}25.5")
    products = [event for event in events if event["event_type"] == "Product Purchased"]
    assert [event["event_properties"]["product_id"] for event in products] == [first, second]
    assert [event["insert_id"] for event in products] == [f"{completed['insert_id']}-{place}" for place in (1, 2)]
    assert not any("revenue" in event for event in products)
    assert by_type["Report Exported"]["device_id"] == device
    assert by_type["Report Exported"]["event_properties"] == {"format": f"pdf-{number}23"}
    known = vendor.user(user)
    assert known is not None
    assert device in known["device_ids"]
    assert known["user_properties"]["plan"] == f"plan-{number}12"
    assert vendor.groups[f"kind-{number}15"][f"label-{number}16"]["label"] == f"label-{number}16"
    assert vendor.mappings[f"anon-{number}33"] == user


def test_how_the_calls_look(sent: Sent, name: str) -> None:
    """Where they go, how they show their write key, and how the body is packed."""
    sdk = SDKS[name]
    calls = [call for call in sent.calls[name] if call.method == "POST"]
    assert {call.path for call in calls} == sdk.paths
    assert {call.headers["content-type"] for call in calls} == {sdk.type}
    assert {call.headers.get("content-encoding") for call in calls} == {sdk.packing}
    assert all(call.headers["authorization"].startswith("Basic ") for call in calls)
    keys = {call.json().get("writeKey") for call in calls}
    assert keys == ({None} if name.startswith("rudder") else {name})


def test_a_browser_asks_before_it_sends(sent: Sent) -> None:
    """For its settings, and whether it may send its headers: those of a retry as well, else it would send none."""
    if missing(BROWSER):
        pytest.skip(str(missing(BROWSER)))
    calls = sent.calls[BROWSER]
    assert (calls[0].method, calls[0].path) == ("GET", f"/v1/projects/{BROWSER}/settings")
    assert {call.path for call in calls if call.method == "OPTIONS"} == SDKS[BROWSER].paths
    assert any(call.status == 200 and call.headers.get("x-retry-count") == "1" for call in calls)


# Kills


class Survived(NamedTuple):
    """What came of 200 events of every SDK."""

    station: Station
    said: Mapping[str, str]


def _counted(station: Station) -> dict[str, list[int]]:
    """Return the numbers of the events at Amplitude, by the SDK that sent them."""
    found: dict[str, list[int]] = {name: [] for name in SDKS}
    for event in list(station.vendor.events):
        found[event["event_properties"]["sender"]].append(event["event_properties"]["number"])
    return found


def _all_have(station: Station, number: int) -> bool:
    counted = _counted(station)
    return all(len(counted[name]) >= number for name in ABLE)


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survived]:
    """Every SDK sends 200 events, all at a time, and the gateway is killed twice and started again.

    The first time alone, the second time with its delivery; each time when something has arrived from every SDK,
    while they go on sending.
    """
    with Station(tmp_path_factory.mktemp("kills"), SDKS) as station, ExitStack() as stack:
        programs = [stack.enter_context(Program(name, SDKS[name].many, station.url)) for name in ABLE]
        for number in (1, 71, None):
            for program in programs:
                program.wait_for_part()
            for program in programs:
                program.send_part()
            if number:
                reached(partial(_all_have, station, number), f"{number} events of each SDK")
                station.kill(delivery=number > 1)
                station.start()
        said = {program.name: program.end() for program in programs if program.name != BROWSER}
        for program in (program for program in programs if program.name == BROWSER):
            reached(lambda: len(station.kept(BROWSER)) == 200, "every event of the browser")  # it doesn't say
            said[BROWSER] = program.end()
        reached(lambda: station.settled, "the end of delivery")
        yield Survived(station, said)


def test_nothing_is_lost_or_counted_twice_when_the_gateway_is_killed(survived: Survived, name: str) -> None:
    """The SDK gives nothing up, and Amplitude has each event once, under the one key that every request gave it."""
    assert survived.said[name].splitlines()[-1] == "0 given up"
    assert sorted(_counted(survived.station)[name]) == list(range(200))
    kept = survived.station.kept(name)
    assert len(kept) == len({event.message_id for event in kept}) == 200
    sent = [item for item in survived.station.arrived() if item["event_properties"]["sender"] == name]
    assert len({(item["insert_id"], item["event_properties"]["number"]) for item in sent}) == 200


# The guide


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("segment_python.py", "python"),
        ("rudder_python.py", "python"),
        ("segment_node.mjs", "js"),
        ("rudder_node.mjs", "js"),
        ("page.html", "html"),
    ],
)
def test_the_guide_shows_the_programs(program: str, kind: str) -> None:
    """To the letter."""
    text = (CLIENTS / program).read_text(encoding="utf-8")
    assert f"`{program}`:\n\n```{kind}\n{text}```\n" in GUIDE.read_text(encoding="utf-8")


def test_the_guide_says_how_each_sdk_sends() -> None:
    """With the version that is installed here for the tests."""
    packages = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    constraints = (CLIENTS.parents[1] / "constraints.txt").read_text(encoding="utf-8")
    versions = packages | dict(line.split("==") for line in constraints.splitlines() if "==" in line)
    guide = GUIDE.read_text(encoding="utf-8")
    for sdk in SDKS.values():
        (row,) = (line for line in guide.splitlines() if line.startswith(f"| `{sdk.package}` |"))
        assert f"| {versions[sdk.package]} |" in row
        assert any(f"`{path}`" in row for path in sdk.paths)
        assert sdk.type == "application/json" or f"`{sdk.type}`" in row
        assert ("JSON, gzip" in row) is (sdk.packing == "gzip")
