"""Where a browser's user came from: campaign, referrer, Google click id (AMP-CTX-14 to -18, -27).

Each is a `$identify` event of its own, in front of the call that it comes with. When:

| setting | when |
| --- | --- |
| `track_referrer` | every page call; with `use_amplitude_referral` as the next row |
| `track_utm_properties`, `track_gclid` | the first event of a session |
| the same, without `save_params_referrer_once_per_session` | every page call |
| `unset_params_referrer_on_new_session` | the first event of a session, before all others |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Config, Destination, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.properties import query_properties
from turnout_amplitude.urls import query_values
from turnout_amplitude.values import text_of

__all__ = ["AttributionRules"]

_CALLS = ("page", "track", "identify", "group")
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


def _unsets(config: Config) -> bool:
    tracked = config.track_referrer or config.track_utm_properties
    return bool(config.unset_params_referrer_on_new_session and tracked)


class AttributionRules(_Base):
    """Attribution on the browser; the server takes `context.campaign` instead (AMP-CTX-13)."""

    @rule(*_CALLS, when=_unsets, platforms=("browser",), aside=True)
    def attribution_unset(self, call: Call) -> Item | None:
        """Clear the referrer and the UTM properties at the first event of a session; `initial_…` ones stay.

        AMP-CTX-17.
        """
        if not call.new_session:
            return None
        return call.identify_aside({"$unset": dict.fromkeys(("referrer", *_UTM), "-")})

    @rule(*_CALLS, when="track_utm_properties", platforms=("browser",), aside=True)
    def utm_captured(self, call: Call) -> Item | None:
        """Set the UTM parameters of the page's address. AMP-CTX-14, AMP-CTX-18."""
        return self._kept(call, query_values(call.event, _UTM)) if self._captures(call) else None

    @rule(*_CALLS, when="track_referrer", platforms=("browser",), aside=True)
    def referrer_captured(self, call: Call) -> Item | None:
        """Set the referrer and its domain. AMP-CTX-15, AMP-CTX-18, AMP-CTX-27."""
        managed = self.config.use_amplitude_referral
        if not (self._captures(call) if managed else call.event.type == "page"):
            return None
        return self._kept(call, _referrer(call))

    @rule(*_CALLS, when="track_gclid", platforms=("browser",), aside=True)
    def gclid_captured(self, call: Call) -> Item | None:
        """Set the Google click id of the page's address. AMP-CTX-16, AMP-CTX-18."""
        return self._kept(call, query_values(call.event, ("gclid",))) if self._captures(call) else None

    @rule("page", "track", when="map_query_params", platforms=("browser",), aside=True)
    def query_captured(self, call: Call) -> Item | None:
        """Set the page's whole query string as the user properties that `map_query_params` names. AMP-TRACK-04."""
        found = query_properties(call.event, self.config, "user_properties")
        return call.identify_aside({"$set": found}) if found and call.has_main else None

    def _captures(self, call: Call) -> bool:
        """Return whether attribution is taken from this call (AMP-CTX-18)."""
        if self.config.save_params_referrer_once_per_session:
            return call.new_session
        return call.event.type == "page"

    def _kept(self, call: Call, values: dict[str, str]) -> Item | None:
        if not values:
            return None
        initial = {f"initial_{name}": value for name, value in values.items()}
        return call.identify_aside({"$set": values, "$setOnce": initial})


def _referrer(call: Call) -> dict[str, Any]:
    """Return the referrer, and its domain: the third part of the text between slashes (AMP-CTX-15).

    A property `referrer` counts on page calls only; on others it may mean anything.
    """
    event = call.event
    found = event.context.page.referrer
    if not found and event.type == "page":
        found = text_of(event.properties.get("referrer"))
    if not found:
        return {}
    parts = found.split("/")
    return {"referrer": found} | ({"referring_domain": parts[2]} if len(parts) >= 3 else {})
