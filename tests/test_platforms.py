"""Rules by platform: which run in which mode, and how a call without one is explained."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from turnout import (
    ITEMS,
    PLATFORMS,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    Normaliser,
    PluginError,
    Settings,
    json_body,
    platform_of,
    rule,
)
from turnout.docs import destination_page
from turnout.settings import choice, flag

LIBRARIES = {
    "browser": "analytics.js",
    "ios": "analytics-ios",
    "android": "analytics-android",
    "server": "analytics-go",
}


class VariedSettings(Settings):
    """Two modes, and a switch."""

    connection_mode = choice("How events are mapped.", ["cloud", "device"], default="cloud")
    pages = flag("Send page calls.")


class Varied(Destination):
    """Maps differently on each platform."""

    name = "Varied"
    settings = VariedSettings
    ignored: ClassVar = {"ios": ("page",)}
    out = Endpoint("POST", "https://varied.example/in", body=json_body(ITEMS))

    @rule("track", "page", platforms=("browser",), aside=True)
    def beside(self, event: Event) -> Item | None:
        """What goes beside a call."""
        return self.out.item("beside") if event.properties else None

    @rule("track")
    def everywhere(self, event: Event) -> Item:
        """On all."""
        return self.out.item("everywhere")

    @rule("track", platforms=("ios", "android"))
    def mobile(self, event: Event) -> Item:
        """On mobile devices."""
        return self.out.item("mobile")

    @rule("page", when="pages")
    def paged(self, event: Event) -> Item:
        """A page."""
        return self.out.item("paged")


def event(platform: str | None, kind: str = "track", **more: Any) -> Event:
    context = {"library": {"name": LIBRARIES[platform]}} if platform else {}
    return Normaliser().event({"type": kind, "event": "Seen", "userId": "user-1", "context": context, **more})


def rules(mode: str, one: Event, **given: Any) -> list[str]:
    (plan,) = Dispatcher([Varied({"connection_mode": mode, **given})]).plan(one)
    return [json.loads(item.data) for item in plan.items] or [str(plan.reason and plan.reason.code.value)]


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("server", ["everywhere"]),
        (None, ["everywhere"]),
        ("browser", ["everywhere"]),
        ("ios", ["everywhere", "mobile"]),
        ("android", ["everywhere", "mobile"]),
    ],
)
def test_device_mode_runs_the_rules_of_the_platform(platform: str | None, expected: list[str]) -> None:
    """The platform is the library's; any other library, and none, is the server."""
    assert rules("device", event(platform)) == expected
    assert rules("cloud", event(platform)) == ["everywhere"]


def test_the_platform_is_read_from_the_library_only() -> None:
    """The spelling counts, and nothing else in the context."""
    assert [platform_of(event(platform)) for platform in PLATFORMS] == list(PLATFORMS)
    other = {"context": {"library": {"name": "Analytics.js"}, "os": {"name": "iOS"}, "device": {"type": "ios"}}}
    assert platform_of(event(None, **other)) == "server"


def test_a_call_type_that_a_platform_ignores_is_unsupported_there() -> None:
    """Also when its setting is on."""
    assert rules("device", event("ios", "page"), pages=True) == ["call_type_unsupported"]
    assert rules("device", event("android", "page"), pages=True) == ["paged"]
    assert rules("cloud", event("ios", "page"), pages=True) == ["paged"]


def test_rules_that_stand_aside_dont_hide_that_a_setting_is_off() -> None:
    """The call itself is switched off, although something beside it was looked for."""
    assert rules("device", event("browser", "page")) == ["setting_off"]
    assert rules("device", event("browser", "page"), pages=True) == ["paged"]
    assert rules("device", event("browser", "page", properties={"a": 1})) == ["beside"]


@pytest.mark.parametrize(("given", "words"), [({"platforms": ("io",)}, "'io' is no platform. Did you mean 'ios'")])
def test_an_unknown_platform_is_an_error_of_the_author(given: Any, words: str) -> None:
    """It would otherwise never run."""
    with pytest.raises(PluginError, match=words):
        rule("track", **given)


def test_the_page_of_a_destination_has_a_column_of_platforms() -> None:
    """Where a rule is not for all of them."""
    page = destination_page(Varied, "varied")
    assert "| rule | calls | platforms | when |" in page
    assert "| `mobile` | track | IA | always |" in page
    assert "| `everywhere` | track | SBIA | always |" in page
