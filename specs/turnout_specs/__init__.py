"""JSON Schemas (draft 2020-12) of the common spec, one for each call type, as package data.

They describe accepted input, so that anybody can validate without turnout's code: `schema("track")` stands
alone; the files `schemas/*.json` refer to `schemas/common.json` by its `$id`, `urn:turnout:spec:common`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

__all__ = ["CALL_TYPES", "resolved", "schema", "validator"]

CALL_TYPES = ("page", "screen", "identify", "track", "group", "alias", "delete")
"""The call types that have a schema."""

_COMMON = "urn:turnout:spec:common"


def schema(call_type: str) -> dict[str, Any]:
    """Return the JSON Schema of a call type, with the common fields bundled in its `$defs`.

    It is a new dict on each call, and needs no other file. Raises `ValueError` for an unknown call type.
    """
    if call_type not in CALL_TYPES:
        raise ValueError(f"'{call_type}' is no call type. Known are {', '.join(CALL_TYPES)}.")
    common = _file("common")
    return {**_file(call_type), "$defs": {common["$id"]: common}}


def _file(name: str) -> dict[str, Any]:
    text = files(__name__).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


@cache
def validator(call_type: str) -> Draft202012Validator:
    """Return the reference validator of a call type; it is made once.

    It costs hundreds of microseconds an event: `turnout.Normaliser` decides without it, and is compared with it.
    Raises `ValueError` for an unknown call type.
    """
    from jsonschema import Draft202012Validator

    return Draft202012Validator(resolved(call_type))


@cache
def resolved(call_type: str) -> Mapping[str, Any]:
    """Return the JSON Schema of a call type with what it refers to in the place of each reference.

    It is made once, and shared: don't change it. Raises `ValueError` for an unknown call type.
    """
    # A reference costs as much as what it refers to, for each event anew.
    whole = schema(call_type)
    common = whole.pop("$defs")[_COMMON]
    found: dict[str, Any] = _inlined(whole, {_COMMON: common, **common.pop("$defs")})
    return found


def _inlined(part: Any, known: Mapping[str, Any]) -> Any:
    """Return a part of a schema with what it refers to in the place of each reference."""
    if isinstance(part, list):
        return [_inlined(one, known) for one in part]
    if not isinstance(part, dict):
        return part
    own = {key: _inlined(one, known) for key, one in part.items() if key not in ("$ref", "$id")}
    return own if "$ref" not in part else _inlined(known[part["$ref"].rpartition("/")[2]], known) | own
