"""The log after a power cut: what `append` and `settle` had returned for is there, and nothing else.

A trial is a cut at a random point of what a log did to its files: `forgetful.py` says what a disk may have kept by
then, and a log that is opened on it has to hold what it held before or after the step that was under way. The next
life of the same log begins with one of those disks, so that cuts come in the middle of recovery, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from forgetful import HOW, NAME, Disk, Layer

from turnout.log import Accepted, DeadLetter, DeadQuery, Entries, LogError, Parked, Settlement, StoredItem
from turnout.reasons import Code, Outcome, Reason
from turnout.sqlite_log import SqliteLog

SEEDS = range(20)
LIVES, CUTS = 5, 5
"""How often the power goes for one seed: so many times for each of so many recordings."""


class Kept(NamedTuple):
    """What a log holds, as far as it can be read."""

    last: int = 0
    events: tuple[Accepted, ...] = ()
    keys: tuple[tuple[bytes, ...], ...] = ()
    """Those of each append."""
    position: int = 0
    settled: int = 0
    """How often something was settled: its number carries over, and is counted."""
    parked: tuple[tuple[int, str, int, bytes], ...] = ()
    dead: tuple[bytes, ...] = ()


def seen(log: SqliteLog) -> Kept:
    """Return what a log holds; it is read through its public methods."""
    keys = tuple(tuple(some) for _, some in log.keys(0))
    cursor = log.register("a")
    waiting = [each for user in log.waiting_users("a") for each in log.behind("a", user, 1_000)]
    settled = cursor.inputs.get("settled", 0)
    assert log.counts().get("a", {}) == ({(Outcome.DELIVERED, None): settled} if settled else {})
    return Kept(
        log.last(),
        tuple(log.read(0, events=10**6, size=10**9)),
        keys,
        cursor.position,
        settled,
        tuple(sorted((each.id, each.user, each.position, each.items[0].data) for each in waiting)),
        tuple(letter.event for letter in log.dead(DeadQuery())),
    )


def noise(random: Random) -> bytes:
    """Return an event: mostly a small one, some that take a page or more; half of them can't be compressed."""
    size = random.choice((1, 100, 600, 5_000))
    return random.randbytes(size) if random.random() < 0.5 else random.randbytes(1) * size


def append(log: SqliteLog, kept: Kept, random: Random) -> Kept:
    """Append some events, and return what the log has to hold then."""
    events = [noise(random) for _ in range(random.choice((1, 3, 10, 40)))]
    accepted = tuple(Accepted(number, event) for number, event in enumerate(events, kept.last + 1))
    keys = tuple(each.position.to_bytes(16, "big") for each in accepted)
    assert log.append(Entries(events, keys, at_ms=1)) == kept.last + 1
    return kept._replace(last=kept.last + len(events), events=kept.events + accepted, keys=(*kept.keys, keys))


def settle(log: SqliteLog, kept: Kept, random: Random) -> Kept:
    """Settle something of everything, and return what the log has to hold then."""
    position, number = random.randint(kept.position, kept.last), kept.settled + 1
    new = [(random.choice("uvw"), position, noise(random)) for _ in range(random.choice((0, 1, 8)))]
    done = {each[0] for each in kept.parked if random.random() < 0.4}
    dead = [noise(random) for _ in range(random.choice((0, 1, 3)))]
    settlement = Settlement(
        position=position,
        inputs={"settled": number},
        park=[Parked(user=user, position=at, message_id="m", items=[StoredItem("e", data)]) for user, at, data in new],
        unpark=sorted(done),
        dead=[DeadLetter(reason=Reason(Code.VENDOR_REFUSED, "no"), event=event) for event in dead],
        counts={(Outcome.DELIVERED, None): 1},
    )
    ids = log.settle("a", settlement)
    parked = [each for each in kept.parked if each[0] not in done]
    parked += [(identifier, *each) for identifier, each in zip(ids, new, strict=True)]
    return kept._replace(position=position, settled=number, parked=tuple(parked), dead=(*kept.dead, *dead))


def retain(log: SqliteLog, kept: Kept, _: Random) -> Kept:
    """Delete the appends that are settled, and return what the log has to hold then."""
    log.retain(age_ms=0, now_ms=1_000)
    keys = tuple(some for some in kept.keys if int.from_bytes(some[-1], "big") > kept.position)
    first = int.from_bytes(keys[0][0], "big") if keys else kept.last + 1
    return kept._replace(keys=keys, events=tuple(each for each in kept.events if each.position >= first))


def grow_old(log: SqliteLog, kept: Kept, random: Random) -> Kept:
    """Let SQLite copy from the write-ahead log sooner than it would, as it does after a thousand pages."""
    log._writer.execute(f"PRAGMA wal_autocheckpoint = {random.choice((1, 5, 20))}")
    log._writer.execute(f"PRAGMA journal_size_limit = {random.choice((0, 20_000, 4_194_304))}")
    return kept


STEPS: Sequence[Callable[[SqliteLog, Kept, Random], Kept]] = (append, append, append, settle, settle, retain)


