"""Reading: JSON lines or one JSON array, a piece at a time."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnout.reading import records


def read(data: bytes) -> list[tuple[str, bytes, str | None]]:
    found = records(io.BytesIO(data))
    return [(one.place, one.raw, one.refusal.reason.code.value if one.refusal else None) for one in found]


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n", b" " * 200_000])
def test_an_empty_file_has_no_records(data: bytes) -> None:
    """Nothing, blank lines, a byte order mark alone."""
    assert read(data) == []


@pytest.mark.parametrize("data", [b"[]", b" \n [ ] \n", b"\xef\xbb\xbf[\n]\n\n", b"[" + b" " * 200_000 + b"]"])
def test_an_empty_array_has_no_records(data: bytes) -> None:
    """However it is spaced."""
    assert read(data) == []


def test_lines_have_the_numbers_that_an_editor_shows() -> None:
    """Blank lines count but are no records; line ends of either kind; the last line needs none."""
    assert read(b'\n{}\r\n\n  {"a": 1} \n7') == [
        ("line 2", b"{}", None),
        ("line 4", b'{"a": 1}', None),
        ("line 5", b"7", None),
    ]


def test_a_byte_order_mark_is_taken_off() -> None:
    """Editors on Windows put it there."""
    assert read(b"\xef\xbb\xbf{}\n") == [("line 1", b"{}", None)]


def test_lines_may_be_longer_than_a_piece() -> None:
    """A line of many pieces is one record, whatever its length is a multiple of."""
    for size in (65_535, 65_536, 65_537, 200_000):
        assert read(b"x" * size + b"\ny\n") == [("line 1", b"x" * size, None), ("line 2", b"y", None)]


def test_a_line_that_is_far_too_long_is_refused_and_skipped() -> None:
    """It is never held as a whole; the lines behind it are read, with their numbers."""
    data = b"{}\n" + b"x" * (17 * 1024 * 1024) + b"\n{}"
    assert read(data) == [
        ("line 1", b"{}", None),
        ("line 2", b"", "event_too_large"),
        ("line 3", b"{}", None),
    ]


def test_an_element_that_is_far_too_long_is_refused_and_skipped() -> None:
    """The same in an array."""
    data = b'[{}, "' + b"x" * (17 * 1024 * 1024) + b'", {}]'
    assert read(data) == [
        ("element 1", b"{}", None),
        ("element 2", b"", "event_too_large"),
        ("element 3", b"{}", None),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(st.lists(JSON, max_size=8), st.sampled_from([None, 0, 3]), st.booleans())
@example(["]", '"', "\\", '\\"', "[{"], None, False)
def test_any_array_is_cut_into_its_elements(values: list[Any], indent: int | None, ascii_only: bool) -> None:
    """Brackets, commas, quotes and backslashes inside strings cut nothing."""
    found = read(json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace"))
    shown = json.loads(json.dumps(values, ensure_ascii=ascii_only).encode("utf-8", "replace"))
    assert [json.loads(raw) for _, raw, _ in found] == shown
    assert [place for place, _, _ in found] == [f"element {number + 1}" for number in range(len(values))]


def test_an_array_of_many_pieces_is_cut_at_any_offset() -> None:
    """A quote, an escape or a bracket may be the last byte of a piece."""
    value = {"k": 'a\\"]},{[', "n": [1, {"m": "\\\\"}]}
    for offset in range(60):
        values = ["x" * (65_500 + offset), value, value]
        assert [json.loads(raw) for _, raw, _ in read(json.dumps(values).encode())] == values


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (b"[{}", ["bad_request"]),
        (b"[{}, ", [None, "bad_request"]),
        (b"[", ["bad_request"]),
        (b"[{}] x", [None, "bad_request"]),
        (b"[{}][{}]", [None, "bad_request"]),
        (b"[{},]", [None, "bad_request"]),
        (b"[,{}]", ["bad_request", None]),
        (b"[{},,{}]", [None, "bad_request", None]),
        (b"[{}}", [None, "bad_request"]),
        (b'["abc]', ["bad_request"]),
        (b"[{}}, {}]", [None, "bad_request"]),
    ],
)
def test_a_broken_array_is_refused_at_its_place_and_never_silently(data: bytes, codes: list[str | None]) -> None:
    """What can be read is a record; what is wrong is one with a refusal."""
    assert [code for _, _, code in read(data)] == codes


@given(st.binary(max_size=300))
@example(b"[" * 200)
@example(b'["\\')
def test_any_bytes_give_records(data: bytes) -> None:
    """Never an exception; each record is either bytes or a refusal, and its place is its own."""
    found = read(data) + read(b"[" + data)
    assert all(bool(raw) != bool(code) for _, raw, code in found)


@given(st.lists(st.binary(max_size=40)))
def test_no_line_is_lost(lines: list[bytes]) -> None:
    """As many records as there are lines with something on them, in order."""
    lines = [b"{" + line.replace(b"\n", b"") for line in lines]
    assert [raw for _, raw, _ in read(b"\n".join(lines))] == [line.strip() for line in lines]
