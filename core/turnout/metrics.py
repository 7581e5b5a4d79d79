"""Metrics for Prometheus: what came in, what became of it, and how each destination is doing.

The counts come from the log, in which they are kept together with what they count, so that at every scrape

    turnout_events_received_total = sum of turnout_events + turnout_events_pending

holds for each destination.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnout.errors import ConfigError

if TYPE_CHECKING:
    from turnout.deliver import Delivery
    from turnout.log import Log

__all__ = ["DeliveryCollector", "LogCollector", "figures", "serve", "text"]

_STATES = ("closed", "open", "setup")


class LogCollector(Collector):
    """Reads the figures of a log at each scrape."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of all destinations, read from the log at one moment."""
        yield from self._events()
        yield GaugeMetricFamily("turnout_log_bytes", "What the log takes on disk.", value=self._log.size())

    def _events(self) -> Iterator[Metric]:
        labels = ["destination"]
        received = CounterMetricFamily("turnout_events_received", "Events for a destination.", labels=labels)
        pending = GaugeMetricFamily("turnout_events_pending", "Events that are still to be settled.", labels=labels)
        parked = GaugeMetricFamily("turnout_events_parked", "Those of them that wait for a time.", labels=labels)
        # A replayed dead letter is no longer dead, so these may fall.
        settled = GaugeMetricFamily(
            "turnout_events", "Events that came to an end, by outcome and reason.", labels=[*labels, "outcome", "code"]
        )
        for name, state in self._log.states().items():
            received.add_metric([name], state.received)
            pending.add_metric([name], state.pending)
            parked.add_metric([name], state.parked)
            for (outcome, code), times in state.counts.items():
                settled.add_metric([name, outcome.value, code.value if code else ""], times)
        yield from (received, pending, parked, settled)


class DeliveryCollector(Collector):
    """Reads at each scrape what only the process that delivers knows."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of all destinations."""
        requests = CounterMetricFamily("turnout_requests", "Requests sent by this process.", labels=["destination"])
        violations = CounterMetricFamily(
            "turnout_plan_violations",
            "Violations of the tracking plan that this process has found.",
            labels=["destination", "code", "mode"],
        )
        breaker = GaugeMetricFamily(
            "turnout_breaker", "1 for the state that the destination is in.", labels=["destination", "state"]
        )
        for name in self._delivery.dispatcher.destinations:
            consumer = self._delivery.consumers.get(name)  # there is none before the first moment of delivery
            requests.add_metric([name], consumer.attempts if consumer else 0)
            for (code, mode), times in list(consumer.violations.items()) if consumer else ():
                violations.add_metric([name, code, mode], times)
            standing = consumer.breaker.state if consumer else _STATES[0]
            for state in _STATES:
                breaker.add_metric([name, state], float(standing == state))
        yield from (requests, violations, breaker)


def text(delivery: Delivery) -> str:
    """Return the metrics of a delivery and its log in Prometheus' text format."""
    return generate_latest(_registry(delivery)).decode()


def figures(delivery: Delivery) -> bytes:
    """Return what only the process that delivers knows, in the same format, for somebody who reads the log himself."""
    registry = CollectorRegistry()
    registry.register(DeliveryCollector(delivery))
    return generate_latest(registry)


def serve(delivery: Delivery, port: int) -> int:
    """Serve the metrics of a delivery on loopback, from a thread, and return the port (0 picks one).

    Raises `ConfigError` when the port is taken.
    """
    try:
        server, _ = start_http_server(port, "127.0.0.1", registry=_registry(delivery))
    except OSError as error:
        raise ConfigError(f"Can't serve metrics on port {port}: {error.strerror}. Choose another port.") from None
    return int(server.server_port)


def _registry(delivery: Delivery) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(LogCollector(delivery.log))
    registry.register(DeliveryCollector(delivery))
    return registry
