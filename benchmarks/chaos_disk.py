"""The full disk of a chaos run: a small tmpfs on which the log lies, and a foreign file that takes all of its room."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from chaos_workers import reached, settled

from turnout.sqlite_log import SqliteLog

if TYPE_CHECKING:
    from chaos import Run

__all__ = ["Round", "fill", "show", "small_disk"]

_MEGABYTES = 24
_ROUND_MEGABYTES = 0.2
"""Dead letters stay on the disk, and each round leaves some."""
_BACKLOG = 1000


class Round(msgspec.Struct, frozen=True):
    """What happened once when the disk was full; None is what did not happen within the limit."""

    refused: float | None
    """Seconds until an event was refused."""
    drained: float | None
    """Seconds until everything that had been accepted was settled, on the full disk."""
    resumed: float | None
    """Seconds until an event was accepted, from when there was room again."""

    @property
    def good(self) -> bool:
        """Return whether all of it happened."""
        return None not in (self.refused, self.drained, self.resumed)


@contextmanager
def small_disk(folder: Path, rounds: int) -> Iterator[Path]:
    """Mount a tmpfs of a few megabytes while the block runs; OSError says why there can't be one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_megabytes(rounds)}m", "tmpfs", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise OSError(f"no tmpfs can be mounted: {found.stderr.strip() or found.returncode}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def _megabytes(rounds: int) -> int:
    return int(_MEGABYTES + rounds * _ROUND_MEGABYTES)


def fill(one: Run, disk: Path) -> Round:
    """Fill the disk while events wait, kill a process, let delivery come to its end there, and make room again."""
    one.accept.may_end = one.deliver.may_end = True
    with closing(SqliteLog(one.log)) as log:
        one.hold()
        most = _lines(one.folder / "accepted") + _BACKLOG
        _until(one, lambda: _lines(one.folder / "accepted") >= most)
        refusals = _lines(one.folder / "full")
        _take_all(disk / "foreign")
        refused = _until(one, lambda: _lines(one.folder / "full") > refusals)
        one.let_go()
        one.strike()
        drained = _until(one, lambda: settled(log, one.urls))
        accepted = _lines(one.folder / "accepted")
        (disk / "foreign").unlink()
        resumed = _until(one, lambda: _lines(one.folder / "accepted") > accepted)
    return Round(refused, drained, resumed)


def _take_all(path: Path) -> None:
    """Write a file until no byte is left."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _until(one: Run, condition: Callable[[], bool]) -> float | None:
    """Return after how many seconds a condition held; processes that end by themselves are started again."""
    started = time.monotonic()

    def held() -> bool:
        one.accept.revive()
        one.deliver.revive()
        return condition()

    return time.monotonic() - started if reached(held, one.limit) else None


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def show(one: Run, rounds: Sequence[Round]) -> bool:
    """Print what happened on the full disk, and return whether all of it is as promised."""
    print(f"\non the full disk ({_megabytes(len(rounds))} MB, filled {len(rounds)} times)")
    print(f"  {'appends refused':36} {_lines(one.folder / 'full'):,}")
    print(f"  {'processes that ended by themselves':36} {one.accept.ended} accept, {one.deliver.ended} deliver")
    for name in ("refused", "drained", "resumed"):
        told = ["never" if (after := getattr(found, name)) is None else f"{after:.1f}" for found in rounds]
        print(f"  {name + ' after seconds':36} {', '.join(told)}")
    if not all(found.good for found in rounds):
        print("  BROKEN: an event is refused on a full disk, all others are delivered, and with room it goes on")
    return all(found.good for found in rounds)