class Life:
    """What a log did between two power cuts."""

    def __init__(self, folder: Path, kept: Kept, layer: Layer, setting: str | None) -> None:
        self.disk = layer.record(folder)
        self.path, self.setting = folder / "log.db", setting
        self.kept = kept
        self.steps: list[tuple[int, int, Kept]] = [(0, 0, kept)]
        """From and up to which change each step went, and what had to be there then."""

    def live(self, random: Random) -> None:
        """Open the log once or twice, and do a few steps with it."""
        for _ in range(random.choice((1, 1, 2))):
            with closing(self._step(self._open)) as log:
                for step in (grow_old, *random.choices(STEPS, k=random.randint(1, 6))):
                    self._step(partial(self._keep, step, log, random))
                assert seen(log) == self.kept

    def cuts(self, random: Random, count: int) -> Iterator[int]:
        """Yield places for a cut: anywhere, or where a step has just returned."""
        for _ in range(count):
            anywhere = random.randint(0, len(self.disk.changes))
            yield random.choice((anywhere, random.choice(self.steps)[1]))

    def allowed(self, cut: int) -> list[Kept]:
        """Return what may be there after a cut: what has to be, and what the step under way would have made of it."""
        must = [kept for _, end, kept in self.steps if end <= cut][-1:]
        return must + [kept for start, end, kept in self.steps if start < cut < end]

    def _step(self, work: Callable[[], Any]) -> Any:
        start = len(self.disk.changes)
        result = work()
        self.steps.append((start, len(self.disk.changes), self.kept))
        return result

    def _open(self) -> SqliteLog:
        log = SqliteLog(self.path, vfs=NAME)
        log.register("a")
        if self.setting:
            log._writer.execute(f"PRAGMA {self.setting}")
        return log

    def _keep(self, step: Callable[[SqliteLog, Kept, Random], Kept], log: SqliteLog, random: Random) -> None:
        self.kept = step(log, self.kept, random)


def after_cut(disk: Disk, folder: Path, cut: int, seed: str) -> Path:
    """Return a folder with what a disk might have kept, the reserve included: of that, any part will do."""
    folder.mkdir()
    random = Random(seed)
    disk.rebuild(folder, cut, random)
    if random.random() < 0.9:
        with (folder / "log.db-reserve").open("wb") as reserve:
            reserve.truncate(random.choice((8_000_000,) * 9 + (1_000,)))
    return folder


def found_in(folder: Path, allowed: list[Kept]) -> Kept | str:
    """Return what a log that is opened in a folder holds, or what is wrong with it."""
    try:
        with closing(SqliteLog(folder / "log.db")) as log:
            found, damages = seen(log), log.check()
    except Exception as error:
        return repr(error)
    if damages or found not in allowed:
        told = [f"{each.last} events, {each.settled} settlements" for each in (found, *allowed)]
        return f"{told[0]} instead of {' or '.join(told[1:])}; {damages}"
    return found


def recording_layer() -> Layer:
    """Return the layer that records; skips the test where there is none."""
    layer = Layer.registered()
    if layer is None:
        pytest.skip(HOW)
    return layer


def losses(place: Path, seed: int, setting: str | None = None, folders: bool = True) -> Iterator[str]:
    """Yield what goes wrong with the cuts of one seed; after the life in which something has, there is no next."""
    layer, random, kept, wrong = recording_layer(), Random(seed), Kept(), False
    folder = place / f"{seed} #1 of 100%"
    folder.mkdir()
    for number in range(LIVES):
        life = Life(folder, kept, layer, setting)
        life.disk.folders = folders
        life.live(random)
        for each, cut in enumerate(life.cuts(random, CUTS)):
            name = f"{seed}-{number}-{each}"
            found = found_in(after_cut(life.disk, place / name, cut, name), life.allowed(cut))
            shutil.rmtree(place / name)
            if isinstance(found, str):
                wrong = True
                yield f"{name}, after change {cut} of {len(life.disk.changes)}: {found}"
            else:
                kept = found
        if wrong:
            return
        folder = after_cut(life.disk, place / f"{name}-next", cut, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_takes_nothing_that_was_kept(tmp_path: Path, seed: int) -> None:
    """Every append and every settlement that had returned is there; the one under way is there whole, or not at all."""
    assert list(losses(tmp_path, seed)) == []


def test_a_power_cut_while_a_log_is_made_leaves_one_that_can_be_made(tmp_path: Path) -> None:
    """Also one whose beginning never reached the disk: what is there is opened, and has nothing in it."""
    (tmp_path / "first").mkdir()
    disk = recording_layer().record(tmp_path / "first")
    SqliteLog(tmp_path / "first" / "log.db", vfs=NAME).close()
    ready = next(number for number, each in enumerate(disk.changes) if getattr(each, "name", "") == "log.db-wal")
    for cut in range(ready + 1):
        for name in (f"{cut}-{each}" for each in range(8)):
            assert found_in(after_cut(disk, tmp_path / name, cut, name), [Kept()]) == Kept(), name


@pytest.mark.parametrize("setting", ["synchronous = OFF", "synchronous = NORMAL", "fullfsync = OFF"])
def test_a_log_that_does_not_wait_for_the_disk_loses_something(tmp_path: Path, setting: str) -> None:
    """The same cuts take something from it: they would show it."""
    assert [loss for seed in range(3) for loss in losses(tmp_path, seed, setting)]


def test_files_whose_folder_is_never_synced_are_lost(tmp_path: Path) -> None:
    """The same for names: what is in a file is of no use when nothing leads to it."""
    assert [loss for seed in range(3) for loss in losses(tmp_path, seed, folders=False)]


def test_a_log_without_its_version_is_told_to_be_damaged(tmp_path: Path) -> None:
    """What a disk that didn't wait has left of a log may be in order for SQLite."""
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log._writer.execute("DELETE FROM meta")
    with pytest.raises(LogError, match=r"log\.db: is damaged\. Restore a copy"):
        SqliteLog(tmp_path / "log.db")
