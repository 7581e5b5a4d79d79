"""The group of commands: mistakes become one sentence, and a command is imported when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from turnout.errors import TurnoutError, did_you_mean

__all__ = ["Group", "Mistake"]


class Mistake(click.ClickException):
    """A usage or configuration error."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Write the sentence to stderr."""
        click.echo(f"turnout: {self.format_message()}", file=file, err=True)


class Group(click.Group):
    """A group that shows a user's mistakes as one sentence and knows the nearest command.

    `lazy` names commands that are imported when they are wanted: `{"dlq": "turnout._logcommands:dlq"}`.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those that are not imported yet included."""
        return sorted({*self.commands, *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, None when there is none."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.lazy[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command; every mistake ends in one sentence on stderr and exit code 2, Ctrl-C in 130."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # an arrow must not end a run on a terminal that is not UTF-8
                stream.reconfigure(errors="replace")
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **options)
        try:
            code = run(*args, standalone_mode=False, **options)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help() if error.ctx else error.format_message())
            sys.exit(0)
        except click.UsageError as error:
            message = error.format_message()
            message += "" if message.endswith((".", "?")) else "."
            help_ = f" Try '{error.ctx.command_path} --help'." if error.ctx else ""
            Mistake(message + help_).show()
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(130)
        except OSError as error:
            Mistake(_place(error)).show()
            _give_up_output()
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run what the context holds; a `TurnoutError` becomes a `Mistake`."""
        try:
            return super().invoke(ctx)
        except TurnoutError as error:
            raise Mistake(str(error)) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that the arguments name, or say which one was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = did_you_mean(args[0], self.list_commands(ctx)) if args else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from None


def _place(error: OSError) -> str:
    """Return the sentence for what the system refused: a path is named, and the output has none."""
    if error.filename is None:
        return f"The output can't be written: {error.strerror}."
    return f"{os.fsdecode(error.filename)}: can't be used: {error.strerror}. Check the path, and who may use it."


def _give_up_output() -> None:
    """Keep the interpreter from writing at its end what can't be written."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
