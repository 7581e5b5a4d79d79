"""Fallbacks: what stands behind a value that an output was taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import UNSET

from turnout._output import Difference, Target
from turnout._payload import Path, Payload
from turnout._tracer import Tracer, ends, equal
from turnout.lineage import CONDITION

__all__ = ["follow_fallbacks", "halved"]

_LONGEST = 6
"""How many values of one chain are taken away at most."""
_MOST = 100
"""How many states are looked at for one event at most."""


def follow_fallbacks(tracer: Tracer) -> None:
    """Change the other values wherever a place survives the loss of the one that it was taken from."""
    Follower(tracer).run()


class Follower:
    """Looks at the states in which a value is gone that a place was taken from, those with the fewest gone first."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.waiting: list[tuple[tuple[Path, ...], list[Target]]] = []
        self.harmless = {path for path in tracer.leaves if tracer.harmless(path)}

    def run(self) -> None:
        tracer = self.tracer
        for path in tracer.leaves:
            source, lost = tracer.sources[path], tracer.lost[path]
            taken = [one for one in tracer.reached.get(source, ()) if tracer.found[source, one].kind != CONDITION]
            ended = {one.rule for one, after in lost.items() if ends(one, after)}
            left = [one for one in taken if one in tracer.fields and "" not in ended and one.rule not in ended]
            self.waiting.append(((path,), [one for one in left if lost.get(one) is not UNSET]))
        seen: set[frozenset[Path]] = set()
        for gone, targets in self.waiting:  # it grows
            if targets and len(seen) < _MOST and frozenset(gone) not in seen:
                seen.add(frozenset(gone))
                self.look(gone, targets)

    def look(self, gone: tuple[Path, ...], targets: list[Target]) -> None:
        """Change the values in the state without `gone`; those that `targets` were then taken from may go next."""
        payload = Payload(self.tracer.payload.value, gone)
        state = self.tracer.values_at(payload.text, targets)
        wanted = set(state)
        left = [path for path in payload.leaves() if not wanted <= self.alone(path)]
        needed = [path for path in left if path not in self.harmless and path not in self.tracer.fragile]
        for path in needed:
            self.change(payload, path, self.tracer.another[path], state)
        for path in self.moving(payload, [path for path in left if path in self.harmless], state):
            moved = self.change(payload, path, self.tracer.another[path], state)
            self.change(payload, path, UNSET, state)
            if moved and len(gone) < _LONGEST:
                after = self.tracer.values_at(payload.cut(path), moved)
                self.waiting.append(((*gone, path), [one for one, value in after.items() if value is not UNSET]))

    def moving(self, payload: Payload, paths: list[Path], state: dict[Target, Any]) -> list[Path]:
        """Return those values whose change or deletion moves something in a state."""

        whole, gone = self.tracer.payload, dict.fromkeys(payload.gone, UNSET)

        def changed(some: list[Path]) -> bool:
            text = whole.altered(gone | {path: self.tracer.another[path] for path in some})
            return bool(self.differing(state, self.tracer.values_at(text, state)))

        def deleted(some: list[Path]) -> bool:
            text = whole.altered(gone | dict.fromkeys(some, UNSET))
            return bool(self.differing(state, self.tracer.values_at(text, state)))

        found = [*halved([path for path in paths if path not in self.tracer.fragile], changed)]
        return [*found, *halved([path for path in paths if path not in found], deleted)]

    def change(self, payload: Payload, path: Path, after: Any, state: dict[Target, Any]) -> list[Target]:
        """Keep what a change moves in a state, where the value moves nothing by itself; return the places."""
        source, wanted = self.tracer.sources[path], self.hidden(path, state)
        text = payload.cut(path) if after is UNSET else payload.changed(path, after)
        moved = self.differing(state, self.tracer.values_at(text, wanted))
        given = tuple(self.tracer.change(one, UNSET) for one in payload.gone)
        self.tracer.note(source, payload.places[path].value, after, moved, given)
        return [one.target for one in moved]

    def hidden(self, path: Path, targets: Iterable[Target]) -> list[Target]:
        """Return those places that the value doesn't move by itself."""
        alone = self.alone(path)
        return [one for one in targets if one not in alone]

    def alone(self, path: Path) -> set[Target]:
        """Return the places that a value moves by itself."""
        return self.tracer.alone.get(self.tracer.sources[path], set())

    def differing(self, state: dict[Target, Any], now: dict[Target, Any]) -> list[Difference]:
        return [Difference(one, state[one], value) for one, value in now.items() if not equal(state[one], value)]


def halved(paths: list[Path], moves: Callable[[list[Path]], bool]) -> Iterator[Path]:
    """Yield the single paths that move something, found by halving groups that do."""
    if not paths or not moves(paths):
        return
    if len(paths) == 1:
        yield paths[0]
    else:
        middle = len(paths) // 2
        yield from halved(paths[:middle], moves)
        yield from halved(paths[middle:], moves)
