"""Impact: what a change of settings does to recorded events, in the shapes that changes have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEMS,
    Batch,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Impact,
    Item,
    Refusal,
    Settings,
    TurnoutError,
    diff,
    hookimpl,
    json_body,
    load_destination,
    rule,
    setting,
)
from turnout._changes import Mapped, MappedItem, changes_of, values
from turnout.impact import Kind, Verdict, Way
from turnout.reading import Record
from turnout.settings import choice, flag, integer, text

BODY = json_body({"key": setting("token"), "mode": setting("mode"), "all": ITEMS})
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class ShopSettings(Settings):
    """Switches for what a new version might do."""

    token = text("The token.", secret=True, default="tok-1f")
    host = text("The host.", default="shop.example")
    mode = choice("What the envelope says.", ["live", "test"], default="live")
    size = integer("Items in a request.", default=100)
    pages = flag("Send page calls.")
    insert = integer("Before which line an item is inserted; 0: none.")
    keyed = choice("What the keys are made of.", ["none", "sku", "place"], default="none")
    loud = flag("Names in capitals.")
    extra = text("A field that every line gets.")
    tail = flag("The summary comes last.")
    renamed = flag("Another rule makes the summary.")
    leak = flag("The token stands in an item.")
    spread = flag("Properties become fields of the item's inner object.")
    refuse = flag("Orders are refused.")
    broken = flag("Orders raise.")


class Shop(Destination):
    """An order becomes a summary and a line for each of its products."""

    name = "Shop"
    settings = ShopSettings
    orders = Endpoint(
        "POST", lambda config: f"https://{config.host}/in", body=BODY, batch=lambda config: Batch(items=config.size)
    )
    audit = Endpoint("POST", "https://shop.example/audit", body=json_body(ITEMS))

    @rule("track", when=("not tail", "not renamed"))
    def summed(self, event: Event) -> Item:
        """A summary."""
        return self._summary(event)

    @rule("track", when=("not tail", "renamed"))
    def totalled(self, event: Event) -> Item:
        """The same summary."""
        return self._summary(event)

    @rule("track")
    def lines(self, event: Event) -> Iterator[Item]:
        """A line for each product."""
        if self.config.refuse:
            raise Refusal("value_invalid", f"not this one: {event.message_id}", "/properties/products/0/sku")
        if self.config.broken:
            raise ValueError(f"can't map {event.message_id}")
        made = [self._line(event, product) for product in event.properties.get("products", [])]
        if self.config.insert and len(made) >= self.config.insert:
            made.insert(self.config.insert - 1, {"sku": "gift", "order": event.message_id})
        for number, line in enumerate(made):
            key = {"none": None, "sku": line["sku"], "place": f"{event.message_id}:{number}"}[self.config.keyed]
            yield self.orders.item(line, key=key)

    @rule("track", when="tail")
    def closed(self, event: Event) -> Item:
        """The summary behind the lines."""
        return self._summary(event)

    @rule("page", when="pages")
    def seen(self, event: Event) -> Item:
        """A page."""
        return self.orders.item({"page": event.name})

    def _summary(self, event: Event) -> Item:
        made: dict[str, Any] = {"id": event.message_id, "at": event.timestamp_ms}
        if self.config.leak:
            made["token"] = self.config.token
        if self.config.spread:
            made["about"] = {key: value for key, value in event.properties.items() if key != "products"}
        return self.orders.item(made)

    def _line(self, event: Event, product: dict[str, Any]) -> dict[str, Any]:
        name = product.get("name", "")
        extra = {"extra": self.config.extra} if self.config.extra else {}
        return {"sku": product["sku"], "name": name.upper() if self.config.loud else name, **extra}


def order(number: int, *products: str, **properties: Any) -> dict[str, Any]:
    """Return an order whose products have these stock numbers."""
    lines = [{"sku": f"{sku}-{number}", "name": f"name-{sku}-{number}"} for sku in products]
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m-{number}",
        "userId": f"u-{number}",
        "timestamp": "2026-01-02T03:04:05Z",
        "properties": {"products": lines, **properties},
    }


def page(number: int) -> dict[str, Any]:
    """Return a page call."""
    return {"type": "page", "messageId": f"p-{number}", "userId": f"v-{number}", "name": f"Page {number}"}


def compared(events: list[Any], after: dict[str, Any], before: dict[str, Any] | None = None, **given: Any) -> Impact:
    """Return the impact of other settings."""
    return diff(events, Shop(before or {}, id="shop"), Shop(after, id="shop"), now=NOW, **given)


def told(way: Way) -> list[tuple[str, str, str, str]]:
    """Return the changes of a way as plain tuples."""
    return [(one.kind.value, one.endpoint, one.rule, one.path) for one in way.changes]


def only(impact: Impact) -> Way:
    """Return the only way."""
    assert len(impact.ways) == 1, impact.ways
    return impact.ways[0]


# nothing, and events gained and lost


def test_the_same_settings_change_nothing() -> None:
    """Then there is no way, and the summary says so."""
    impact = compared([order(1, "a"), page(2)], {})
    assert (impact.events, impact.changed, impact.ways, impact.notes) == (2, 0, (), ())
    assert impact.summary == "None of 2 events changes"


def test_of_no_events_none_changes() -> None:
    """An empty corpus is no mistake."""
    assert compared([], {"loud": True}).summary == "No events"


def test_an_event_that_is_gained_names_what_it_was_and_its_items() -> None:
    """Dropped before, planned now: the code of then, and the item that it becomes."""
    impact = compared([order(1, "a"), page(2), page(3)], {"pages": True})
    way = only(impact)
    assert (way.kind, way.events, way.place, way.message_id) == ("gained", 2, "line 2", "p-2")
    assert (way.before.outcome, way.before.code, way.after.outcome) == ("dropped", "setting_off", "planned")
    assert told(way) == [("item_added", "orders", "seen", "")]
    assert way.found[0].now == {"page": "Page 2"}
    assert impact.summary == "2 of 3 events change, in 1 way; 2 would be sent that are not sent now"


@pytest.mark.parametrize(
    ("after", "outcome", "code", "path"),
    [
        ({"refuse": True}, "invalid", "value_invalid", "/properties/products/*/sku"),
        ({"broken": True}, "failed", "plugin_raised", None),
    ],
)
def test_an_event_that_is_lost_names_what_it_becomes(
    after: dict[str, Any], outcome: str, code: str, path: str | None
) -> None:
    """Messages differ from event to event and positions too: outcome, code and general path make the shape."""
    impact = compared([order(1, "a"), order(2, "b", "c")], after)
    way = only(impact)
    assert (way.kind, way.events) == ("lost", 2)
    assert (way.after.outcome, way.after.code, way.after.path) == (outcome, code, path)
    assert told(way) == [("item_removed", "orders", "lines", ""), ("item_removed", "orders", "summed", "")]
    assert impact.summary == "2 of 2 events change, in 1 way; 2 would no longer be sent"


def test_another_reason_for_the_same_outcome_is_a_change() -> None:
    """An event that stays unsent, but refused instead of failed, is neither lost nor gained."""
    impact = compared([order(1, "a")], {"refuse": True}, {"broken": True})
    way = only(impact)
    assert (way.kind, way.before.outcome, way.after.outcome) == ("outcome", "failed", "invalid")
    assert (impact.lost, impact.gained, impact.changed) == (0, 0, 1)


# items


def test_an_item_inserted_in_the_middle_leaves_its_neighbours_alone() -> None:
    """Only the new item is told, although all items behind it have moved."""
    impact = compared([order(1, "a", "b", "c")], {"insert": 2})
    assert told(only(impact)) == [("item_added", "orders", "lines", "")]
    assert only(impact).found[0].now == {"sku": "gift", "order": "m-1"}


def test_an_item_is_found_where_least_differs_when_its_neighbours_change_too() -> None:
    """Without keys, the items are paired in their order so that the fewest fields differ."""
    way = only(compared([order(1, "a", "b", "c")], {"insert": 2, "extra": "x-9"}))
    assert told(way) == [("item_added", "orders", "lines", ""), ("field_added", "orders", "lines", "/extra")]
    assert way.found[0].now == {"sku": "gift", "order": "m-1"}
    assert told(only(compared([order(1, "a", "b", "c")], {"extra": "x-9"}, {"insert": 3}))) == [
        ("item_removed", "orders", "lines", ""),
        ("field_added", "orders", "lines", "/extra"),
    ]


def test_a_key_pairs_items_wherever_they_stand() -> None:
    """Two lines that changed and changed places are told as one change of their names and of the order."""
    shuffled = Reversed({"keyed": "sku", "loud": True}, id="shop")
    impact = diff([order(1, "a", "b")], Shop({"keyed": "sku"}, id="shop"), shuffled)
    assert told(only(impact)) == [("order", "", "", ""), ("value", "orders", "lines", "/name")]


class Reversed(Shop):
    """Lines in the other order."""

    @rule("track")
    def lines(self, event: Event) -> Iterator[Item]:
        """A line for each product, the last one first."""
        yield from reversed([*super().lines(event)])


def test_keys_that_count_do_not_hide_that_one_item_is_new() -> None:
    """Keys made of positions all move; the pairing that leaves the fewest differences wins."""
    way = only(compared([order(1, "a", "b", "c")], {"keyed": "place", "insert": 1}, {"keyed": "place"}))
    assert told(way) == [("item_added", "orders", "lines", ""), ("key", "orders", "lines", "")]
    assert (way.found[1].was, way.found[1].now) == ("m-1:0", "m-1:1")


def test_another_order_of_the_same_items_is_a_change() -> None:
    """A vendor gets them in that order."""
    way = only(compared([order(1, "a")], {"tail": True, "renamed": False}))
    assert ("order", "", "", "") in told(way)
    assert way.kind == "items"


def test_the_same_item_of_another_rule_is_told_last() -> None:
    """Nothing that the vendor gets changes; the plan names another rule."""
    way = only(compared([order(1, "a")], {"renamed": True}))
    assert (way.kind, told(way)) == ("rules", [("rule", "orders", "totalled", "")])
    assert (way.found[0].was, way.found[0].now) == ("summed", "totalled")


def test_items_in_more_requests_are_a_change() -> None:
    """The same items, one in each request."""
    way = only(compared([order(1, "a", "b"), page(2)], {"size": 1}))
    assert told(way) == [("requests", "orders", "", "")]
    assert (way.found[0].was, way.found[0].now) == (1, 3)


def test_what_is_around_the_items_is_a_way_of_its_own() -> None:
    """A URL and an envelope are the same for all events, so they don't mix with what the events hold."""
    impact = compared([order(1, "a"), order(2), page(3)], {"host": "eu.example", "mode": "test", "loud": True})
    around, names = impact.ways
    assert told(around) == [("request", "orders", "", "/body/mode"), ("request", "orders", "", "/url")]
    assert [(one.was, one.now) for one in around.found] == [
        ("live", "test"),
        ("https://shop.example/in", "https://eu.example/in"),
    ]
    assert (around.events, told(names), names.events) == (2, [("value", "orders", "lines", "/name")], 1)
    assert impact.summary == "2 of 3 events change, in 2 ways"


