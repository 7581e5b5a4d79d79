"""A Flagsmith for trying things: environments, features, overrides, traits, and the identities endpoint.

It follows the API as documented: 200 with `detail` for a missing identifier, `transient`, `feature`, both shapes. The
evaluations also go to integrations, with the bodies that Flagsmith's own send.

Under `/simulator/` it can be set up over HTTP: `PUT features/{name}`, `PUT identities/{identifier}/{feature}` and
`POST integrations`.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import msgspec

from turnout.testing import Answer, Call, Simulator
from turnout_sources._flagsmith_requests import KINDS, Evaluated, Integration, Sent, integration_request

__all__ = ["DEMO_KEY", "Feature", "FlagsmithSimulator", "Integration"]

DEMO_KEY = "demo-environment-key"
"""The key of the environment that is there when none is named."""
_LONGEST_IDENTIFIER = 2000
_LONGEST_VALUE = 20_000
_LONGEST_TRAIT = 2000


class Feature(msgspec.Struct, forbid_unknown_fields=True):
    """One feature of the project, with its state in the environment."""

    name: str
    enabled: bool = False
    value: int | str | bool | None = None
    type: str = "STANDARD"
    server_only: bool = False


def demo_features() -> list[Feature]:
    """Return a project with a flag of each kind."""
    return [
        Feature("font_size", True, "12"),
        Feature("new_checkout", True),
        Feature("dark_mode", False, "midnight"),
        Feature("max_items", True, 0),
        Feature("banner", True, "Welcome back", "MULTIVARIATE"),
    ]


def _post(sent: Sent) -> None:
    """Send in the background and forget, as Flagsmith does."""
    threading.Thread(target=_sending, args=(sent,), daemon=True).start()


def _sending(sent: Sent) -> None:
    with suppress(httpx.HTTPError):
        httpx.post(sent.url, headers=sent.headers, content=sent.body, timeout=15, trust_env=False)


class FlagsmithSimulator(Simulator):
    """The identities endpoint of Flagsmith, for GET and POST.

    `keys` are the environment keys, those that begin with `ser.` belong to servers. `edge` chooses the shape of the
    Edge API, `hide_disabled` leaves out flags that are off. `post` sends what integrations would send.
    """

    secret_headers = Simulator.secret_headers | {"x-environment-key"}

    def __init__(
        self,
        features: Iterable[Feature] | None = None,
        *,
        keys: Iterable[str] = (DEMO_KEY,),
        edge: bool = False,
        hide_disabled: bool = False,
        integrations: Iterable[Integration] = (),
        post: Callable[[Sent], object] = _post,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._given = demo_features() if features is None else list(features)
        self._integrating = list(integrations)
        self.keys = frozenset(keys)
        self.edge, self.hide_disabled = edge, hide_disabled
        self._post = post
        super().__init__(clock=clock)

    def reset(self) -> None:
        """Forget identities, overrides and what was set up over HTTP."""
        super().reset()
        self.features = {one.name: msgspec.structs.replace(one) for one in self._given}
        self.integrations = {one.kind: one for one in self._integrating}
        self.identities: dict[str, dict[str, Any]] = {}
        self.overrides: dict[tuple[str, str], tuple[bool, Any]] = {}
        self.segments: list[tuple[str, Any, str, bool, Any]] = []
        """Segment overrides: trait, its value, feature, state, value."""

    def routes(self) -> dict[str, Callable[[Call], Answer]]:
        """Return the identities endpoint and what sets the simulator up."""
        return {
            "GET|POST /api/v1/identities/": self._identities,
            "PUT /simulator/features/{name}": self._put_feature,
            "PUT /simulator/identities/{identifier}/{feature}": self._put_override,
            "POST /simulator/integrations": self._add_integration,
        }

    def state(self) -> dict[str, Any]:
        """Return features and the identities that were kept, with their traits."""
        return {"features": list(self.features.values()), "identities": self.identities}

    def fault_body(self, status: int, call: Call) -> Any:
        """Return an error as Flagsmith words it."""
        return {"detail": super().fault_body(status, call)["error"]}

    def override(self, identifier: str, feature: str, enabled: bool, value: Any = None) -> None:
        """Give one identity a state of its own for a feature; it wins over segments."""
        self.overrides[identifier, feature] = (enabled, value)

    def segment(self, trait: str, equals: Any, feature: str, enabled: bool, value: Any = None) -> None:
        """Give identities with this value of a trait a state of their own for a feature."""
        self.segments.append((trait, equals, feature, enabled, value))

    def _identities(self, call: Call) -> Answer:
        key = call.headers.get("x-environment-key")
        if key not in self.keys:
            word = "key" if key is None else "Key"
            return Answer(403, {"detail": f"Invalid or missing Environment {word}"})
        if call.method == "GET":
            return self._got(call, key)
        try:
            body = call.json()
        except ValueError:
            return Answer(400, {"detail": "JSON parse error"})
        return self._posted(body, key) if isinstance(body, dict) else Answer(400, {"detail": "Invalid data"})

    def _got(self, call: Call, key: str) -> Answer:
        asked = call.args()
        identifier = asked.get("identifier", "")
        if not identifier:
            return Answer(200, {"detail": "Missing identifier"})
        if len(identifier) > _LONGEST_IDENTIFIER:
            return Answer(400, {"identifier": ["Ensure this field has no more than 2000 characters."]})
        return self._answered(identifier, {}, key, asked.get("transient") == "true", asked.get("feature"))

    def _posted(self, body: Mapping[str, Any], key: str) -> Answer:
        given = body.get("traits") or []
        try:
            traits = {one["trait_key"]: one.get("trait_value") for one in given}
        except (TypeError, KeyError, AttributeError):
            return Answer(400, {"traits": ["Each trait needs a trait_key."]})
        if any(isinstance(one, dict | list) or len(str(one)) > _LONGEST_TRAIT for one in traits.values()):
            return Answer(400, {"traits": ["Invalid trait value."]})
        identifier = body.get("identifier")
        passing = bool(body.get("transient")) or not identifier
        if not identifier:
            told = msgspec.json.encode(traits, order="sorted")
            identifier = hashlib.sha256(told).hexdigest() if traits else uuid.uuid4().hex
        return self._answered(str(identifier), traits, key, passing, None)

    def _answered(
        self, identifier: str, traits: Mapping[str, Any], key: str, transient: bool, feature: str | None
    ) -> Answer:
        if feature is not None and feature not in self.features:
            return Answer(404, {"detail": "Given feature not found"})
        known = {**self.identities.get(identifier, {}), **traits}
        known = {name: value for name, value in known.items() if value is not None}
        if not transient:
            self.identities[identifier] = known
        flags = [(number, one, self._evaluated(identifier, known, one)) for number, one in self._visible(key)]
        if feature is not None:
            return Answer(200, next((self._shown(*flag) for flag in flags if flag[1].name == feature), None))
        flags = [flag for flag in flags if flag[2].enabled or not self.hide_disabled]
        self._integrate(identifier, [flag[2] for flag in flags])
        shown = [self._shown(*flag) for flag in flags]
        rows = [self._trait(number, *one) for number, one in enumerate(known.items(), 1)]
        return Answer(200, {"identifier": identifier, "flags": shown, "traits": rows})

    def _visible(self, key: str) -> list[tuple[int, Feature]]:
        numbered = enumerate(self.features.values(), 1)
        return [(number, one) for number, one in numbered if key.startswith("ser.") or not one.server_only]

    def _evaluated(self, identifier: str, traits: Mapping[str, Any], feature: Feature) -> Evaluated:
        enabled, value = feature.enabled, feature.value
        for trait, equals, name, own_enabled, own_value in self.segments:
            if name == feature.name and traits.get(trait) == equals:
                enabled, value = own_enabled, own_value
        enabled, value = self.overrides.get((identifier, feature.name), (enabled, value))
        return Evaluated(feature.name, enabled, value)

    def _shown(self, number: int, feature: Feature, flag: Evaluated) -> dict[str, Any]:
        about = {"id": 10 + number, "name": feature.name, "type": feature.type}
        state = {"enabled": flag.enabled, "feature_state_value": flag.value}
        if self.edge:
            return {"feature": about, **state}
        more = {"created_date": "2021-06-10T20:15:00Z", "description": None}
        first = None if feature.value is None else str(feature.value)
        about |= {**more, "initial_value": first, "default_enabled": feature.enabled}
        return {"id": number, "feature": about, "environment": 3, "identity": None, "feature_segment": None, **state}

    def _trait(self, number: int, name: str, value: Any) -> dict[str, Any]:
        row = {"trait_key": name, "trait_value": value}
        return row if self.edge else {"id": number, **row}

    def _integrate(self, identifier: str, flags: list[Evaluated]) -> None:
        for integration in self.integrations.values():
            now = self.clock().isoformat()
            self._post(integration_request(integration, identifier, flags, now, str(uuid.uuid4())))

    def _put_feature(self, call: Call) -> Answer:
        try:
            feature = msgspec.convert({**_object(call), "name": call.params["name"]}, Feature)
        except (ValueError, msgspec.ValidationError) as error:
            return Answer(400, {"detail": str(error)})
        if isinstance(feature.value, str) and len(feature.value) > _LONGEST_VALUE:
            return Answer(400, {"detail": "A value has at most 20,000 characters."})
        self.features[feature.name] = feature
        return Answer(200, feature)

    def _put_override(self, call: Call) -> Answer:
        if call.params["feature"] not in self.features:
            return Answer(404, {"detail": "Given feature not found"})
        try:
            body = _object(call)
        except ValueError as error:
            return Answer(400, {"detail": str(error)})
        self.override(call.params["identifier"], call.params["feature"], body.get("enabled") is True, body.get("value"))
        return Answer(200, body)

    def _add_integration(self, call: Call) -> Answer:
        try:
            integration = msgspec.convert(_object(call), Integration)
        except (ValueError, msgspec.ValidationError) as error:
            return Answer(400, {"detail": str(error)})
        if integration.kind not in KINDS or integration.kind in self.integrations:
            return Answer(400, {"detail": f"One integration of each kind: {', '.join(KINDS)}."})
        self.integrations[integration.kind] = integration
        return Answer(201, {"kind": integration.kind})


def _object(call: Call) -> dict[str, Any]:
    body = call.json()
    if not isinstance(body, dict):
        raise ValueError("The body must be an object.")
    return body
