"""The only place that talks HTTP out: one request in, one answer or one `Reason` back."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import httpx

from turnout.answer import Answer, retry_after
from turnout.errors import ConfigError, FetchError
from turnout.packing import Request
from turnout.reasons import Code, Reason
from turnout.settings import redact

__all__ = ["LONGEST_WAIT", "Fetcher", "Sender", "Silence", "Transport", "backoff"]

_FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
_CONNECTIONS = 5
_LONG = 100_000
"""Bytes whose compression takes longer (half a millisecond) than to hand them to a thread."""
_LONGEST_ANSWER = 1_000_000
_LONGEST_FETCHED = 64_000_000


Transport = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport]
"""What is handed to httpx: a transport that stays its owner's to close, or a function that makes one for each lane."""


class _Lent(httpx.AsyncBaseTransport):
    """A transport that somebody else owns: a client uses it, and leaves it open."""

    def __init__(self, owned: httpx.AsyncBaseTransport) -> None:
        self._owned = owned

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._owned.handle_async_request(request)


_ours: ContextVar[bool] = ContextVar("_ours", default=False)


def _of_others(_: logging.LogRecord) -> bool:
    """Return whether a log record is of a request that is not ours; a filter."""
    return not _ours.get()


for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_of_others)


class _Client(httpx.AsyncClient):
    """An httpx client of whose requests nothing is logged: the URL may hold a secret, or a header of the answer."""

    async def send(self, *given: Any, **options: Any) -> httpx.Response:
        token = _ours.set(True)
        try:
            return await super().send(*given, **options)
        finally:
            _ours.reset(token)


def _transport(given: Transport | None) -> httpx.AsyncBaseTransport | None:
    if given is None:
        return None
    if isinstance(given, httpx.AsyncBaseTransport):
        return _Lent(given)
    made: object = given() if callable(given) else given
    if not isinstance(made, httpx.AsyncBaseTransport):
        what = f"makes one of {type(made).__name__}" if callable(given) else f"is one of {type(given).__name__}"
        raise ConfigError(
            f"The transport {what}; it has to be an httpx.AsyncBaseTransport, such as httpx.AsyncHTTPTransport(), "
            "or a function that makes one."
        )
    return made


class Silence(Reason, frozen=True):
    """Why there is no answer; `sent` says whether the request may have arrived all the same.

    `setup` says that it is a matter of the settings, or of this machine, and that trying again soon is of no use.
    """

    sent: bool = True
    setup: bool = False


_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)
_SOONER = 0.9
"""The part of the time for an answer that a connection may take: when no time is left, it is known to stand."""


class Sender:
    """An httpx client for one lane of requests; use it with `async with`.

    `timeout` is the seconds from when a request has a connection to the end of its answer. It follows no redirects
    and reads no proxy from the environment. A client with many connections collapses, so at most five requests are
    under way at a time; others wait.
    """

    def __init__(self, timeout: float, transport: Transport | None = None) -> None:
        # A request that is given up just when the pool lets it in takes its place there for ever, so it waits here.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._timeout = timeout
        waits = httpx.Timeout(timeout, connect=timeout * _SOONER, pool=timeout * _SOONER)
        self._client = _Client(timeout=waits, limits=limits, transport=_transport(transport), trust_env=False)

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

    async def send(self, request: Request) -> Answer | Silence:
        """Return the vendor's answer (of its body, the first megabyte), or why there is none."""
        async with self._places:
            return await self._answered(request)

    async def _answered(self, request: Request) -> Answer | Silence:
        try:
            # httpx limits each read on its own; a vendor that trickles would hold the lane for hours.
            async with asyncio.timeout(self._timeout):
                return await self._exchange(request)
        except (httpx.TimeoutException, TimeoutError) as error:
            message = f"{_host(request.url)} did not answer within {self._timeout:g} s."
            return Silence(Code.TIMED_OUT, message, sent=not isinstance(error, _NOT_SENT))
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError, RuntimeError) as error:
            # RuntimeError: a lent transport whose connections belong to another event loop
            what = str(error).rstrip(".") or type(error).__name__
            message = f"The connection to {_host(request.url)} failed: {what}."
            if isinstance(error, httpx.ConnectError) and _is_tls(error):
                message = f"{message} Compare its address, and its certificate with those that this machine trusts."
                return Silence(Code.UNREACHABLE, message, sent=False, setup=True)
            return Silence(Code.UNREACHABLE, message, sent=not isinstance(error, _NOT_SENT))

    async def _exchange(self, request: Request) -> Answer:
        body = await _body(request)
        sent = self._client.stream(request.method, request.url, content=body, headers=request.headers)
        async with sent as response:
            body = await _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
        response.stream = httpx.ByteStream(b"")  # it knows the response: a circle that would keep the request's body
        return Answer(response.status_code, headers, body)


