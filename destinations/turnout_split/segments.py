"""Identify calls that a sync of audiences or cohorts made: keys that go into segments, and out of them.

Two forms are read. The first is the one by which Segment's audiences are known: `context.personas` has
`computation_class: "audience"` and the trait's name as `computation_key`; `computation_size`, the number of members, is
turnout's own. The second is what Amplitude's cohort sync sends: `context.integration.name` is `Amplitude Cohort Sync`,
and traits are called `[Amplitude] <name> (<id>)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from turnout import Code, Destination, Event, Item, Refusal, rule
from turnout_split.events import checked_key
from turnout_split.names import segment_name

__all__ = ["SegmentRules"]

_MOST_KEYS = 100_000
_SYNC = "Amplitude Cohort Sync"
_COHORT = "[Amplitude] "
_PERSONAS = "/context/personas"

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class SegmentRules(_Base):
    """One membership, one key: uploads and removals are packed by segment, each key once.

    Order between users is nobody's promise, so each membership brings along what has to happen before it: the segment
    is created and activated by items of the same event. Of equal items that go together one is sent, and a segment that
    is there already is as good as a new one.
    """

    @rule("identify", when="sync_segments")
    def membership(self, event: Event) -> Iterator[Item]:
        """Who enters an audience or cohort becomes a key of its segment, who leaves it is removed.

        The trait says which: true or false. Another identify call sends nothing. A cohort whose `computation_size` is
        above 100,000 does not fit into a segment: everything of it is refused, before anything is sent.
        """
        found = list(_memberships(event))
        key = self._member(event) if found else ""
        for cohort, inside, path in found:
            yield from self._changes(self._segment(cohort, path), cohort, key, inside=inside)

    def _changes(self, segment: str, cohort: str, key: str, *, inside: bool) -> Iterator[Item]:
        endpoints = self.endpoints
        if self.config.create_segments:
            yield endpoints["creations"].item({"name": segment, "description": cohort})
            yield endpoints["activations"].item({"segment": segment})
        yield endpoints["uploads" if inside else "removals"].item({"segment": segment, "key": key})

    def _member(self, event: Event) -> str:
        key, name = (
            (event.user_id, "userId") if self.config.member_id == "user_id" else (event.anonymous_id, "anonymousId")
        )
        if key is None:
            raise Refusal(Code.VALUE_REQUIRED, f"A key in a segment is the {name}, and the event has none.", f"/{name}")
        return checked_key(key, f"/{name}")

    def _segment(self, cohort: str, path: str) -> str:
        name = self.config.segment_names.get(cohort) or segment_name(cohort)
        if not name:
            message = "Nothing of the name can stand in a segment's name: it needs a letter or digit of ASCII."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, f"{message} Name the segment in segment_names.", path)
        return str(name)


def _memberships(event: Event) -> Iterator[tuple[str, bool, str]]:
    """Yield the cohorts that an event is about, whether the user is in it, and where it says which cohort it is."""
    personas = (event.to_dict().get("context") or {}).get("personas")
    if isinstance(personas, Mapping) and personas.get("computation_class") == "audience":
        cohort = _computed(personas)
        yield cohort, _inside(event.traits, cohort), f"{_PERSONAS}/computation_key"
    elif event.context.integration.name == _SYNC:
        for name in sorted(event.traits):
            if name.startswith(_COHORT):
                yield name, _inside(event.traits, name), _pointer(name)


def _computed(personas: Mapping[str, Any]) -> str:
    """Return the key of an audience; raise `Refusal` when there is none, or when the audience is too large."""
    size = personas.get("computation_size")
    if size is not None and (size.__class__ is not int or size < 0):
        message = "computation_size, the number of members, must be a whole number."
        raise Refusal(Code.VALUE_INVALID, message, f"{_PERSONAS}/computation_size")
    if size is not None and size > _MOST_KEYS:
        message = f"The cohort has {size:,} members; a segment takes {_MOST_KEYS:,} keys. Make the cohort smaller."
        raise Refusal(Code.VENDOR_WOULD_REFUSE, message, f"{_PERSONAS}/computation_size")
    cohort = personas.get("computation_key")
    if cohort is None or cohort == "":
        message = "An audience needs computation_key, the name of the trait that says who is in it."
        raise Refusal(Code.VALUE_REQUIRED, message, f"{_PERSONAS}/computation_key")
    if not isinstance(cohort, str):
        raise Refusal(Code.VALUE_INVALID, "computation_key must be a text.", f"{_PERSONAS}/computation_key")
    return cohort


def _inside(traits: Mapping[str, Any], cohort: str) -> bool:
    value = traits.get(cohort)
    if value is True or value is False:
        return value
    code = Code.VALUE_REQUIRED if value is None else Code.VALUE_INVALID
    message = "The trait that the audience is called by must be true (in it) or false (no longer in it)."
    raise Refusal(code, message, _pointer(cohort))


def _pointer(trait: str) -> str:
    return "/traits/" + trait.replace("~", "~0").replace("/", "~1")
