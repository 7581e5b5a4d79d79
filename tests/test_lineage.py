"""Lineage by perturbation, on plugins that were written to mislead it, and on Amplitude beside its rule book."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from marshmallow import ValidationError, fields, validate, validates_schema
from msgspec import UNSET

from turnout import (
    ITEMS,
    Batch,
    Destination,
    Dispatcher,
    Drop,
    Endpoint,
    Event,
    Explanation,
    Inputs,
    Item,
    Plan,
    Refusal,
    Settings,
    bearer,
    explain,
    json_body,
    load_destination,
    rule,
    setting,
)
from turnout.lineage import Change, Edge, Source, Target, applied
from turnout.settings import choice, flag, integer, mapping, names, text
from turnout.specimens import specimens
from turnout.testing.strategies import events

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class OddSettings(Settings):
    """Settings of every kind."""

    token = text("A secret.", secret=True)
    mode = choice("A choice.", ["calm", "loud"], default="calm")
    extra = flag("Adds a field.")
    most = integer("A bound.", default=3, minimum=0, maximum=9)
    label = text("A text.", default="plain-label")
    dropped = names("Properties that are left out.", default=["internal"])
    renamed = mapping("Properties under another name.", default={"colour": "color"})


class Odd(Destination):
    """Its rule is given by each test."""

    name = "Odd"
    settings = OddSettings
    pure = True
    out = Endpoint("POST", "https://odd.example/in", body=json_body({"items": ITEMS}))
    other = Endpoint("POST", "https://odd.example/other", body=json_body(ITEMS), batch=Batch(items=9))


def odd(make: Callable[..., Any]) -> type[Destination]:
    """Return a destination whose only rule for track calls makes of the properties what `make` says."""

    def tracked(self: Any, event: Event) -> Any:
        """Make what the test says."""
        made = make(self, event)
        return self.out.item(made) if isinstance(made, dict | str) else made

    return type("Odd", (Odd,), {"tracked": rule("track")(tracked)})


def track(**properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": "message-1",
        "userId": "user-22",
        "event": "Thing Done",
        "timestamp": "2026-01-02T03:04:05Z",
        "properties": properties,
    }


def explained(make: Callable[..., Any], given: dict[str, Any] | None = None, **properties: Any) -> Explanation:
    return explain(odd(make), track(**properties), given or {}, now=NOW)


def sources(found: Explanation, path: str, number: int = 1) -> dict[str, str]:
    """Return the kind of each source of a field."""
    edges = [edge for edge in found.edges if edge.target == Target("item", "tracked", number, path)]
    return {str(edge.source).removeprefix("/properties"): edge.kind for edge in edges}


def edge(found: Explanation, source: str, path: str) -> Edge:
    """Return the edge from a property to a field."""
    (one,) = (
        one
        for one in found.edges
        if str(one.source) == f"/properties/{source}" and one.target == Target("item", "tracked", 1, path)
    )
    return one


# adversarial plugins


def test_values_that_are_combined_are_each_copied() -> None:
    """A text made of two values contains both."""
    found = explained(
        lambda _, e: {"name": f"{e.properties['first']} {e.properties['last']}"}, first="Ada", last="Byron"
    )
    assert sources(found, "/name") == {"/first": "copied", "/last": "copied"}


def test_a_condition_on_a_value_that_is_not_copied_is_seen() -> None:
    """The field comes and goes with it, and the witness shows both."""
    found = explained(lambda _, e: {"a": 1} | ({"gold": "yes"} if e.properties.get("vip") else {}), vip=True)
    assert sources(found, "/gold") == {"/vip": "condition"}
    shown = edge(found, "vip", "/gold")
    assert (shown.before, shown.after, shown.output_before, shown.output_after) == (True, UNSET, "yes", UNSET)


def test_a_field_that_a_value_would_add_is_told() -> None:
    """What is not in the output has an edge as well, with nothing before."""
    found = explained(lambda _, e: {"a": 1} | ({"gold": "yes"} if e.properties["vip"] else {}), vip=False)
    assert [str(one.source) for one in found.items[0].absent] == ["/properties/vip"]
    assert found.items[0].absent[0].output_before is UNSET


def test_a_hash_is_derived() -> None:
    """It changes with the value, and doesn't contain it."""
    found = explained(lambda _, e: {"id": hashlib.md5(e.user_id.encode()).hexdigest()})
    assert sources(found, "/id") == {"/userId": "derived"}


def test_elements_that_are_sorted_are_followed() -> None:
    """Each element of the output comes from its own element of the input, wherever both stand."""
    found = explained(lambda _, e: {"tags": sorted(e.properties["tags"])}, tags=["walnut", "ash", "maple"])
    assert sources(found, "/tags/0") == {"/tags/1": "copied"}
    assert sources(found, "/tags/1") == {"/tags/2": "copied"}
    assert sources(found, "/tags/2") == {"/tags/0": "copied"}
    assert sources(found, "/tags") == {}


def test_the_order_of_a_list_is_told_where_it_is_kept() -> None:
    """Two elements that change places move the list, not its elements."""
    found = explained(lambda _, e: {"tags": e.properties["tags"]}, tags=["walnut", "ash"])
    assert sources(found, "/tags") == {"/tags": "copied"}
    assert sources(found, "/tags/0") == {"/tags/0": "copied"}


def test_objects_in_a_list_that_is_reordered_are_followed_by_what_they_hold() -> None:
    """Sorted by price: the product with the lower price comes first, also when the other becomes cheaper."""
    products = [{"sku": "sku-a", "name": "Lamp", "price": 90.5}, {"sku": "sku-b", "name": "Stove", "price": 20.25}]
    found = explained(
        lambda _, e: {"all": sorted(e.properties["all"], key=lambda one: str(one.get("price", 0)))}, all=products
    )
    assert sources(found, "/all/0/name") == {"/all/1/name": "copied"}
    assert sources(found, "/all/1/price") == {"/all/0/price": "copied"}


