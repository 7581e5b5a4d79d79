"""Lineage by perturbation: which places of the input each place of the output depends on, asked of any destination.

Mapping is pure, so it can be questioned from outside. One place of the event, or one setting, is changed at a time, the
event is mapped again by the same code that plans and sends, and what moved in the output depends on that place. Nothing
is known of the plugin, and nothing is asked of its author.

The answer is complete for this set of changes:

* Every value of the event, each object and list included, is deleted. A text becomes another of the same form (other
  letters and digits; a time another time; the scheme of an address and the names of its parameters stay), the same
  with other digits, the same in capitals or small letters, `""`, and a numeric text (a numeric one becomes words). A
  number becomes another, 0, one of the other sign, and one with a fraction (a fraction a whole one). A boolean becomes
  the other. In a list two elements change places, and the first stands there twice. What is null or empty becomes
  something. `type` becomes each call type, `context.library.name` that of each platform, and `integrations` gets
  `"All": false`.
* Where more than 16 values stand at like places of a long list, all but the first of these ways are tried on groups of
  them, and on one alone where the groups don't rule out that it moves more than is known (see `_groups`): what such a
  change moves alone, but not together with others of the same kind, can't be seen.
* Every setting: each other choice; the other of a flag; a number two others and its bounds; a text another and `""`; a
  list without each entry, with a new word, and with keys that the event has (a text and a number of its properties and
  of its traits); an object without each entry, with other values, and with new entries. What the schema refuses is
  left out.
* Fallbacks: where a place survives the loss of a value that it was taken from, the other values are changed and deleted
  in the state without that one (in groups, which are halved as long as they move anything), and so on down the chain.
* What only counts together: values that can be spared one by one are deleted in groups, such that any two are in one
  group; what moves then is brought down to the fewest values that move it.
* What others hide (`quantity` while `price` is 0): values that moved nothing are changed and deleted once more while
  others are changed, in the same groups, brought down to the fewest others. `Edge.given` says what is changed
  beside the source.
* Two settings, a setting and a value, or two values that moved nothing (either is enough, or both are needed): those
  that move little alone are changed in such groups as well, the settings also while all values are gone, and while all
  are others. A place that a setting moves alone is not told again; at most 8 such finds are told.
* What earlier events left (`inputs`), and where the event has none the clock and the made message id (`made`).

What an event depends on only by a value that is none of these (a rule for one exact name, say) can't be seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from turnout._json import fresh
from turnout._output import Target
from turnout._payload import Path, placed
from turnout._pointer import remove, steps
from turnout._redact import MASK
from turnout.mapping import quietly
from turnout.plan import Plan

if TYPE_CHECKING:
    from turnout._trial import Trial

__all__ = [
    "CONDITION",
    "COPIED",
    "DERIVED",
    "Change",
    "Edge",
    "Remedy",
    "Source",
    "Target",
    "applied",
]

COPIED = "copied"
"""The kind of an edge whose output is the value itself, or a text that contains it."""
DERIVED = "derived"
"""The kind of an edge whose output changes with the value."""
CONDITION = "condition"
"""The kind of an edge whose output is there or not because of the value."""


class Source(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One place of the input.

    `kind` is `event` (`name` is a JSON Pointer), `setting` (the setting's name), `inputs` (a field of `Carried`) or
    `made` (`clock` or `message_id`, which stand in for what the event lacks).
    """

    kind: str
    name: str

    def __str__(self) -> str:
        if self.kind == "made":
            return "the clock" if self.name == "clock" else "the made messageId"
        return self.name if self.kind == "event" else f"{self.kind} {self.name}"

    def to_dict(self) -> dict[str, str]:
        """Return it as plain data: `{"event": "/userId"}`."""
        return {self.kind: self.name}


