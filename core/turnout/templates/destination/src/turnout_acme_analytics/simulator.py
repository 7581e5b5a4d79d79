"""A local server that behaves as the vendor's API is documented to, for tests and for trying things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.testing import Answer, Call, Handler, Simulator

__all__ = ["AcmeAnalyticsSimulator"]

_LONGEST_NAME = 64
_MOST = {"events": 500, "profiles": 100}
_KEYS = {"events": {"id", "event"}, "profiles": {"id", "user", "traits"}}


class AcmeAnalyticsSimulator(Simulator):
    """The Events API and the Profiles API: what they take, they keep; an id that they know, they keep once.

    The real ones are made up, so this is a start: write here what the pages of your vendor say.
    """

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.events: dict[str, Any] = {}
        self.profiles: dict[str, Any] = {}

    def routes(self) -> Mapping[str, Handler]:
        """Return the requests that there are."""
        return {"POST /v1/events": self._take_events, "POST /v1/profiles": self._take_profiles}

    def state(self) -> dict[str, Any]:
        """Return what was kept."""
        return {"events": list(self.events.values()), "profiles": self.profiles}

    def _take_events(self, call: Call) -> Answer:
        events, problem = _items(call, "events")
        if problem is not None:
            return problem
        bad = [index for index, event in enumerate(events) if not _good_name(event["event"])]
        if bad:
            return Answer(422, {"error": "bad event name", "indexes": bad})
        for event in events:
            self.events.setdefault(event["id"], event)
        return Answer(200, {"accepted": len(events)}, effect={"events": len(events)})

    def _take_profiles(self, call: Call) -> Answer:
        profiles, problem = _items(call, "profiles")
        if problem is not None:
            return problem
        for profile in profiles:
            self.profiles.setdefault(profile["user"], {}).update(profile["traits"])
        return Answer(200, {"accepted": len(profiles)}, effect={"profiles": len(profiles)})


def _items(call: Call, key: str) -> tuple[list[dict[str, Any]], Answer | None]:
    """Return what a request holds, or what is wrong with it as a whole."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        return [], Answer(401, {"error": "unknown API key"})
    try:
        items = call.json()[key]
    except (ValueError, LookupError, TypeError):
        return [], Answer(400, {"error": f"no JSON object with {key}"})
    if not isinstance(items, list) or not all(isinstance(item, dict) and item.keys() >= _KEYS[key] for item in items):
        return [], Answer(400, {"error": f"{key}: a list of objects with {', '.join(sorted(_KEYS[key]))}"})
    if len(items) > _MOST[key]:
        return [], Answer(413, {"error": f"more than {_MOST[key]} {key}"})
    return items, None


def _good_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME
