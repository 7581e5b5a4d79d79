"""Destinations: rules, conditions and endpoints as an author writes them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnout import (
    ITEMS,
    Batch,
    Carried,
    Config,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    Note,
    PluginError,
    Settings,
    SettingsError,
    json_body,
    load_destination,
    rule,
    setting,
)
from turnout.destination import declared_endpoints, declared_rules, origin
from turnout.settings import choice, flag, text

BODY = json_body({"k": setting("key"), "all": ITEMS})


class PlainSettings(Settings):
    """Switches."""

    key = text("A key.", secret=True, default="key-1")
    first = flag("One switch.")
    second = flag("Another one.")
    mode = choice("A choice.", ["a", "b"], default="a")


class Plain(Destination):
    """Rules with each kind of condition."""

    name = "Plain"
    settings = PlainSettings
    out = Endpoint("POST", "https://x.example", body=BODY, batch=Batch(items=100))

    @rule("track")
    def always(self, event: Event) -> Item:
        """Always on."""
        return self.out.item("always")

    @rule("track", when="first")
    def on(self, event: Event) -> list[Item]:
        """On with `first`."""
        return [self.out.item("on"), self.out.item("on again")]

    @rule("track", when="not first")
    def off(self, event: Event) -> Iterator[Item]:
        """On without `first`."""
        yield self.out.item("off")

    @rule("track", when=("first", "not second"))
    def both(self, event: Event) -> Item:
        """On with `first` and without `second`."""
        return self.out.item("both")

    @rule("track", when=lambda config: config.mode == "b")
    def chosen(self, event: Event) -> Item:
        """On in mode b."""
        return self.out.item("chosen")


def ran(destination: Destination, **event: Any) -> list[str]:
    (plan,) = Dispatcher([destination]).plan({"type": "track", "event": "E", "userId": "u", **event})
    return [rule for request in plan.requests for rule in request.rules]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["always", "off"]),
        ({"first": True}, ["always", "on", "on", "both"]),
        ({"first": True, "second": True}, ["always", "on", "on"]),
        ({"mode": "b"}, ["always", "off", "chosen"]),
    ],
)
def test_conditions_switch_rules_in_the_order_in_which_they_are_written(
    settings: dict[str, Any], expected: list[str]
) -> None:
    """A setting, its negation, several of them, or a function of the settings."""
    assert ran(Plain(settings)) == expected


def test_a_rule_knows_its_id_call_types_settings_and_docstring() -> None:
    """What the generated page and the reasons are made of."""
    marks = {one.id: one for one in declared_rules(Plain)}
    assert list(marks) == ["always", "on", "off", "both", "chosen"]
    assert marks["both"].settings == ("first", "not second")
    assert marks["both"].doc == "On with `first` and without `second`."
    assert marks["both"].call_types == ("track",)
    assert marks["chosen"].settings == ()


def test_a_condition_on_a_setting_that_is_not_there_is_the_authors_mistake() -> None:
    """The rule and the word are named, with the nearest setting."""

    class Wrong(Plain):
        @rule("page", when="frist")
        def wrong(self, event: Event) -> None:
            """Nothing."""

    with pytest.raises(PluginError, match=r"'wrong'.*'frist'.*Did you mean 'first'\?"):
        Wrong({})


def test_an_unknown_call_type_is_named_with_the_nearest() -> None:
    """`@rule("trak")` fails when the class is written, not when an event comes."""
    with pytest.raises(PluginError, match=r"'trak' is no call type\. Did you mean 'track'\?"):
        rule("trak")


class Left(Destination):
    """A mixin-like base."""

    name = "Mixed"
    settings = PlainSettings

    @rule("track")
    def shared(self, event: Event) -> Item:
        """From the left."""
        return self.out.item("left")


class Right(Destination):
    """Another one, with a rule of the same name that is off."""

    settings = PlainSettings
    out = Endpoint("POST", "https://right.example", body=BODY)

    @rule("track", when="second")
    def shared(self, event: Event) -> Item:
        """From the right."""
        return self.out.item("right")

    @rule("page")
    def paged(self, event: Event) -> Item:
        """A page."""
        return self.out.item("page")


class Mixed(Left, Right):
    """Python's own order decides which `shared` counts; `paged` is no rule any more."""

    name = "Mixed"
    out = Endpoint("PUT", "https://mixed.example", body=BODY)

    def paged(self, event: Event) -> Item:
        """Not marked any more."""
        raise AssertionError


def test_of_two_rules_of_one_name_the_method_that_python_finds_counts() -> None:
    """Its condition, too: the left base's rule runs, with the left base's mark."""
    assert ran(Mixed({})) == ["shared"]
    assert [one.doc for one in declared_rules(Mixed)] == ["From the left."]


def test_a_rule_overridden_without_a_mark_is_no_rule() -> None:
    """The only way to take out an inherited rule."""
    assert Mixed({}).rules["server"].on["page"] == ()


