"""What a user of this destination can set."""

from __future__ import annotations

from turnout.settings import Settings, choice, flag, names, text

__all__ = ["AcmeAnalyticsSettings"]


class AcmeAnalyticsSettings(Settings):
    """The settings of one project.

    Each may be written as it is named here, or in camelCase. A `secret` is masked wherever a request is shown.
    `routing` says that a setting decides where requests go, and that no rule reads it.
    """

    api_key = text("API key of the project.", required=True, secret=True, routing=True)
    region = choice("Where the project lives.", ["US", "EU"], default="US", routing=True)
    track_named_pages = flag("Send an event for every page or screen that has a name.")
    hidden_properties = names("Properties of track calls that are never sent.")
