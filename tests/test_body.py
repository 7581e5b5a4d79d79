"""Bodies: an event or a batch, told apart before anything is known of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Normaliser
from turnout.body import encoded, is_batch, told_message_id


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b'{"batch": []}', True),
        ('{"batch": []}', True),
        ({"batch": []}, True),
        ({"batch": None, "type": None}, True),
        (b'{"batch": 5}', True),
        (b'{"type": null, "batch": [1]}', True),
        (b'{"type": "track", "batch": []}', False),
        ({"type": "track", "batch": []}, False),
        (b'{"type": "track", "properties": {"batch": []}}', False),
        (b'{"properties": {"batch": []}}', False),
        (b'{"event": "batch"}', False),
        (b'["batch"]', False),
        (b'"batch"', False),
        (b'{"batch": [', False),
        (b"", False),
        (b'{"b\\u0061tch": []}', False),
        (b"\xff", False),
        (b'{"batch": ' + b"[" * 100_000, False),
        ("\ud800", False),
    ],
)
def test_a_batch_is_an_object_with_batch_and_without_type(source: Any, expected: bool) -> None:
    """What can't be read is no batch: as an event it gets its refusal."""
    assert is_batch(source) is expected


def test_encoded_gives_the_bytes_of_a_text() -> None:
    """Bytes as they are, text as UTF-8, nothing for other things."""
    assert encoded(b"\xff") == b"\xff"
    assert encoded("ü") == "ü".encode()
    assert encoded({"a": 1}) is None
    assert encoded(Normaliser().event({"type": "alias", "userId": "u"})) is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b'{"messageId": "m-1"}', "m-1"),
        (b'{"messageId": 12345678901234567890123}', "12345678901234567890123"),
        (b'{"messageId": true}', "made"),
        (b'{"messageId": ""}', "made"),
        (b'{"messageId": null}', "made"),
        (b'{"messageId": {"a": 1}}', "made"),
        (b'{"messageId": "m-1", "messageId": "m-2"}', "m-2"),
        (b"{}", "made"),
        (b"[]", None),
        (b"5", None),
        (b"{", None),
        (b"\xff", None),
        ({"messageId": "m-3"}, "m-3"),
        ({"messageId": 10**20}, "1" + "0" * 20),
        ({"messageId": 10**5000}, None),
        ({}, None),
    ],
)
def test_the_id_of_a_refused_event_is_told_where_it_can_be_read(source: Any, expected: str | None) -> None:
    """An id of its own, else one made of its text; None for what is no object."""
    assert told_message_id(source, lambda raw: "made") == expected


@given(st.binary() | st.text(st.characters()))
def test_no_input_raises(source: bytes | str) -> None:
    """Whatever is given."""
    is_batch(source)
    told_message_id(source, lambda raw: "made")
