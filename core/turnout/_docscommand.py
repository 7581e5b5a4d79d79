"""`turnout docs`: the page of an installed destination or source."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["docs"]


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write it as one JSON object.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write it into this file.")
@click.option(
    "--cases",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Cases to take examples from. Default: those that the plugin's package ships.",
)
def docs(name: str, as_json: bool, out: Path | None, cases: Path | None) -> None:
    """Write the page of an installed destination or source, made from its code, as Markdown.

    That of a source has its settings, the options of its pull, and cases as examples. That of a destination has the
    settings in both spellings, the rules with their conditions, what is copied from an event, the endpoints with their
    limits, and for each rule a case as an example, secrets masked. The shape of --json is documented in
    docs/reference/destination-json.md. Exit 2 when there is no such plugin, or it can't be loaded.
    """
    from turnout.cli import standard_output

    text = _source(name, as_json, cases) if _is_source(name) else _destination(name, as_json, cases)
    if out is None:
        stream = standard_output()
        stream.write(text)
        stream.flush()
    else:
        _write(out, text)


def _is_source(name: str) -> bool:
    """Return whether a source has this name, and no destination."""
    from turnout.plugins import DESTINATIONS, SOURCES, installed

    return all(one.name != name for one in installed(DESTINATIONS)) and any(
        one.name == name for one in installed(SOURCES)
    )


def _source(name: str, as_json: bool, cases: Path | None) -> bytes:
    from turnout import _json
    from turnout.source import load_source
    from turnout.sourcedocs import describe_source, source_page

    kind = load_source(name)
    if as_json:
        return _json.compact(describe_source(kind, name, cases).to_dict()) + b"\n"
    return source_page(kind, name, cases).encode()


def _destination(name: str, as_json: bool, cases: Path | None) -> bytes:
    from turnout import _json
    from turnout.destination import load_destination
    from turnout.docs import describe_destination
    from turnout.markdown import page

    told = describe_destination(load_destination(name), name, cases)
    return _json.compact(told.to_dict()) + b"\n" if as_json else page(told).encode()


def _write(out: Path, text: bytes) -> None:
    from turnout.errors import ConfigError

    try:
        out.write_bytes(text)
    except OSError as error:
        raise ConfigError(f"{out}: can't be written: {error.strerror}.") from None
    click.echo(f"{out}: written.")