# fields and values


def test_shapes_leave_out_values_and_positions() -> None:
    """Orders of one, two and three lines change in one way; the first stands for all."""
    impact = compared([order(1), order(2, "a"), order(3, "b", "c"), order(4, "d", "e", "f")], {"loud": True})
    way = only(impact)
    assert (way.events, way.place, told(way)) == (3, "line 2", [("value", "orders", "lines", "/name")])
    assert (way.found[0].path, way.found[0].was, way.found[0].now) == ("/name", "name-a-2", "NAME-A-2")


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        (1, 1, []),
        (1, 1.0, [("value", ())]),
        (1, True, [("value", ())]),
        (None, "", [("value", ())]),
        ({"a": 1}, {"a": 1, "b": None}, [("field_added", ("b",))]),
        ({"a": 1, "b": 2}, {"b": 2}, [("field_removed", ("a",))]),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, [("value", ("a", "b", 0))]),
        ({"a": {"b": 1}}, {"a": "b"}, [("value", ("a",))]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ([1, 2, 3], [1, 9, 2, 3], [("field_added", (1,))]),
        ([1, 2, 3], [1, 3], [("field_removed", (1,))]),
        ([1, 1], [1, 1, 1], [("field_added", (2,))]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}], [("value", (1, "a"))]),
        ([1, 2, 3], [4, 1, 5], [("value", (0,)), ("value", (1,)), ("value", (2,))]),
        ([], [[]], [("field_added", (0,))]),
    ],
)
def test_leaves_of_json_values(was: Any, now: Any, found: list[Any]) -> None:
    """Types count, the order of keys doesn't, and an element that was inserted doesn't move the others."""
    assert [(kind.value, path) for kind, path, _, _ in values(was, now)] == found


