"""The vendor of a chaos run: two simulated Amplitudes in a process that is never killed, each with a journal on disk.

    python benchmarks/chaos_vendor.py FOLDER cloud device

A journal has a line for each item that took effect, in order, written before the answer: endpoint, insert id, device
id, and a digest of the whole item. Lines that start with `!` name the faults that were met.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any

from turnout.testing import Answer, Entry
from turnout_amplitude.simulator import AmplitudeSimulator

__all__ = ["Journal", "Recorder", "main"]

_ITEMS = {"/2/httpapi": "events", "/identify": "identification"}


class Journal(list[Entry]):
    """A ledger that keeps nothing in memory and writes what took effect to a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, entry: Entry) -> None:
        """Write the lines of one request."""
        lines = []
        if entry.status == 413 and not entry.fault:
            lines.append("! 413 nothing")
        if entry.fault:
            after = "stored" if entry.effect else "nothing"
            lines.append(f"! {entry.fault.get('headers', {}).get('x-chaos', 'unnamed')} {after}")
        if entry.effect:
            found = entry.body[_ITEMS[entry.path]]
            lines += [_line(entry.path, item) for item in (found if isinstance(found, list) else [found])]
        if lines:
            os.write(self._file, ("\n".join(lines) + "\n").encode())


def _line(path: str, item: dict[str, Any]) -> str:
    digest = blake2b(json.dumps(item, sort_keys=True).encode(), digest_size=8).hexdigest()
    return f"{path} {item['insert_id']} {item.get('device_id', '-')} {digest}"


class Recorder(AmplitudeSimulator):
    """An Amplitude that refuses events with the property `refuse` and requests over 100 KB, and writes a journal."""

    request_bytes: Mapping[str, int] = {"/2/httpapi": 100_000, "/identify": 5_000}

    def __init__(self, path: Path) -> None:
        super().__init__(api_keys=["key-chaos"])
        self.ledger = Journal(path)

    def _refuse(self, items: list[dict[str, Any]], kind: Any, rules: Any) -> Answer | None:
        places = [at for at, item in enumerate(items) if (item.get("event_properties") or {}).get("refuse")]
        if places:
            fields = {"event_properties": places}
            body = {"code": 400, "error": "Invalid field values on some events", "events_with_invalid_fields": fields}
            return Answer(400, body)
        return super()._refuse(items, kind, rules)

    def _store_events(self, call: Any, events: list[dict[str, Any]]) -> Answer:
        answer = super()._store_events(call, events)
        self.store.events.clear()  # the journal has them; hundreds of thousands would fill the memory
        return answer


def main(arguments: list[str]) -> None:
    """Serve one simulator for each name, write their URLs to FOLDER/urls.json, and stay."""
    folder = Path(arguments[0])
    with ExitStack() as stack:
        urls = {name: stack.enter_context(Recorder(folder / f"{name}.journal").serve()) for name in arguments[1:]}
        part = folder / "urls.part"
        part.write_text(json.dumps(urls))
        part.rename(folder / "urls.json")
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1:])