class Change(msgspec.Struct, frozen=True):
    """One change of the input: the value at `source` is `after` instead of `before`; UNSET for what isn't there."""

    source: Source
    before: Any
    after: Any

    def masked(self, secrets: Collection[str]) -> Change:
        """Return it without the values of a setting that is among these secret ones."""
        if self.source.kind != "setting" or self.source.name not in secrets:
            return self
        return Change(self.source, self.before and MASK, self.after and MASK)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what isn't there has no key."""
        told = {**self.source.to_dict(), "before": self.before, "after": self.after}
        return {key: value for key, value in told.items() if value is not UNSET}


class Edge(msgspec.Struct, frozen=True):
    """One place of the output depends on one place of the input; with the two inputs and outputs that show it.

    `kind` is `copied` (the output is the value, or a text that contains it), `derived` (it changes with it) or
    `condition` (it comes or goes with it). The witness: with the value `before` at the source the output has
    `output_before` at the target, with `after` it has `output_after`; UNSET stands for what isn't there. Both inputs
    have the changes in `given`, and are the explained event otherwise. Secrets are `***`.
    """

    source: Source
    target: Target
    kind: str
    before: Any
    after: Any
    output_before: Any
    output_after: Any
    given: tuple[Change, ...] = ()

    @property
    def without(self) -> frozenset[Source]:
        """Return what is missing in both inputs."""
        return frozenset(one.source for one in self.given if one.after is UNSET)

    def inputs(self, event: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the two events that show it, made of the explained one; alike where another source is changed."""
        change = Change(self.source, self.before, self.after)
        return applied(event, self.given), applied(event, [*self.given, change])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what isn't there has no key."""
        told: dict[str, Any] = {**self.source.to_dict(), "kind": self.kind}
        if self.given:
            told["given"] = [one.to_dict() for one in self.given]
        names = ("before", "after", "output_before", "output_after")
        return told | {name: value for name in names if (value := getattr(self, name)) is not UNSET}


class Remedy(msgspec.Struct, frozen=True):
    """The smallest change that would send an event: `changes` (one or two), and the `requests` that it would cause.

    `others` are single changes of other places that would send it as well.
    """

    changes: tuple[Change, ...]
    requests: tuple[Mapping[str, Any], ...]
    others: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "changes": [one.to_dict() for one in self.changes],
            "requests": list(self.requests),
            "others": [one.to_dict() for one in self.others],
        }


class Lineage(msgspec.Struct, frozen=True):
    """What the output for one event depends on."""

    plan: Plan
    """What the event becomes."""
    edges: tuple[Edge, ...]
    """In the order of the output, for each of its places in the order of the input."""
    unread: tuple[str, ...]
    """The JSON Pointers of values that nothing reads: no change of them changes anything."""
    unstable: tuple[Target, ...]
    """Places that differ when the same event is mapped twice: the plugin is not pure, and they can't be explained."""


def applied(event: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Return a copy of an event with changes of its values made; other changes are left out."""
    made: dict[str, Any] = fresh(dict(event))
    mine = [one for one in changes if one.source.kind == "event"]
    for one in mine:
        if one.after is not UNSET:
            made = placed(made, _path(made, one.source.name), one.after)
    remove(made, [steps(one.source.name) for one in mine if one.after is UNSET])
    return made


def _path(value: Any, pointer: str) -> Path:
    """Return the path that a JSON Pointer is in a value: keys, and positions where lists are."""
    path: list[str | int] = []
    for step in steps(pointer):
        key: Any = int(step) if isinstance(value, list) else step
        path.append(key)
        value = value[key] if isinstance(value, list) else value.get(key) if isinstance(value, dict) else None
    return tuple(path)


def trace(trial: Trial, *, together: bool = True, jointly: bool = True) -> Lineage:
    """Return what the output for an event depends on; nothing is sent, and what the plugin raises is not logged.

    Without `together` it takes half the time, and leaves out what only counts together and what others hide; without
    `jointly` only settings that count together with something else.
    """
    from turnout._tracer import Tracer

    with quietly():
        return Tracer(trial).lineage(together=together, jointly=jointly)