async def _body(request: Request) -> bytes:
    """Return the body of a request; a long one is compressed in a thread, since other lanes go on meanwhile."""
    long = request.endpoint.compresses and sum(len(item.data) for item in request.items) > _LONG
    return await asyncio.to_thread(lambda: request.body) if long else request.body


def _is_tls(error: BaseException | None) -> bool:
    """Return whether the two sides found no way to trust each other, rather than one hanging up."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
        error = error.__cause__ or error.__context__
    return False


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


def backoff(attempts: int) -> float:
    """Return a random wait in seconds with full jitter, so that many senders don't come back at once."""
    return random.uniform(0, min(LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempts, 30)))  # noqa: S311


class _BrokenOff(FetchError):
    """A body that did not come to its end."""


class Fetcher:
    """What a source asks vendors with, in `pull`; use it with `async with`.

    A request that gets no answer, 429 or a 5xx is repeated up to `attempts` times, with growing random waits or as
    long as `Retry-After` says. It follows no redirects and reads no proxy from the environment. `secrets` are texts
    that must not be in an error. `wait` and `clock` are for a source that asks again later, or needs the time.
    """

    def __init__(
        self,
        timeout: float = 30.0,
        attempts: int = 5,
        transport: Transport | None = None,
        secrets: Collection[str] = (),
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._attempts, self._secrets, self._timeout = attempts, secrets, timeout
        self.wait = wait
        """Waits so many seconds."""
        self.clock = clock or _utc
        """Gives the time, with its zone."""
        self._client = _Client(timeout=timeout, transport=_transport(transport), trust_env=False)

    async def __aenter__(self) -> Fetcher:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, url: str, *, most: int = _LONGEST_FETCHED, **given: Any) -> Answer:
        """Return the answer to a GET; `given` is httpx's: `params`, `headers`, `auth`.

        What the status means is the source's affair. A body that breaks off is asked for again. Raises `FetchError`,
        also for a body of more than `most` bytes.
        """
        for left in reversed(range(self._attempts)):
            async with self.stream("GET", url, **given) as (answer, pieces):
                try:
                    return Answer(answer.status, answer.headers, await self._whole(pieces, url, most))
                except _BrokenOff:
                    if not left:
                        raise
        raise AssertionError("unreachable")

    async def _whole(self, pieces: AsyncIterator[bytes], url: str, most: int) -> bytes:
        body = bytearray()
        async for piece in pieces:
            body += piece
            if len(body) > most:
                raise self._error(url, f"hands out more than {most:,} bytes at a time")
        return bytes(body)

    @asynccontextmanager
    async def stream(self, method: str, url: str, **given: Any) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        """Yield status and headers of the answer, and its body piece by piece; raises `FetchError`."""
        response = await self._answered(method, url, given)
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            yield Answer(response.status_code, headers, b""), self._pieces(response, url)
        finally:
            await response.aclose()

    async def _pieces(self, response: httpx.Response, url: str) -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            raise _BrokenOff(str(self._error(url, _fault("broke off", error, self._timeout)))) from None

    async def _answered(self, method: str, url: str, given: dict[str, Any]) -> httpx.Response:
        auth = given.pop("auth", None)
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                request = self._client.build_request(method, url, **given)
                response = await self._client.send(request, stream=True, auth=auth)
            except (httpx.LocalProtocolError, UnicodeError):
                # httpx quotes the header, which may be a secret that `redact` doesn't know in that form.
                fault = "can't be asked: a header or the address holds a character that HTTP does not allow"
                raise self._error(url, fault) from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
                if last or isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
                    raise self._error(url, _fault("can't be reached", error, self._timeout)) from None
                wait = None
            else:
                if last or not _again(response.status_code):
                    return response
                wait = retry_after(Answer(response.status_code, dict(response.headers)))
                await response.aclose()
            await self.wait(backoff(attempt) if wait is None else wait)
        raise AssertionError("unreachable")

    def _error(self, url: str, what: str) -> FetchError:
        return FetchError(redact(f"{_host(url)} {what}.", self._secrets))


def _utc() -> datetime:
    return datetime.now(UTC)


def _again(status: int) -> bool:
    return status == 429 or status >= 500


def _fault(what: str, error: Exception, timeout: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"did not answer within {timeout:g} s"
    return f"{what}: {_words(error)}"


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