def many(self: Any, event: Event) -> Iterator[Item]:
    for number, one in enumerate(event.properties["all"]):
        yield self.out.item({"number": number, **one}, b"", f"{event.message_id}-{one.get('sku', number)}")


def test_an_item_that_goes_does_not_make_those_behind_it_look_changed() -> None:
    """Of n items each comes from its element; only the number moves with those in front."""
    found = explained(many, all=[{"sku": "sku-a", "name": "Lamp"}, {"sku": "sku-b", "name": "Stove"}, {"sku": "sku-c"}])
    assert [item.number for item in found.items] == [1, 2, 3]
    for number in (1, 2, 3):
        assert sources(found, "/sku", number) == {f"/all/{number - 1}/sku": "copied"}
        made = {str(edge.source) for edge in found.items[number - 1].edges if edge.target.part == "item"}
        assert made == {f"/properties/all/{number - 1}"}
    assert sources(found, "/name", 2) == {"/all/1/name": "copied"}
    assert sources(found, "/number", 3) == {"/all/0": "derived", "/all/1": "derived"}


def test_items_that_change_places_are_followed() -> None:
    """Of two items that are sorted each comes from its own element, and what decides on the order is told."""

    def make(self: Any, event: Event) -> list[Item]:
        return [self.out.item(one) for one in sorted(event.properties["all"], key=lambda one: one.get("rank", 5) > 6)]

    lamp = {"rank": 1, "name": "Lamp", "colour": "teal", "shape": "round"}
    found = explained(make, all=[lamp, {"rank": 3, "title": "Stove", "size": "large", "fuel": "gas"}])
    assert sources(found, "/name", 1) == {"/all/0/name": "copied"}
    assert sources(found, "/title", 2) == {"/all/1/title": "copied"}
    assert {str(edge.source) for edge in found.items[0].edges} == {"/properties/all/0"}


def test_many_items_of_which_one_goes_are_matched() -> None:
    """Also where they are so many that not all pairs are compared."""
    elements = [{"sku": f"sku-{number}", "name": f"Thing {number}"} for number in range(70)]
    found = explained(many, all=elements)
    assert sources(found, "/name", 70) == {"/all/69/name": "copied"}
    assert sources(found, "/number", 2) == {"/all/0": "derived"}


def test_the_idempotency_key_has_its_sources() -> None:
    """It is told apart from the fields of the item."""
    found = explained(many, all=[{"sku": "sku-a"}])
    key = found.items[0].key
    assert key is not None
    assert key.value == "message-1-sku-a"
    assert {str(edge.source): edge.kind for edge in key.edges} == {
        "/messageId": "copied",
        "/properties/all/0/sku": "copied",
    }


def test_a_chain_of_fallbacks_is_followed_to_its_end() -> None:
    """Each value behind the first is named with what has to be missing for it."""
    found = explained(
        lambda _, e: {"id": e.properties.get("a") or e.properties.get("b") or e.properties.get("c")},
        a="apple", b="banana", c="cherry",
    )  # fmt: skip
    assert sources(found, "/id") == {"/a": "copied", "/b": "copied", "/c": "copied"}
    chain = [{str(one) for one in edge(found, name, "/id").without} for name in "abc"]
    assert chain == [set(), {"/properties/a"}, {"/properties/a", "/properties/b"}]
    third = edge(found, "c", "/id")
    assert (third.output_before, third.before) == ("cherry", "cherry")


def test_a_fallback_with_the_same_value_is_found() -> None:
    """Losing the first changes nothing then; the second is found all the same."""
    found = explained(lambda _, e: {"id": e.properties.get("a") or e.properties.get("b")}, a="same-one", b="same-one")
    assert sources(found, "/id") == {"/a": "copied", "/b": "copied"}


def test_values_of_which_one_is_enough_are_found_together() -> None:
    """No single change shows them, also where both are copied elsewhere."""
    found = explained(
        lambda _, e: {**e.properties, "reachable": bool(e.properties.get("email") or e.properties.get("phone"))},
        email="ada@example.com", phone="+46-70-1234", other="something",
    )  # fmt: skip
    assert sources(found, "/reachable") == {"/email": "derived", "/phone": "derived"}
    assert {str(one) for one in edge(found, "phone", "/reachable").without} == {"/properties/email"}


class Paired(Settings):
    """Flags of which two count together."""

    audit = flag("Tells who it was.", default=True)
    verbose = flag("Tells everything.", default=True)
    debug = flag("Tells of its inside.")
    deep = flag("Tells more of it.")
    always = flag("Tells it in any case.", default=True)
    vips = flag("Knows vips.")
    token = text("A secret.", secret=True)


class Couple(Odd):
    """Nothing of it counts by itself."""

    settings = Paired

    @rule("track")
    def tracked(self, event: Event) -> Iterator[Item]:
        """Make what two of them say."""
        config, given = self.config, event.properties
        made = {"id": event.message_id, "level": 7 if config.debug and config.verbose else 4}
        if config.audit or config.verbose:
            made["audit"] = "yes"
        if config.debug and config.deep:
            made["trace"] = "all"
        if config.vips and given.get("vip"):
            made["vip"] = "hello"
        if given.get("wrapped") and given.get("paid"):
            made["gift"] = "bow"
        yield self.out.item(made)
        if config.always or given.get("forced"):
            yield self.out.item({"copy": "of it"})


COUPLE = track(vip=False, wrapped=False, paid=False, forced=True)