def test_a_pointer_is_escaped_and_has_a_star_for_positions() -> None:
    """Keys with `/` and `~` are told as RFC 6901 writes them."""
    before, after = (Forwards({"suffix": suffix}, id="shop") for suffix in ("", "!"))
    event = order(1, "a") | {"properties": {"a/b": {"c~d": ["x", {"e": "y"}]}}}
    way = only(diff([event], before, after))
    assert {one.path for one in way.changes} == {"/a~1b/c~0d/*", "/a~1b/c~0d/*/e"}
    assert {one.path for one in way.found} == {"/a~1b/c~0d/0", "/a~1b/c~0d/1/e"}


class ForwardSettings(Settings):
    """What is put behind texts."""

    suffix = text("A suffix.")
    drop = text("A property that is left out.")


class Forwards(Destination):
    """Forwards properties."""

    name = "Forwards"
    settings = ForwardSettings
    out = Endpoint("POST", "https://forward.example", body=json_body(ITEMS))

    @rule("track")
    def sent(self, event: Event) -> Item:
        """The properties."""
        return self.out.item(self._suffixed(event.properties))

    def _suffixed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._suffixed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._suffixed(inner) for inner in value]
        return value + self.config.suffix if isinstance(value, str) else value


def test_many_ways_that_differ_in_the_senders_own_keys_become_one() -> None:
    """What all of them share keeps its path; the keys that vary are `*`, with the first as the example."""
    events = [order(number, "a", **{f"own-{number}": number, "shared": "s"}) for number in range(1, 8)]
    way = only(compared(events, {"spread": True}))
    assert told(way) == [("field_added", "orders", "summed", "/about")]

    def nested(number: int) -> dict[str, Any]:
        return order(number) | {"properties": {"own": {f"key-{number}": f"value-{number}", "shared": f"same-{number}"}}}

    few, many = (
        diff(map(nested, range(1, count)), Forwards(id="f"), Forwards({"suffix": "!"}, id="f")) for count in (6, 7)
    )
    assert [told(one)[0][3] for one in few.ways] == [f"/own/key-{number}" for number in range(1, 6)]
    assert told(only(many)) == [("value", "out", "sent", "/own/*"), ("value", "out", "sent", "/own/shared")]
    assert [(one.path, one.now) for one in only(many).found] == [
        ("/own/key-1", "value-1!"),
        ("/own/shared", "same-1!"),
    ]
    assert only(many).events == 6


