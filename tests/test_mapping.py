"""Gate and mapping: which events a destination gets, and what may be shown of its items."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEMS,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    Normaliser,
    Settings,
    json_body,
    rule,
)
from turnout.mapping import gate
from turnout.settings import text

Make = Callable[..., dict[str, Any]]


def event(**given: Any) -> Event:
    return Normaliser().event({"type": "track", "event": "Sold", "userId": "u", **given})


@pytest.mark.parametrize(
    "integrations",
    [
        {},
        {"Acme": True},
        {"Acme": {}},
        {"Acme": {"option": 1}},
        {"Acme": None},
        {"Acme": "yes"},
        {"Acme": 0},
        {"All": True},
        {"All": False, "Acme": True},
        {"All": False, "Acme": {}},
        {"All": None},
        {"All": "no"},
        {"Other": False},
        {"acme": False},
        {"All": True, "all": False},
        {"All": None, "Acme": None},
    ],
)
def test_these_integrations_let_an_event_pass(integrations: dict[str, Any]) -> None:
    """Its own entry decides unless it is null; keys are case sensitive; only `All: false` shuts out."""
    assert gate("Acme", event(integrations=integrations)) is None


@pytest.mark.parametrize(
    ("integrations", "path"),
    [
        ({"Acme": False}, "/integrations/Acme"),
        ({"All": True, "Acme": False}, "/integrations/Acme"),
        ({"All": False}, "/integrations/All"),
        ({"all": False}, "/integrations/all"),
        ({"ALL": False}, "/integrations/ALL"),
        ({"All": False, "Acme": None}, "/integrations/All"),
        ({"All": None, "all": False}, "/integrations/all"),
        ({"All": False, "acme": True}, "/integrations/All"),
    ],
)
def test_these_integrations_keep_an_event_away(integrations: dict[str, Any], path: str) -> None:
    """The reason points at the entry that decided."""
    reason = gate("Acme", event(integrations=integrations))
    assert reason is not None
    assert (reason.code, reason.path) == ("integration_disabled", path)


def test_the_pointer_of_a_name_with_a_slash_is_escaped() -> None:
    """As RFC 6901 wants it."""
    reason = gate("A/B~C", event(integrations={"A/B~C": False}))
    assert reason is not None
    assert reason.path == "/integrations/A~1B~0C"


@pytest.mark.parametrize(
    ("metadata", "passes"),
    [
        ({"bundled": ["Acme"]}, False),
        ({"bundled": ["Segment.io", "Acme"], "unbundled": []}, False),
        ({"bundled": ["acme"]}, True),
        ({"bundled": []}, True),
        ({"unbundled": ["Acme"]}, True),
        ({"bundled": "Acme"}, True),
        ({"bundled": None}, True),
        ({"bundled": [["Acme"], {"Acme": 1}, 5]}, True),
    ],
)
def test_what_the_device_has_sent_is_not_sent_again(metadata: dict[str, Any], passes: bool) -> None:
    """`_metadata.bundled` counts when it is a list with the destination's exact name."""
    reason = gate("Acme", event(_metadata=metadata))
    assert (reason is None) is passes
    if reason:
        assert (reason.code, reason.path) == ("handled_on_device", "/_metadata/bundled")


def test_the_gate_stands_before_the_rules(bench: Any, call: Make) -> None:
    """A rule that would raise is not run for an event that the gate keeps away."""
    (plan,) = bench.dispatcher().plan(call("m-1", do="raise", integrations={"Acme": False}))
    assert (plan.outcome.value, plan.reason.code.value) == ("dropped", "integration_disabled")


class TokenSettings(Settings):
    """A secret."""

    token = text("The token.", required=True, secret=True)


class Inside(Destination):
    """Puts its secret into its items."""

    name = "Inside"
    settings = TokenSettings
    out = Endpoint("POST", "https://x.example", body=json_body(ITEMS))

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """An item with a secret and what the event says."""
        return self.out.item({"auth": f"Token {self.config.token}", "said": event.properties.get("said")})


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=4).filter(lambda word: word[0] != "$")


@given(WORDS)
def test_a_secret_that_a_rule_places_is_masked_there(token: str) -> None:
    """Whatever the secret is made of, the plan shows `***` in its place; on request, the secret."""
    (plan,) = Dispatcher([Inside({"token": token})]).plan(event())
    assert plan.to_dict()["requests"][0]["body"] == [{"auth": "Token ***", "said": None}]
    assert plan.to_dict(show_secrets=True)["requests"][0]["body"][0]["auth"] == f"Token {token}"
    assert plan.requests[0].body != b""


def test_a_value_that_equals_the_secret_by_chance_is_shown() -> None:
    """Masked is the place that the secret fills, not every equal text."""
    (plan,) = Dispatcher([Inside({"token": "Sold"})]).plan(event(properties={"said": "Sold"}))
    assert plan.to_dict()["requests"][0]["body"] == [{"auth": "Token ***", "said": "Sold"}]


class Fussy(Inside):
    """Can't do anything with a secret that is masked."""

    def configured(self) -> None:
        """Decode the token."""
        self.pair = base64.b64decode(self.config.token, validate=True).decode()


class Picky(Inside):
    """Makes nothing of an event when its secret is masked."""

    @rule("track")
    def tracked(self, event: Event) -> Item | None:
        """An item."""
        return super().tracked(event) if self.config.token != "***" else None


@pytest.mark.parametrize("kind", [Fussy, Picky])
def test_a_secret_is_masked_also_where_the_rules_cant_do_without_it(kind: type[Inside]) -> None:
    """Then its value is masked in the items that were made."""
    token = base64.b64encode(b"user:word").decode()
    (plan,) = Dispatcher([kind({"token": token})]).plan(event())
    assert plan.to_dict()["requests"][0]["body"] == [{"auth": "Token ***", "said": None}]


def test_a_secret_is_masked_also_when_the_event_was_let_go() -> None:
    """Delivery keeps plans without their events; what is shown of them has no secrets either."""
    (plan,) = Dispatcher([Inside({"token": "tok-1234"})]).plan(event())
    plan.event = None
    assert plan.to_dict()["requests"][0]["body"] == [{"auth": "Token ***", "said": None}]


class Wide(Inside):
    """Makes an item of any size."""

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """An item."""
        return self.out.item("x" * event.properties["size"])


def test_an_item_that_no_request_can_hold_makes_the_event_invalid() -> None:
    """`item_too_large` names both sizes and what to do."""
    dispatcher = Dispatcher([Wide({"token": "t-1"})])
    (plan,) = dispatcher.plan(event(properties={"size": 999_999}))
    assert (plan.outcome.value, plan.reason and plan.reason.code.value) == ("invalid", "item_too_large")
    assert "1,000,003" in plan.reason.message
    assert "1,000,000" in plan.reason.message
    (plan,) = dispatcher.plan(event(properties={"size": 999_996}))
    assert plan.outcome.value == "planned"


@pytest.mark.parametrize(
    ("given", "user"),
    [
        ({"userId": "u", "anonymousId": "a"}, "u"),
        ({"userId": None, "anonymousId": "a"}, "a"),
        ({"userId": "", "anonymousId": "a"}, "a"),
        ({"userId": 7}, "7"),
    ],
)
def test_order_is_kept_by_user_else_by_visitor(bench: Any, given: dict[str, Any], user: str) -> None:
    """The key is `userId`, else `anonymousId`."""
    (plan,) = bench.dispatcher().plan({"type": "track", "event": "E", **given})
    assert plan.user == user
