"""The only place that talks HTTP out: one request in, one answer or one `Reason` back."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType

import httpx

from turnout.answer import Answer
from turnout.packing import Request
from turnout.reasons import Code, Reason

__all__ = ["Sender"]

_CONNECTIONS = 5
_LONGEST_ANSWER = 1_000_000


class Sender:
    """An httpx client for one lane of requests; use it with `async with`.

    `timeout` is the seconds from the request to the end of its answer. It follows no redirects and reads no
    proxy from the environment. A client with a large pool collapses, so a lane keeps at most five connections.
    """

    def __init__(self, timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self._timeout = timeout
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, transport=transport, trust_env=False)

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
        except (httpx.TimeoutException, TimeoutError) as error:
            return Reason(Code.TIMED_OUT, f"{host} did not answer in time ({type(error).__name__}).")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError) as error:
            return Reason(Code.UNREACHABLE, f"{host} can't be reached: {str(error) or type(error).__name__}.")

    async def _exchange(self, request: Request) -> Answer:
        sent = self._client.stream(request.method, request.url, content=request.body, headers=request.headers)
        async with sent as response:
            body = await _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, body)


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host or "The URL without a host"
    except httpx.InvalidURL:
        return "The URL of the endpoint"


async def _read(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LONGEST_ANSWER:
            break
    return body[:_LONGEST_ANSWER]