def joined(found: Explanation, number: int, path: str) -> dict[str, set[str]]:
    """Return the sources of a place that count only when others are changed, each with these."""
    target = Target("item", "tracked", number, path)
    edges = [edge for edge in found.edges if edge.target == target and edge.given]
    return {str(edge.source): {str(one.source) for one in edge.given} for edge in edges}


def pair(one: str, two: str) -> dict[str, set[str]]:
    return {one: {two}, two: {one}}


def test_settings_and_values_that_only_count_together_are_found() -> None:
    """Two settings either of which is enough, or that are both needed; a setting and a value; two idle values."""
    found = explain(Couple, COUPLE, {"token": "key-of-the-couple"}, now=NOW)
    assert joined(found, 1, "/audit") == pair("setting audit", "setting verbose")
    assert joined(found, 1, "/trace") == pair("setting debug", "setting deep")
    assert joined(found, 1, "/vip") == pair("setting vips", "/properties/vip")
    assert joined(found, 1, "/gift") == pair("/properties/wrapped", "/properties/paid")
    assert joined(found, 2, "") == pair("setting always", "/properties/forced")
    assert joined(found, 1, "/id") == {}
    assert not {"/properties/vip", "/properties/wrapped", "/properties/forced"} & {*found.unread}
    assert verify(Couple({"token": "key-of-the-couple"}, id="couple"), COUPLE, found) > 10


def test_what_counts_alone_is_not_told_again() -> None:
    """A setting that has a part in a field by itself has it without conditions."""
    found = explain(Couple, COUPLE, {"debug": True}, now=NOW)
    assert [edge.given for edge in found.edges if edge.target == Target("item", "tracked", 1, "/level")] == [(), ()]
    assert joined(found, 1, "/level") == {}


class Strict(Paired):
    """Settings that exclude each other."""

    @validates_schema
    def check_deep(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse both."""
        if data["debug"] and data["deep"]:
            raise ValidationError("both together can't be.")


def test_settings_that_exclude_each_other_do_not_count_together() -> None:
    """What the schema refuses is left out."""
    found = explain(type("Couple", (Couple,), {"settings": Strict}), COUPLE, {}, now=NOW)
    assert joined(found, 1, "/trace") == {}
    assert joined(found, 1, "/audit") == pair("setting audit", "setting verbose")


def test_a_value_that_others_hide_is_found() -> None:
    """`adult` counts only once there is consent, and a quantity only when there is a price."""

    def make(_: Any, event: Event) -> dict[str, Any]:
        given = event.properties
        made = {"total": str(abs(int(given["price"] * given.get("pieces", 1))))}
        return made | ({"ok": 1} if given.get("consent") and given.get("adult") else {})

    found = explained(make, price=0, pieces=40, consent=False, adult=True)
    assert sources(found, "/total") == {"/price": "derived", "/pieces": "derived"}
    (hidden,) = edge(found, "pieces", "/total").given
    assert str(hidden.source) == "/properties/price"
    assert sources(found, "/ok") == {"/consent": "condition", "/adult": "condition"}
    assert found.unread == ("/messageId",)


def test_what_is_read_from_the_event_as_a_dict_or_as_text_is_seen() -> None:
    """It doesn't matter how a plugin reads."""
    found = explained(
        lambda _, e: {"whole": e.to_dict()["properties"]["deep"]["er"], "text": json.loads(e.raw)["properties"]["x"]},
        deep={"er": "deepest"}, x="flattest",
    )  # fmt: skip
    assert sources(found, "/whole") == {"/deep/er": "copied"}
    assert sources(found, "/text") == {"/x": "copied"}


def test_a_rule_that_raises_for_some_values_is_a_condition(caplog: pytest.LogCaptureFixture) -> None:
    """What a changed event breaks is told as a condition, neither raised nor logged."""

    def make(_: Any, event: Event) -> dict[str, Any]:
        if event.properties.get("size") == 0:
            raise ZeroDivisionError("no size")
        return {"per": 100 / event.properties["size"]}

    with caplog.at_level(logging.DEBUG, "turnout"):
        found = explained(make, size=8)
    assert caplog.records == []
    assert sources(found, "/per") == {"/size": "derived"}
    ending = [one for one in found.deciding if str(one.source) == "/properties/size"]
    assert [one.output_after["outcome"] for one in ending] == ["failed"]
    assert "KeyError" in ending[0].output_after["message"]


@pytest.mark.parametrize("stop", [Drop, Refusal])
def test_a_rule_that_stops_an_event_is_a_condition(stop: type[Drop]) -> None:
    """The value that decides is named at the event as a whole."""

    def make(_: Any, event: Event) -> dict[str, Any]:
        if event.properties.get("test"):
            raise stop("filtered", "only a test", "/properties/test")
        return {"a": 1}

    found = explained(make, test=False)
    assert {str(one.source) for one in found.deciding} >= {"/properties/test", "/type", "/event", "/userId"}


def test_a_value_that_is_copied_into_two_places_has_two_edges() -> None:
    """And each of them its own witness."""
    found = explained(lambda _, e: {"a": e.properties["x"], "b": {"c": e.properties["x"]}}, x="twofold")
    assert sources(found, "/a") == sources(found, "/b/c") == {"/x": "copied"}


def test_a_plugin_that_changes_its_event_misleads_nobody() -> None:
    """Each mapping gets an event of its own, also when the plugin claims to be pure."""

    def make(_: Any, event: Event) -> dict[str, Any]:
        event.properties["count"] = event.properties.get("count", 0) + 1
        return {"count": event.properties["count"], "name": event.properties.pop("name", None)}

    found = explained(make, count=41, name="popped")
    assert sources(found, "/count") == {"/count": "derived"}
    assert sources(found, "/name") == {"/name": "copied"}


def test_what_is_different_each_time_is_told_and_not_explained() -> None:
    """A plugin that is not pure can't be questioned about the places where it isn't."""
    found = explained(lambda _, e: {"nonce": random.random(), "name": e.properties["name"]}, name="kept")
    assert found.unstable == ("item tracked 1 /nonce",)
    assert sources(found, "/nonce") == {}
    assert sources(found, "/name") == {"/name": "copied"}


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        (lambda value: value == 0, 5),
        (lambda value: isinstance(value, int | float) and value < 0, 5),
        (lambda value: isinstance(value, float) and value % 1 != 0, 5),
        (lambda value: isinstance(value, int), 5.5),
        (lambda value: value == "", "word"),
        (lambda value: isinstance(value, str) and value.isdigit(), "word"),
        (lambda value: isinstance(value, str) and not value.isdigit(), "1234"),
        (lambda value: isinstance(value, str) and value.isupper(), "word"),
        (lambda value: value is None, "word"),
        (lambda value: value == "word", "word"),
        (lambda value: value is True, False),
        (lambda value: isinstance(value, str) and value < "2026-06", "2026-01-02T03:04:05Z"),
        (lambda value: value == ["b", "a"], ["a", "b"]),
        (lambda value: isinstance(value, list) and len(value) > 2, ["a", "b"]),
        (lambda value: isinstance(value, list) and len(value) < 2, ["a", "b"]),
        (lambda value: bool(value), []),
        (lambda value: bool(value), {}),
        (lambda value: bool(value), None),
        (lambda value: isinstance(value, dict) and "k" in value, {"k": 1}),
    ],
)
def test_every_declared_change_is_made(condition: Callable[[Any], bool], value: Any) -> None:
    """A condition that only one kind of change can show is seen, whatever the value is of."""
    found = explained(lambda _, e: {"is": condition(e.properties.get("x"))}, x=value)
    assert "/is" in {one.target.path for one in found.edges if str(one.source).startswith("/properties/x")}


