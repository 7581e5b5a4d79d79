"""The admin port of `turnout serve`: is it alive, is it ready, and its figures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from turnout.gatewaymetrics import GatewayCollector
from turnout.metrics import LogCollector

if TYPE_CHECKING:
    from turnout.gateway import Gateway
    from turnout.serving import Deliverer

__all__ = ["Admin"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_UP = "1 when the delivery process has told its figures, else 0: then those that only it knows are missing."


class Admin(Starlette):
    """`/livez` says that the process answers, `/readyz` that it can keep events and deliver, `/metrics` the figures.

    Those of the delivery process are asked for at each scrape; without `deliverer`, another one tells them itself.
    """

    def __init__(self, gateway: Gateway, deliverer: Deliverer | None) -> None:
        self._gateway, self._deliverer = gateway, deliverer
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(gateway))
        self._registry.register(LogCollector(gateway.acceptor.log))
        self._up = Gauge("turnout_delivery_up", _UP, registry=self._registry) if deliverer else None
        super().__init__(
            routes=[
                Route("/livez", self._live),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
            ]
        )

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        faults = [text for holds, text in await self._checks() if not holds]
        return JSONResponse({"status": "unready" if faults else "ok", "faults": faults}, 503 if faults else 200)

    async def _checks(self) -> list[tuple[bool, str]]:
        gateway = self._gateway
        return [
            (not gateway.stopping, "the gateway is being stopped"),
            (await asyncio.to_thread(gateway.acceptor.check), "the log can't be written"),
            (self._deliverer is None or self._deliverer.alive, "delivery is not running"),
        ]

    async def _metrics(self, _: Request) -> Response:
        told = await self._deliverer.figures() if self._deliverer else None
        if self._up:
            self._up.set(told is not None)
        text = await asyncio.to_thread(generate_latest, self._registry)
        return Response(text + (told or b""), media_type=_TEXT)
