"""User properties: what a call says of its user, and the operations on them."""

from __future__ import annotations

from typing import Any

from turnout import Config, Event, Note
from turnout_amplitude.values import numeric

__all__ = [
    "Operations",
    "add_campaign",
    "added_properties",
    "appended_properties",
    "beside_traits",
    "query_properties",
    "unmixed",
]


def beside_traits(event: Event, config: Config, platform: str) -> dict[str, Any]:
    """Return the user properties that an identify call sets beside its traits: on the server UTM, then query string.

    AMP-CTX-13, AMP-TRACK-04 (on identify always a user property; mobile platforms have no pages).
    """
    found: dict[str, Any] = {}
    if config.track_utm_properties and platform == "server":
        add_campaign(found, event.context.campaign)
    if config.map_query_params and event.context.page.search and platform in ("server", "browser"):
        found.update(dict.fromkeys(config.map_query_params, event.context.page.search))
    return found


def add_campaign(found: dict[str, Any], campaign: Any) -> None:
    """Add the UTM parameters of a campaign (AMP-CTX-13)."""
    if campaign.source:
        found["utm_source"] = campaign.source
    if campaign.medium:
        found["utm_medium"] = campaign.medium
    if campaign.name:
        found["utm_campaign"] = campaign.name
    if campaign.term:
        found["utm_term"] = campaign.term
    if campaign.content:
        found["utm_content"] = campaign.content


def query_properties(event: Event, config: Config, place: str) -> dict[str, Any]:
    """Return the page's whole query string under each name that `map_query_params` gives this place."""
    search = event.context.page.search
    if not search:
        return {}
    return {name: search for name, where in config.map_query_params.items() if where == place}


def appended_properties(event: Event, config: Config) -> dict[str, Any]:
    """Return what `append_fields_to_event_props` copies from places of the event (AMP-TRACK-05).

    A path goes through objects by their keys and through lists by position, as in `context.page.title`; what isn't
    there, or is null, adds nothing.
    """
    whole = event.to_dict()
    found = {target: _at(whole, path) for path, target in config.append_fields_to_event_props.items()}
    return {target: value for target, value in found.items() if value is not None}


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 6:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def added_properties(event: Event, config: Config, platform: str) -> dict[str, Any]:
    """Return what the settings add to the properties of a logged event: query string, and on browsers fields.

    AMP-TRACK-04, AMP-TRACK-05.
    """
    if platform not in ("server", "browser"):
        return {}
    added = query_properties(event, config, "event_properties") if config.map_query_params else {}
    if platform == "browser" and config.append_fields_to_event_props:
        added |= appended_properties(event, config)
    return added


def unmixed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the same properties, all under `$set` when the name of one begins as those of operators do (AMP-IDENT-11).

    Amplitude takes every such name for an operation, and refuses plain keys beside one.
    """
    if "$" in "".join(properties) and any(name[:1] == "$" for name in properties):
        return {"$set": properties}
    return properties


class Operations:
    """Sorts traits into Amplitude's operations as the settings ask (AMP-IDENT-08 to -13).

    A trait in several lists is used once: increment, then set-once, append, prepend. On devices everything stands under
    operators (AMP-IDENT-04, AMP-IDENT-11); the browser neither appends nor prepends (AMP-IDENT-10).
    """

    def __init__(self, config: Config, platform: str) -> None:
        self._always = platform != "server"
        ends = platform != "browser"
        lists = (
            ("$prepend", config.traits_to_prepend if ends else ()),
            ("$append", config.traits_to_append if ends else ()),
            ("$setOnce", config.traits_to_set_once),
            ("$add", config.traits_to_increment),
        )
        self._operation = {trait: operation for operation, traits in lists for trait in traits}

    def sort(self, traits: dict[str, Any], beside: dict[str, Any]) -> tuple[dict[str, Any], list[Note]]:
        """Return `user_properties`, and notes on increments that are no numbers.

        `beside` are properties that are no traits: they are set over a trait of the same name, unless an operation
        uses that trait, which then appears nowhere else. Without a special operation these are plain keys; with
        one, everything stands under operators, since Amplitude forbids mixing them (AMP-IDENT-11).
        """
        notes: list[Note] = []
        plain: dict[str, Any] = {}
        operations: dict[str, dict[str, Any]] = {}
        for key, value in traits.items():
            operation = self._operation.get(key)
            number = numeric(value) if operation == "$add" else value
            if operation is None:
                plain[key] = value
            elif operation == "$add" and number is None:
                message = f"The trait {key!r} is to be incremented but is no number; it was left out."
                notes.append(Note(message, "/traits/" + key.replace("~", "~0").replace("/", "~1")))
            else:
                operations.setdefault(operation, {})[key] = number
        used = {key for values in operations.values() for key in values}
        plain.update({key: value for key, value in beside.items() if key not in used})
        if not operations and not self._always:
            return unmixed(plain), notes
        return ({"$set": plain} if plain else {}) | operations, notes
