"""The source `flagsmith`: the flags of an identity, and its traits if wanted, become one identify call.

Facts are those of Flagsmith's documentation of its Amplitude, Segment and RudderStack integrations, and of the code of
those integrations: a flag's value when it is enabled and has one, else its boolean state.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from turnout import (
    Checkpoint,
    Code,
    Config,
    Fetcher,
    FetchError,
    Found,
    Payload,
    Refusal,
    Section,
    SettingsError,
    Source,
    SourceSettings,
    decoded,
    wanted,
)
from turnout.settings import choice, flag, names, text, url

__all__ = ["Flagsmith", "FlagsmithSettings", "PullOptions"]

_PATH = "/api/v1"
_OFTEN = 50
"""Identities after which the state is kept."""
_LONGEST = 30_000
"""Bytes of traits in one call; an event may have 32 KB."""
_SCALARS = (str, int, float, bool)


class FlagsmithSettings(SourceSettings):
    """The settings of the source `flagsmith`."""

    environment_key = text("The key of the environment, for `turnout pull`.", secret=True)
    base_url = url(
        "Where Flagsmith is: also https://api.flagsmith.com, or your own.", default="https://edge.api.flagsmith.com"
    )
    value_rule = choice(
        "When an enabled flag's value counts: `not_null` whenever it has one, also 0, an empty text and false, as in "
        "Flagsmith's Amplitude and Segment integrations; `truthy` not for those three, as in its RudderStack one.",
        ["not_null", "truthy"],
        default="not_null",
    )
    empty_is_no_value = flag("Take an empty text for no value, which it usually means in Flagsmith's own pages.")
    flag_prefix = text("What is put in front of the name of each flag.")
    include_traits = flag("Also send the identity's traits; a flag wins over a trait of the same name.")


class PullOptions(Section):
    """What one pull may be told."""

    identifier = names("An identity to ask for; it becomes the user id.", required=True)
    transient = flag("Ask without having Flagsmith keep an identity that it does not know yet.")
    unchanged = flag("Also yield identities whose flags are those of the last pull.")


class Flagsmith(Source):
    """Flagsmith: the flags of identities, by its API or from saved responses.

    A payload is a response of the identities endpoint in the shape of its core or its Edge API, or a list of them. A
    flag may also be given as a list of name, state and value. The identifier is the user id. Flagsmith's own webhooks
    are not read: the shape of their bodies is not confirmed.
    """

    name = "Flagsmith"
    settings = FlagsmithSettings
    options = PullOptions

    def read(self, payload: Payload) -> Iterator[Found]:
        """Yield one identify call for each identity, and a refusal for each flag that can't be read."""
        told = decoded(payload)
        if isinstance(told, list):
            for index, one in enumerate(told):
                yield from self._whole(one, f"/{index}")
        else:
            yield from self._whole(told, "")

    def _whole(self, told: Any, path: str, identifier: str = "") -> Iterator[Found]:
        try:
            response = _response(told, path)
            user = identifier or _identifier(response.get("identifier"), f"{path}/identifier")
            entries = wanted(response.get("flags"), list, f"{path}/flags", "The flags of an identity")
        except Refusal as refusal:
            yield refusal
            return
        traits: dict[str, Any] = {}
        if self.config.include_traits:
            yield from _gather(traits, response.get("traits") or [], f"{path}/traits", _trait)
        yield from _gather(traits, entries, f"{path}/flags", self._flag)
        for piece in _pieces(traits):
            yield {"type": "identify", "userId": user, "traits": piece}

    def _flag(self, entry: Any, path: str) -> tuple[str, Any]:
        """Return the name of the trait of one flag, and its value."""
        name, enabled, value, place = _parts(entry, path)
        return self.config.flag_prefix + name, self._value(enabled, _scalar(value, place, "The value of a flag"))

    def _value(self, enabled: bool, value: Any) -> Any:
        none = value is None or (value == "" and self.config.empty_is_no_value)
        counts = not none and (self.config.value_rule == "not_null" or bool(value))
        return value if enabled and counts else enabled

    async def pull(
        self, fetch: Fetcher, options: Config, state: Mapping[str, Any]
    ) -> AsyncIterator[Found | Checkpoint]:
        """Yield an identify call for each identity whose flags are not those of the last pull."""
        if not self.config.environment_key:
            fault = "Setting 'environment_key' is required to pull: give it, as in \"${ENVIRONMENT_KEY}\""
            raise SettingsError(f"source '{self.id}': {fault}.")
        sent = dict(state.get("sent") or {})
        identifiers = list(dict.fromkeys(options.identifier))
        for number, identifier in enumerate(identifiers, 1):
            found = list(self._whole(await self._asked(fetch, identifier, options), "", identifier))
            for one in found:
                if isinstance(one, Refusal):
                    yield _named(one, identifier)
            for event in self._news([one for one in found if not isinstance(one, Refusal)], sent, identifier, options):
                yield event
            if number % _OFTEN == 0 or number == len(identifiers):
                yield Checkpoint({"sent": dict(sent)}, number, len(identifiers))

    def _news(
        self, events: list[Mapping[str, Any]], sent: dict[str, Any], identifier: str, options: Config
    ) -> list[dict[str, Any]]:
        """Return the events of an identity with message ids of their own, none when the last pull had the same flags.

        The ids count the changes: flags that change and change back are two events, a pull that is repeated after a
        crash gives the same ones.
        """
        # The state names nobody: who is meant is told by a digest.
        whose = _digest([self.config.environment_key, self.config.base_url, identifier])
        what = _digest([event["traits"] for event in events])
        count, before = sent.get(whose) or (0, "")
        if not events or (what == before and not options.unchanged):
            return []
        sent[whose] = [count + 1, what]
        name = f"flagsmith-{whose}-{count + 1}-{what}"
        return [{**event, "messageId": f"{name}-{piece}" if piece else name} for piece, event in enumerate(events)]

    async def _asked(self, fetch: Fetcher, identifier: str, options: Config) -> Any:
        """Return what the identities endpoint says of an identity; raises `FetchError`."""
        base = self.config.base_url.rstrip("/").removesuffix(_PATH)
        params = {"identifier": identifier} | ({"transient": "true"} if options.transient else {})
        headers = {"x-environment-key": self.config.environment_key}
        answer = await fetch.get(f"{base}{_PATH}/identities/", params=params, headers=headers)
        try:
            told = decoded(answer.body)
        except Refusal:
            told = None
        detail = told.get("detail") if isinstance(told, dict) else None
        if answer.status != 200 or detail is not None or not isinstance(told, dict):
            raise FetchError(self._complaint(answer.status, detail), answer.status)
        return told

    def _complaint(self, status: int, detail: Any) -> str:
        """Return a sentence about an answer that is no identity."""
        words = f": {str(detail)[:200].rstrip('.')}" if detail else ""
        told = f"(status {status}{words})"
        if status in (401, 403) or "Environment Key" in words.title():
            return f"Flagsmith refuses the environment key {told}. Compare the setting environment_key."
        if status == 404 or 300 <= status < 400:
            return f"Flagsmith has no identities at this address {told}. Compare the setting base_url."
        if status == 200 and not words:
            return "Flagsmith answered 200 with something that is no identity. Compare the setting base_url."
        return f"Flagsmith did not hand out the identity {told}."


