"""What the gateway counts, for Prometheus: requests by status and time, events by what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnout.reasons import Code

if TYPE_CHECKING:
    from turnout.gateway import Gateway

__all__ = ["GatewayCollector", "Tally"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Tally:
    """Counts of one gateway since it was started."""

    def __init__(self) -> None:
        self.connections = 0
        """Those that are open."""
        self.requests: Counter[int] = Counter()
        """By status; 0 stands for clients that went away."""
        self.events: Counter[tuple[str, str, str]] = Counter()
        """By source, result (`accepted`, `duplicate` or `refused`) and reason code."""
        self.calls: Counter[Code] = Counter()
        """Requests that were refused as a whole, by reason code."""
        self.seconds = Histogram(
            "turnout_gateway_seconds", "From a request's first byte to its answer.", registry=None, buckets=_SECONDS
        )

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[status] += 1
        self.seconds.observe(seconds)

    def refused(self, code: Code, times: int = 1, source: str = "") -> None:
        """Count a request that was refused as a whole, or with a source so many of its events."""
        if source:
            self.events[source, "refused", code.value] += times
        else:
            self.calls[code] += times

    def kept(self, source: str, positions: Sequence[int | None]) -> None:
        """Count the events of a call that are in the log, now or before."""
        copies = positions.count(None)
        self.events[source, "accepted", ""] += len(positions) - copies
        if copies:
            self.events[source, "duplicate", ""] += copies


class GatewayCollector(Collector):
    """Reads the figures of a gateway at each scrape."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        tally, acceptor = self._gateway.tally, self._gateway.acceptor
        requests = CounterMetricFamily("turnout_gateway_requests", "Requests by status.", labels=["status"])
        for status, times in list(tally.requests.items()):
            requests.add_metric([str(status)], times)
        calls = CounterMetricFamily(
            "turnout_gateway_refused", "Requests that were refused as a whole.", labels=["code"]
        )
        for code, times in list(tally.calls.items()):
            calls.add_metric([code.value], times)
        events = CounterMetricFamily(
            "turnout_gateway_events", "Events by what became of them.", labels=["source", "result", "code"]
        )
        for labels, times in list(tally.events.items()):
            events.add_metric(labels, times)
        yield from (requests, calls, events)
        yield from tally.seconds.collect()
        yield GaugeMetricFamily("turnout_gateway_connections", "Connections that are open.", value=tally.connections)
        reading = self._gateway.reading_bytes
        yield GaugeMetricFamily("turnout_gateway_reading_bytes", "What has come of calls that are read.", value=reading)
        yield GaugeMetricFamily("turnout_gateway_waiting_bytes", "What waits to be kept.", value=acceptor.waiting_bytes)
        yield CounterMetricFamily(
            "turnout_dedupe_evicted", "Ids that were forgotten before their time.", value=acceptor.seen.evicted
        )
