"""One form for all impressions: what Split's SDKs, listeners and webhooks call the same things."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from turnout import Code, Refusal, decoded, unpacked

__all__ = ["Impression", "impressions"]

_NAMES: dict[str, tuple[str, ...]] = {
    "key": ("key", "keyName", "matching_key", "matchingKey", "k"),
    "flag": ("split", "feature", "feature_name", "featureName", "testName", "f"),
    "treatment": ("treatment", "t"),
    "label": ("label", "r"),
    "change_number": ("splitVersionNumber", "changeNumber", "change_number", "c"),
    "bucketing_key": ("bucketingKey", "bucketing_key", "b"),
    "time": ("time", "m"),
    "environment_id": ("environmentId",),
    "environment_name": ("environmentName",),
    "sdk": ("sdk", "sdkLanguageVersion", "sdk-language-version"),
    "sdk_version": ("sdkVersion",),
    "machine_name": ("machineName", "hostname", "instance-id"),
    "machine_ip": ("machineIp", "ip"),
    "properties": ("properties",),
}
"""For each field the names that it has somewhere: the webhook's first, then the SDKs' and those of bulk posts."""

_INSIDE = ("i", "keyImpressions")
_ABSENT = (None, "", "NA", False)
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""


class Impression(msgspec.Struct, frozen=True):
    """One evaluation of a flag for a key; what was not given is None. `time` is in milliseconds since 1970."""

    key: str
    flag: str
    treatment: str
    label: str | None = None
    change_number: int | None = None
    bucketing_key: str | None = None
    time: int | None = None
    environment_id: str | None = None
    environment_name: str | None = None
    sdk: str | None = None
    sdk_version: str | None = None
    machine_name: str | None = None
    machine_ip: str | None = None
    properties: dict[str, Any] | None = None


def impressions(payload: Any) -> Iterator[Impression | Refusal]:
    """Yield the impressions of a payload in whatever shape they came, and a `Refusal` for each that is broken.

    Shapes: a list or a single one, an envelope of an API gateway (`{"body": …}`), what a listener gets
    (`{"impression": …}`, also with the named tuples of the Python SDK), and a bulk post, in which those of one flag
    stand together. Raises `Refusal` when the payload is no JSON, or badly packed.
    """
    try:
        values = decoded(payload if isinstance(payload, bytes | str) else _named(payload))
    except Refusal:
        if not isinstance(payload, list):
            raise
        yield from _each(payload)
    else:
        yield from _found(values)


def _each(payload: list[Any]) -> Iterator[Impression | Refusal]:
    """Yield the same of a list of Python values of which some are none of JSON: their neighbours go on."""
    for index, one in enumerate(payload):
        try:
            values = decoded([_named(one)])
        except Refusal as refusal:
            yield Refusal(refusal.reason.code, refusal.reason.message, f"/{index}")
        else:
            yield from _found(values[0], f"/{index}")


def _named(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Mapping):
        # The attributes of an evaluation are not read, and may be anything: sets, objects.
        left_out = "attributes" if "impression" in value else None
        return {key: _named(inner) for key, inner in value.items() if key != left_out}
    return [_named(inner) for inner in value] if isinstance(value, list) else value


def _found(payload: Any, path: str = "") -> Iterator[Impression | Refusal]:
    """Yield the impressions of plain JSON values."""
    if isinstance(payload, list):
        for index, one in enumerate(payload):
            yield from _found(one, f"{path}/{index}")
    elif not isinstance(payload, dict):
        yield Refusal(Code.BAD_REQUEST, "An impression must be an object.", path)
    elif "body" in payload and not _value(payload, "treatment"):
        yield from _enveloped(payload, path)
    elif isinstance(payload.get("impression"), dict):
        yield from _found({**_outer(payload), **payload["impression"]}, path)
    elif (inside := next((name for name in _INSIDE if isinstance(payload.get(name), list)), None)) is not None:
        outer = {name: value for name, value in payload.items() if name != inside}
        for index, one in enumerate(payload[inside]):
            both = {**outer, **one} if isinstance(one, dict) else one
            yield from _found(both, f"{path}/{inside}/{index}")
    else:
        yield _impression(payload, path)


def _outer(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what a listener is told beside the impression, without the attributes of the evaluation."""
    return {name: value for name, value in payload.items() if name not in ("impression", "attributes")}


def _enveloped(envelope: dict[str, Any], path: str) -> Iterator[Impression | Refusal]:
    body = envelope["body"]
    try:
        if isinstance(body, str) and envelope.get("isBase64Encoded"):
            body = decoded(unpacked(base64.b64decode(body, validate=True)))
        elif isinstance(body, str):
            body = decoded(body)
    except (binascii.Error, ValueError):
        yield Refusal(Code.BAD_REQUEST, "The body of the envelope is no base64.", f"{path}/body")
    except Refusal as refusal:
        yield Refusal(refusal.reason.code, refusal.reason.message, f"{path}/body")
    else:
        yield from _found(body, f"{path}/body")


def _impression(found: dict[str, Any], path: str) -> Impression | Refusal:
    try:
        return Impression(
            key=_text(found, "key", path),
            flag=_text(found, "flag", path),
            treatment=_text(found, "treatment", path),
            label=_words(found, "label"),
            change_number=_whole(found, "change_number", path),
            bucketing_key=_words(found, "bucketing_key"),
            time=_whole(found, "time", path),
            environment_id=_words(found, "environment_id"),
            environment_name=_words(found, "environment_name"),
            sdk=_words(found, "sdk"),
            sdk_version=_words(found, "sdk_version"),
            machine_name=_words(found, "machine_name"),
            machine_ip=_words(found, "machine_ip"),
            properties=_object(found, path),
        )
    except Refusal as refusal:
        return refusal


def _value(found: dict[str, Any], field: str) -> Any:
    return next((found[name] for name in _NAMES[field] if found.get(name) is not None), None)


def _named_as(found: dict[str, Any], field: str) -> str:
    names = _NAMES[field]
    return next((name for name in names if found.get(name) is not None), names[0])


def _text(found: dict[str, Any], field: str, path: str) -> str:
    value, name = _value(found, field), _named_as(found, field)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        what = "is missing" if value in (None, "") else "must be a text"
        raise Refusal(Code.FIELD_INVALID, f"`{name}` of an impression {what}.", f"{path}/{name}")
    return value


def _words(found: dict[str, Any], field: str) -> str | None:
    """Return a text that is only told on, None for what stands for nothing."""
    value = _value(found, field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value not in _ABSENT else None


def _whole(found: dict[str, Any], field: str, path: str) -> int | None:
    value, name = _value(found, field), _named_as(found, field)
    if isinstance(value, str) and value.isascii() and value.lstrip("-").isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= _LATEST:
        raise Refusal(Code.FIELD_INVALID, f"`{name}` of an impression must be a whole number.", f"{path}/{name}")
    return value


def _object(found: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return the properties of an evaluation, which mostly come as JSON text."""
    value = _value(found, "properties")
    if isinstance(value, str) and value:
        try:
            value = decoded(value)
        except Refusal:
            raise Refusal(
                Code.FIELD_INVALID, "`properties` of an impression is no JSON text.", f"{path}/properties"
            ) from None
    return value if isinstance(value, dict) and value else None