def _pieces(traits: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the traits in as many objects as it takes for each call to be within the limit of an event.

    A call adds its traits to those that are there, so several say what one would say.
    """
    piece: dict[str, Any] = {}
    size = 0
    for name, value in traits.items():
        more = len(msgspec.json.encode({name: value}))
        if piece and size + more > _LONGEST:
            yield piece
            piece, size = {}, 0
        piece[name] = value
        size += more
    yield piece


def _response(told: Any, path: str) -> dict[str, Any]:
    response: dict[str, Any] = wanted(told, dict, path, "The response for an identity")
    if "flags" not in response and "detail" in response:
        words = str(response["detail"])[:200].rstrip(".")
        raise Refusal(Code.VALUE_REQUIRED, f"This is no identity but what Flagsmith answers instead: {words}.", path)
    return response


def _identifier(value: Any, path: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        message = "The response has no `identifier`, which is the user id. Save it with the flags."
        raise Refusal(Code.NO_USER_ANON_ID, message, path)
    found: str = wanted(value, str, path, "The identifier")
    return found


def _gather(traits: dict[str, Any], entries: Any, path: str, read: Any) -> Iterator[Refusal]:
    """Put each entry of a list into `traits`, and yield a refusal for each that can't be read."""
    if not isinstance(entries, list):
        yield Refusal(Code.FIELD_INVALID, "The traits of an identity must be a list.", path)
        return
    for index, entry in enumerate(entries):
        try:
            name, value = read(entry, f"{path}/{index}")
        except Refusal as refusal:
            yield refusal
        else:
            traits[name] = value


def _trait(entry: Any, path: str) -> tuple[str, Any]:
    wanted(entry, dict, path, "A trait")
    name = _name(entry.get("trait_key"), f"{path}/trait_key")
    return name, _scalar(entry.get("trait_value"), f"{path}/trait_value", "The value of a trait")


def _parts(entry: Any, path: str) -> tuple[str, bool, Any, str]:
    """Return name, state and value of a flag, and the place of its value."""
    if isinstance(entry, list):
        if len(entry) != 3:
            raise Refusal(Code.FIELD_INVALID, "A flag that is a list has a name, a state and a value.", path)
        name, enabled, value, places = *entry, (f"{path}/0", f"{path}/1", f"{path}/2")
    else:
        wanted(entry, dict, path, "A flag")
        feature = wanted(entry.get("feature"), dict, f"{path}/feature", "The feature of a flag")
        name, enabled, value = feature.get("name"), entry.get("enabled"), entry.get("feature_state_value")
        places = (f"{path}/feature/name", f"{path}/enabled", f"{path}/feature_state_value")
        if "feature_state_value" not in entry:
            raise Refusal(Code.FIELD_INVALID, "A flag has its `feature_state_value`, null for none.", places[2])
    _name(name, places[0])
    wanted(enabled, bool, places[1], "The state of a flag (`enabled`)")
    return name, enabled, value, places[2]


def _name(value: Any, path: str) -> str:
    if value == "" or not isinstance(value, str):
        raise Refusal(Code.FIELD_INVALID, "The name must be a text that is not empty.", path)
    return value


def _scalar(value: Any, path: str, what: str) -> Any:
    if value is None or isinstance(value, _SCALARS):
        return value
    raise Refusal(Code.FIELD_INVALID, f"{what} must be a text, a number, a boolean or null.", path)


def _named(refusal: Refusal, identifier: str) -> Refusal:
    """Return the refusal with the identity in whose response it is."""
    reason = refusal.reason
    return Refusal(reason.code, f"Identity {identifier!r}: {reason.message}", reason.path)


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:20]
