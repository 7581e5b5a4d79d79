"""A small vendor and its destination, made with public names only, that the tests of the core share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from turnout import (
    ITEMS,
    Batch,
    Destination,
    Dispatcher,
    Drop,
    Endpoint,
    Event,
    Refusal,
    Settings,
    bearer,
    form_body,
    json_body,
    rule,
    setting,
)
from turnout._processes import cores
from turnout.config import SendSettings
from turnout.settings import flag, text
from turnout.testing import Answer, Call, Simulator

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # A run in the background of a shell ignores Ctrl-C, and so would the processes that tests send it to.
    signal.signal(signal.SIGINT, signal.default_int_handler)


pytest_plugins = ["pytester"]

# Many thousand tests stay in memory; to look through them as often as usual takes a tenth of the time.
gc.set_threshold(10_000, 20, 20)

# Timing never decides a test.
hypothesis.settings.register_profile("turnout", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("turnout")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long when several processes share the tests."""
    if hasattr(config, "workerinput"):
        from spread import place_of

        items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes share the tests: more than there are cores, for many tests wait for other processes."""
    return cores() * 3 // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread the tests by our own units instead of whole files."""
    if config.getoption("dist") != "loadfile":
        return None
    from spread import Spread

    return Spread(config, log)


class AcmeSettings(Settings):
    """The settings of the little vendor."""

    api_key = text("The key.", required=True, secret=True)
    project = text("The project, a part of the URL.", default="p-1")
    pages = flag("Send page calls.")


class Acme(Destination):
    """A little vendor with two endpoints; what a rule does is told by the event's properties."""

    name = "Acme"
    settings = AcmeSettings

    events = Endpoint(
        "POST",
        "https://acme.example/v1/{project}/events",
        body=json_body({"key": setting("api_key"), "events": ITEMS}),
        auth=bearer("api_key"),
        headers={"X-Project": setting("project")},
        batch=Batch(items=3, bytes=2_000),
    )
    people = Endpoint(
        "POST",
        "https://acme.example/v1/people?v=2",
        body=form_body({"key": setting("api_key"), "people": ITEMS}),
        batch=Batch(items=2, bytes=1_000),
    )

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """An event."""
        asked = event.properties.get("do")
        if asked == "raise":
            raise ValueError(f"can't map with {self.config.api_key}")
        if asked == "exit":
            raise SystemExit("a plugin may not end the process")
        if asked == "drop":
            raise Drop("filtered", "not wanted", "/properties/do")
        if asked == "refuse":
            raise Refusal("value_invalid", "no such value", "/properties/do")
        if asked == "result":
            return event.properties["give"]
        if asked == "nothing":
            return None
        return self.events.item({"name": event.event, "id": event.message_id, **event.properties})

    @rule("track")
    def counted(self, event: Event) -> Iterator[Any]:
        """As many more events as `copies` says."""
        for number in range(event.properties.get("copies", 0)):
            yield self.events.item({"copy": number, "id": event.message_id})

    @rule("identify", "group")
    def known(self, event: Event) -> Any:
        """A person."""
        return self.people.item({"user": event.user_id, "id": event.message_id, **event.traits})

    @rule("page", when="pages")
    def seen(self, event: Event) -> Any:
        """An event for a page."""
        return self.events.item({"page": event.name, "id": event.message_id})


class AcmeVendor(Simulator):
    """Takes everything whose `bad` is not set, and keeps it."""

    def reset(self) -> None:
        super().reset()
        self.kept: list[Any] = []

    def routes(self) -> dict[str, Callable[[Call], Answer]]:
        return {"POST /v1/{project}/events": self.take, "POST /v1/people": self.meet}

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def take(self, call: Call) -> Answer:
        events = call.json()["events"]
        self.kept += [event["id"] for event in events]
        return Answer(200, {"taken": len(events)})

    def meet(self, call: Call) -> Answer:
        people = call.decoded()["people"]
        self.kept += [person["id"] for person in (people if isinstance(people, list) else [people])]
        return Answer(200, "success")


