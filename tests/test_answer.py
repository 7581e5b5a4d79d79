"""Answers: what a status means for the items, and the vendor's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from turnout import Answer, Fate, read_gateway, read_status
from turnout.answer import retry_after


@pytest.mark.parametrize(
    ("status", "fate", "code"),
    [
        (200, Fate.DELIVERED, None),
        (204, Fate.DELIVERED, None),
        (299, Fate.DELIVERED, None),
        (301, Fate.SETUP, "vendor_refused"),
        (400, Fate.SPLIT, None),
        (401, Fate.SETUP, "credentials_refused"),
        (403, Fate.SETUP, "credentials_refused"),
        (404, Fate.SETUP, "vendor_refused"),
        (405, Fate.SETUP, "vendor_refused"),
        (409, Fate.REFUSED, "vendor_refused"),
        (407, Fate.SETUP, "credentials_refused"),
        (408, Fate.RETRY, "vendor_unavailable"),
        (413, Fate.SPLIT, None),
        (418, Fate.REFUSED, "vendor_refused"),
        (422, Fate.SPLIT, None),
        (425, Fate.RETRY, "vendor_unavailable"),
        (429, Fate.RETRY, "rate_limited"),
        (500, Fate.RETRY, "vendor_unavailable"),
        (503, Fate.RETRY, "vendor_unavailable"),
    ],
)
def test_each_status_has_one_meaning(status: int, fate: Fate, code: str | None) -> None:
    """The same verdict for every item, with its reason code."""
    verdicts = read_status(Answer(status), 3)
    assert [verdict.fate for verdict in verdicts] == [fate] * 3
    assert {verdict.reason and verdict.reason.code.value for verdict in verdicts} == {code}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_single_item_that_is_at_fault_is_refused(status: int) -> None:
    """There is nothing to split; the words are the vendor's."""
    (verdict,) = read_status(Answer(status, body=b"no such field"), 1)
    assert verdict.fate is Fate.REFUSED
    assert verdict.reason is not None
    assert verdict.reason.message == f"HTTP {status}: no such field"


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("99999", 3600.0),
        ("9" * 500, 3600.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 3600.0),
        ("Thu, 01 Jan 2026 12:00:30", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Thu, 99 Jan 2026 12:00:30 GMT", None),
        ("Thu, 01 Jan 99999 12:00:30 GMT", None),
        ("Thu, 01 Jan 2026 12:00:30 +99999999999999999999", None),
    ],
)
def test_retry_after_is_read_as_a_number_or_a_date(text: str, seconds: float | None) -> None:
    """Within 0 and an hour; what is neither is None."""
    assert retry_after(Answer(429, {"retry-after": text}), NOW) == seconds


def test_the_vendors_words_are_one_short_line() -> None:
    """Line ends become blanks, 300 characters are kept, bytes that are no UTF-8 are replaced."""
    assert Answer(400, body=b" bad\r\n  field\t1 ").words() == "HTTP 400: bad field 1"
    assert Answer(500).words() == "HTTP 500"
    assert Answer(400, body=b"\xff!").words() == "HTTP 400: \ufffd!"
    assert len(Answer(400, body=b"x" * 5000).words()) == len("HTTP 400: ") + 301


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"1e999", b"[" * 100_000])
def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    """An answer is never a reason to fail."""
    assert Answer(200, body=body).json() is None


REFUSED = {"index": 1, "messageId": "m-2", "code": "id_not_string", "message": "no id", "path": "/userId"}
SURPLUS = {"index": 2, "count": 1, "messageId": None, "code": "batch_too_long", "message": "too many", "path": None}


@pytest.mark.parametrize(
    ("rejected", "fates"),
    [
        ([], "delivered delivered delivered"),
        ([REFUSED], "delivered refused delivered"),
        ([SURPLUS], "delivered delivered resend"),
        ([REFUSED, {**SURPLUS, "index": 0, "count": 3}], "resend resend resend"),
        ([REFUSED, {**REFUSED, "index": 0}], "refused refused delivered"),
        ([{**REFUSED, "index": odd} for odd in (3, -1, True, "1", None, 1.0)], "delivered delivered delivered"),
        ([None, 5, "words", [], {}], "delivered delivered delivered"),
        ({"index": 1}, "delivered delivered delivered"),
        (None, "delivered delivered delivered"),
    ],
)
def test_a_gateways_answer_names_what_it_refused(rejected: Any, fates: str) -> None:
    """The named events are refused, the surplus is sent again; what makes no sense names nothing."""
    body = json.dumps({"success": True, "rejected": rejected}).encode()
    verdicts = read_gateway(Answer(200, {}, body), 3)
    assert " ".join(one.fate for one in verdicts) == fates
    told = [one.reason.message for one in verdicts if one.reason]
    assert set(told) <= {"HTTP 200: no id (id_not_string)"}


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"OK"), (200, b"[1]"), (204, b""), (400, b'{"rejected": [{}]}'), (503, b"")]
)
def test_any_other_answer_of_a_gateway_is_judged_by_its_status(status: int, body: bytes) -> None:
    """As `read_status` does."""
    answer = Answer(status, {}, body)
    assert read_gateway(answer, 2) == read_status(answer, 2)
