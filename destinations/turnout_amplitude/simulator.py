"""A local Amplitude: the APIs for ingestion, identify, groups, mapping, deletions, exports and cohorts, as documented.

    with AmplitudeSimulator().serve() as url:
        ...                             # send to url + "/2/httpapi"

Sources: Amplitude's API pages; `docs/simulators.md` lists what they leave open and what is assumed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from turnout.testing import Answer, Call, Handler, Simulator
from turnout_amplitude._simulator_bodies import (
    ERRORS,
    count_properties,
    error_body,
    form_options,
    listed,
    options_of,
    problem_body,
    throttled_body,
    too_large,
)
from turnout_amplitude._simulator_checks import (
    EVENTS,
    GROUP_IDENTIFICATIONS,
    IDENTIFICATIONS,
    MAPPINGS,
    Kind,
    Rules,
    find_problems,
)
from turnout_amplitude._simulator_deletions import Deletions, wrong
from turnout_amplitude._simulator_exports import Cohorts, Exports
from turnout_amplitude._simulator_limits import Rates, Window, too_many
from turnout_amplitude._simulator_store import Store

__all__ = ["AmplitudeSimulator"]

_REGION_HOSTS = {
    "api.amplitude.com": "US",
    "api2.amplitude.com": "US",
    "amplitude.com": "US",
    "api.eu.amplitude.com": "EU",
    "analytics.eu.amplitude.com": "EU",
}
_LONGEST_QUERY = 8192


class AmplitudeSimulator(Simulator):
    """Amplitude on this machine; what took effect can be read from its attributes.

    * `api_keys`: the keys of the project (None: every non-empty key).
    * `secret_key`: the other half of the Basic authentication of deletions, exports and cohorts (None: any).
    * `strict`: refuse what Amplitude calls invalid without saying that it refuses it (mixed operations).
    * `index_mode`: a 400 lists every bad event (`all`), or stops at the first (`first`): both are documented.
    * `region`: `US` or `EU` refuses the key at the other region's hosts; None asks for no host.
    * `rate_limits`: answer 429 as documented: 30 (batch: 1000) events/s per user and device over 30 s,
      the daily quota of batch, 50 mappings/s, 1 deletion request/s, 60 cohorts in 10 minutes, 500 files in 30 days.
    * `clock`: the time, with its zone; it moves windows, deduplication and deletion jobs.
    """

    exports: Exports
    """What the Export API has: `exports.add("2026-11-01T05", [{…}, …])` adds a file to an hour."""
    cohorts: Cohorts
    """The cohorts: `cohorts.put("7f3k", "Frequent buyers", ["user-1", …])` makes one, or replaces its members."""
    request_bytes: Mapping[str, int] = {"/batch": 20_000_000}
    """Bytes that a request may have; 1,000,000 for every path that is not named."""

    def __init__(
        self,
        *,
        api_keys: Iterable[str] | None = None,
        secret_key: str | None = None,
        strict: bool = True,
        index_mode: Literal["all", "first"] = "all",
        region: Literal["US", "EU"] | None = None,
        rate_limits: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if index_mode not in ("all", "first"):
            raise ValueError(f"index_mode is 'all' or 'first', not {index_mode!r}")
        keys = [api_keys] if isinstance(api_keys, str) else api_keys
        self.api_keys = None if keys is None else frozenset(keys)
        self.secret_key = secret_key
        self.strict = strict
        self.index_mode = index_mode
        self.region = region
        self.rate_limits = rate_limits
        self.exports = Exports(self._authorize, self.now_ms)
        self.cohorts = Cohorts(self._authorize, self.now_ms, limited=rate_limits)
        super().__init__(clock=clock)

    def reset(self) -> None:
        """Forget everything that was stored, the ledger, the faults and what counts toward limits."""
        super().reset()
        self.store = Store()
        self.unknown_keys: set[str] = set()
        self.silenced_devices: set[str] = set()
        self.exports.clear()
        self.cohorts.clear()
        self._deletions = Deletions(self.store, self._authorize, self.now_ms)
        self._rates = {"/2/httpapi": Rates(30), "/batch": Rates(1000, daily=500_000), "/identify": Rates(30)}
        self._window = Window(30_000)
        self._seconds = Window(1000)

    def routes(self) -> Mapping[str, Handler]:
        """Return the paths of both regions' hosts."""
        return {
            "POST /2/httpapi": self._ingest,
            "POST /batch": self._ingest,
            "GET|POST /identify": self._identify,
            "GET|POST /groupidentify": self._group_identify,
            "GET|POST /usermap": self._usermap,
            "POST /api/2/deletions/users": self._delete_users,
            "GET /api/2/deletions/users": lambda call: self._deletions.get(call),
            "DELETE /api/2/deletions/users/{id}/{day}": lambda call: self._deletions.delete(call),
            **self.exports.routes(),
            **self.cohorts.routes(),
        }

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events stored, in order, without duplicates and without `$identify` and `$groupidentify`.

        Each is what was sent, cut to size, with `time`, `device_id`, `revenue`, the language's name and
        `amplitude_id` as Amplitude fills them in.
        """
        return self.store.events

    @property
    def users(self) -> list[dict[str, Any]]:
        """The users: `amplitude_id`, `user_id`, `device_ids`, `user_properties`, `groups`, `fields`."""
        return self.store.users

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The identifications that took effect, from `/identify` and from `$identify` events."""
        return self.store.identifies

    @property
    def group_identifies(self) -> list[dict[str, Any]]:
        """The group identifications that took effect, from `/groupidentify` and `$groupidentify` events."""
        return self.store.group_identifies

    @property
    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The groups' properties: `groups[type][value]`."""
        return self.store.groups

    @property
    def mappings(self) -> dict[str, str]:
        """The user mappings: user id -> global user id."""
        return self.store.mappings

    @property
    def deletions(self) -> list[dict[str, Any]]:
        """The deletion jobs, each in the state that it has now."""
        self._deletions.advance()
        return self._deletions.jobs

    @property
    def duplicates(self) -> int:
        """How many events were ignored because they had been stored before."""
        return self.store.duplicates

    def user(self, user_id: str | None = None, *, device_id: str | None = None) -> dict[str, Any] | None:
        """Return the user with this user id, or the one that has this device."""
        return self.store.find(user_id=user_id, device_id=device_id)

    def add_user(self, user_id: str, *, device_id: str | None = None) -> dict[str, Any]:
        """Make a user known, as if Amplitude had had it before; deletions refuse users that are not."""
        return self.store.resolve(user_id, device_id)

    def state(self) -> dict[str, Any]:
        """Return everything that took effect, as JSON values."""
        return {
            "events": self.events,
            "users": self.users,
            "identifies": self.identifies,
            "group_identifies": self.group_identifies,
            "groups": self.groups,
            "mappings": self.mappings,
            "deletions": self.deletions,
            "duplicates": self.duplicates,
            "unknown_keys": sorted(self.unknown_keys),
            "untracked_groups": self.store.untracked_groups,
        }

    def fault_body(self, status: int, call: Call) -> Any:
        """Return Amplitude's body for an error; a 429 names every user and device of the request."""
        if status == 429:
            return throttled_body(call)
        return {"code": status, "error": ERRORS.get(status, "error")}

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return `Invalid request path`, or 405 for a method that the path does not know."""
        status = 405 if allowed else 400
        return Answer(status, error_body(ERRORS[405 if allowed else 404], code=status))

    # /2/httpapi and /batch

    def _ingest(self, call: Call) -> Answer:
        body = self._read_events(call)
        if isinstance(body, Answer):
            return body
        events, rules = body
        refused = self._refuse(events, EVENTS, rules) or self._silenced(events)
        return refused or self._throttle(call.path, events) or self._store_events(call, events)

    def _read_events(self, call: Call) -> Answer | tuple[list[dict[str, Any]], Rules]:
        if self._too_large(call):
            return too_large()
        if not call.body:
            return Answer(400, error_body("Missing request body"))
        try:
            body = call.json() if call.content_type == "application/json" else None
        except ValueError:
            body = None
        options = options_of(body.get("options")) if isinstance(body, dict) else None
        if not isinstance(body, dict) or options is None:
            return Answer(400, error_body("Invalid JSON request body"))
        return self._checked_key(call, body) or self._checked_events(body, options)

    def _checked_key(self, call: Call, body: dict[str, Any]) -> Answer | None:
        for name in ("api_key", "events"):
            if body.get(name) is None:
                return Answer(400, error_body("Request missing required field", missing_field=name))
        if not self._knows(body["api_key"], call):
            return Answer(400, error_body(f"Invalid API key: {body['api_key']}"))
        return None

    def _checked_events(self, body: dict[str, Any], options: dict[str, Any]) -> Answer | tuple[Any, Rules]:
        events = body["events"]
        if events == []:
            return Answer(400, error_body("Request missing required field", missing_field="events"))
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            return Answer(400, error_body("Invalid event JSON"))
        return too_large() if len(events) > EVENTS.most else (events, self._rules(options))

    def _silenced(self, events: list[dict[str, Any]]) -> Answer | None:
        places = [at for at, event in enumerate(events) if event.get("device_id") in self.silenced_devices]
        if not places:
            return None
        devices = sorted({events[at]["device_id"] for at in places})
        more: dict[str, Any] = {"eps_threshold": 30, "silenced_devices": devices, "silenced_events": places}
        return Answer(400, error_body("Events silenced for device_id", **more))

    def _store_events(self, call: Call, events: list[dict[str, Any]]) -> Answer:
        now = self.now_ms()
        self._deletions.advance()
        self._note_unknown(events, EVENTS)
        duplicates = self.store.add_events(events, now, call.client)
        answer = {
            "code": 200,
            "events_ingested": len(events),
            "payload_size_bytes": len(call.body),
            "server_upload_time": now,
        }
        return Answer(200, answer, effect={"events": len(events) - duplicates, "duplicates": duplicates})

    # /identify, /groupidentify, /usermap: forms

    def _identify(self, call: Call) -> Answer:
        items, refused = self._read_form(call, IDENTIFICATIONS)
        refused = refused or self._throttle(call.path, items)
        if refused:
            return refused
        self._note_unknown(items, IDENTIFICATIONS)
        self._deletions.advance()
        for item in items:
            self.store.identify(item)
        return Answer(200, "success", effect={"identifies": len(items)})

    def _group_identify(self, call: Call) -> Answer:
        items, refused = self._read_form(call, GROUP_IDENTIFICATIONS)
        if refused:
            return refused
        if sum(map(count_properties, items)) > 1024:
            return too_large()
        self._note_unknown(items, GROUP_IDENTIFICATIONS)
        for item in items:
            self.store.identify_group(item)
        return Answer(200, "success", effect={"group_identifies": len(items)})

    def _usermap(self, call: Call) -> Answer:
        items, refused = self._read_form(call, MAPPINGS)
        if refused:
            return refused
        if self.rate_limits and not self._window.admit("usermap", self.now_ms(), len(items), most=1500):
            return Answer(429, too_many(50, {}, {}, []))
        self._note_unknown(items, MAPPINGS)
        for item in items:
            self.store.map_user(item)
        return Answer(200, "success", effect={"mappings": len(items)})

    def _read_form(self, call: Call, kind: Kind) -> tuple[list[dict[str, Any]], Answer | None]:
        if len(call.query) > _LONGEST_QUERY:
            return [], Answer(414, error_body(ERRORS[414], code=414))
        if self._too_large(call):
            return [], too_large()
        form = call.form()
        items = listed(form.get(kind.parameter, ""))
        if not items:
            return [], Answer(400, "missing_event")
        if not self._knows(form.get("api_key"), call):
            return [], Answer(400, "invalid api_key")
        if len(items) > kind.most:
            return [], too_large()
        if not all(isinstance(item, dict) for item in items):
            return [], Answer(400, error_body("Invalid event JSON"))
        return items, self._refuse(items, kind, self._rules(form_options(form.get("options", ""))))

    # deletions

    def _delete_users(self, call: Call) -> Answer:
        if self.rate_limits and not self._seconds.admit("deletions", self.now_ms(), 1, most=1):
            return wrong(429, "Too Many Requests", "1 request a second")
        return self._deletions.post(call)

    def _authorize(self, call: Call) -> Answer | None:
        keys = call.basic()
        if keys is None:
            return wrong(401, "Unauthorized", "Basic authentication needed")
        secret_fits = keys[1] == self.secret_key if self.secret_key is not None else bool(keys[1])
        if not secret_fits or not self._knows(keys[0], call):
            return wrong(403, "Forbidden", "Invalid API Key")
        return None

    # what they share

    def _knows(self, key: Any, call: Call) -> bool:
        if self.region and _REGION_HOSTS.get(call.host, self.region) != self.region:
            return False
        return isinstance(key, str) and bool(key) and (self.api_keys is None or key in self.api_keys)

    def _rules(self, options: dict[str, Any]) -> Rules:
        least = options.get("min_id_length")
        return Rules(5 if least is None else least, self.strict)

    def _too_large(self, call: Call) -> bool:
        return len(call.body) > self.request_bytes.get(call.path, 1_000_000)

    def _throttle(self, path: str, items: list[dict[str, Any]]) -> Answer | None:
        body = self._rates[path].admit(items, self.now_ms()) if self.rate_limits else None
        return Answer(429, body) if body else None

    def _note_unknown(self, items: Iterable[dict[str, Any]], kind: Kind) -> None:
        for item in items:
            self.unknown_keys.update(item.keys() - kind.fields.keys())

    def _refuse(self, items: list[dict[str, Any]], kind: Kind, rules: Rules) -> Answer | None:
        found = find_problems(items, kind, rules, only_first=self.index_mode == "first")
        return Answer(400, problem_body(found)) if found else None
