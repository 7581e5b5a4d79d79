"""What Amplitude keeps: events without their duplicates, users with their properties, groups and mappings."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any

from turnout_amplitude._simulator_checks import DEVICE_FIELDS, GEO_FIELDS, USER_OPERATIONS
from turnout_amplitude._simulator_languages import LANGUAGES

__all__ = ["Store", "apply_operations", "cut"]

LONGEST_TEXT = 1024
DEDUPE_MS = 7 * 24 * 3600 * 1000
MOST_GROUP_TYPES = 5
_LARGEST_WHOLE = 2**1000
MOST_GROUP_VALUES = 10
_KEPT = (*DEVICE_FIELDS, *GEO_FIELDS, "language", "app_version", "paying", "start_version")

User = dict[str, Any]


class Store:
    """One project's data. `now` in its methods is in ms since the epoch."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.identifies: list[dict[str, Any]] = []
        self.group_identifies: list[dict[str, Any]] = []
        self.groups: dict[str, dict[str, dict[str, Any]]] = {}
        self.mappings: dict[str, str] = {}
        self.users: list[User] = []
        self.duplicates = 0
        self.untracked_groups: list[tuple[str, str]] = []
        self._seen: dict[tuple[str, str], int] = {}
        self._by_user_id: dict[str, User] = {}
        self._by_device_id: dict[str, User] = {}
        self._last_amplitude_id = 0

    def add_events(self, events: Iterable[dict[str, Any]], now: int, sender: str) -> int:
        """Store checked events and return how many of them were duplicates."""
        return sum(not self._add_event(event, now, sender) for event in events)

    def identify(self, item: dict[str, Any], *, reset_fields: bool = True) -> None:
        """Apply one identification to its user."""
        item = cut(item)
        self.identifies.append(item)
        user = self.resolve(item.get("user_id"), item.get("device_id"))
        apply_operations(user["user_properties"], item.get("user_properties") or {})
        _keep_fields(user, item, reset=reset_fields)
        self._join_groups(user, item.get("groups") or {})

    def identify_group(self, item: dict[str, Any]) -> None:
        """Apply one group identification to its group."""
        item = cut(item)
        self.group_identifies.append(item)
        group = self._group(item["group_type"], item["group_value"])
        if group is not None:
            apply_operations(group, item.get("group_properties") or {})

    def map_user(self, item: dict[str, Any]) -> None:
        """Map a user to a global user, or take the mapping back."""
        if item.get("unmap") is True:
            self.mappings.pop(item["user_id"], None)
        else:
            self.mappings[item["user_id"]] = item["global_user_id"]

    def find(self, *, user_id: str | None = None, device_id: str | None = None) -> User | None:
        """Return the user with this user id, or else the one who has this device."""
        if user_id is not None:
            return self._by_user_id.get(user_id)
        return self._by_device_id.get(device_id or "")

    def resolve(self, user_id: str | None, device_id: str | None) -> User:
        """Return the user that these ids mean; an anonymous device joins the first user id seen on it."""
        device = self._by_device_id.get(device_id) if device_id is not None else None
        if user_id is None:
            user = device or self._new_user()
        else:
            anonymous = device if device and device["user_id"] is None else None
            user = self._named_user(user_id, anonymous)
        if device_id is not None:
            self._by_device_id[device_id] = user
            if device_id not in user["device_ids"]:
                user["device_ids"].append(device_id)
        return user

    def forget(self, amplitude_id: int) -> None:
        """Delete a user and their events, as a deletion job that has run."""
        self.users[:] = [user for user in self.users if user["amplitude_id"] != amplitude_id]
        self.events[:] = [event for event in self.events if event["amplitude_id"] != amplitude_id]
        for index in (self._by_user_id, self._by_device_id):
            for key in [key for key, user in index.items() if user["amplitude_id"] == amplitude_id]:
                del index[key]

    def _add_event(self, event: dict[str, Any], now: int, sender: str) -> bool:
        event = _completed(cut(event), now, sender)
        if self._is_duplicate(event, now):
            self.duplicates += 1
            return False
        if event["event_type"] == "$groupidentify":
            self._identify_groups(event)
        elif event["event_type"] == "$identify":
            self.identify(event, reset_fields=False)
        else:
            self._keep_event(event)
        return True

    def _keep_event(self, event: dict[str, Any]) -> None:
        user = self.resolve(event.get("user_id"), event["device_id"])
        if not event.get("$skip_user_properties_sync"):
            apply_operations(user["user_properties"], event.get("user_properties") or {})
            _keep_fields(user, event, reset=False)
        if event.get("groups"):
            event["groups"] = self._join_groups(user, event["groups"])
        self.events.append(event | {"amplitude_id": user["amplitude_id"]})

    def _is_duplicate(self, event: dict[str, Any], now: int) -> bool:
        if not event.get("insert_id"):
            return False
        key = (event["insert_id"], event["device_id"])
        first = self._seen.get(key)
        if first is not None and now - first < DEDUPE_MS:
            return True
        self._seen[key] = now
        return False

    def _identify_groups(self, event: dict[str, Any]) -> None:
        for group_type, value in _pairs(event.get("groups") or {}):
            properties = event.get("group_properties") or {}
            self.identify_group({"group_type": group_type, "group_value": value, "group_properties": properties})

    def _join_groups(self, user: User, groups: dict[str, Any]) -> dict[str, list[str]]:
        joined: dict[str, list[str]] = {}
        for place, (group_type, value) in enumerate(_pairs(groups)):
            if place < MOST_GROUP_VALUES and self._group(group_type, value) is not None:
                joined.setdefault(group_type, []).append(value)
            elif place >= MOST_GROUP_VALUES:
                self.untracked_groups.append((group_type, value))
        user["groups"].update(joined)
        return joined

    def _group(self, group_type: str, value: str) -> dict[str, Any] | None:
        if group_type not in self.groups and len(self.groups) >= MOST_GROUP_TYPES:
            self.untracked_groups.append((group_type, value))
            return None
        return self.groups.setdefault(group_type, {}).setdefault(value, {})

    def _named_user(self, user_id: str, anonymous: User | None) -> User:
        user = self._by_user_id.get(user_id)
        if user is None:
            user = anonymous or self._new_user()
            user["user_id"] = user_id
            self._by_user_id[user_id] = user
        elif anonymous is not None:
            self._merge(anonymous, user)
        return user

    def _merge(self, anonymous: User, user: User) -> None:
        user["user_properties"] = anonymous["user_properties"] | user["user_properties"]
        user["groups"] = anonymous["groups"] | user["groups"]
        user["device_ids"] += [each for each in anonymous["device_ids"] if each not in user["device_ids"]]
        self._by_device_id.update(dict.fromkeys(anonymous["device_ids"], user))
        self.users.remove(anonymous)
        for event in self.events:
            if event["amplitude_id"] == anonymous["amplitude_id"]:
                event["amplitude_id"] = user["amplitude_id"]

    def _new_user(self) -> User:
        self._last_amplitude_id += 1
        user: User = {"amplitude_id": self._last_amplitude_id, "user_id": None, "device_ids": []}
        user |= {"user_properties": {}, "groups": {}, "fields": {}}
        self.users.append(user)
        return user


