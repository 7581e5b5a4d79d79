"""Segments as Split's Admin API keeps them: made in a workspace, active in environments, with keys in each of these."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Problem", "Segments"]

_NAME = re.compile(r"[a-zA-Z][-_a-zA-Z0-9]*")


class Problem(Exception):
    """Why a request is refused: an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Segments:
    """The segments of all workspaces; their keys by environment and name."""

    def __init__(self, keys_at_once: int, most_keys: int) -> None:
        self.keys_at_once = keys_at_once
        self.most_keys = most_keys
        self.made: dict[str, dict[str, dict[str, Any]]] = {}
        self.keys: dict[str, dict[str, set[str]]] = {}

    def create(self, workspace: str, traffic_type: dict[str, str], body: Any, now: int) -> dict[str, Any]:
        """Make a segment and return it; 409 when the workspace has one of that name."""
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Problem(400, f"invalid segment name {name!r}")
        segments = self.made.setdefault(workspace, {})
        if name in segments:
            raise Problem(409, f"segment {name!r} already exists")
        told = body.get("description") or ""
        segments[name] = {"name": name, "description": told, "trafficType": traffic_type, "creationTime": now}
        segments[name]["tags"] = []
        return segments[name]

    def activate(self, environment: str, name: str) -> dict[str, Any]:
        """Make a segment active in an environment; 404 when there is none, 409 when it is active."""
        segment = self._segment(name)
        active = self.keys.setdefault(environment, {})
        if name in active:
            raise Problem(409, f"segment {name!r} is already active in this environment")
        active[name] = set()
        return segment

    def deactivate(self, environment: str, name: str) -> bool:
        """Take a segment with its keys out of an environment."""
        self._active(environment, name)
        del self.keys[environment][name]
        return True

    def delete(self, workspace: str, name: str) -> bool:
        """Delete a segment of a workspace that is active nowhere."""
        if name not in self.made.get(workspace, {}):
            raise Problem(404, f"no segment {name!r}")
        if any(name in active for active in self.keys.values()):
            raise Problem(409, f"segment {name!r} is active in an environment")
        del self.made[workspace][name]
        return True

    def add(self, environment: str, name: str, keys: Any, *, replace: bool) -> int:
        """Add keys, or put them in place of all others; return how many are new. All of them or none."""
        active = self._active(environment, name)
        given = self._checked(keys)
        whole = given if replace else active | given
        if len(whole) > self.most_keys:
            raise Problem(400, f"a segment has at most {self.most_keys} keys")
        added = len(whole - active)
        self.keys[environment][name] = whole
        return added

    def remove(self, environment: str, name: str, keys: Any) -> int:
        """Remove keys and return how many there were."""
        active = self._active(environment, name)
        given = self._checked(keys) & active
        active -= given
        return len(given)

    def page(self, environment: str, name: str, limit: int, offset: int) -> dict[str, Any]:
        """Return a page of the keys of a segment."""
        keys = sorted(self._active(environment, name))
        shown = [{"key": key} for key in keys[offset : offset + limit]]
        return {"keys": shown, "count": len(keys), "offset": offset, "limit": limit, "openChangeRequestId": None}

    def _segment(self, name: str) -> dict[str, Any]:
        found = next((segments[name] for segments in self.made.values() if name in segments), None)
        if found is None:
            raise Problem(404, f"no segment {name!r}")
        return found

    def _active(self, environment: str, name: str) -> set[str]:
        self._segment(name)
        if name not in self.keys.get(environment, {}):
            raise Problem(404, f"segment {name!r} is not active in this environment")
        return self.keys[environment][name]

    def _checked(self, keys: Any) -> set[str]:
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
            raise Problem(400, "keys must be a list of texts")
        if len(keys) > self.keys_at_once:
            raise Problem(400, f"at most {self.keys_at_once} keys at once")
        return set(keys)
