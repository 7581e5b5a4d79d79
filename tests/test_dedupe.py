"""What is remembered of accepted events, so that a second copy is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnout.dedupe import _ENTRY_BYTES, Seen, key_of


def test_a_key_stands_for_its_source_and_its_message_id() -> None:
    """The same id from another source is another event, and the two parts can't run into each other."""
    keys = [key_of("one", "m-1"), key_of("two", "m-1"), key_of("one", "m-2"), key_of("onem", "-1")]
    assert len(set(keys)) == 4
    assert key_of("one", "m-1") == keys[0]
    assert key_of("lone", "\ud800") != key_of("lone", "?")


def test_a_key_is_remembered_for_its_time() -> None:
    """A copy is noticed up to the age; afterwards it counts as new, and nothing was forgotten early."""
    seen = Seen(1000, 1_000_000)
    assert seen.add(b"a", 5000)
    assert not seen.add(b"a", 6000)
    assert seen.add(b"b", 6001)
    assert seen.add(b"a", 6001)
    assert (len(seen), seen.evicted) == (2, 0)


def test_beyond_the_memory_the_oldest_go_first() -> None:
    """And those that went before their time are counted."""
    seen = Seen(1000, 3 * _ENTRY_BYTES)
    for key in (b"a", b"b", b"c", b"d"):
        assert seen.add(key, 5000)
    assert (len(seen), seen.evicted) == (3, 1)
    assert not seen.add(b"b", 5000)
    assert seen.add(b"a", 5000)


def test_what_could_not_be_kept_is_forgotten() -> None:
    """It may come again, and is then as old as it is then."""
    seen = Seen(1000, 3 * _ENTRY_BYTES)
    assert seen.add(b"a", 5000)
    assert seen.add(b"b", 5001)
    assert seen.add(b"c", 5001)
    seen.remove([b"b", b"c"])
    assert len(seen) == 1
    assert seen.add(b"b", 5900)
    assert seen.add(b"d", 6500)
    assert not seen.add(b"b", 6501)
    assert seen.evicted == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 30)), max_size=60))
def test_it_agrees_with_a_plain_list(steps: list[tuple[str, int]]) -> None:
    """For any keys and times that go on."""
    seen, now = Seen(40, 4 * _ENTRY_BYTES), 0
    known: list[tuple[bytes, int]] = []
    for name, later in steps:
        now += later
        key = name.encode()
        fresh = key not in [one for one, _ in known]
        assert seen.add(key, now) is fresh
        if fresh:
            known.append((key, now))
            known = [(one, at) for one, at in known if at >= now - 40][-4:]
        assert len(seen) == len(known)
