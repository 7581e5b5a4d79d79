"""The command `turnout explain`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from turnout import cli
from turnout.watchdog import TooLong

if TYPE_CHECKING:
    from turnout.dispatcher import Dispatcher
    from turnout.errors import Refusal
    from turnout.event import Event
    from turnout.explanation import Explanation
    from turnout.inputs import Inputs
    from turnout.plan import Plan
    from turnout.reading import Record

__all__ = ["explain"]

_SECONDS = 2.0
"""How long a mapping may last; one event is mapped many times here, so of those that hang several may be waited for."""


@click.command()
@click.option("-d", "--destination", required=True, help="A destination of --config; without it, a plugin.")
@cli.common_options
@click.option("--now", metavar="ISO", help="The time that the clock shows.")
@click.option("--witness", is_flag=True, help="Show for each dependency the change that proves it.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line for each event.")
def explain(
    destination: str,
    settings: str | None,
    config: str | None,
    now: str | None,
    witness: bool,
    as_json: bool,
    file: str,
) -> None:
    """Show where every field of the requests comes from; send nothing.

    Each value of the event and each setting is changed in turn, and what moves in the requests depends on it. For an
    event that isn't sent: the smallest change that would send it. Input and exit codes are those of turnout plan.
    """
    from turnout._explainscreen import Screen
    from turnout._hang import patrolled
    from turnout.inputs import Inputs
    from turnout.reasons import Outcome

    dispatcher = cli.dispatcher_of([destination], settings, config, clock=cli.clock_at(now), new_id=cli.hashed_id)
    screen, bad, inputs = Screen(witness=witness, as_json=as_json), False, Inputs()
    with patrolled(_SECONDS):
        for record in cli.input_records(file):
            for one in _explained(dispatcher, record, inputs):
                bad = bad or one.outcome in (Outcome.INVALID, Outcome.FAILED)
                screen.show(one)
    screen.finish()
    sys.exit(1 if bad else 0)


def _explained(dispatcher: Dispatcher, record: Record, inputs: Inputs) -> Iterator[Explanation]:
    from turnout.errors import Refusal
    from turnout.explanation import explain as explained

    if record.refusal is not None:
        yield from (explained(plan) for plan in dispatcher.refused(record.refusal, record.place))
        return
    for number, found in enumerate(dispatcher.read_body(record.raw), start=1):
        if isinstance(found, Refusal):
            place = record.place if number == 1 else f"{record.place}, event {number}"
            yield from _of_refused(dispatcher, found, place)
        else:
            yield from (explained(plan) for plan in _planned(dispatcher, found, inputs))


def _planned(dispatcher: Dispatcher, event: Event, inputs: Inputs) -> list[Plan]:
    from turnout._hang import Hang

    try:
        return dispatcher.plan(event, inputs)
    except TooLong as error:
        return [Hang.of(error).plan]


def _of_refused(dispatcher: Dispatcher, refusal: Refusal, place: str) -> Iterator[Explanation]:
    """Yield the explanation of an event that can't be accepted, with its place in front of the reason."""
    from turnout.explanation import explain as explained

    for plan in dispatcher.refused(refusal, place):
        target, now = dispatcher.destinations[plan.destination], dispatcher.normaliser.clock()
        found = explained(target, refusal.source or b"", now=now)
        yield msgspec.structs.replace(found, message_id=plan.message_id, outcome=plan.outcome, reason=plan.reason)
