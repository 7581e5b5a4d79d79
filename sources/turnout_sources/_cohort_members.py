"""The members of cohorts: as a file has them, as they are remembered, and how the two differ."""

from __future__ import annotations

import base64
import csv
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import msgspec

from turnout import Code, FetchError, Refusal, SettingsError

__all__ = ["Changes", "Kept", "Rows", "state_of"]

_LONGEST_LINE = 1_000_000
_BROKEN = (zlib.error, ValueError, msgspec.DecodeError)


class Kept(msgspec.Struct):
    """What is remembered of a cohort: its trait, how often it changed, and its members.

    `pending` are those of whom a pull that did not end may have told, or not.
    """

    trait: str
    run: int = 0
    members: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()

    def told(self) -> dict[str, Any]:
        """Return it as JSON values; the ids packed, as there may be two million."""
        told = {"trait": self.trait, "run": self.run, "members": _packed(self.members)}
        return told | ({"pending": _packed(self.pending)} if self.pending else {})

    @classmethod
    def read(cls, told: Any, source: str, cohort: str) -> Kept:
        """Return what `told` returned; raises `SettingsError` for anything else."""
        try:
            ids = {name: _unpacked(told[name]) for name in ("members", "pending") if name in told}
            return msgspec.convert({"trait": told["trait"], "run": told["run"], "members": ids["members"], **ids}, cls)
        except (*_BROKEN, TypeError, KeyError):
            message = f"the state of the cohort {cohort!r} is damaged. Move the state file away to begin anew"
            raise SettingsError(f"source '{source}': {message}: all members then enter again.") from None


def _packed(ids: Iterable[str]) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(sorted(ids)))).decode()


def _unpacked(told: Any) -> list[str]:
    return msgspec.json.decode(zlib.decompress(base64.b64decode(told)), type=list[str])


def state_of(kept: Mapping[str, Kept]) -> dict[str, Any]:
    return {"cohorts": {key: one.told() for key, one in kept.items()}}


class Changes:
    """Who entered and who left: in the order of their ids, those who leave first.

    Nobody leaves by a file that could not be read as a whole. `begun` is what is to be remembered before the first call
    is sent, None when there is none: a pull that breaks off may have told of some, so the next one tells of all of them
    again, whatever has become of them. `done` is what is to be remembered when all are safe.
    """

    def __init__(self, before: Kept, members: frozenset[str], *, complete: bool) -> None:
        gone = (before.members | before.pending) - members
        self._left = sorted(gone) if complete else []
        self._entered = sorted(members - (before.members - before.pending))
        changed = frozenset((*self._left, *self._entered))
        run = before.run + bool(changed)
        self.begun = Kept(before.trait, run, before.members, before.pending | changed) if changed else None
        left_over = frozenset() if complete else before.pending - members
        self.done = Kept(before.trait, run, members if complete else before.members | members, left_over)

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        yield from ((who, False) for who in self._left)
        yield from ((who, True) for who in self._entered)


class Rows:
    """The rows of a file of members: CSV with a header, whose columns are looked up by name."""

    def __init__(self, file: IO[bytes], column: str, cohort: str) -> None:
        self.refused: list[Refusal] = []
        self._file, self._column, self._cohort = file, column, cohort

    def members(self) -> frozenset[str]:
        """Return the ids without empty and double ones; notes in `refused` the rows that can't be read."""
        self._file.seek(0)
        reader = csv.reader(self._texts(), strict=True)
        try:
            place, width = self._place(next(reader, None))
            return frozenset(self._ids(reader, place, width))
        except csv.Error as error:
            raise FetchError(f"Cohort {self._cohort!r}: line {reader.line_num}: no CSV: {error}.") from None

    def _texts(self) -> Iterator[str]:
        number = 0
        while line := self._file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE:
                raise FetchError(f"Cohort {self._cohort!r}: line {number} is too long; this is no CSV.")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise FetchError(f"Cohort {self._cohort!r}: line {number} is not UTF-8.") from None

    def _place(self, header: list[str] | None) -> tuple[int, int]:
        if not header or self._column not in header:
            there = ", ".join(header or [])[:200] or "none"
            raise FetchError(f"Cohort {self._cohort!r}: there is no column '{self._column}'. There are: {there}.")
        return header.index(self._column), len(header)

    def _ids(self, reader: Any, place: int, width: int) -> Iterator[str]:
        for row in reader:
            if row and len(row) != width:
                message = f"Cohort {self._cohort!r}: line {reader.line_num} has {len(row)} columns instead of {width}."
                self.refused.append(Refusal(Code.BAD_REQUEST, message))
            elif row and row[place].strip():
                yield row[place]