@pytest.mark.parametrize(
    ("make", "places"),
    [
        (lambda e: e.type, {"/type"}),
        (lambda e: e.context.library.name == "analytics-ios", {"/context/library/name"}),
        (lambda e: e.context.page.url, {"/context/page/url"}),
        (
            lambda e: "source=" in (e.context.page.url or "") and e.context.page.url.split("source=")[1],
            {"/context/page/url"},
        ),
        (lambda e: len(e.properties.get("all", ())), {"/properties/all/0", "/properties/all/1"}),
    ],
)
def test_the_places_that_are_read_are_the_ones_that_are_told(make: Callable[[Event], Any], places: set[str]) -> None:
    """Call type, library, the parameters of an address, and how many elements there are."""
    event = track(all=[{"sku": "sku-a"}, {"sku": "sku-b"}]) | {
        "context": {"library": {"name": "analytics-java"}, "page": {"url": "https://a.example/?source=mail"}}
    }

    def tracked(self: Any, event: Event) -> Any:
        """Make what the test says."""
        return self.out.item({"is": make(event)})

    kind = type("Odd", (Odd,), {"tracked": rule("track", "page", "identify")(tracked)})
    found = explain(kind, event, {}, now=NOW)
    assert {str(one.source) for one in found.edges if one.target.path == "/is"} == places


def test_unread_values_are_listed() -> None:
    """Those that nothing reads, and no others."""
    found = explained(lambda _, e: {"a": e.properties["read"]}, read="so", unread="not so", deep={"unread": [1]})
    assert found.unread == ("/messageId", "/properties/unread", "/properties/deep/unread/0")


def test_the_gate_is_explained() -> None:
    """`integrations` and `_metadata` decide, by the destination's name."""
    event = track() | {"integrations": {"Odd": True, "Else": True}, "_metadata": {"bundled": ["Segment.io"]}}
    found = explain(odd(lambda *_: {"a": 1}), event, {}, now=NOW)
    assert "/integrations/Odd" in {str(one.source) for one in found.deciding}
    assert "/integrations/Else" in found.unread


# settings


def test_settings_have_edges_of_every_kind() -> None:
    """A choice, a flag, a number, a text, a list and an object each show what they do."""

    def make(self: Any, event: Event) -> dict[str, Any]:
        config = self.config
        kept = {config.renamed.get(key, key): one for key, one in event.properties.items() if key not in config.dropped}
        more = {"more": "extra"} if config.extra else {}
        return {**kept, **more, "mode": config.mode, "most": config.most * 2, "label": f"<{config.label}>"}

    found = explained(make, internal="secret-plan", colour="teal", size="large")
    assert sources(found, "/mode") == {"setting mode": "copied"}
    assert sources(found, "/most") == {"setting most": "derived"}
    assert sources(found, "/label") == {"setting label": "copied"}
    assert sources(found, "/color") == {"/colour": "copied", "setting renamed": "condition"}
    assert sources(found, "/more") == {"setting extra": "condition"}
    assert sources(found, "/internal") == {"setting dropped": "condition"}
    # That a list could also name a property that it doesn't name is tried with one of the event's.
    assert sources(found, "/size") == {"/size": "copied"}
    assert sources(found, "/colour") == {"setting renamed": "condition"}


class PairedSettings(Settings):
    """Refuses one combination, and a name that is too short."""

    limit = integer("A limit.", default=5)
    strict = flag("Needs a limit below 10.", default=True)
    partner = text("Needs a label.", requires="label")
    label = text("A label.")

    @validates_schema
    def below(self, data: dict[str, Any], **_: Any) -> None:
        """Check both together."""
        if data["strict"] and data["limit"] > 10:
            raise ValidationError("with strict, limit must be below 10")


