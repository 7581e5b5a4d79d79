"""What the kernel is asked for: a receipt leaves the process only behind the sync that keeps its events."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from turnout import Dispatcher
from turnout.accepting import Acceptor, now_ms
from turnout.sqlite_log import SqliteLog

dispatcher, log = Dispatcher([]), SqliteLog(sys.argv[1])
with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
    for number in range(20):
        event = {"type": "track", "event": "Sold", "userId": "u", "messageId": f"m-{number}"}
        receipt = acceptor.accept([dispatcher.normaliser.event(event)])[0]
        os.write(1, f"receipt {number} {receipt.accepted}\\n".encode())
log.close()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: install the package strace")
def test_the_file_is_synced_before_each_receipt(tmp_path: Path) -> None:
    """Between two receipts, and before the first one, the log's file was written and then synced."""
    trace, log = tmp_path / "trace", tmp_path / "turnout.log"
    seen = "trace=write,pwrite64,fdatasync,fsync"
    command = ["strace", "-f", "-qq", "-y", "-e", seen, "-o", trace, sys.executable, "-c", PROGRAM, log]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "ptrace" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace is not allowed to trace here: let the process use ptrace")
    assert done.stdout.count("True") == 20, done.stderr
    written = synced = False
    receipts = 0
    for line in trace.read_text().splitlines():
        if re.search(r"pwrite64\(\d+<\S*turnout\.log-wal>", line):
            written, synced = True, False
        elif re.search(r"f(data)?sync\(\d+<\S*turnout\.log-wal>", line):
            synced = written
        elif '"receipt ' in line:
            assert written, f"receipt {receipts} left before its event was written"
            assert synced, f"receipt {receipts} left before its event was synced"
            written = synced = False
            receipts += 1
    assert receipts == 20