def test_a_subclass_replaces_an_endpoint_by_name() -> None:
    """Items go where the most derived class says."""
    assert [one.method for one in declared_endpoints(Mixed)] == ["PUT"]
    assert Mixed({}).endpoints["out"].target == "https://mixed.example"


def test_configuring_one_destination_leaves_its_class_alone() -> None:
    """Two instances have settings and endpoints of their own."""
    one, two = Plain({"key": "key-one"}), Plain({"key": "key-two"})
    assert one.out is not two.out
    assert Plain.out.owner == ""
    assert one.out.owner == "Plain"


def test_wrong_settings_name_the_destination() -> None:
    """The id that the user gave it, and each setting."""
    with pytest.raises(SettingsError, match=r"destination 'mine'.*'first'"):
        Plain({"first": "yes"}, id="mine")


def test_environment_variables_are_read_where_the_caller_says() -> None:
    """`${NAME}` comes from `environ`."""
    assert Plain({"key": "${K}"}, environ={"K": "from-there"}).config.key == "from-there"


def test_a_configured_destination_pickles() -> None:
    """With its id and settings; endpoints and rules are made again."""
    again = pickle.loads(pickle.dumps(Plain({"first": True, "key": "key-9"}, id="mine")))
    assert (again.id, again.config.key, ran(again)) == ("mine", "key-9", ["always", "on", "on", "both"])


class Prepared(Destination):
    """Works out once what its rules need."""

    name = "Prepared"
    settings = PlainSettings
    out = Endpoint("POST", "https://x.example", body=BODY, batch=Batch(items=9))

    def configured(self) -> None:
        """Count the preparations."""
        self.prepared = 0

    def prepare(self, event: Event, carried: Carried | None) -> Any:
        """Return a word."""
        self.prepared += 1
        return (event.event or "").upper()

    @rule("track")
    def one(self, word: str) -> Item:
        """The word."""
        return self.out.item(word)

    @rule("track")
    def two(self, word: str) -> Item:
        """The word again."""
        return self.out.item(word)


def test_prepare_runs_once_for_all_rules() -> None:
    """What it returns is what each rule gets."""
    destination = Prepared({})
    (plan,) = Dispatcher([destination]).plan({"type": "track", "event": "sold", "userId": "u"})
    assert plan.to_dict()["requests"][0]["body"]["all"] == ["SOLD", "SOLD"]
    assert destination.prepared == 1


class Noting(Plain):
    """Says what it leaves out."""

    @rule("track")
    def noted(self, event: Event) -> Iterator[Item | Note]:
        """A note and an item."""
        yield Note(f"left out the list for {self.config.key}", "/properties/list")
        yield self.out.item("noted")


def test_a_note_is_logged_with_place_and_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """A note is no item and changes no outcome; it names event, destination and pointer."""
    assert "noted" in ran(Noting({"key": "key-secret"}, id="mine"), messageId="m-1")
    assert caplog.messages == ["m-1 at mine: left out the list for *** (/properties/list)"]


def test_an_event_is_private_to_a_destination_that_does_not_promise_to_be_pure() -> None:
    """A rule that changes its event changes nothing for the destination after it."""

    class Careless(Plain):
        @rule("identify")
        def careless(self, event: Event) -> Item:
            """Change the traits."""
            event.traits["added"] = True
            event.traits["list"].append(9)
            return self.out.item(event.traits)

    class Careful(Plain):
        pure = True

        @rule("identify")
        def careful(self, event: Event) -> Item:
            """Send the traits."""
            return self.out.item(event.traits)

    both = Dispatcher([Careless({}), Careful({})])
    plans = both.plan({"type": "identify", "userId": "u", "traits": {"list": [1]}})
    assert plans[0].to_dict()["requests"][0]["body"]["all"] == [{"list": [1, 9], "added": True}]
    assert plans[1].to_dict()["requests"][0]["body"]["all"] == [{"list": [1]}]


def test_load_destination_returns_the_installed_class(widget: Path) -> None:
    """By its entry point's name; an unknown one gets a suggestion."""
    kind = load_destination("widget")
    assert kind.__name__ == "Widget"
    assert origin(kind) == "turnout_widget of turnout-widget 3.2.1"
    with pytest.raises(PluginError, match=r"'wigdet'.*Did you mean 'widget'\?"):
        load_destination("wigdet")


def test_origin_of_a_class_that_no_distribution_offers() -> None:
    """Module and class, and that it is no plugin."""
    assert origin(Plain).endswith("test_destination.Plain, not installed as a plugin")


def test_a_plugin_that_raises_when_it_is_configured_is_named() -> None:
    """The user sees a sentence with destination and class, without the secret, not a traceback."""

    class Failing(Plain):
        def configured(self) -> None:
            raise RuntimeError(f"can't use {self.config.key}")

    with pytest.raises(PluginError, match=r"destination 'mine'.*Failing.*RuntimeError: can't use \*\*\*"):
        Failing({"key": "key-secret"}, id="mine")


def test_settings_are_frozen() -> None:
    """A rule can't change them."""
    config: Config = Plain({}).config
    with pytest.raises(AttributeError, match="can't be changed"):
        config.first = True