def cut(value: Any) -> Any:
    """Return the value with every text cut to 1024 characters, as Amplitude does instead of refusing it."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, dict):
        return {name: cut(each) for name, each in value.items()}
    if isinstance(value, list):
        return [cut(each) for each in value]
    return value


def apply_operations(properties: dict[str, Any], changes: dict[str, Any]) -> None:
    """Apply property operations in place; plain keys count as `$set`."""
    plain = {name: value for name, value in changes.items() if name not in USER_OPERATIONS}
    properties.update(plain)
    for operation, operands in changes.items():
        if operation == "$clearAll":
            properties.clear()
        elif operation in _CHANGES and isinstance(operands, dict):
            for name, operand in operands.items():
                _CHANGES[operation](properties, name, operand)


def _set(properties: dict[str, Any], name: str, value: Any) -> None:
    properties[name] = value


def _set_once(properties: dict[str, Any], name: str, value: Any) -> None:
    if properties.get(name) is None:
        properties[name] = value


def _add(properties: dict[str, Any], name: str, value: Any) -> None:
    if not _is_number(value):
        return
    old = properties.get(name)
    total = (old if _is_number(old) else 0) + value
    if math.isfinite(total):
        properties[name] = total


def _unset(properties: dict[str, Any], name: str, value: Any) -> None:
    properties.pop(name, None)


def _list_change(
    combine: Callable[[list[Any], list[Any]], list[Any]],
) -> Callable[[dict[str, Any], str, Any], None]:
    def change(properties: dict[str, Any], name: str, value: Any) -> None:
        properties[name] = combine(_listed(properties.get(name)), _listed(value))

    return change


_CHANGES: dict[str, Callable[[dict[str, Any], str, Any], None]] = {
    "$set": _set,
    "$setOnce": _set_once,
    "$add": _add,
    "$unset": _unset,
    "$append": _list_change(lambda old, new: [*old, *new]),
    "$prepend": _list_change(lambda old, new: [*new, *old]),
    "$postInsert": _list_change(lambda old, new: [*old, *_absent(new, old)]),
    "$preInsert": _list_change(lambda old, new: [*_absent(new, old), *old]),
    "$remove": _list_change(lambda old, new: [each for each in old if each not in new]),
}


def _absent(values: list[Any], present: list[Any]) -> list[Any]:
    fresh: list[Any] = []
    for value in values:
        if value not in present and value not in fresh:
            fresh.append(value)
    return fresh


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_WHOLE
    )


def _pairs(groups: dict[str, Any]) -> list[tuple[str, str]]:
    return [(group_type, str(value)) for group_type, given in groups.items() for value in _listed(given)]


def _keep_fields(user: User, item: dict[str, Any], *, reset: bool) -> None:
    """Keep device and place; with `reset`, one field of such a set clears its others (Identify API)."""
    fields = user["fields"]
    for group in (DEVICE_FIELDS, GEO_FIELDS) if reset else ():
        if any(item.get(name) is not None for name in group):
            fields.update(dict.fromkeys(group))
    fields.update({name: item[name] for name in _KEPT if item.get(name) is not None})
    if isinstance(fields.get("language"), str):
        fields["language"] = _language(fields["language"])


def _completed(event: dict[str, Any], now: int, sender: str) -> dict[str, Any]:
    """Return the event as Amplitude stores it: without nulls, with time, device id, revenue and language."""
    event = {name: value for name, value in event.items() if value is not None}
    event.setdefault("time", now)
    event.setdefault("device_id", _hashed(event.get("user_id", "")))
    if event.get("ip") == "$remote":
        event["ip"] = sender
    if "language" in event:
        event["language"] = _language(event["language"])
    if "price" in event and ("quantity" in event or "revenue" not in event):
        event["revenue"] = event["price"] * event.get("quantity", 1)
    return event


def _hashed(user_id: str) -> str:
    return hashlib.sha256(user_id.encode()).hexdigest()[:32] + "R"


def _language(tag: str) -> str:
    return LANGUAGES.get(tag.replace("_", "-").partition("-")[0].lower(), tag)