def test_a_value_that_the_schema_refuses_is_no_witness() -> None:
    """Settings that could never be configured explain nothing."""

    class Paired(Odd):
        settings = PairedSettings

        @rule("track")
        def tracked(self, event: Event) -> Item:
            """An item."""
            config = self.config
            return self.out.item({"high": config.limit > 10, "partner": config.partner, "limit": config.limit})

    found = explain(Paired, track(), {}, now=NOW)
    assert sources(found, "/partner") == {}
    assert sources(found, "/high") == {}
    assert sources(found, "/limit") == {"setting limit": "copied"}


def test_a_plugin_that_can_not_work_with_a_setting_is_explained_all_the_same() -> None:
    """A value with which it can't be configured is left out."""

    class Brittle(Odd):
        def configured(self) -> None:
            """Fail for a loud mode."""
            if self.config.mode == "loud":
                raise LookupError("too loud")

        @rule("track")
        def tracked(self, event: Event) -> Item:
            """An item."""
            return self.out.item({"mode": self.config.mode, "who": event.user_id})

    found = explain(Brittle, track(), {}, now=NOW)
    assert sources(found, "/who") == {"/userId": "copied"}
    assert sources(found, "/mode") == {}


class UnusualSettings(Settings):
    """Plain marshmallow fields, with values that JSON can't say."""

    rate = fields.Decimal(load_default=Decimal("1.5"))
    ratio = fields.Raw(load_default=lambda: 2 + 1j)
    level = fields.String(load_default="low", validate=validate.OneOf(["low", "high"]))
    nothing = fields.Raw(load_default=None, allow_none=True)


def test_plain_marshmallow_settings_are_changed_as_well() -> None:
    """By their kind and their choices; what can't be changed is left alone."""

    class Unusual(Odd):
        settings = UnusualSettings

        @rule("track")
        def tracked(self, event: Event) -> Item:
            """An item."""
            return self.out.item({"level": self.config.level, "rate": str(self.config.rate), "who": event.user_id})

    found = explain(Unusual, track(), {}, now=NOW)
    assert sources(found, "/level") == {"setting level": "copied"}
    assert sources(found, "/who") == {"/userId": "copied"}


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, -0.0, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_values_at_the_edge_are_changed_too(value: Any) -> None:
    """Numbers that no double holds, and times at the end of the calendar."""
    found = explained(lambda _, e: {"is": e.properties.get("x")}, x=value)
    assert sources(found, "/is") == {"/x": "copied"}


class SecretSettings(Settings):
    """Secrets of two kinds."""

    token = text("The token.", required=True, secret=True)
    words = names("Secret words.", secret=True)
    project = text("The project.", default="project-1")


class Secret(Destination):
    """Puts its secrets everywhere."""

    name = "Secret"
    settings = SecretSettings
    pure = True
    out = Endpoint(
        "POST",
        "https://secret.example/{project}/{token}",
        body=json_body({"key": setting("token"), "all": ITEMS}),
        auth=bearer("token"),
        headers={"x-project": setting("project")},
    )

    @rule("track")
    def tracked(self, event: Event) -> Item:
        """An item with the token in it, with its hash, and with a secret word."""
        token = self.config.token
        hashed = hashlib.sha256(token.encode()).hexdigest()
        if event.properties.get("debug"):
            return self.out.item({"leak": token, "who": event.user_id})
        return self.out.item(
            {"auth": f"Token {token}", "hash": hashed, "who": event.user_id, "words": self.config.words}
        )


def test_secrets_are_explained_and_never_shown() -> None:
    """Fields that a secret has a part in have an edge, and nothing of the secret or of what it was changed to shows."""
    found = explain(Secret, track(debug=False), {"token": "tok-98765", "words": ["hush-hush"]}, now=NOW)
    told = json.dumps(found.to_dict(witnesses=True)) + repr(found) + str(found)
    assert "tok-98765" not in told
    assert "hush" not in told
    assert hashlib.sha256(b"tok-98765").hexdigest() not in told
    values = {field.path: field.value for field in found.items[0].fields}
    assert values == {"/auth": "***", "/hash": "***", "/who": "user-22", "/words/0": "***"}
    assert sources(found, "/auth") == {"setting token": "copied", "/debug": "condition"}
    assert sources(found, "/hash") == {"setting token": "derived", "/debug": "condition"}
    secret = [one for one in found.edges if one.source == Source("setting", "token")]
    assert {value for one in secret for value in (one.before, one.after)} == {"***"}
    (leak,) = (one for one in found.items[0].absent if one.target.path == "/leak")
    assert leak.output_after == "***"


def test_what_surrounds_the_items_is_explained() -> None:
    """URL, headers and envelope come from settings."""
    found = explain(Secret, track(), {"token": "tok-98765"}, now=NOW)
    (request,) = found.requests
    told = {field.path: (field.value, sorted({str(edge.source) for edge in field.edges})) for field in request.fields}
    assert told["/url"] == (
        "https://secret.example/project-1/***",
        ["setting base_url", "setting project", "setting token"],
    )
    assert told["/headers/x-project"] == ("project-1", ["setting project"])
    assert told["/headers/authorization"] == ("Bearer ***", ["setting token"])
    assert told["/body/key"] == ("***", ["setting token"])
    assert told["/method"] == ("POST", [])


def test_where_an_item_goes_is_explained() -> None:
    """A setting or a value that sends it to another endpoint is an edge of the endpoint, and the fields stay."""

    def make(self: Any, event: Event) -> Item:
        target = self.other if event.properties.get("far") else self.out
        return target.item({"name": event.event})

    found = explained(make, far=False)
    (moved,) = (one for one in found.items[0].edges if one.target.part == "endpoint")
    assert (str(moved.source), moved.output_before, moved.output_after) == ("/properties/far", "out", "other")
    assert sources(found, "/name") == {"/event": "copied"}


