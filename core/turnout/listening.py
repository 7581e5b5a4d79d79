"""A socket to listen on, or a sentence that says why there is none."""

from __future__ import annotations

import errno
import os
import socket

from turnout.errors import ConfigError

__all__ = ["listen"]


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its URL; port 0 picks a free one. Raises `ConfigError`."""
    if not 0 <= port <= 65_535:
        raise ConfigError(f"There is no port {port}. Choose another port, from 0 (any free one) to 65535.")
    if not host:
        raise ConfigError("There is no address to listen on. Give one of this machine; 0.0.0.0 for every one of them.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"Can't listen on {host}, port {port}: {_fault(error)}.") from None
    name = f"[{host}]" if ":" in host else host
    return listener, f"http://{name}:{listener.getsockname()[1]}"


def _fault(error: OSError) -> str:
    """Return why there is none, and which of the two has to be another."""
    number = error.errno or 0
    if number > 0 and number != errno.EADDRNOTAVAIL:
        return f"{os.strerror(number)}. Choose another port"
    # Below zero is what the search for a host's address has said; behind it stands which one, which is said already.
    why = os.strerror(number) if number > 0 else str(error.strerror).partition(" (while")[0]
    return f"{why}. Choose an address of this machine"
