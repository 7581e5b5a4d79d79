"""What changed between two JSON values: places, alignment of lists, and cutting around what differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.differences import align, differences, shorten


def found(was: Any, now: Any) -> list[tuple[Any, ...]]:
    return [(one.kind, one.path, one.was, one.now) for one in differences(was, now)]


def item(kind: str, **more: Any) -> dict[str, Any]:
    return {"event_type": kind, "user_id": "u-1", "time": 1767323045000, **more}


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("changed", "/a", 1, 2)]),
        ({"a": 1}, {"a": 1.0}, [("changed", "/a", 1, 1.0)]),
        ({"a": 1}, {"a": True}, [("changed", "/a", 1, True)]),
        ({"a": None}, {}, [("missing", "/a", None, None)]),
        ({}, {"a": None}, [("added", "/a", None, None)]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("changed", "/a~1b/~0", 1, 2)]),
        ({"a": {"b": 1}}, {"a": [1]}, [("changed", "/a", {"b": 1}, [1])]),
        ([], {}, [("changed", "", [], {})]),
        (["a", "b"], ["a", "c", "b"], [("added", "/1", None, "c")]),
        (["a", "b"], ["a", "c"], [("changed", "/1", "b", "c")]),
        (["a", "b", "c"], ["c", "a", "b"], [("moved", "/0", "/2", "/0")]),
        ([1, 1], [1], [("missing", "/1", 1, None)]),
    ],
)
def test_each_place_that_differs(was: Any, now: Any, expected: list[tuple[Any, ...]]) -> None:
    """Kind, JSON Pointer and both values; numbers and booleans that are equal in Python still differ."""
    assert found(was, now) == expected


def test_an_item_more_shifts_nothing() -> None:
    """The one that came is added, whole; the others keep what they are, also when one of them changed."""
    was = [item("Viewed", n=1), item("Bought", n=2), item("Left", n=3)]
    now = [item("Viewed", n=1), item("Looked", deep={"x": 5}), item("Bought", n=7), item("Left", n=3)]
    assert found(was, now) == [("added", "/1", None, now[1]), ("changed", "/2/n", 2, 7)]
    assert found(now, was) == [("missing", "/1", now[1], None), ("changed", "/1/n", 7, 2)]


def test_a_plan_that_is_dropped_now_is_the_same_plan() -> None:
    """What it has in common is little text but half of its keys: its places are told one by one."""
    was = {"destination": "d", "message_id": "m", "outcome": "planned", "reason": None, "requests": [item("Sold")]}
    now = {"destination": "d", "message_id": "m", "outcome": "dropped", "reason": {"code": "off"}, "requests": []}
    assert [one[:2] for one in found([was], [now])] == [
        ("missing", "/0/requests/0"),
        ("changed", "/0/outcome"),
        ("changed", "/0/reason"),
    ]


def test_items_that_share_nothing_are_two() -> None:
    """One is missing and one is added, rather than every field changed."""
    assert found([{"a": 1, "b": 2}], [{"c": 3, "d": 4}]) == [
        ("added", "/0", None, {"c": 3, "d": 4}),
        ("missing", "/0", {"a": 1, "b": 2}, None),
    ]


def test_elements_come_before_fields() -> None:
    """What came or went as a whole is told first, wherever it stands."""
    assert [one[:2] for one in found({"a": 1, "list": [1, 2]}, {"a": 2, "list": [1, 2, 3]})] == [
        ("added", "/list/2"),
        ("changed", "/a"),
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(values, values)
def test_nothing_differs_only_where_values_are_equal(was: Any, now: Any) -> None:
    """No difference between a value and itself; at least one between two that are written differently."""
    assert differences(was, was) == []
    assert bool(differences(was, now)) == (repr_of(was) != repr_of(now))


def repr_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{repr_of(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(repr_of, value)) + "]" if isinstance(value, list) else repr(value)


@given(st.lists(values, max_size=6), st.lists(values, max_size=6))
def test_an_alignment_has_each_element_once_and_keeps_the_order(was: list[Any], now: list[Any]) -> None:
    """Every position of both lists stands in one pair, and pairs don't cross."""
    pairs = align(was, now)
    assert sorted(i for i, _ in pairs if i is not None) == list(range(len(was)))
    assert sorted(j for _, j in pairs if j is not None) == list(range(len(now)))
    both = [(i, j) for i, j in pairs if i is not None and j is not None]
    assert both == sorted(both)
    assert [j for _, j in both] == sorted(j for _, j in both)


def test_long_lists_are_aligned_in_time() -> None:
    """A thousand objects that all changed are compared one by one, from the front."""
    was = [{"id": number, "old": number} for number in range(1000)]
    now = [{"id": number, "new": number} for number in range(1000)]
    assert len(differences(was, now)) == 2000


@pytest.mark.parametrize(
    ("was", "now", "width", "expected"),
    [
        ("short", "text", 10, ("short", "text")),
        ("x" * 30 + "a" + "y" * 30, "x" * 30 + "b" + "y" * 30, 15, ("…xxxxayyyyyyyy…", "…xxxxbyyyyyyyy…")),
        ("a" + "y" * 30, "b" + "y" * 30, 10, ("ayyyyyyyy…", "byyyyyyyy…")),
        ("x" * 30 + "a", "x" * 30 + "b", 10, ("…xxxxxxxxa", "…xxxxxxxxb")),
        ("x" * 30, "x" * 31, 10, ("…xxxxxxxx", "…xxxxxxxxx")),
        ("x" * 31, "x", 10, ("xxxxxxxxx…", "x")),
    ],
)
def test_texts_are_cut_around_the_first_difference(was: str, now: str, width: int, expected: tuple[str, str]) -> None:
    """Both from the same place; what is cut is marked; none is longer than asked."""
    assert shorten(was, now, width) == expected
    assert max(map(len, expected)) <= width