# what stands in for what an event lacks, and what earlier events left


def test_the_clock_and_a_made_message_id_are_sources() -> None:
    """Only where the event has no time and no message id of its own."""
    event = {"type": "track", "userId": "user-22", "event": "Thing Done"}
    make = odd(lambda _, e: {"time": e.timestamp_ms, "id": e.message_id})
    found = explain(make, event, {}, now=NOW)
    assert sources(found, "/time") == {"the clock": "derived"}
    assert sources(found, "/id") == {"the made messageId": "copied"}
    found = explain(make, track(), {}, now=NOW)
    assert sources(found, "/time") == {"/timestamp": "derived"}
    assert sources(found, "/id") == {"/messageId": "copied"}


def test_a_time_depends_on_all_that_it_is_made_of() -> None:
    """`timestamp = receivedAt - (sentAt - originalTimestamp)`."""
    event = track() | {"sentAt": "2026-01-02T03:04:06Z", "receivedAt": "2026-01-02T03:04:09Z"}
    found = explain(odd(lambda _, e: {"time": e.timestamp_ms}), event, {}, now=NOW)
    assert sources(found, "/time") == dict.fromkeys(("/timestamp", "/sentAt", "/receivedAt"), "derived")


class SessionSettings(Settings):
    """Device mode."""

    connection_mode = choice("The mode.", ["cloud", "device"], default="device")


class Session(Destination):
    """Depends on what earlier events left."""

    name = "Session"
    settings = SessionSettings
    pure = True
    out = Endpoint("POST", "https://session.example", body=json_body(ITEMS))

    def device_of(self, event: Event, carried: Any) -> str | None:
        """Return the visitor."""
        return event.anonymous_id

    def prepare(self, event: Event, carried: Any) -> Any:
        """Return both."""
        return event, carried

    @rule("track", platforms=("server",))
    def tracked(self, call: Any) -> Item:
        """An item."""
        event, carried = call
        return self.out.item({"new": carried is None or carried.new_session, "name": event.event})


def test_what_earlier_events_left_is_a_source() -> None:
    """It is held fast while the event is changed, and changed by itself."""
    inputs = Inputs()
    event = track() | {"anonymousId": "visitor-3"}
    first = explain(Session, event, {}, inputs, now=NOW)
    second = explain(Session, event | {"messageId": "message-2"}, {}, inputs, now=NOW)
    assert first.items[0].fields[0].value is True
    assert second.items[0].fields[0].value is False
    assert {str(edge.source) for edge in second.items[0].fields[0].edges} == {
        "inputs new_session",
        "setting connection_mode",
    }


# every witness is true


def place(plan: Plan, target: Target) -> Any:
    """Return what stands at a target, without help of the code that is tested."""
    items = [item for item in plan.items if item.rule == target.rule]
    if target.part == "event":
        return plan.outcome.value
    if target.part == "new" or len(items) < target.number:
        return len(items)
    item = items[target.number - 1]
    if target.part != "item":
        return item.key if target.part == "key" else item.endpoint.name
    value = json.loads(item.data)
    for key in target.path.split("/")[1:]:
        step = key.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else UNSET
        else:
            value = value.get(step, UNSET) if isinstance(value, dict) else UNSET
    return value


def told(value: Any) -> str:
    return "UNSET" if value is UNSET else json.dumps(value, sort_keys=True)


def under(destination: Destination, changes: Iterable[Change]) -> Destination:
    """Return the destination with those of the changes that are of settings."""
    made = {one.source.name: one.after for one in changes if one.source.kind == "setting"}
    own = {name: destination.config[name] for name in destination.config if name in destination.config.given}
    kind = type(destination)
    return kind(kind.settings.overlay(own, made), id=destination.id) if made else destination


def verify(destination: Destination, event: dict[str, Any], found: Explanation) -> int:
    """Map both events of every witness that an event shows, and return how many there were."""
    message_id = found.message_id or "unread"

    def planned(given: dict[str, Any], *changes: Change) -> Plan:
        target = {destination.id: under(destination, changes)}
        return Dispatcher(target, clock=lambda: NOW, new_id=lambda _: message_id).plan(json.dumps(given))[0]

    number = 0
    for one in found.edges:
        joint = one.source.kind == "setting" and one.given
        if one.source.kind != "event" and not joint:
            continue
        number += 1
        first, second = one.inputs(event)
        before = planned(first, *one.given)
        after = planned(second, *one.given, Change(one.source, one.before, one.after))
        where = f"{one} for {event}"
        assert told(before.to_dict()) != told(after.to_dict()), where
        if one.target.part == "event":
            assert place(before, one.target) == one.output_before["outcome"], where
            assert place(after, one.target) == one.output_after["outcome"], where
        elif len(before.items) == len(after.items) and one.target.path and not re.search(r"/[0-9-]", one.target.path):
            # Where lists lead to, and where items came or went, positions are not the same on both sides.
            assert told(place(before, one.target)) == told(one.output_before), where
            assert told(place(after, one.target)) == told(one.output_after), where
    return number


AMPLITUDE = load_destination("amplitude")(
    {
        "api_key": "key-1234",
        "secret_key": "secret-1234",
        "track_named_pages": True,
        "enable_alias": True,
        "group_type_trait": "industry",
        "group_value_trait": "name",
    }
)


SPECIMENS = {one.name: one.event for one in specimens(0, AMPLITUDE, parts=False)}


