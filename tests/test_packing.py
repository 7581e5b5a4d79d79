"""Packing: items into requests within limits, each user's items in order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import ITEMS, Batch, Destination, Endpoint, Item, form_body, json_body
from turnout.packing import pack, waves


class Two(Destination):
    """Two endpoints with small limits."""

    name = "Two"
    left = Endpoint("POST", "https://x.example/l", body=json_body({"all": ITEMS}), batch=Batch(items=3, bytes=60))
    right = Endpoint("POST", "https://x.example/r", body=form_body({"all": ITEMS}), batch=Batch(items=2, bytes=150))
    free = Endpoint("POST", "https://x.example/f", body=json_body(ITEMS), batch=Batch(items=1000))


TWO = Two({})


def items(*values: Any, at: str = "left") -> list[Item]:
    return [getattr(TWO, at).item(value) for value in values]


def shape(requests: list[Any]) -> list[tuple[str, list[Any]]]:
    return [(one.endpoint.name, [msgspec.json.decode(item.data) for item in one.items]) for one in requests]


def test_nothing_packs_into_nothing() -> None:
    """No items, no requests."""
    assert pack([]) == []
    assert list(waves([])) == []


def test_the_item_limit_is_exact() -> None:
    """As many items as the endpoint takes, and the rest in the next request."""
    assert shape(pack(items(*range(7)))) == [("left", [0, 1, 2]), ("left", [3, 4, 5]), ("left", [6])]


def test_the_byte_limit_is_exact() -> None:
    """Two items that fill the body to the byte share a request; one byte more and they don't."""
    room = 60 - len(b'{"all":[,]}') - 4
    exact = items("a" * (room // 2), "b" * (room - room // 2))
    (request,) = pack(exact)
    assert len(request.body) == 60
    assert len(pack(items("a" * (room // 2), "b" * (room - room // 2 + 1)))) == 2


def test_neighbours_of_one_endpoint_share_a_request_and_order_is_kept() -> None:
    """A change of endpoint starts a new request, also back to the first one."""
    mixed = [*items(1, 2), *items(3, at="right"), *items(4)]
    assert shape(pack(mixed)) == [("left", [1, 2]), ("right", [3]), ("left", [4])]


VALUES = st.lists(st.tuples(st.sampled_from(["left", "right", "free"]), st.text(max_size=8)), max_size=30)


@given(VALUES)
def test_packing_loses_doubles_and_reorders_nothing(values: list[tuple[str, str]]) -> None:
    """All items arrive once, in order, in requests of one endpoint within its limits."""
    given_items = [getattr(TWO, at).item(value) for at, value in values]
    requests = pack(given_items)
    assert [id(item) for request in requests for item in request.items] == [id(item) for item in given_items]
    for request in requests:
        assert {item.endpoint for item in request.items} == {request.endpoint}
        assert 0 < len(request.items) <= request.endpoint.batch.items
        assert len(request.body) <= request.endpoint.batch.bytes


EVENTS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", ""]), st.lists(st.sampled_from(["left", "right", "free"]), max_size=4)),
    max_size=20,
)


@given(EVENTS)
def test_waves_keep_each_users_order_across_endpoints(events: list[tuple[str, list[str]]]) -> None:
    """A user's items in a wave are of one endpoint; over the waves they come in order, each of them once."""
    entries = [(user, [getattr(TWO, at).item(number) for at in kinds]) for number, (user, kinds) in enumerate(events)]
    owner = {id(item): (user, place) for place, (user, item) in enumerate(_flat(entries))}
    arrived: dict[str, list[int]] = {}
    for wave in waves(entries):
        touched: dict[str, set[str]] = {}
        for item in (item for request in wave for item in request.items):
            user, place = owner[id(item)]
            arrived.setdefault(user, []).append(place)
            touched.setdefault(user, set()).add(item.endpoint.name)
        assert all(len(names) == 1 for names in touched.values())
    assert sum(map(len, arrived.values())) == len(owner)
    assert all(before < after for places in arrived.values() for before, after in pairwise(places))


def _flat(entries: list[tuple[str, list[Item]]]) -> list[tuple[str, Item]]:
    return [(user, item) for user, made in entries for item in made]


def test_waves_fill_requests_across_users() -> None:
    """Items of many users share the fewest requests that their order allows."""
    entries = [(f"user-{number}", items(number, at="free")) for number in range(300)]
    (wave,) = waves(entries)
    assert [len(request.items) for request in wave] == [300]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_rules_name_each_item(count: int) -> None:
    """`rules[i]` is the rule that made item i."""
    made = items(*range(count), at="free")
    for number, item in enumerate(made):
        item.rule = f"rule-{number}"
    assert [request.rules for request in pack(made)] == [[f"rule-{number}" for number in range(count)]] * bool(count)
