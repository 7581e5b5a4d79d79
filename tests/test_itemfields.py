"""Endpoints whose URL and body take fields of an item, and those that send equal items once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEM,
    ITEMS,
    Batch,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    PluginError,
    Request,
    Settings,
    bearer,
    form_body,
    json_body,
    rule,
    setting,
)
from turnout.packing import pack, waves
from turnout.settings import text
from turnout.testing import Answer, Call, Simulator

_LISTS = "https://lists.example/v1/{space}"


class ListSettings(Settings):
    """A space, and two keys of which either is enough."""

    space = text("The space.", default="s/1")
    token = text("A token.", secret=True)
    other_key = text("Another key.", secret=True)


class Lists(Destination):
    """A vendor that keeps lists: each has a URL of its own, and has to be made first."""

    name = "Lists"
    settings = ListSettings

    made = Endpoint("POST", f"{_LISTS}/lists", body=json_body(ITEM), keyed=False, once=True)
    opened = Endpoint("POST", f"{_LISTS}/lists/{{item.list}}/open", body=json_body(ITEM), keyed=False, once=True)
    added = Endpoint(
        "PUT",
        f"{_LISTS}/lists/{{item.list}}/keys?part={{item.part}}",
        body=json_body({"keys": ITEMS["key"], "by": setting("space")}),
        batch=Batch(items=3, bytes=1_000),
        auth=bearer("token"),
        headers={"X-Key": setting("other_key"), "X-By": "us"},
        keyed=False,
        once=True,
    )
    noted = Endpoint("POST", f"{_LISTS}/notes", body=form_body({"all": ITEMS["note"]}), batch=Batch(9), keyed=False)

    @rule("identify")
    def member(self, event: Event) -> Iterator[Item]:
        """A user joins the lists that the traits name."""
        for name, part in event.traits.items():
            yield self.made.item({"list": name})
            yield self.opened.item({"list": name})
            yield self.added.item({"list": name, "part": part, "key": event.user_id})


LISTS = Lists({})


def identify(user: str, **lists: Any) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"m-{user}", "userId": user, "traits": lists}


def sent(requests: list[Request]) -> list[tuple[str, str, Any]]:
    return [(one.method, httpx.URL(one.url).raw_path.decode(), json.loads(one.body)) for one in requests]


def test_a_field_of_the_item_is_a_part_of_the_url_and_not_of_the_body() -> None:
    """`{item.list}` and `{item.part}` come from the item; the body has the one field that it asks for, or the rest."""
    [plan] = Dispatcher([LISTS]).plan(identify("u-1", spring=7))
    assert sent(plan.requests) == [
        ("POST", "/v1/s%2F1/lists", {"list": "spring"}),
        ("POST", "/v1/s%2F1/lists/spring/open", {}),
        ("PUT", "/v1/s%2F1/lists/spring/keys?part=7", {"keys": ["u-1"], "by": "s/1"}),
    ]


def test_a_plan_shows_the_url_that_is_asked() -> None:
    """`turnout plan` fills in what comes from the item, and keeps scheme, host and prefix of `base_url`."""
    [plan] = Dispatcher([Lists({"base_url": "http://127.0.0.1:1/x"}, id="lists")]).plan(identify("u-2", summer="a b"))
    shown = plan.to_dict()["requests"][2]
    assert shown["url"] == "http://127.0.0.1:1/x/v1/s%2F1/lists/summer/keys?part=a%20b"
    assert shown["body"] == {"keys": ["u-2"], "by": "s/1"}


@pytest.mark.parametrize("name", ["a/b", "a?b#c", "..%2f", "{item.part}", "{space}", "ü 😀", "%41"])
def test_a_field_cannot_leave_its_place_in_the_url(name: str) -> None:
    """It is quoted: a slash, a question mark or braces stay a part of the name."""
    item = LISTS.added.item({"list": name, "part": 1, "key": "k"})
    url = httpx.URL(Request(LISTS.added, (item,)).url)
    assert url.path == f"/v1/s/1/lists/{name}/keys"
    assert url.query == b"part=1"


@pytest.mark.parametrize(
    ("value", "lacking"),
    [
        ({"part": 1, "key": "k"}, "'list', a part of the URL"),
        ({"list": "", "part": 1, "key": "k"}, "'list', a part of the URL"),
        ({"list": "..", "part": 1, "key": "k"}, "'list', a part of the URL"),
        ({"list": None, "part": 1, "key": "k"}, "'list', a part of the URL"),
        ({"list": ["x"], "part": 1, "key": "k"}, "'list', a part of the URL"),
        ({"list": "x", "part": 1.5, "key": "k"}, "'part', a part of the URL"),
        ({"list": "x", "part": True, "key": "k"}, "'part', a part of the URL"),
        ({"list": "x", "part": 1}, "'key', which goes into the body"),
        ("x", "'key', which goes into the body"),
        ([1], "'key', which goes into the body"),
    ],
)
def test_an_item_without_a_field_that_is_needed_is_the_authors_mistake(value: Any, lacking: str) -> None:
    """The sentence names endpoint and field."""
    with pytest.raises(PluginError, match=f"endpoint 'added' needs the field {lacking}"):
        LISTS.added.item(value)


def test_the_field_that_goes_into_the_body_may_be_anything() -> None:
    """It goes there byte by byte: null, an object, a number of any size."""
    items = [LISTS.added.item({"list": "x", "part": 1, "key": key}) for key in (None, {"a": 2.50}, 2**70)]
    assert b'"keys":[null,{"a":2.5},1180591620717411303424]' in Request(LISTS.added, tuple(items)).body


def test_a_form_can_hold_a_field_of_its_items() -> None:
    """One stands alone, several are a list, as whole items are."""
    one, two = (LISTS.noted.item({"note": f"n {number}", "more": number}) for number in (1, 2))
    assert Request(LISTS.noted, (one,)).body == b"all=%22n+1%22"
    assert Request(LISTS.noted, (one, two)).to_dict()["body"] == {"all": ["n 1", "n 2"]}


def test_items_of_different_urls_never_share_a_request() -> None:
    """Each request holds the items of one URL; those of many users go together all the same."""
    dispatcher = Dispatcher([LISTS])
    plans = [dispatcher.plan(identify(f"u-{number}", red=1, blue=1))[0] for number in range(3)]
    order = [sent(wave) for wave in waves([(plan.user, plan.items) for plan in plans])]
    assert [[path.partition("/lists")[2] for _, path, _ in wave] for wave in order] == [
        [""],
        ["/red/open"],
        ["/red/keys?part=1"],
        [""],
        ["/blue/open"],
        ["/blue/keys?part=1"],
    ]
    assert order[2][0][2]["keys"] == ["u-0", "u-1", "u-2"]


def test_equal_items_are_sent_once() -> None:
    """With `once`, a request holds one of them, and its limits count it once."""
    keys = ["k1", "k2", "k1", "k3", "k2", "k4", "k1"]
    requests = pack([LISTS.added.item({"list": "x", "part": 1, "key": key}) for key in keys])
    assert [json.loads(request.body)["keys"] for request in requests] == [["k1", "k2", "k3"], ["k4"]]
    assert [len(request.items) for request in requests] == [6, 1]
    assert [request.to_dict()["body"]["keys"] for request in requests] == [["k1", "k2", "k3"], ["k4"]]


NAMES = st.sampled_from(["red", "blue", "green"])
EVENTS = st.lists(st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.lists(NAMES, max_size=3, unique=True)))


@given(EVENTS)
def test_each_users_items_keep_their_order_and_none_is_lost(events: list[tuple[str, list[str]]]) -> None:
    """Whatever is made, opened and filled by whom: every item is in one request, after all earlier ones of its user."""
    dispatcher = Dispatcher([LISTS])
    plans = [dispatcher.plan(identify(user, **dict.fromkeys(names, 1)))[0] for user, names in events]
    place: dict[int, int] = {}
    for number, wave in enumerate(waves([(plan.user, plan.items) for plan in plans])):
        assert len({(request.url, request.body) for request in wave}) == len(wave)
        for request in wave:
            assert len({item.endpoint.url_for(item.data) for item in request.items}) == 1
            place.update(dict.fromkeys(map(id, request.items), number))
    assert len(place) == sum(len(plan.items) for plan in plans)
    for user in {"ann", "bob", "cid"}:
        mine = [place[id(item)] for plan in plans if plan.user == user for item in plan.items]
        assert mine == sorted(mine)


class ListsVendor(Simulator):
    """Keeps lists: one that was not made and opened before has no keys to take."""

    def reset(self) -> None:
        super().reset()
        self.lists: dict[str, set[str]] = {}
        self.calls: list[str] = []

    def routes(self) -> dict[str, Any]:
        return {
            "POST /v1/{space}/lists": self.make,
            "POST /v1/{space}/lists/{name}/open": lambda call: Answer(200, "open"),
            "PUT /v1/{space}/lists/{name}/keys": self.add,
        }

    def make(self, call: Call) -> Answer:
        self.lists.setdefault(call.json()["list"], set())
        return Answer(201)

    def add(self, call: Call) -> Answer:
        name, keys = call.params["name"], call.json()["keys"]
        if name not in self.lists:
            return Answer(404, "no such list")
        bad = [place for place, key in enumerate(keys) if key == "bad"]
        self.lists[name] |= {key for key in keys if key != "bad"}
        return Answer(200, {"refused": bad})


def test_every_event_gets_its_outcome_though_one_item_was_sent_for_many() -> None:
    """A hundred users join one list: it is made once, opened once, and all of them are delivered."""
    vendor = ListsVendor()
    dispatcher = Dispatcher([Lists({"space": "s-1"})], transport=httpx.ASGITransport(app=vendor))
    settled = dispatcher.send([identify(f"u-{number}", spring=1) for number in range(100)])
    assert {(one.outcome.value, one.items) for one in settled} == {("delivered", 3)}
    assert vendor.lists == {"spring": {f"u-{number}" for number in range(100)}}
    assert [entry.method for entry in vendor.ledger] == ["POST", "POST"] + ["PUT"] * 34


def test_a_refusal_of_what_was_sent_once_is_one_for_all() -> None:
    """When the list can't be made, every event that wanted it is dead, with the vendor's words."""
    vendor = ListsVendor()
    vendor.fail(422, path="/v1/s-1/lists", body="no such name")
    dispatcher = Dispatcher([Lists({"space": "s-1"})], transport=httpx.ASGITransport(app=vendor))
    settled = dispatcher.send([identify(f"u-{number}", spring=1) for number in range(4)])
    assert {one.outcome.value for one in settled} == {"dead"}
    assert {one.reason.message for one in settled if one.reason} == {"HTTP 422: no such name"}


def test_a_header_or_auth_without_a_setting_is_left_out() -> None:
    """Of two ways to authenticate the one that is configured is sent; a fixed header always is."""
    none = {"content-type": "application/json", "x-by": "us"}
    assert Lists({}).added.sent_headers == none
    assert Lists({"token": "t-1"}).added.sent_headers == none | {"authorization": "Bearer t-1"}
    assert Lists({"other_key": "o-1"}).added.sent_headers == none | {"x-key": "o-1"}
    assert Lists({"other_key": "o-1"}).added.masked.sent_headers == none | {"x-key": "***"}


def test_a_secret_in_the_item_is_masked_in_the_url() -> None:
    """What a rule has put into the item is shown with `***`, in the URL as in the body."""

    class Careless(Destination):
        name = "Careless"
        settings = ListSettings
        out = Endpoint("POST", "https://x.example/{item.a}", body=json_body(ITEM), keyed=False)

        @rule("track")
        def tracked(self, event: Event) -> Item:
            """An item with a secret."""
            return self.out.item({"a": self.config.token, "b": self.config.token})

    [plan] = Dispatcher([Careless({"token": "tok-123"})]).plan({"type": "track", "event": "e", "userId": "u"})
    shown = plan.to_dict()["requests"][0]
    assert (shown["url"], shown["body"]) == ("https://x.example/***", {"b": "***"})
    assert plan.requests[0].url == "https://x.example/tok-123"