@cache
def found_for(name: str) -> Explanation:
    """Return the explanation of a specimen, which takes a while."""
    return explain(AMPLITUDE, SPECIMENS[name], now=NOW)


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_witness_of_a_specimen_is_true(name: str) -> None:
    """Both events of each edge, mapped by a dispatcher, have the two outputs that it tells."""
    assert verify(AMPLITUDE, SPECIMENS[name], found_for(name)) > 1


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(events)
def test_every_witness_of_any_event_is_true(event: dict[str, Any]) -> None:
    """Also of events in which anything is wrong; explaining them raises nothing, and what it tells is JSON."""
    found = explain(AMPLITUDE, event, now=NOW)
    json.dumps(found.to_dict(witnesses=True), allow_nan=False)
    verify(AMPLITUDE, event, found)


@pytest.mark.parametrize("name", SPECIMENS)
def test_unread_values_can_all_be_taken_away_at_once(name: str) -> None:
    """Without all of them the event becomes the same."""
    found = found_for(name)
    event = applied(SPECIMENS[name], [Change(Source("event", path), 0, UNSET) for path in found.unread])
    dispatcher = Dispatcher({"amplitude": AMPLITUDE}, clock=lambda: NOW, new_id=lambda _: str(found.message_id))
    (left,), (whole,) = dispatcher.plan(event), dispatcher.plan(SPECIMENS[name])
    assert left.to_dict()["requests"] == whole.to_dict()["requests"]


def test_changes_of_a_list_are_applied_by_their_first_positions() -> None:
    """Several elements that are deleted go at once, and a change beside them stands where it was meant."""
    event = {"all": ["zero", "one", "two", "three"]}
    changes = [
        Change(Source("event", "/all/0"), "zero", UNSET),
        Change(Source("event", "/all/2"), "two", UNSET),
        Change(Source("event", "/all/3"), "three", "drei"),
        Change(Source("event", "/new/deep"), UNSET, 1),
        Change(Source("setting", "mode"), "calm", "loud"),
    ]
    assert applied(event, changes) == {"all": ["one", "drei"], "new": {"deep": 1}}
    assert event == {"all": ["zero", "one", "two", "three"]}


# long lists


def each(self: Any, event: Event) -> Iterator[Item]:
    """Yield an item for each line, whose stamp is a whole order's."""
    for number, line in enumerate(event.properties["lines"]):
        yield self.out.item({"sku": line.get("sku"), "paid": line.get("price"), "stamp": event.properties["stamp"]})
        if line.get("price") == 0:
            yield self.other.item({"free": number})


def neighbours(self: Any, event: Event) -> Iterator[Item]:
    """Yield items that each say what stands in the line before."""
    lines = event.properties["lines"]
    for before, line in zip([{}, *lines], lines, strict=False):
        yield self.out.item({"sku": line.get("sku"), "after": before.get("sku"), "stamp": event.properties["stamp"]})


def copied(_: Any, event: Event) -> dict[str, Any]:
    """Return an item with all lines, of which those with a numeric code say so."""
    lines = event.properties["lines"]
    return {"lines": [{**one, "numeric": str(one.get("sku", "")).isdigit()} for one in lines]}


def summed(_: Any, event: Event) -> dict[str, Any]:
    """Return an item with what all lines come to."""
    lines = event.properties["lines"]
    return {"sum": sum(one.get("price") or 0 for one in lines), "skus": "/".join(str(one.get("sku")) for one in lines)}


def refused(_: Any, event: Event) -> dict[str, Any]:
    """Return an item unless a price is negative; one that is no whole number counts."""
    lines = event.properties["lines"]
    if any(one.get("price", 0) < 0 for one in lines):
        raise Refusal("vendor_would_refuse", "A price is below zero.", "/properties/lines")
    return {"first": lines[0].get("sku"), "odd": sum(one.get("price", 0) % 1 != 0 for one in lines)}


def fallen_back(self: Any, event: Event) -> Iterator[Item]:
    """Yield items that are called by the name where there is no code."""
    for line in event.properties["lines"]:
        yield self.out.item({"id": line.get("sku") or line.get("name"), "stamp": event.properties["stamp"]})


def one_hidden(_: Any, event: Event) -> dict[str, Any]:
    """Return an item in which one line of many counts, and only when its code is in capitals."""
    lines = event.properties["lines"]
    return {"shouted": len(lines) > 5 and str(lines[5].get("sku", "")).isupper(), "lines": len(lines)}


def lined(count: int) -> dict[str, Any]:
    lines = [{"sku": f"code-{n:03}-x", "price": 100 + 7 * n, "name": f"Lamp of {n} parts"} for n in range(count)]
    return track(stamp="stamp-1", lines=lines)


def signatures(found: Explanation, count: int) -> list[frozenset[tuple[Any, ...]]]:
    """Return for each line what it moves: which of its values, which place of the output, and how far away."""
    made: list[set[tuple[Any, ...]]] = [set() for _ in range(count)]
    for one in found.edges:
        parts = one.source.name.split("/")
        if parts[2:3] == ["lines"] and len(parts) > 3:
            line, target = int(parts[3]), one.target
            place = [int(step) for step in target.path.split("/") if step.isdigit()] or [target.number - 1]
            away = place[0] - line if len(found.items) > 1 or target.path.startswith("/lines/") else 0
            path = re.sub(r"[0-9]+", "*", target.path)
            made[line].add((*parts[4:], target.part, target.endpoint, path, min(2, max(-2, away)), one.kind))
    return [frozenset(one) for one in made]


@pytest.mark.parametrize("make", [each, neighbours, copied, summed, refused, fallen_back, one_hidden])
def test_in_a_long_list_is_found_what_is_found_in_a_short_one(make: Callable[..., Any]) -> None:
    """Lines of many, which are changed in groups, move what each of a few moves; and every witness is true."""
    few, many = (explain(odd(make), lined(count), {}, now=NOW) for count in (12, 45))
    short, long = signatures(few, 12), signatures(many, 45)
    assert set(short) == set(long)
    assert all(long) or make is one_hidden or make is refused
    if make is one_hidden:
        assert [line for line, one in enumerate(long) if any("/shouted" in edge for edge in one)] == [5]
    verify(odd(make)({}), lined(45), many)