FAST = SendSettings.configure({"attempts": 2, "timeout_seconds": 0.5}, owner="[send]")


class Bench:
    """A vendor and a dispatcher that reaches it in this process."""

    def __init__(self) -> None:
        self.vendor = AcmeVendor()
        self.transport = httpx.ASGITransport(app=self.vendor)

    def dispatcher(self, *destinations: Destination, **options: Any) -> Dispatcher:
        options = {"send": FAST, "transport": self.transport, **options}
        return Dispatcher(destinations or [Acme({"api_key": "key-1234"})], **options)

    def sent(self) -> list[list[str]]:
        """Return the ids of the items of each request that was received, in order."""
        found = []
        for entry in self.vendor.ledger:
            items = entry.body.get("events") or entry.body.get("people")
            found.append([item["id"] for item in (items if isinstance(items, list) else [items])])
        return found


@pytest.fixture
def bench() -> Bench:
    """A vendor, and dispatchers that reach it."""
    return Bench()


@pytest.fixture
def acme() -> type[Acme]:
    """The destination class of the little vendor."""
    return Acme


@pytest.fixture
def call() -> Callable[..., dict[str, Any]]:
    """Makes an event: `call("m-1", "track", event="Sold", do="raise")`; other words become properties."""

    def make(message_id: str, kind: str = "track", **given: Any) -> dict[str, Any]:
        keys = {"userId", "anonymousId", "event", "name", "integrations", "traits", "groupId", "_metadata"}
        own = {key: given.pop(key) for key in keys & given.keys()}
        event = {"type": kind, "messageId": message_id, "userId": f"user-{message_id}", **own}
        if kind == "track":
            event.setdefault("event", "Sold")
        return {**event, "properties": given} if given else event

    return make


PACKAGE = '''
from turnout import ITEMS, Batch, Destination, Endpoint, Settings, json_body, rule, setting
from turnout.settings import flag, text


class Widgets(Settings):
    token = text("The token.", required=True, secret=True)
    pages = flag("Send page calls.")


class Widget(Destination):
    """A third party's destination."""

    name = "Widget"
    settings = Widgets
    events = Endpoint("POST", "https://widget.example/in", batch=Batch(items=100),
                      body=json_body({"t": setting("token"), "all": ITEMS}))

    @rule("track")
    def tracked(self, event):
        """A widget event."""
        if event.event == "Explode":
            raise LookupError("no such widget for " + self.config.token)
        return self.events.item({"name": event.event, "id": event.message_id, **event.properties})
'''


@pytest.fixture
def widget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path in which the destination `widget` of turnout-widget 3.2.1 is installed."""
    folder = tmp_path / "site"
    about = folder / "turnout_widget-3.2.1.dist-info"
    about.mkdir(parents=True)
    (folder / "turnout_widget.py").write_text(PACKAGE, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-widget\nVersion: 3.2.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(
        "[turnout.destinations]\nwidget = turnout_widget:Widget\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "turnout_widget", raising=False)
    return folder


@pytest.fixture
def gauge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `cases/gauge` of a project that is the working folder; the destination of `gauge.py` is installed."""
    about = tmp_path / "site" / "turnout_gauge-1.4.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-gauge\nVersion: 1.4.0\n", encoding="utf-8")
    points = "[turnout.destinations]\ngauge = gauge:Gauge\nbuoy = gauge:Buoy\nferry = gauge:Ferry\npier = gauge:Pier\n"
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    cases = tmp_path / "project" / "cases" / "gauge"
    cases.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return cases


_NOBODY = 65534


@pytest.fixture
def ordinary() -> Iterator[Path]:
    """A folder, while this process is an ordinary user: root may write everywhere."""
    if sys.platform == "win32":
        pytest.skip("Windows has other permissions.")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.chown(folder, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o777)
    shutil.rmtree(folder)
