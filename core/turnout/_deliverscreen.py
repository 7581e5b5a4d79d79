"""What `turnout deliver` does around delivery: signals, metrics, the end, and the summary."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial

import click
from rich.console import Console
from rich.table import Table

from turnout import _runtime as runtime
from turnout.deliver import Delivery
from turnout.dispatcher import Dispatcher
from turnout.log import SERVED, DeadQuery, Log, open_log
from turnout.logstatus import left
from turnout.tether import answer

__all__ = ["run"]


def run(
    dispatcher: Dispatcher,
    *,
    configured: Iterable[str],
    until_empty: bool,
    metrics_port: int | None,
    until_stdin_ends: bool = False,
) -> int:
    """Deliver until a signal, or until nothing is left, show the counts, and return the exit code.

    `configured` are all destinations that there are: the log keeps their events until they have had them, also when
    others are delivered to; of another one that the log still keeps events for it is told.
    `until_stdin_ends` is for a process that another one runs: it ends with that one, however that ends.
    """
    log = open_log(dispatcher.log_settings)
    try:
        before = log.count_dead(DeadQuery())
        for name in configured:  # the log keeps what it has for these too, when only some of them are delivered to
            log.register(name)
        delivery = Delivery(dispatcher, log)

        def begun() -> None:
            _tell(delivery, left(log, configured), metrics_port)

        with log.own(SERVED) if until_stdin_ends else nullcontext():
            runtime.run(_run(delivery, begun, until_empty, until_stdin_ends))
        summary(log)
        return 1 if until_empty and log.count_dead(DeadQuery()) > before else 0
    finally:
        log.close()


def _tell(delivery: Delivery, forgotten: Iterable[str], metrics_port: int | None) -> None:
    """Say what is begun; raises `ConfigError` when the port for metrics is taken."""
    for name in forgotten:
        what = f"The log keeps all events for '{name}', which the configuration doesn't have"
        click.echo(f"turnout: {what}. If that is for good: turnout log forget {name}", err=True)
    if metrics_port is not None:
        from turnout.metrics import serve

        click.echo(f"metrics: http://127.0.0.1:{serve(delivery, metrics_port)}/metrics", err=True)
    names = ", ".join(delivery.dispatcher.destinations)
    click.echo(f"delivering {delivery.dispatcher.log_settings.path} to {names}", err=True)


async def _run(delivery: Delivery, begun: Callable[[], None], until_empty: bool, until_stdin_ends: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tied = asyncio.create_task(_tied(delivery, stop)) if until_stdin_ends else None
    watching = asyncio.create_task(_watch(delivery, stop)) if until_empty else None
    try:
        await delivery.run(stop, begun)
        if tied and tied.done():
            tied.result()
    finally:
        for task in (tied, watching):
            if task:
                task.cancel()


async def _tied(delivery: Delivery, stop: asyncio.Event) -> None:
    """Tell the gateway the figures of a delivery, which stops when that is gone."""
    try:
        from turnout.metrics import figures

        await answer(partial(figures, delivery))
    finally:
        stop.set()


async def _watch(delivery: Delivery, stop: asyncio.Event) -> None:
    """Stop delivery when nothing is left."""
    while not await asyncio.to_thread(delivery.empty):
        await asyncio.sleep(0.1)
    stop.set()


def summary(log: Log) -> None:
    """Show how many events came to which outcome at each destination, and how many still wait."""
    table = Table("destination", "outcome", "reason", box=None)
    table.add_column("events", justify="right")
    for name, state in log.states().items():
        for (outcome, code), times in sorted(state.counts.items(), key=lambda one: (one[0][0], one[0][1] or "")):
            if times:
                table.add_row(name, outcome.value, code.value if code else "", f"{times:,}")
        if state.pending:
            table.add_row(name, "pending", "", f"{state.pending:,}")
    console = Console(highlight=False)
    console.print(table if table.row_count else "Nothing was delivered.")
    dead = log.count_dead(DeadQuery())
    if dead:
        letters = "1 dead letter; look at it" if dead == 1 else f"{dead:,} dead letters; look at them"
        console.print(f"{letters} with: turnout dlq list", style="dim")
    sys.stdout.flush()
