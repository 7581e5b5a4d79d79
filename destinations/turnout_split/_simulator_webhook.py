"""Split's impressions webhook, from the vendor's side: what is posted, when it is tried again, and when it is lost."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
import msgspec

__all__ = ["Deliver", "ImpressionsWebhook", "Posted"]

Deliver = Callable[[str, bytes, Mapping[str, str]], int]
"""Posts a body with headers to a URL, and returns the status of the answer; 0 when there is none."""

_HEADERS = {"content-type": "application/json", "content-encoding": "gzip", "user-agent": "split-webhook"}
_AGAIN_SECONDS = 0.3
_DEFAULTS: Mapping[str, Any] = {
    "environmentId": "env-1",
    "environmentName": "Prod",
    "bucketingKey": None,
    "label": "default rule",
    "machineName": "NA",
    "machineIp": "NA",
    "splitVersionNumber": 1,
    "sdk": "simulator",
    "sdkVersion": "1.0.0",
    "properties": None,
}


class Posted(msgspec.Struct, frozen=True):
    """One batch: the impressions, and the statuses that its two attempts got at most."""

    url: str
    impressions: list[dict[str, Any]]
    statuses: list[int]

    @property
    def lost(self) -> bool:
        """Whether Split gives the batch up: only 200 is success."""
        return self.statuses[-1] != 200


class ImpressionsWebhook:
    """Posts batches as Split does: a gzip array; another status than 200 once more after 300 ms, then never again."""

    def __init__(
        self, now_ms: Callable[[], int], deliver: Deliver | None = None, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._now_ms, self._deliver, self._wait = now_ms, deliver or _deliver, wait
        self.posted: list[Posted] = []

    def post(self, url: str, impressions: Iterable[Mapping[str, Any]]) -> Posted:
        """Post impressions as one batch; what a key of the webhook is not given for is filled in."""
        batch = [{**_DEFAULTS, "time": self._now_ms(), **one} for one in impressions]
        body = gzip.compress(msgspec.json.encode(batch))
        statuses = [self._deliver(url, body, _HEADERS)]
        if statuses[0] != 200:
            self._wait(_AGAIN_SECONDS)
            statuses.append(self._deliver(url, body, _HEADERS))
        self.posted.append(Posted(url, batch, statuses))
        return self.posted[-1]


def _deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        return httpx.post(url, content=body, headers=dict(headers), timeout=15, trust_env=False).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return 0
