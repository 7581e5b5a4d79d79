"""What `turnout dlq`, `turnout replay` and `turnout log` show."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnout import _json
from turnout.deadletters import Replayed, Stays, called, when
from turnout.log import DeadLetter
from turnout.logstatus import Forgotten
from turnout.plan import reason_dict
from turnout.replaying import Fed, Rewound

__all__ = ["end", "fed", "forgotten", "letter", "letters", "purged", "replayed", "rewound", "standing"]

_LISTED = 50
_NARROW = 72
"""Below so many columns times and reasons are folded too, so that the others keep some room."""
_NOT_DONE = "Nothing was done. Add --yes to do it."


def letters(found: Iterable[DeadLetter], limit: int | None, *, as_json: bool, damaged: Collection[int] = ()) -> None:
    """List dead letters; as JSON, one line for each. `damaged` are, at the end, those that can't be read."""
    if as_json:
        for number, one in enumerate(found):
            if number == limit:
                break
            _write(_row(one))
        return
    most = _LISTED if limit is None else limit
    table = Table(box=None)
    whole = ("id", "when", "reason") if _console().width >= _NARROW else ("id",)
    for name in ("id", "when", "destination", "message id", "event", "reason"):
        table.add_column(name, no_wrap=name in whole, overflow="fold")
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in found:
        counts[one.destination, one.outcome.value, one.reason.code.value] += 1
        if table.row_count < most:
            cells = (one.message_id or "", called(one), one.reason.code.value)
            at = when(one.at_ms)[:19].replace("T", " ")
            table.add_row(str(one.id), at, one.destination, *map(_plain, cells))
    _listed(table, counts, damaged)


def _listed(table: Table, counts: Counter[tuple[str, str, str]], damaged: Collection[int]) -> None:
    total = counts.total()
    if not total:
        click.echo("No dead letter can be read." if damaged else "No dead letters.")
        return
    console = _console()
    if table.row_count:
        console.print(table)
        console.print()
    if table.row_count < total:
        console.print(f"… and {total - table.row_count:,} more (--limit)\n")
    summary = Table("destination", "outcome", "reason", box=None)
    summary.add_column("letters", justify="right")
    for (destination, outcome, code), number in sorted(counts.items()):
        summary.add_row(destination, outcome, code, f"{number:,}")
    console.print(summary)


def _row(one: DeadLetter) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": when(one.at_ms),
        "destination": one.destination,
        "message_id": one.message_id,
        "event": called(one),
        "outcome": one.outcome.value,
        "reason": reason_dict(one.reason),
        "attempts": one.attempts,
    }


def letter(line: Mapping[str, Any], *, as_json: bool) -> None:
    """Show one dead letter, given as plain data."""
    if as_json:
        _write(line)
        return
    reason = line["reason"]
    path = f" ({reason['path']})" if reason["path"] else ""
    about = {
        "dead letter": line["id"],
        "when": line["at"],
        "destination": f"{line['destination']}, {line['version']}" if line["version"] else line["destination"],
        "message id": line["message_id"] or "",
        "user": line["user"],
        "outcome": f"{line['outcome']}: {reason['code']}",
        "reason": f"{reason['message']}{path}",
        "attempts": line["attempts"],
    }
    for name, value in about.items():
        click.echo(_clean(f"{name:12} {value}").rstrip())
    _pretty("event", line["event"], missing="It can't be read any more.")
    for number, item in enumerate(line["items"], start=1):
        rule = f", rule {item['rule']}" if item["rule"] else ""
        missing = "Not shown: without its destination's settings nobody can tell what is secret in it (--show-secrets)."
        _pretty(f"item {number}, endpoint {item['endpoint']}{rule}", item["data"], missing=missing)


def _pretty(title: str, value: Any, *, missing: str) -> None:
    click.echo(_clean(f"\n{title}:"))
    text = missing if value is None else json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(_clean(text))


def replayed(done: Replayed, *, dry: bool, as_json: bool) -> None:
    """Show what came of a replay."""
    if as_json:
        stays = [_json.read(_json.compact(one)) for one in done.stays]
        counts = {"replayed": done.parked.total(), "dropped": done.dropped.total()}
        stay = {"stay": sum(one.letters for one in done.stays), "stays": stays, "damaged": sorted(done.damaged)}
        _write({"done": not dry, **counts, **stay})
        return
    if not (done.parked.total() or done.dropped.total() or done.stays or done.damaged):
        click.echo("No dead letters.")
        return
    for name, number in done.parked.items():
        if number:
            verb = "would go" if dry else _verb("goes", "go", number)
            click.echo(_clean(f"{name}: {_letters(number)} {verb} out once more"))
    for name, number in done.dropped.items():
        if number:
            verb, them = "would be" if dry else _verb("is", "are", number), _verb("it", "them", number)
            click.echo(_clean(f"{name}: {_letters(number)} {verb} dropped: its settings send nothing for {them} now"))
    for one in done.stays:
        click.echo(_clean(_staying(one, dry)))
    if number := len(done.damaged):
        click.echo(f"{_letters(number)} that can't be read {'would stay' if dry else _verb('stays', 'stay', number)}")
    if dry:
        click.echo(_NOT_DONE)


