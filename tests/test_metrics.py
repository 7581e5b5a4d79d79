"""The metrics of a delivery."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turnout.accepting import Acceptor, now_ms
from turnout.deliver import Delivery
from turnout.errors import ConfigError
from turnout.metrics import figures, serve, text
from turnout.sqlite_log import SqliteLog

Make = Callable[..., dict[str, Any]]


def test_what_came_in_is_what_came_out_and_what_waits(bench: Any, call: Make, tmp_path: Path) -> None:
    """The identity holds in what is scraped, by destination, with reason codes; also over HTTP."""
    log = SqliteLog(tmp_path / "turnout.log")
    dispatcher = bench.dispatcher()
    with Acceptor(log, dispatcher.log_settings, now_ms) as acceptor:
        acceptor.accept([dispatcher.normaliser.event(one) for one in (call("m-1"), call("m-2", do="drop"))])
    delivery = Delivery(dispatcher, log)
    begins = figures(delivery).decode().splitlines()
    assert 'turnout_requests_total{destination="acme"} 0.0' in begins
    assert 'turnout_breaker{destination="acme",state="closed"} 1.0' in begins

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        async with asyncio.timeout(20):
            while not delivery.empty():
                await asyncio.sleep(0.01)
        stop.set()
        await task

    asyncio.run(main())
    lines = text(delivery).splitlines()
    for line in (
        'turnout_events_received_total{destination="acme"} 2.0',
        'turnout_events_pending{destination="acme"} 0.0',
        'turnout_events{code="",destination="acme",outcome="delivered"} 1.0',
        'turnout_events{code="filtered",destination="acme",outcome="dropped"} 1.0',
        'turnout_breaker{destination="acme",state="closed"} 1.0',
    ):
        assert line in lines
    port = serve(delivery, 0)
    with pytest.raises(ConfigError, match=rf"Can't serve metrics on port {port}: .*\. Choose another port"):
        serve(delivery, port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"turnout_events_received_total" in answer.read()
    log.close()
