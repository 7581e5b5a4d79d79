"""How tests are spread over the processes of pytest-xdist: what takes long begins first, so that nobody waits for it.

With `--dist loadfile` xdist begins with the files that have the most tests and ends with those that have few and long
ones. Here the files of LONG come first, a test of a file of APART may run beside its neighbours, and case files, of
which each is a file with one test, are run in parts.
"""

from __future__ import annotations

import zlib
from typing import Any

from xdist.scheduler import LoadScopeScheduling

__all__ = ["APART", "LONG", "Spread", "place_of", "unit_of"]

LONG = (
    "test_chaos.py",
    "test_canary.py",
    "test_serving.py",
    "test_guides.py",
    "test_scaffold.py",
    "test_benchmarks.py",
    "test_clients.py",
    "test_hostile_clients.py",
    "test_diff_command.py",
    "test_contract.py",
    "test_contract_broken.py",
    "test_contract_amplitude.py",
    "test_mutation.py",
    "test_lineage.py",
    "test_laws.py",
    "test_specs.py",
    "test_split_delivery.py",
    "test_amplitude_values.py",
    "test_deadletters.py",
)
"""Files that take long, the longest first."""

APART = (
    "test_canary.py",
    "test_serving.py",
    "test_guides.py",
    "test_benchmarks.py",
    "test_hostile_clients.py",
    "test_contract.py",
    "test_contract_broken.py",
    "test_mutation.py",
    "test_specs.py",
)
"""Files with long tests that have no costly fixture in common."""

_PARTS = 16
"""How many parts the cases of a folder are run in."""


def unit_of(nodeid: str) -> str:
    """Return what runs in one process together with a test: its file, a part of the cases, or only the test itself."""
    path, _, name = nodeid.partition("::")
    folder, _, file = path.rpartition("/")
    if "cases" in folder.split("/"):
        return f"{folder}/{zlib.crc32(file.encode()) % _PARTS}"
    return f"{path}::{name}" if file in APART else path


def place_of(nodeid: str) -> int:
    """Return where a test stands: those of long files come first, the others as they were collected."""
    file = nodeid.partition("::")[0].rpartition("/")[2]
    return LONG.index(file) if file in LONG else len(LONG)


class Spread(LoadScopeScheduling):
    """Gives a process the next unit, in the order of the tests, when it has little left to do."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
