"""The base class of every simulator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from turnout.errors import ConfigError
from turnout.testing._call import Answer, Call, new_call
from turnout.testing._faults import Fault, Faults, fault_from, faults_from_json, steps
from turnout.testing._ledger import Entry, entry_of

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Handler", "Simulator"]

Handler = Callable[[Call], Answer]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CONTROL = "/_turnout/"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Simulator:
    """An ASGI app that answers as a vendor does, keeps a ledger, and fails when it was told to.

    A subclass gives `routes`, and mostly `reset` (empty its stores; also called when it is made) and `state`
    (what it stored, as JSON values). `clock` returns the time, with its zone.

    Under `/_turnout/` every simulator answers `GET ledger`, `GET state`, `GET faults`, `POST faults` and
    `POST reset`.
    """

    secret_headers = frozenset({"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"})
    """Headers that the ledger masks (names in lower case)."""
    secret_fields = frozenset({"api_key"})
    """Top-level fields of bodies and queries that the ledger masks."""
    max_body = 64_000_000
    """Bytes that a body may have before it is dropped unread and answered 413."""

    def __init__(self, *, clock: Callable[[], datetime] | None = None) -> None:
        self.clock = clock or (lambda: datetime.now(UTC))
        self.ledger: list[Entry] = []
        self._lock = threading.RLock()
        self._number = 0
        self._faults = Faults()
        self._table = [_route(pattern, handler) for pattern, handler in self.routes().items()]
        self.reset()

    def routes(self) -> Mapping[str, Handler]:
        """Return the handlers by method and path: `"POST /v1/events"`, `"GET|DELETE /v1/users/{id}"`."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return what took effect, as JSON values; this is `GET /_turnout/state`."""
        return {}

    def reset(self) -> None:
        """Forget ledger, faults and what was stored. A subclass empties its stores and calls this one."""
        self.ledger.clear()
        self._faults = Faults()

    def now_ms(self) -> int:
        """Return the clock's time in ms since the epoch."""
        return (self.clock() - _EPOCH) // timedelta(milliseconds=1)

    def fault_body(self, status: int, call: Call) -> Any:
        """Return the body that this vendor sends with an error status; used by faults that name none."""
        return {"error": HTTPStatus(status).phrase if status in set(HTTPStatus) else "error", "code": status}

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return the answer for a path that is unknown, or known with the `allowed` methods only."""
        status = 405 if allowed else 404
        headers = {"allow": ", ".join(allowed)} if allowed else {}
        return Answer(status, self.fault_body(status, call), headers)

    def fail(
        self,
        status: int | None = None,
        *,
        times: int | None = 1,
        path: str | None = None,
        after_store: bool = False,
        html: bool = False,
        delay: float = 0.0,
        hang: bool = False,
        drop_connection: bool = False,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Order a fault for the next matching requests; see `Fault` for the options.

        ConfigError when an option is wrong or the fault would do nothing.
        """
        options = {
            "status": status,
            "times": times,
            "path": path,
            "after_store": after_store,
            "html": html,
            "delay": delay,
            "hang": hang,
            "drop_connection": drop_connection,
            "body": body,
            "headers": dict(headers or {}),
        }
        self._order([fault_from(options)])

    def script(self, path: str, answers: Iterable[int | Answer | dict[str, Any] | None]) -> None:
        """Order one answer each for the next requests to `path`.

        A status, an `Answer`, or the options of a `Fault`; None or a status below 300 answers as usual.
        """
        self._order(steps(path, answers))

    def check(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Answer one request without a server, by the code that the ASGI app runs.

        `path` may hold a query string. A fault's delay is not waited for; one that sends no answer raises
        TimeoutError (hang) or ConnectionResetError (drop_connection).
        """
        answer, fault = self._take(new_call(method, path, headers, body))
        if fault and fault.hang:
            raise TimeoutError("the simulator was told not to answer this request")
        if fault and fault.drop_connection:
            raise ConnectionResetError("the simulator was told to drop this connection")
        return answer

    @contextmanager
    def serve(self, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
        """Serve in a thread while the block runs and give its URL, for example `http://127.0.0.1:43121`.

        Port 0 takes a free one. ConfigError when the port is taken or `turnout[server]` is not installed.
        """
        with _server().serving(self, host, port) as url:
            yield url

    def run(self, host: str = "127.0.0.1", port: int = 0, announce: Callable[[str], object] | None = None) -> None:
        """Serve in the foreground until Ctrl-C.

        `announce` gets the URL once it can be used; by default the URL is printed.
        """
        _server().run(self, host, port, announce or (lambda url: print(url, flush=True)))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one ASGI request; ConfigError for a scope that is not HTTP."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ConfigError(f"A simulator speaks HTTP only, not {scope['type']}.")
        body = await _body(receive, self.max_body)
        if body is not None:
            answer, fault = self._take(_call_of(scope, body))
            await _respond(scope, receive, send, answer, fault)

    def _order(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            for fault in faults:
                self._faults.add(fault)

    def _take(self, call: Call) -> tuple[Answer, Fault | None]:
        with self._lock:
            if call.path.startswith(_CONTROL):
                return self._control(call), None
            fault = self._faults.take(call.path)
            try:
                answer = self._answer(call, fault)
            except Exception as error:
                self._note(call, Answer(500, effect={"raised": repr(error)}), fault)
                raise
            self._note(call, answer, fault)
            return answer, fault

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        if fault is None or not fault.replaces:
            return self._handle(call)
        effect = self._handle(call).effect if fault.after_store else {}
        return fault.answer(self.fault_body(fault.status or 500, call), effect)

    def _handle(self, call: Call) -> Answer:
        if len(call.body) > self.max_body:
            return Answer(413, self.fault_body(413, call))
        allowed: list[str] = []
        for methods, parts, handler in self._table:
            params = _match(parts, call.segments)
            if params is not None and call.method in methods:
                return handler(msgspec.structs.replace(call, params=params))
            allowed += methods if params is not None else []
        return self.not_found(call, allowed)

    def _note(self, call: Call, answer: Answer, fault: Fault | None) -> None:
        self._number += 1
        entry = entry_of(
            call,
            self._number,
            self.now_ms(),
            answer.status or None,
            answer.effect,
            fault.described() if fault else None,
            self.secret_headers,
            self.secret_fields,
        )
        self.ledger.append(entry)

    def _control(self, call: Call) -> Answer:
        actions: dict[str, Handler] = {
            "GET ledger": lambda call: Answer(200, list(self.ledger)),
            "GET state": lambda call: Answer(200, self.state()),
            "GET faults": lambda call: Answer(200, self._faults.waiting()),
            "POST faults": self._order_by_http,
            "POST reset": self._reset_by_http,
        }
        action = actions.get(f"{call.method} {call.path.removeprefix(_CONTROL)}")
        if action is None:
            known = ", ".join(f"{method} {_CONTROL}{name}" for method, name in map(str.split, actions))
            return Answer(404, {"error": f"There is no {call.method} {call.path}. There is: {known}."})
        return action(call)

    def _order_by_http(self, call: Call) -> Answer:
        try:
            self._order(faults_from_json(call.json()))
        except (ConfigError, ValueError) as error:
            return Answer(400, {"error": str(error)})
        return Answer(200, self._faults.waiting())

    def _reset_by_http(self, call: Call) -> Answer:
        self.reset()
        return Answer(200, {"reset": True})


def _route(pattern: str, handler: Handler) -> tuple[list[str], list[str], Handler]:
    methods, _, path = pattern.partition(" ")
    return methods.split("|"), path.split("/"), handler


def _match(parts: list[str], given: Sequence[str]) -> dict[str, str] | None:
    if len(given) != len(parts):
        return None
    params = {part[1:-1]: value for part, value in zip(parts, given, strict=True) if part[:1] == "{"}
    same = all(part == value or part[:1] == "{" for part, value in zip(parts, given, strict=True))
    return params if same else None


def _server() -> ModuleType:
    try:
        from turnout.testing import _serve
    except ImportError as error:
        raise ConfigError(
            f"Serving a simulator needs {error.name}: install it with `pip install 'turnout[server]'`."
        ) from error
    return _serve


def _call_of(scope: Message, body: bytes) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    client = (scope.get("client") or ("127.0.0.1", 0))[0]
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    call = new_call(scope["method"], path.decode("latin-1"), headers, body, client)
    return msgspec.structs.replace(call, path=scope["path"], query=query)


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Read the whole body, keeping just more than `limit` of it; None when the client went away."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if len(data) <= limit:
            data += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(data)


async def _respond(scope: Message, receive: Receive, send: Send, answer: Answer, fault: Fault | None) -> None:
    if fault and fault.delay and await _gone_within(fault.delay, scope, receive):
        return
    if fault and fault.silent:
        await _stay_silent(scope, receive, hang=fault.hang)
        return
    headers, data = answer.encoded()
    raw = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": data})


async def _gone_within(seconds: float, scope: Message, receive: Receive) -> bool:
    line = _line(scope)
    waiting = line.hold(receive) if line else asyncio.Event().wait()
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True


async def _stay_silent(scope: Message, receive: Receive, *, hang: bool) -> None:
    line = _line(scope)
    if line is None:
        _raise_as_client(hang=hang)
    elif hang:
        await line.hold(receive)
    else:
        await line.drop(receive)


def _line(scope: Message) -> Any:
    return (scope.get("extensions") or {}).get("turnout.line")


def _raise_as_client(*, hang: bool) -> None:
    # Without a server of ours there is no connection to cut or to keep waiting: raise what httpx would.
    import httpx

    if hang:
        raise httpx.ReadTimeout("the simulator was told not to answer this request")
    raise httpx.ReadError("the simulator was told to drop this connection")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
