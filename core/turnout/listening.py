"""A socket to listen on, or a sentence that says why there is none."""

from __future__ import annotations

import os
import socket

from turnout.errors import ConfigError

__all__ = ["listen"]


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its URL; port 0 picks a free one. Raises `ConfigError`."""
    if not 0 <= port <= 65_535:
        raise ConfigError(f"There is no port {port}. Choose another port, from 0 (any free one) to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(f"Can't listen on {host}, port {port}: {why}. Choose another port.") from None
    name = f"[{host}]" if ":" in host else host
    return listener, f"http://{name}:{listener.getsockname()[1]}"
