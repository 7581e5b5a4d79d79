"""`turnout serve`: the gateway, with delivery beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from turnout import _runtime as runtime
from turnout.errors import ConfigError

if TYPE_CHECKING:
    from turnout.config import Configuration
    from turnout.log import Log
    from turnout.serving import Service

__all__ = ["serve"]

_SWITCH = 0.0005


@click.command()
@click.option("--config", metavar="turnout.toml", default="turnout.toml", show_default=True, help="The configuration.")
@click.option("--no-deliver", is_flag=True, help="Only take calls; `turnout deliver` runs by itself.")
def serve(config: str, no_deliver: bool) -> None:
    """Take calls from SDKs over HTTP, keep them in the log, and deliver them.

    Who may send says [sources.<id>] in the configuration, how calls are taken [gateway]. Webhooks of vendors come to
    /v1/hooks/<id>, when their source has a hook_secret. A call is answered with 200
    when its events are durably in the log. Ctrl-C or SIGTERM ends it: calls under way are finished, what is not
    delivered yet stays in the log; a second one ends it at once. Exit 0; 2 for a wrong command line or configuration,
    or when another gateway or delivery works on the same log.
    """
    from turnout.config import load_config
    from turnout.log import open_log

    configuration = load_config(config)
    if not configuration.log.path:
        raise ConfigError(f"{config}: a gateway needs a log. Give [log] a path.")
    with closing(open_log(configuration.log)) as log:
        _serve(configuration, log, no_deliver)


def _serve(configuration: Configuration, log: Log, no_deliver: bool) -> None:
    from turnout.accepting import Acceptor, now_ms
    from turnout.gateway import Gateway
    from turnout.webhooks import Webhooks, configured_sources
    from turnout.writekeys import WriteKeys, pulling

    try:
        from turnout.serving import Deliverer, Service, allow_files, check_alone, command, delivering
    except ImportError as error:
        raise ConfigError(f"turnout serve needs {error.name}: install turnout[server].") from None
    sources = configured_sources(configuration)
    keys, hooks = WriteKeys({**configuration.senders(), **pulling(sources)}), Webhooks(sources)
    if not len(keys) and not len(hooks):
        advice = "Add a table [sources.<id>] with a write_key, or a plugin and its hook_secret"
        raise ConfigError(f"{configuration.path}: nobody may send. {advice}.")
    if not no_deliver:
        _check_destinations(configuration)
    # A commit has a dozen steps outside of Python. After each its thread waits for the interpreter, by default up to
    # 5 ms while the event loop is busy: that made a call take tens of milliseconds.
    sys.setswitchinterval(_SWITCH)
    allow_files(int(configuration.gateway.max_connections))
    with Acceptor(log, configuration.log, now_ms) as acceptor:
        deliverer = None
        if not no_deliver:
            check_alone(log)
            deliverer = Deliverer(command(str(configuration.path)), lambda: delivering(log))
        gateway = Gateway(acceptor, keys, configuration.gateway, hooks=hooks)
        service = Service(gateway, configuration.gateway, deliverer)
        runtime.run(_run(service))


def _check_destinations(configuration: Configuration) -> None:
    """Configure the destinations once here, so that a fault is told before anything is started."""
    from turnout.dispatcher import Dispatcher

    if not Dispatcher.from_config(configuration).destinations:
        advice = "Add one, or serve with --no-deliver"
        raise ConfigError(f"{configuration.path}: there is no [destinations.…] table. {advice}.")


async def _run(service: Service) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            sys.stderr.flush()
            os._exit(1)  # nothing is lost: what was answered with 200 is in the log
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)

    def ready() -> None:
        click.echo(f"taking calls at {service.url}/v1", err=True)
        click.echo(f"health and metrics at {service.admin_url}", err=True)

    await service.run(stop, ready)
