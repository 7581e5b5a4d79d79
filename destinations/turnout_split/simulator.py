"""A local Split: the Events API, the segments of the Admin API and the impressions webhook, as they are documented.

    with SplitSimulator().serve() as url:
        ...                             # send to url + "/api/events/bulk"

`docs/simulators.md` lists what Split's pages leave open and what is assumed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from turnout.testing import Answer, Call, Handler, Simulator
from turnout_split._simulator_events import found_later, malformed, stored
from turnout_split._simulator_segments import Problem, Segments
from turnout_split._simulator_webhook import Deliver, ImpressionsWebhook, Posted

__all__ = ["SplitSimulator"]

_ADMIN = "/internal/api/v2"
_MINUTE_MS = 60_000


class SplitSimulator(Simulator):
    """Split on this machine; what took effect can be read from its attributes.

    * `sdk_keys`: SDK API keys, each with the name of its environment (None: every key that is no admin key).
    * `admin_keys`: admin API keys (None: every key that is no SDK key).
    * `environments`, `traffic_types`: ids by name (None: everything that is asked for is there).
    * `workspaces`: names by id (None: every workspace is there).
    * `strict`: event types by the pattern of the API's page (63 characters), else of the SDKs (80, colons as well).
    * `requests_per_minute`: how many requests the Admin API takes from all together (None: any number).
    * `clock`: the time, with its zone.
    * `deliver`: posts what the impressions webhook sends, instead of httpx; it returns the status of the answer.
    """

    request_bytes = 1_000_000
    """Bytes that a body of the Events API may have."""
    keys_at_once = 10_000
    """Keys that one request may add or remove."""
    most_keys = 100_000
    """Keys that a segment may have."""

    def __init__(
        self,
        *,
        sdk_keys: Mapping[str, str] | None = None,
        admin_keys: Iterable[str] | None = None,
        environments: Mapping[str, str] | None = None,
        traffic_types: Mapping[str, str] | None = None,
        workspaces: Mapping[str, str] | None = None,
        strict: bool = True,
        requests_per_minute: int | None = None,
        clock: Callable[[], datetime] | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        self.webhook = ImpressionsWebhook(self.now_ms, deliver)
        self.sdk_keys = sdk_keys
        self.admin_keys = None if admin_keys is None else frozenset(admin_keys)
        self.environments = environments
        self.traffic_types = traffic_types
        self.workspaces = workspaces
        self.strict = strict
        self.requests_per_minute = requests_per_minute
        super().__init__(clock=clock)

    def reset(self) -> None:
        """Forget everything that was stored, the ledger, the faults and what counts toward the limit."""
        super().reset()
        self.events: list[dict[str, Any]] = []
        self.dropped: list[dict[str, Any]] = []
        self.webhook.posted.clear()
        self.store = Segments(self.keys_at_once, self.most_keys)
        self._minute, self._used, self._transactions = 0, 0, 0

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths of both APIs."""
        segment = f"{_ADMIN}/segments/{{environment}}/{{name}}"
        return {
            "POST /api/events": self._take_one,
            "POST /api/events/bulk": self._take_many,
            f"GET {_ADMIN}/workspaces": self._admin(self._list_workspaces),
            f"GET {_ADMIN}/environments/ws/{{workspace}}": self._admin(self._list_environments),
            f"GET {_ADMIN}/trafficTypes/ws/{{workspace}}": self._admin(self._list_traffic_types),
            f"GET {_ADMIN}/segments/ws/{{workspace}}": self._admin(self._list_segments),
            f"POST {_ADMIN}/segments/ws/{{workspace}}/trafficTypes/{{id}}": self._admin(self._create),
            f"DELETE {_ADMIN}/segments/ws/{{workspace}}/{{name}}": self._admin(self._delete),
            f"POST {segment}": self._admin(self._activate),
            f"DELETE {segment}": self._admin(self._deactivate),
            f"PUT {segment}/uploadKeys": self._admin(self._upload),
            f"PUT {segment}/upload": self._admin(self._upload),
            f"PUT {segment}/removeKeys": self._admin(self._remove),
            f"GET {segment}/keys": self._admin(self._list_keys),
            "POST /simulator/impressions": self._post_impressions,
        }

    def state(self) -> dict[str, Any]:
        """Return everything that took effect, as JSON values."""
        keys = {place: {name: sorted(own) for name, own in active.items()} for place, active in self.store.keys.items()}
        return {"events": self.events, "dropped": self.dropped, "segments": self.store.made, "keys": keys}

    def keys(self, environment_id: str, segment: str) -> set[str]:
        """Return the keys of a segment in an environment; empty when it is not active there."""
        return self.store.keys.get(environment_id, {}).get(segment, set())

    def fault_body(self, status: int, call: Call) -> Any:
        """Return the body of an error: an object of the Admin API's form."""
        return self._told(status, "error")

    # Impressions

    def post_impressions(self, url: str, impressions: Iterable[Mapping[str, Any]]) -> Posted:
        """Post impressions to a webhook as Split does; each needs `key`, `split` and `treatment`."""
        return self.webhook.post(url, impressions)

    def _post_impressions(self, call: Call) -> Answer:
        try:
            body = call.json()
            posted = self.post_impressions(str(body["url"]), body["impressions"])
        except (ValueError, TypeError, KeyError) as error:
            return Answer(400, self._told(400, f"the body has a url and impressions: {error}"))
        return Answer(200, {"statuses": posted.statuses, "lost": posted.lost})

    # Events

    def _take_one(self, call: Call) -> Answer:
        return self._accept(call, lambda body: [body])

    def _take_many(self, call: Call) -> Answer:
        return self._accept(call, lambda body: body if isinstance(body, list) else [None])

    def _accept(self, call: Call, listed: Callable[[Any], list[Any]]) -> Answer:
        key = _bearer(call)
        if not self._is_sdk_key(key):
            return Answer(401, self._told(401, "invalid SDK API key"))
        if len(call.body) > self.request_bytes:
            return Answer(413, self._told(413, "too large"))
        try:
            events = listed(call.json()) if call.content_type == "application/json" else [None]
        except ValueError:
            return Answer(400, self._told(400, "no JSON"))
        for event in events:
            if problem := malformed(event, strict=self.strict):
                return Answer(400, self._told(400, problem))
        kept = sum(self._validate(event, (self.sdk_keys or {}).get(key)) for event in events)
        return Answer(202, b"", effect={"events": kept, "dropped": len(events) - kept})

    def _validate(self, event: Any, environment: str | None) -> bool:
        problem = found_later(
            event, environments=self.environments, of_key=environment, traffic_types=self.traffic_types
        )
        if problem is None:
            self.events.append(stored(event, self.now_ms()))
        else:
            self.dropped.append({"event": event, "reason": problem})
        return problem is None

    # Segments

    def _admin(self, handle: Callable[[Call], Any]) -> Handler:
        """Return a handler that checks the key and the limit, and tells problems in the Admin API's form."""

        def answer(call: Call) -> Answer:
            key = call.headers.get("x-api-key", "") or _bearer(call)
            if not self._is_admin_key(key):
                return Answer(401, self._told(401, "invalid admin API key"))
            headers, exceeded = self._count()
            if exceeded:
                return Answer(429, self._told(429, "rate limit exceeded"), headers)
            try:
                made = handle(call)
            except Problem as problem:
                return Answer(problem.status, self._told(problem.status, str(problem)), headers)
            return Answer(200, made, headers, effect={call.method: call.path})

        return answer

    def _count(self) -> tuple[dict[str, str], bool]:
        most, now = self.requests_per_minute, self.now_ms()
        if most is None:
            return {}, False
        if now // _MINUTE_MS != self._minute:
            self._minute, self._used = now // _MINUTE_MS, 0
        self._used += 1
        reset = str(-(-(_MINUTE_MS - now % _MINUTE_MS) // 1000))
        left = str(max(0, most - self._used))
        headers = {"X-RateLimit-Remaining-Org": left, "X-RateLimit-Remaining-IP": left}
        headers |= {"X-RateLimit-Reset-Seconds-Org": reset, "X-RateLimit-Reset-Seconds-IP": reset}
        return headers, self._used > most

    def _list_workspaces(self, call: Call) -> Any:
        return _page([{"id": one, "name": name} for one, name in (self.workspaces or {}).items()], call)

    def _list_environments(self, call: Call) -> Any:
        self._check_workspace(call)
        return [{"id": one, "name": name, "production": False} for name, one in (self.environments or {}).items()]

    def _list_traffic_types(self, call: Call) -> Any:
        self._check_workspace(call)
        types = (self.traffic_types or {}).items()
        return [{"id": one, "name": name, "displayAttributeId": None} for name, one in types]

    def _list_segments(self, call: Call) -> Any:
        self._check_workspace(call)
        return _page(list(self.store.made.get(call.params["workspace"], {}).values()), call)

    def _create(self, call: Call) -> Any:
        self._check_workspace(call)
        asked = call.params["id"]
        known = {one: name for name, one in (self.traffic_types or {}).items()}
        if self.traffic_types is not None and asked not in known:
            raise Problem(404, f"no traffic type {asked!r}")
        traffic_type = {"id": asked, "name": known.get(asked, asked)}
        return self.store.create(call.params["workspace"], traffic_type, _json(call), self.now_ms())

    def _delete(self, call: Call) -> Any:
        self._check_workspace(call)
        return self.store.delete(call.params["workspace"], call.params["name"])

    def _activate(self, call: Call) -> Any:
        return self.store.activate(self._environment(call), call.params["name"])

    def _deactivate(self, call: Call) -> Any:
        return self.store.deactivate(self._environment(call), call.params["name"])

    def _upload(self, call: Call) -> Any:
        replace = call.args().get("replace") == "true"
        added = self.store.add(self._environment(call), call.params["name"], _keys(call), replace=replace)
        return self._told(200, f"Added {added} keys")

    def _remove(self, call: Call) -> Any:
        removed = self.store.remove(self._environment(call), call.params["name"], _keys(call))
        return self._told(200, f"Deleted {removed} keys")

    def _list_keys(self, call: Call) -> Any:
        limit, offset = _range(call)
        return self.store.page(self._environment(call), call.params["name"], limit, offset)

    # What they share

    def _is_sdk_key(self, key: str) -> bool:
        known = key in self.sdk_keys if self.sdk_keys is not None else key not in (self.admin_keys or ())
        return bool(key) and known

    def _is_admin_key(self, key: str) -> bool:
        known = key in self.admin_keys if self.admin_keys is not None else key not in (self.sdk_keys or ())
        return bool(key) and known

    def _check_workspace(self, call: Call) -> None:
        if self.workspaces is not None and call.params["workspace"] not in self.workspaces:
            raise Problem(404, f"no workspace {call.params['workspace']!r}")

    def _environment(self, call: Call) -> str:
        asked = call.params["environment"]
        if self.environments is not None and asked not in self.environments.values():
            raise Problem(404, f"no environment {asked!r}")
        return asked

    def _told(self, code: int, message: str) -> dict[str, Any]:
        self._transactions += 1
        return {"code": code, "message": message, "details": "", "transactionId": f"t-{self._transactions}"}


def _bearer(call: Call) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _json(call: Call) -> Any:
    try:
        return call.json()
    except ValueError:
        raise Problem(400, "no JSON") from None


def _keys(call: Call) -> Any:
    """Return the keys of a body: an object that holds them, or (the older form) the list alone."""
    body = _json(call)
    return body.get("keys") if isinstance(body, dict) else body


def _range(call: Call) -> tuple[int, int]:
    args = call.args()
    found = [int(text) if (text := args.get(name, "")).isdigit() else usual for name, usual in _USUAL.items()]
    return found[0], found[1]


_USUAL = {"limit": 100, "offset": 0}


def _page(objects: list[Any], call: Call) -> dict[str, Any]:
    limit, offset = _range(call)
    shown = objects[offset : offset + limit]
    return {"objects": shown, "offset": offset, "limit": limit, "totalCount": len(objects)}
