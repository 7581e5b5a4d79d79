"""`python -m turnout`, and the script `turnout`: the command line."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the other one makes enums first, while nothing guards
import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it with 130 and without a word."""
    usual = signal.default_int_handler
    if signal.getsignal(signal.SIGINT) is usual:  # it isn't where a shell or nohup has it ignored
        signal.signal(signal.SIGINT, _give_up)
    import turnout._json  # noqa: F401 - nearly every command needs orjson, which crashes when its import is interrupted
    from turnout.cli import main as command_line

    try:
        if signal.getsignal(signal.SIGINT) is _give_up:
            signal.signal(signal.SIGINT, usual)
        command_line(prog_name="turnout")
    except KeyboardInterrupt:  # just before or behind what the command line itself guards
        sys.exit(_INTERRUPTED)


def _give_up(*_: object) -> None:
    # An exception would be told where it meets a callback of the interpreter's own imports.
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