def test_ways_are_bounded_and_the_rest_is_counted() -> None:
    """Past 10,000 shapes no more are kept apart, and every change is counted once."""
    events = (
        {"type": "track", "event": "E", "messageId": f"m-{number}", "userId": "u", "properties": {f"k-{number}": "v"}}
        for number in range(10_050)
    )
    impact = diff(events, Forwards(id="f"), Forwards({"suffix": "!"}, id="f"))
    assert (len(impact.ways), impact.other, impact.changed) == (10_000, 50, 10_050)
    assert impact.ways[0].place == "line 1"
    assert impact.summary == "10,050 of 10,050 events change, in more than 10,000 ways"


def test_long_values_are_cut_in_the_example() -> None:
    """So that 10,000 examples stay small."""
    event = order(1) | {"properties": {"long": "x" * 5_000, "list": ["y" * 3_000]}}
    way = only(diff([event], Forwards(id="f"), Forwards({"suffix": "!"}, id="f")))
    assert all(len(found.was) == len(found.now) == 1_001 for found in way.found)


def test_ways_are_sorted_by_weight_then_by_number() -> None:
    """Events lost and gained, items, fields, values."""
    events = [order(1, "a"), order(2), order(3), page(4), page(5), page(6)]
    after = {"loud": True, "pages": True, "host": "eu.example"}
    assert [(way.kind, way.events) for way in compared(events, after).ways] == [
        ("gained", 3),
        ("items", 3),
        ("values", 1),
    ]
    assert [way.kind for way in compared([order(1, "a")], {"extra": "e", "spread": True}).ways] == ["fields"]


