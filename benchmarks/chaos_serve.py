"""`turnout serve` for a chaos run; with `--broken` one that answers before the commit.

python benchmarks/chaos_serve.py CONFIG [--broken]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import turnout.accepting
from turnout.accepting import Acceptor
from turnout.cli import main

__all__ = ["HastyAcceptor"]


class HastyAcceptor(Acceptor):
    """A broken build: it says that events are kept, and keeps them a little later."""

    async def keep(self, texts: Sequence[bytes], keys: Sequence[bytes]) -> Sequence[int | None]:
        """Acknowledge before the commit."""
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, super().keep(texts, keys))
        return list(range(len(texts)))


if __name__ == "__main__":
    if "--broken" in sys.argv:
        turnout.accepting.Acceptor = HastyAcceptor  # type: ignore[misc]
    main(["serve", "--config", sys.argv[1]])
