"""The only place that talks HTTP out: one request in, one answer or one `Reason` back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType

import httpx

from turnout.answer import Answer
from turnout.packing import Request
from turnout.reasons import Code, Reason

__all__ = ["Sender", "Transport"]

_CONNECTIONS = 5
_LONGEST_ANSWER = 1_000_000


Transport = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport]
"""What is handed to httpx: a transport that stays its owner's to close, or a function that makes one for each lane."""


class _Lent(httpx.AsyncBaseTransport):
    """A transport that somebody else owns: a client uses it, and leaves it open."""

    def __init__(self, owned: httpx.AsyncBaseTransport) -> None:
        self._owned = owned

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._owned.handle_async_request(request)


def _transport(given: Transport | None) -> httpx.AsyncBaseTransport | None:
    if given is None:
        return None
    return _Lent(given) if isinstance(given, httpx.AsyncBaseTransport) else given()


class Sender:
    """An httpx client for one lane of requests; use it with `async with`.

    `timeout` is the seconds from the request to the end of its answer. It follows no redirects and reads no
    proxy from the environment. A client with a large pool collapses, so a lane keeps at most five connections.
    """

    def __init__(self, timeout: float, transport: Transport | None = None) -> None:
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            timeout=timeout, limits=limits, transport=_transport(transport), trust_env=False
        )

    async def __aenter__(self) -> Sender:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def send(self, request: Request) -> Answer | Reason:
        """Return the vendor's answer (of its body, the first megabyte), or why there is none."""
        host = _host(request.url)
        try:
            # httpx limits each read on its own; a vendor that trickles would hold the lane for hours.
            async with asyncio.timeout(self._timeout):
                return await self._exchange(request)
        except (httpx.TimeoutException, TimeoutError):
            return Reason(Code.TIMED_OUT, f"{host} did not answer within {self._timeout:g} s.")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError, RuntimeError) as error:
            # RuntimeError: a lent transport whose connections belong to another event loop
            what = str(error).rstrip(".") or type(error).__name__
            return Reason(Code.UNREACHABLE, f"The connection to {host} failed: {what}.")

    async def _exchange(self, request: Request) -> Answer:
        sent = self._client.stream(request.method, request.url, content=request.body, headers=request.headers)
        async with sent as response:
            body = await _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, body)


def _host(url: str) -> str:
    try:
        return httpx.URL(url).netloc.decode("ascii", "replace") or "a URL without a host"
    except httpx.InvalidURL:
        return "the endpoint's URL"


async def _read(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LONGEST_ANSWER:
            break
    return body[:_LONGEST_ANSWER]