_scalars = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 1.0]), st.sampled_from("ab"))
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
)
_items = st.lists(
    st.builds(
        MappedItem,
        st.sampled_from(["e", "f"]),
        st.sampled_from(["r", "s"]),
        st.sampled_from([None, "k", "l"]),
        _values.map(lambda value: json.dumps(value, sort_keys=True).encode()),
    ),
    max_size=5,
)


@given(_values, _values)
def test_leaves_differ_exactly_when_the_texts_do(was: Any, now: Any) -> None:
    """Whatever is nested in whatever: with sorted keys, equal JSON texts have no leaf that differs, others have one."""
    same = json.dumps(was, sort_keys=True) == json.dumps(now, sort_keys=True)
    assert (not list(values(was, now))) == same


@given(_items, _items)
def test_plans_have_a_change_exactly_when_their_items_differ(was: list[MappedItem], now: list[MappedItem]) -> None:
    """No pairing of items hides a difference, and none makes one up; nothing is counted on one side only."""
    before, after = (Mapped("m", Verdict("planned"), items, {}) for items in (was, now))
    found = changes_of(before, after)
    assert (not found) == (was == now)
    mirrored = {Kind.ITEM_ADDED: Kind.ITEM_REMOVED, Kind.ITEM_REMOVED: Kind.ITEM_ADDED}
    back = {mirrored.get(one.kind, one.kind) for one in changes_of(after, before)}
    assert {one.kind for one in found} & set(mirrored) == back & set(mirrored)


# what is read


def test_an_unreadable_line_is_counted_and_the_rest_goes_on() -> None:
    """With its place and why; it is no event."""
    batch = {"batch": [order(1, "a"), {"type": "nonsense"}, order(2, "b")]}
    lines = ["{broken", json.dumps(order(3, "c")), batch, Record("x:9", b"", Refusal("event_too_large", "too long"))]
    impact = compared(lines, {"loud": True})
    assert (impact.events, impact.changed, impact.unreadable) == (3, 3, 3)
    assert [(one.place, one.code, one.path) for one in impact.problems] == [
        ("line 1", "bad_request", None),
        ("line 3, event 2", "type_unknown", "/type"),
        ("x:9", "event_too_large", None),
    ]
    assert [way.place for way in impact.ways] == ["line 2"]


def test_only_the_first_unreadable_lines_are_named() -> None:
    """However many there are, across pieces."""
    impact = compared(["{"] * 1_200, {})
    assert (impact.unreadable, len(impact.problems), impact.problems[-1].place) == (1_200, 10, "line 10")


@pytest.mark.parametrize("form", ["dict", "text", "bytes", "event"])
def test_events_may_come_in_any_form(form: str) -> None:
    """As they may for `plan`."""
    event = order(1, "a")
    made = {
        "dict": event,
        "text": json.dumps(event),
        "bytes": json.dumps(event).encode(),
        "event": Dispatcher({}).normaliser.event(event),
    }[form]
    assert compared([made], {"loud": True}).changed == 1


def test_a_mapping_that_is_no_json_is_unreadable() -> None:
    """And not the end of everything."""
    impact = compared([order(1, "a") | {"context": {"x": float("nan")}}, order(2)], {})
    assert (impact.events, impact.unreadable) == (1, 1)


def test_a_missing_message_id_and_time_are_the_same_on_both_sides() -> None:
    """The id is a hash of the text, as in `turnout plan`, and the clock stands still."""
    event = {"type": "track", "event": "E", "userId": "u-1"}
    assert compared([event], {}).changed == 0
    way = only(compared([event], {"tail": True, "leak": True}))
    assert len(way.message_id or "") == 32


def test_sessions_go_on_from_piece_to_piece_whatever_the_jobs() -> None:
    """A destination that carries something over is compared by one process, in the order of the events."""
    browser = {"library": {"name": "analytics.js", "version": "1"}, "page": {"url": "https://x.example/?utm_source=s"}}
    events = [
        {
            "type": "track",
            "event": f"E {number}",
            "messageId": f"m-{number}",
            "userId": "u-1",
            "timestamp": "2026-01-02T03:04:05Z",
            "context": browser | {"campaign": {"source": f"c-{number}"}},
        }
        for number in range(2_600)
    ]
    once, always = (
        load_destination("amplitude")({"api_key": "k", "connection_mode": "device", **own}, id="amplitude")
        for own in ({}, {"save_params_referrer_once_per_session": False})
    )
    single, several = (diff(events, once, always, jobs=jobs, now=NOW) for jobs in (1, 3))
    assert [way.place for way in single.ways] == ["line 1"]
    assert single.to_dict() == several.to_dict()