def test_a_long_list_is_explained_with_few_mappings() -> None:
    """A line of many is changed in one way, and deleted with others: 300 lines take no 1,500 mappings."""
    count = 0

    def counted(self: Any, event: Event) -> Iterator[Item]:
        nonlocal count
        count += 1
        return each(self, event)

    event = lined(300)
    for line in event["properties"]["lines"]:
        del line["name"]
    found = explain(odd(counted), event, {}, now=NOW)
    assert len({one.source for one in found.edges if "/lines/" in one.source.name}) >= 600
    assert count < 2200


def test_a_long_list_of_an_event_that_is_refused_is_looked_at_in_groups() -> None:
    """What would send it is found among thousands of values without changing each."""
    event = lined(300) | {"event": None}
    found = explain(odd(each), event, {}, now=NOW)
    assert found.remedy is not None
    assert [str(one.source) for one in found.remedy.changes] == ["/event"]


# Amplitude, beside its rule book

CALL = {
    "type": "track",
    "messageId": "message-9",
    "userId": "user-9",
    "anonymousId": "visitor-9",
    "event": "Plan Renewed",
    "timestamp": "2026-01-02T03:04:05.006Z",
    "context": {
        "ip": "203.0.113.9",
        "locale": "nb-NO",
        "library": {"name": "analytics.js", "version": "5.2"},
        "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/537 Chrome/121.0 Safari/537",
        "device": {"id": "device-9", "type": "desktop", "model": "Mac mini"},
        "os": {"name": "macOS", "version": "14.5"},
        "campaign": {"source": "newsletter"},
        "location": {"city": "Bergen"},
        "traits": {"plan": "gold", "address": {"country": "Norway"}},
    },
    "properties": {"revenue": "$19.90", "price": 9.95, "quantity": 2, "product_id": "prod-9", "country": "Sweden"},
    "integrations": {"Amplitude": {"session_id": "1767322999000", "groups": {"team": "Blue"}}},
}


@pytest.fixture(scope="module")
def renewed() -> Explanation:
    return explain("amplitude", CALL, {"api_key": "key-1234"}, now=NOW)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/user_id", {"/userId": "copied"}),
        ("/time", {"/timestamp": "derived"}),
        ("/ip", {"/context/ip": "copied"}),
        ("/language", {"/context/locale": "copied"}),
        ("/insert_id", {"/messageId": "copied"}),
        ("/event_type", {"/event": "copied"}),
        (
            "/device_id",
            {
                "/context/device/id": "copied",
                "/anonymousId": "copied",
                "setting prefer_anonymous_id_for_device_id": "derived",
            },
        ),
        (
            "/platform",
            {"/context/library/name": "derived", "/context/device/type": "copied", "/context/os/name": "derived"},
        ),
        (
            "/os_name",
            {"/context/userAgent": "derived", "/context/library/name": "derived", "/context/os/name": "copied"},
        ),
        ("/city", {"/context/location/city": "copied"}),
        (
            "/country",
            {
                "/context/traits/address/country": "copied",
                "/properties/country": "copied",
                "setting connection_mode": "condition",
            },
        ),
        ("/session_id", {"/integrations/Amplitude/session_id": "derived"}),
        ("/groups/team", {"/integrations/Amplitude/groups/team": "copied"}),
        ("/user_properties/plan", {"/context/traits/plan": "copied", "setting connection_mode": "condition"}),
        (
            "/user_properties/utm_source",
            {
                "/context/campaign/source": "copied",
                "setting track_utm_properties": "condition",
                "setting connection_mode": "condition",
            },
        ),
        ("/revenue", {"/properties/revenue": "derived", "setting connection_mode": "condition"}),
        (
            "/price",
            {
                "/properties/price": "copied",
                "/properties/revenue": "condition",
                "/properties/quantity": "condition",  # of 2.5 pieces Amplitude takes no price
                "setting connection_mode": "condition",
            },
        ),
        ("/library", {}),
    ],
)
def test_amplitude_reads_what_its_rule_book_says(renewed: Explanation, path: str, expected: dict[str, str]) -> None:
    """AMP-GEN-05 to -07, AMP-CTX-01 to -13, AMP-DEV-01, AMP-SESS-01, AMP-TRACK-02, AMP-REV-03 and -04."""
    found = {str(one.source): one.kind for one in renewed.edges if one.target == Target("item", "tracked", 1, path)}
    assert found == expected


def test_amplitude_drops_what_its_rule_book_drops(renewed: Explanation) -> None:
    """AMP-CTX-19: context keys without a row are not read."""
    assert renewed.unread == ("/context/library/version",)


def test_a_named_page_comes_from_its_name_and_its_setting() -> None:
    """AMP-PAGE-02 and -06: the name with the category, the verb of the setting; the setting decides."""
    event = {"type": "page", "messageId": "message-8", "userId": "user-8", "name": "Prices", "category": "Shop"}
    found = explain("amplitude", event, {"api_key": "key-1234", "track_named_pages": True}, now=NOW)
    edges = {str(one.source): one.kind for one in found.edges if one.target.path == "/event_type"}
    assert edges == {
        "/type": "derived",  # of a screen it is `Viewed … Screen`
        "/name": "copied",
        "/category": "copied",
        "setting page_event_verb": "copied",
    }
    assert {"setting track_named_pages", "/name"} <= {str(one.source) for one in found.deciding}