def _staying(one: Stays, dry: bool) -> str:
    verb = "would stay" if dry else _verb("stays", "stay", one.letters)
    code = f" [{one.code}]" if one.code else ""
    return f"{one.destination}: {_letters(one.letters)} {verb} (the first: {one.first}): {one.message}{code}"


def end(damaged: Mapping[int, str], code: int = 0) -> NoReturn:
    """Name on stderr the letters that can't be read, and end the command: with 1 when there are any."""
    for number, sentence in damaged.items():
        click.echo(f"turnout: {_clean(sentence)} To delete it: turnout dlq purge --id {number}", err=True)
    sys.exit(1 if damaged else code)


def purged(number: int, *, dry: bool, as_json: bool) -> None:
    """Show how many dead letters were deleted."""
    if as_json:
        _write({"done": not dry, "letters": number})
    elif not number:
        click.echo("No dead letters.")
    elif dry:
        click.echo(f"{_letters(number)} would be deleted for good. {_NOT_DONE}")
    else:
        click.echo(f"{_letters(number)} deleted")


def rewound(done: Rewound, *, dry: bool, as_json: bool) -> None:
    """Show what moving a cursor back means."""
    if as_json:
        about = {"from": done.position, "to": done.cursor, "events": done.events, "parked": done.parked}
        _write({"done": not dry and done.events > 0, "destination": done.destination, **about})
        return
    if not done.events:
        click.echo(_clean(f"{done.destination}: nothing to deliver once more, its cursor is at {done.cursor}."))
        return
    verb = "would be" if dry else "will be"
    span = f"{_events(done.events)} {verb} delivered once more, from position {done.position} up to {done.cursor}"
    click.echo(_clean(f"{done.destination}: {span}."))
    click.echo("What has no idempotency key at the vendor gets there twice; its outcomes are counted once more.")
    if done.parked:
        wait = _verb("waits there already and stays; if it is", "wait there already and stay; if one is", done.parked)
        click.echo(f"{_events(done.parked)} {wait} one of these, both copies go out.")
    if dry:
        click.echo(_NOT_DONE)


def forgotten(done: Forgotten, *, dry: bool, as_json: bool) -> None:
    """Show what taking a destination out of a log means."""
    if as_json:
        _write({"done": not dry, "destination": done.destination, "pending": done.pending, "dead": done.dead})
        return
    verb = "would be taken" if dry else "was taken"
    click.echo(_clean(f"{done.destination}: {verb} out of the log; {_events(done.pending)} had not come to it yet."))
    if done.dead:
        stay = _verb("dead letter of it stays", "dead letters of it stay", done.dead)
        click.echo(_clean(f"{done.dead:,} {stay}: turnout dlq purge -d {done.destination}"))
    if dry:
        click.echo(_NOT_DONE)


def fed(done: Fed, *, dry: bool, as_json: bool) -> None:
    """Show what became of the events of a file."""
    if as_json:
        faults = [{"place": place, "reason": reason_dict(reason)} for place, reason in done.faults]
        counts = {"accepted": done.accepted, "duplicates": done.duplicates, "refused": done.refused}
        _write({"done": not dry, **counts, "faults": faults})
        return
    verb = "would be accepted" if dry else "accepted"
    copies = f", {done.duplicates:,} left out as copies (--again accepts them)" if done.duplicates else ""
    refused = f", {done.refused:,} refused" if done.refused else ""
    click.echo(f"{_events(done.accepted)} {verb}{copies}{refused}")
    for place, reason in done.faults:
        path = f"{reason.path}: " if reason.path else ""
        click.echo(_clean(f"{place}: {path}{reason.message} [{reason.code}]"))
    if done.refused > len(done.faults):
        click.echo("… (turnout validate shows them all)")
    if dry:
        click.echo(_NOT_DONE)


def standing(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Show how a log stands."""
    if as_json:
        _write(found)
        return
    console = _console()
    span = f"positions {found['first']} to {found['last']}" if found["first"] else "none"
    console.print(_plain(f"{found['path']}: {found['size'] / 1e6:,.1f} MB"), soft_wrap=True)
    console.print(f"events: {found['events']:,} ({span}); dead letters: {found['dead']:,}\n", soft_wrap=True)
    table = Table("destination", box=None)
    for name in ("cursor", "behind", "parked", "dead"):
        table.add_column(name, justify="right")
    table.add_column("outcomes")
    for one in found["destinations"]:
        cursor = "-" if one["cursor"] is None else f"{one['cursor']:,}"
        numbers = (f"{one[name]:,}" for name in ("behind", "parked", "dead"))
        table.add_row(one["destination"], cursor, *numbers, "\n".join(map(_count, one["counts"])))
    console.print(table if table.row_count else "No destination was served from it yet.")


def _count(count: Mapping[str, Any]) -> str:
    code = f" {count['code']}" if count["code"] else ""
    return f"{count['outcome']}{code} {count['events']:,}"


def _verb(one: str, many: str, number: int) -> str:
    return one if number == 1 else many


def _letters(number: int) -> str:
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


def _write(value: Mapping[str, Any]) -> None:
    click.echo(_json.compact(value))


def _console() -> Console:
    return Console(highlight=False)


def _clean(text: str) -> str:
    """Return text without what moves a terminal's cursor."""
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)


def _plain(text: str) -> str:
    """Return clean text whose brackets rich doesn't take for markup."""
    return escape(_clean(text).replace("\n", "?"))
