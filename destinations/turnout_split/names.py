"""Event types and names of segments, made out of whatever something is called.

Sources: the Events API's pattern for `eventTypeId`, `[a-zA-Z0-9][-_.a-zA-Z0-9]{0,62}`; Split's rule for the names of
feature flags, which is taken to hold for segments as well.
"""

from __future__ import annotations

import re

__all__ = ["event_type", "is_segment_name", "segment_name"]

_OTHERS = re.compile(r"[^-_.a-zA-Z0-9]+")
_LEADING = re.compile(r"[-_.]+")
_NO_NAME = re.compile(r"[^-_a-zA-Z0-9]+")
_NAME = re.compile(r"[a-zA-Z][-_a-zA-Z0-9]*")


def event_type(name: str, most: int) -> str:
    """Return a name as an event type of at most `most` characters; empty when it has no letter or digit of ASCII.

    What is no letter, digit, `-`, `_` or `.` becomes `_`, several together one; it then begins with a letter or digit.
    """
    cleaned = _OTHERS.sub("_", name)
    return cleaned[_end(_LEADING, cleaned) :][:most]


def segment_name(cohort: str) -> str:
    """Return the name of a cohort as one of a segment; empty when it has no letter or digit of ASCII.

    What is no letter, digit, `-` or `_` becomes `_`, several together one, and none at either end. Before a digit at
    the beginning stands `segment_`.
    """
    if is_segment_name(cohort):
        return cohort
    cleaned = _NO_NAME.sub("_", cohort).strip("-_")
    return f"segment_{cleaned}" if cleaned[:1].isdigit() else cleaned


def is_segment_name(name: str) -> bool:
    """Return whether Split takes it as the name of a segment."""
    return _NAME.fullmatch(name) is not None


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