def test_hooks_in_front_of_a_side_count() -> None:
    """A dispatcher brings its hooks: here one that drops."""

    class Keep:
        @hookimpl
        def turnout_before_mapping(self, event: Event) -> dict[str, Any]:
            return event.to_dict() | {"properties": {}}

    before, after = (Dispatcher([Shop(id="shop")], hooks=hooks) for hooks in ([], [Keep()]))
    impact = diff([order(1, "a")], before, after)
    assert told(only(impact)) == [("item_removed", "orders", "lines", "")]


# secrets


def test_secrets_are_masked_and_a_different_one_is_only_noted() -> None:
    """Neither where an envelope places them nor where a rule does."""
    impact = compared([order(1, "a")], {"token": "tok-3c", "leak": True}, {"token": "tok-2b", "leak": True})
    assert impact.changed == 0
    assert impact.notes == ("The sides differ in the secret 'token', which is shown as *** and not compared.",)
    added = compared([order(1, "a")], {"token": "tok-3c", "leak": True}, {"token": "tok-2b"})
    assert only(added).found[0].now == "***"
    assert "tok-" not in json.dumps(added.to_dict())


def test_a_secret_in_a_key_or_a_lost_item_is_masked() -> None:
    """Also in an item that one side alone has."""
    impact = compared([order(1, "a")], {"refuse": True}, {"leak": True, "token": "tok-4d"})
    assert impact.lost == 1
    assert "tok-4d" not in json.dumps(impact.to_dict())


# processes


def test_more_jobs_give_the_same_impact() -> None:
    """The same ways in the same order with the same examples, whoever compared them."""
    settings = {"api_key": "k", "track_named_pages": True}
    before, after = (
        load_destination("amplitude")(given, id="amplitude")
        for given in (settings, settings | {"track_products_once": True, "page_event_verb": "Viewed"})
    )
    lines = [json.dumps(page(number) if number % 7 else order(number, "a", "b")) for number in range(2_600)]
    single, several = (diff(lines, before, after, jobs=jobs, now=NOW) for jobs in (1, 2))
    assert (single.changed, single.events) == (2_600, 2_600)
    assert single.to_dict() == several.to_dict()


def test_a_side_that_can_not_be_pickled_says_so() -> None:
    """One job can still compare it."""
    lines = [json.dumps(order(number, "a")) for number in range(2_001)]

    class Inner(Shop):
        """Nobody can import it."""

    sides = Inner(id="shop"), Inner({"loud": True}, id="shop")
    with pytest.raises(TurnoutError, match=r"can't be given to other processes.*Use one job"):
        diff(lines, *sides, jobs=2)
    assert diff(lines, *sides).changed == 2_001


def test_a_corpus_is_read_only_a_little_ahead() -> None:
    """Of any number of lines, two pieces of 500 for each process are held, and one that is being read."""
    drawn = done = ahead = 0

    def lines() -> Iterator[bytes]:
        nonlocal drawn, ahead
        for number in range(50_000):
            drawn += 1
            ahead = max(ahead, drawn - done)
            yield b'{"type":"track","event":"E","userId":"u","messageId":"m-%d"}' % number

    def follow(count: int) -> None:
        nonlocal done
        done = count

    kind = load_destination("amplitude")
    impact = diff(lines(), kind({"api_key": "k"}), kind({"api_key": "k"}), jobs=2, progress=follow)
    assert (impact.events, impact.changed, done) == (50_000, 0, 50_000)
    assert ahead <= (4 + 1) * 500


def test_one_destination_stands_on_each_side() -> None:
    """A dispatcher with two would not say which."""
    two = Dispatcher([Shop(id="one"), Shop(id="two")])
    with pytest.raises(TurnoutError, match="one destination on each side; here are: one, two"):
        diff([], two, Shop())
    with pytest.raises(TurnoutError, match="here are: none"):
        diff([], Shop(), Dispatcher({}))
