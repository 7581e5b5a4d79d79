"""Times of the common spec: what is read, and how `timestamp` is computed."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

__all__ = ["EPOCH", "TIME", "UNSET", "epoch_ms", "milliseconds", "parse", "utc"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNSET = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for a time that the sender didn't give; told by identity."""

_MONTH_AND_DAY = (
    "(?:(?:0?[13578]|1[02])-(?:0?[1-9]|[12][0-9]|3[01])"
    "|(?:0?[469]|11)-(?:0?[1-9]|[12][0-9]|30)"
    "|0?2-(?:0?[1-9]|[12][0-9]))"
)
_CLOCK = "([01]?[0-9]|2[0-3]):([0-5]?[0-9])(?::([0-5]?[0-9])(?:[.,]([0-9]+))?)?"
_ZONE = "(?: ?(?:[Zz]|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?))?"
TIME = f"^(?!0000)([0-9]{{4}})-({_MONTH_AND_DAY})(?:[Tt ]{_CLOCK}{_ZONE})?$(?![\\s\\S])"
"""The pattern of a time that is read (a test compares it with the one in the JSON Schema)."""

_match = re.compile(TIME).match


def parse(text: str) -> datetime | None:
    """Return the time in UTC to the millisecond, or None if the text is no time.

    Read are ISO 8601 and the sloppy forms that SDKs send: parts without their zero, the date alone, no
    seconds, a blank for the `T` or before the zone, a comma fraction, any number of digits (rounded to the
    microsecond, then cut to the millisecond), `+0000`, `+01`. No zone means UTC.
    """
    try:
        return utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError:
        return _sloppy(text)
    except OverflowError:
        return None


def _sloppy(text: str) -> datetime | None:
    found = _match(text)
    if found is None:
        return None
    year, month_and_day, hour, minute, second, fraction, sign, zone_hour, zone_minute = found.groups()
    month, day = month_and_day.split("-")
    clock = f"{hour or 0:0>2}:{minute or 0:0>2}:{second or 0:0>2}.{fraction or 0}"
    zone = f"{sign}{zone_hour}:{zone_minute or '00'}" if sign else "Z"
    try:
        return utc(msgspec.convert(f"{year}-{month:0>2}-{day:0>2}T{clock}{zone}", datetime))
    except (msgspec.ValidationError, OverflowError):
        return None  # 29 February of a common year, or an instant outside the years 1 to 9999


def utc(time: datetime) -> datetime:
    """Return the same instant in UTC, cut to the millisecond; without a zone it is UTC already."""
    zone = time.tzinfo
    if zone is not UTC:
        time = time.replace(tzinfo=UTC) if zone is None else time.astimezone(UTC)
    micro = time.microsecond
    return time.replace(microsecond=micro - micro % 1000) if micro % 1000 else time


def milliseconds(time: datetime) -> int:
    """Return the milliseconds from 1970-01-01T00:00:00Z to a time that `utc` returned."""
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def iso(time: datetime) -> str:
    """Return an aware UTC time as ISO 8601 with milliseconds and `Z`."""
    return time.isoformat(timespec="milliseconds")[:-6] + "Z"


def epoch_ms(text: str) -> int | None:
    """Return the milliseconds since 1970-01-01T00:00:00Z of a time's text, or None if it is no time."""
    time = parse(text)
    return None if time is None else milliseconds(time)
