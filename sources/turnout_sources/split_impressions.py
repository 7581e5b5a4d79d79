"""The source `split_impressions`: which treatment of a flag somebody got, out of Split (Harness FME).

Impressions come from the webhook, from the listener of an SDK, or from a bulk post; see `split_listener.py`,
`split_webhook.py` and `split_lambda.py` for what carries them. They become events (`get_treatment`, as Split's own
integration sends them), or identifications with one property for each flag, which cost no event volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
from marshmallow import ValidationError, validates

from turnout import Found, Payload, Refusal, Source, SourceSettings
from turnout.settings import choice, flag, mapping, names, text
from turnout_sources._impressions import Impression, impressions

__all__ = ["SplitImpressions", "SplitImpressionsSettings"]

_IDS = ("user_id", "device_id")
_LONGEST_NAME = 1024
_SHOWN = {
    "split": "flag",
    "treatment": "treatment",
    "label": "label",
    "environmentName": "environment_name",
    "environmentId": "environment_id",
    "bucketingKey": "bucketing_key",
    "splitVersionNumber": "change_number",
    "sdk": "sdk",
    "sdkVersion": "sdk_version",
    "machineName": "machine_name",
    "machineIp": "machine_ip",
    "properties": "properties",
}
"""The properties of an event, in the webhook's words, and the fields of the impression that they come from."""


class SplitImpressionsSettings(SourceSettings):
    """What becomes of impressions."""

    send_as = choice(
        "Whether an impression becomes an event, or a property of its user.", ["events", "identify"], default="events"
    )
    event_name = text("The name of the event, of at most 1,024 characters.", default="get_treatment")
    id_type = choice("What the key of an impression is: the id of a user, or of a device.", _IDS, default="user_id")
    id_types = mapping(
        "The same for one traffic type, or for one environment (by its name or id), where it is another.", choices=_IDS
    )
    traffic_type = text("The traffic type of these impressions, which Split doesn't tell.")
    environment = text("The name of the environment of impressions that don't tell it, as those of a listener.")
    environments = names("Only impressions of these environments (names or ids); none named: all.")
    skip_control = flag("Leave out `control`: the flag could not be evaluated.", default=True)

    @validates("event_name")
    def _check_name(self, value: str, **_: Any) -> None:
        if not 0 < len(value) <= _LONGEST_NAME:
            raise ValidationError(f"must have 1 to {_LONGEST_NAME:,} characters, not {len(value):,}.")


class SplitImpressions(Source):
    """Impressions of Split's flags, from a webhook, a listener or a bulk post."""

    name = "Split Impressions"
    settings = SplitImpressionsSettings

    def read(self, payload: Payload) -> Iterator[Found]:
        """Yield the events of a payload in any of the shapes that impressions have, and what is broken in it."""
        wanted: list[tuple[Impression, str]] = []
        for found in impressions(payload):
            if isinstance(found, Refusal):
                yield found
            elif self._wants(found):
                if self.config.send_as == "events":
                    yield self._event(found)
                else:
                    wanted.append((found, self._id_of(found)))
        yield from _identified(wanted)

    def _wants(self, found: Impression) -> bool:
        config = self.config
        if config.skip_control and found.treatment == "control":
            return False
        return not config.environments or bool(self._places(found) & set(config.environments))

    def _places(self, found: Impression) -> set[str]:
        name = found.environment_name or self.config.environment
        return {one for one in (name, found.environment_id) if one}

    def _id_of(self, found: Impression) -> str:
        """Return the field of an event that the key goes to."""
        config = self.config
        named = [config.id_types[one] for one in sorted(self._places(found)) if one in config.id_types]
        kind = named[0] if named else config.id_types.get(config.traffic_type, config.id_type)
        return "userId" if kind == "user_id" else "anonymousId"

    def _event(self, found: Impression) -> dict[str, Any]:
        properties = {name: getattr(found, field) for name, field in _SHOWN.items()}
        properties["environmentName"] = found.environment_name or self.config.environment or None
        properties["trafficType"] = self.config.traffic_type or None
        return {
            "type": "track",
            "event": self.config.event_name,
            self._id_of(found): found.key,
            "messageId": _id_from(_unique(found)),
            **_at(found.time),
            "properties": {name: value for name, value in properties.items() if value is not None},
            "context": _CONTEXT,
        }


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTEXT = {"integration": {"name": "Split Impressions", "version": "1.0.0"}}


def _identified(wanted: Iterable[tuple[Impression, str]]) -> Iterator[dict[str, Any]]:
    """Yield one identify call for each key, in which the latest treatment of a flag wins."""
    latest: dict[tuple[str, str], dict[str, Impression]] = {}
    for found, field in wanted:
        flags = latest.setdefault((field, found.key), {})
        before = flags.get(found.flag)
        if before is None or (found.time or 0) >= (before.time or 0):
            flags[found.flag] = found
    for (field, key), flags in latest.items():
        times = [one.time for one in flags.values() if one.time is not None]
        yield {
            "type": "identify",
            field: key,
            "messageId": _id_from([_unique(flags[name]) for name in sorted(flags)]),
            **_at(max(times, default=None)),
            "traits": {name: one.treatment for name, one in flags.items()},
            "context": _CONTEXT,
        }


def _unique(found: Impression) -> list[Any]:
    """Return what tells an impression from any other: a webhook that comes twice has the same."""
    place = found.environment_id or found.environment_name
    return [place, found.key, found.bucketing_key, found.flag, found.time, found.change_number, found.treatment]


def _id_from(parts: list[Any]) -> str:
    return "split-" + blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()


def _at(time: int | None) -> dict[str, str]:
    """Return the timestamp of an event, if there is a time."""
    if time is None or time < 0:
        return {}
    moment = _EPOCH + timedelta(milliseconds=time)
    return {"timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
