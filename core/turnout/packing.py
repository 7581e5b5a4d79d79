"""Items into requests: within each endpoint's limits, and in the order that each user needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from turnout.endpoint import BoundEndpoint, Item

__all__ = ["Request", "pack", "waves", "written"]


class Request(msgspec.Struct, frozen=True):
    """One HTTP request that packs one or more items of one endpoint."""

    endpoint: BoundEndpoint
    items: tuple[Item, ...]

    @property
    def method(self) -> str:
        """Return the HTTP method."""
        return self.endpoint.method

    @property
    def url(self) -> str:
        """Return the URL, secrets included."""
        return self.endpoint.url_for(self.items[0].data)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers with lower-case names, secrets included."""
        return self.endpoint.sent_headers

    @property
    def body(self) -> bytes:
        """Return the bytes that go over the wire as the body, secrets included; compressed, if the endpoint does so."""
        return self.endpoint.compressed(_body(self.endpoint, self.items))

    @property
    def rules(self) -> list[str]:
        """Return the id of the rule that made each item."""
        return [item.rule for item in self.items]

    def to_dict(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the request as `turnout plan` shows it, the body decoded from the bytes that would be sent."""
        shown = self.endpoint if show_secrets else self.endpoint.masked
        return {
            "endpoint": shown.name,
            "method": shown.method,
            "url": shown.url_for(self.items[0].data),
            "headers": dict(shown.sent_headers),
            "rules": self.rules,
            "body": shown.envelope.decode(_body(shown, self.items)),
        }


def _body(endpoint: BoundEndpoint, items: Sequence[Item]) -> bytes:
    return endpoint.envelope.join(written(endpoint, items))


def written(endpoint: BoundEndpoint, items: Sequence[Item]) -> list[bytes]:
    """Return what stands in the body for these items: each of them, or equal ones once where the endpoint says so."""
    data = [item.data for item in items]
    return list(dict.fromkeys(data)) if endpoint.once else data


def pack(items: Sequence[Item]) -> list[Request]:
    """Return the requests for items that must keep their order, as those of one event or one user.

    Neighbours of one endpoint share a request as far as its limits allow.
    """
    return [request for wave in waves([("", items)]) for request in wave]


def waves(entries: Iterable[tuple[str, Sequence[Item]]]) -> Iterator[list[Request]]:
    """Yield the requests for the items of many users, in waves that have to be sent one after the other.

    `entries` holds each event's user key and items. Within a wave, requests of different endpoints are
    independent of each other; requests of one endpoint have to be sent in the order given. So each user's
    items arrive in order, across endpoints, in as few requests as possible.
    """
    events = [*entries]
    every = [item for _, items in events for item in items]
    first = every[0].endpoint if every else None
    if first is not None and (first.apart or any(item.endpoint is not first for item in every)):
        for lanes in _lanes(events):
            yield [request for run in lanes.values() for request in _split(run)]
    elif every:
        yield list(_split(every))


def _lanes(entries: Iterable[tuple[str, Sequence[Item]]]) -> list[dict[Hashable, list[Item]]]:
    """Return the items of each wave by endpoint and, where it makes a difference, by what can share a request.

    A user's next endpoint is always in the next wave.
    """
    planned: list[dict[Hashable, list[Item]]] = []
    last: dict[str, tuple[int, Hashable]] = {}
    for user, items in entries:
        wave, spot = last.get(user, (-1, None))
        for item in items:
            endpoint = item.endpoint
            own: Hashable = (id(endpoint), endpoint.spot(item)) if endpoint.apart else id(endpoint)
            if own != spot:
                wave += 1
                spot = own
                if wave == len(planned):
                    planned.append({})
            planned[wave].setdefault(spot, []).append(item)
        last[user] = wave, spot
    return planned


def _split(run: Sequence[Item]) -> Iterator[Request]:
    """Yield the requests for items of one endpoint, each as full as the endpoint's limits allow."""
    endpoint = run[0].endpoint
    if endpoint.once:
        yield from _split_once(run)
        return
    yield from _filled(run)


def _split_once(run: Sequence[Item]) -> Iterator[Request]:
    """Yield the requests for items of which equal ones go together, and count as one."""
    alike: dict[bytes, list[Item]] = {}
    for item in run:
        alike.setdefault(item.data, []).append(item)
    for request in _filled([items[0] for items in alike.values()]):
        yield Request(request.endpoint, tuple(item for first in request.items for item in alike[first.data]))


def _filled(run: Sequence[Item]) -> Iterator[Request]:
    endpoint = run[0].endpoint
    envelope, batch = endpoint.envelope, endpoint.batch
    between = len(envelope.separator)
    room = batch.bytes - envelope.overhead + between
    ends = list(accumulate(map(between.__add__, envelope.lengths([item.data for item in run]))))
    start = size = 0
    while start < len(run):
        fitting = bisect_right(ends, size + room, lo=start)
        end = max(start + 1, min(fitting, start + batch.items))
        yield Request(endpoint, tuple(run[start:end]))
        start, size = end, ends[end - 1]
