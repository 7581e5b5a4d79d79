"""The settings of what takes events in: the gateway, and the sources that send to it."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, validates

from turnout.settings import Section, flag, integer, names, number, text

__all__ = ["GatewaySettings", "HttpSourceSettings"]

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)


class GatewaySettings(Section):
    """The section `[gateway]`: how `turnout serve` takes calls."""

    host = text("The address to listen on; 0.0.0.0 for every one of this machine.", default="127.0.0.1")
    port = integer("The port for calls; 0 takes any free one.", default=8080, minimum=0, maximum=65_535)
    admin_host = text("The address of /livez, /readyz and /metrics.", default="127.0.0.1")
    admin_port = integer(
        "The port of /livez, /readyz and /metrics; 0 takes any free one.", default=9090, minimum=0, maximum=65_535
    )
    always_200 = flag("Answer 200 to calls whose content is refused, as Segment does, instead of 400 with the reason.")
    max_body_bytes = integer(
        "How many bytes a body may have, unpacked; a larger one gets 413.", default=512_000, minimum=1024
    )
    max_batch_events = integer(
        "How many events of a batch are taken; the others are refused.", default=2500, minimum=1, maximum=100_000
    )
    max_header_bytes = integer(
        "How many bytes the head of a request may have; a larger one gets 431.", default=16_384, minimum=1024
    )
    max_connections = integer("How many connections may be open at a time; more get 503.", default=2000, minimum=1)
    max_waiting_megabytes = integer(
        "How much may wait for the log; beyond it calls get 429 with Retry-After.", default=32, minimum=1
    )
    head_seconds = number("How long a client may take to send the head of a request.", default=10.0, minimum=0.01)
    body_seconds = number("How long it may take to send the body; then it gets 408.", default=30.0, minimum=0.01)
    idle_seconds = number("How long a connection may be idle between two requests.", default=5.0, minimum=0.01)
    grace_seconds = number("How long requests may still run when the gateway is stopped.", default=25.0, minimum=0.0)
    allowed_origins = names(
        "The web sites whose pages may send, such as https://acme.example; `*`: any.", default=["*"]
    )
    trusted_proxies = names(
        "The addresses of proxies whose X-Forwarded-For names the sender; `*`: any.", default=["127.0.0.1"]
    )

    @validates("allowed_origins")
    def _check_origins(self, value: list[str], **_: Any) -> None:
        for one in value:
            if not _ORIGIN.fullmatch(one):
                form = "web sites such as 'https://acme.example', without a path or a slash behind them"
                raise ValidationError(f"must be a list of {form}; {one!r} is none.")

    @validates("trusted_proxies")
    def _check_proxies(self, value: list[str], **_: Any) -> None:
        for one in value:
            if one != "*" and not _is_network(one):
                form = "addresses such as '192.0.2.1' or '192.0.2.0/24'"
                raise ValidationError(f"must be a list of {form}; {one!r} is none.")


class HttpSourceSettings(Section):
    """A table `[sources.<id>]`: who may send to the gateway, and where its events go."""

    write_key = text("The write key of its libraries.", required=True, secret=True)
    bearer_token = text(
        "A token that its requests have to carry as `Authorization: Bearer`, beside the write key in the body.",
        secret=True,
    )
    allow_delete = flag("Take `delete` calls. Off, since the write keys of browsers are public.")
    client_ip = flag("Add the sender's IPv4 address to events of browsers and phones as `context.ip`.", default=True)

    @validates("write_key")
    def _check_key(self, value: str, **_: Any) -> None:
        if ":" in value:
            raise ValidationError("must not have a colon: libraries send it as a user name, which ends there.")


def _is_network(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
