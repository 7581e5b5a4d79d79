"""The settings of the Amplitude destination.

Platforms: S server (cloud mode, and other libraries in device mode), B browser, I iOS, A Android. A setting does
nothing on the platforms that it doesn't name.
"""

from __future__ import annotations

from collections.abc import Iterable

from turnout.settings import Config, Settings, choice, flag, integer, mapping, names, text

__all__ = ["AmplitudeSettings"]


class AmplitudeSettings(Settings):
    """Settings of the Amplitude destination, each also under Segment's own key."""

    api_key = text(
        "API key of the Amplitude project.",
        routing=True,
        required=True,
        secret=True,
        platforms="SBIA",
        rules=("AMP-GEN-02",),
    )
    secret_key = text(
        "Secret key of the project; needed for user deletion only.",
        secret=True,
        platforms="S",
        rules=("AMP-DEL-02",),
    )
    connection_mode = choice(
        "How events are mapped: `cloud` by the server rules for every library, `device` by the library's platform.",
        ["cloud", "device"],
        default="cloud",
        platforms="SBIA",
    )
    endpoint = choice(
        "Region of the API hosts.",
        ["US", "EU"],
        default="US",
        synonyms={"north_america": "US", "europe": "EU", "": "US"},
        routing=True,
        platforms="S",
        rules=("AMP-HTTP-06", "AMP-HTTP-07"),
    )
    send_to_batch_endpoint = flag(
        "Send events to `/batch` instead of `/2/httpapi`.", platforms="S", rules=("AMP-HTTP-02",)
    )
    track_named_pages = flag(
        "An event for every page or screen that has a name.",
        platforms="SBA",
        rules=("AMP-PAGE-02", "AMP-PAGE-12", "AMP-PAGE-13"),
    )
    track_categorized_pages = flag(
        "An event for every page or screen that has a category.",
        platforms="SBA",
        rules=("AMP-PAGE-03", "AMP-PAGE-12", "AMP-PAGE-14"),
    )
    track_all_pages = flag(
        "A generic event for every page or screen.",
        platforms="SBIA",
        rules=("AMP-PAGE-04", "AMP-PAGE-10", "AMP-PAGE-15"),
    )
    track_all_pages_v2 = flag(
        "Track All Screens: `Loaded a Screen` for every screen.",
        platforms="IA",
        rules=("AMP-PAGE-11", "AMP-PAGE-16", "AMP-PAGE-18"),
    )
    page_event_verb = choice(
        "The verb of named and categorized page events.",
        ["Loaded", "Viewed"],
        default="Loaded",
        platforms="SB",
        rules=("AMP-PAGE-06",),
    )
    prefer_anonymous_id_for_device_id = flag(
        "Take the device id from `anonymousId` first.", platforms="SB", rules=("AMP-DEV-02", "AMP-DEV-04", "AMP-DEV-13")
    )
    use_advertising_id_for_device_id = flag(
        "Take the device id from the advertising id first.",
        platforms="IA",
        rules=("AMP-DEV-09", "AMP-DEV-10", "AMP-DEV-11"),
    )
    device_id_from_url_param = flag(
        "Take the device id from the URL parameter `amp_device_id`.", platforms="B", rules=("AMP-DEV-05",)
    )
    traits_to_increment = names(
        "Traits that are added to a number (`$add`).", platforms="SBIA", rules=("AMP-IDENT-08",)
    )
    traits_to_set_once = names("Traits that are set only once (`$setOnce`).", platforms="SBIA", rules=("AMP-IDENT-09",))
    traits_to_append = names("Traits appended to a list (`$append`).", platforms="SIA", rules=("AMP-IDENT-10",))
    traits_to_prepend = names("Traits put in front of a list (`$prepend`).", platforms="SIA", rules=("AMP-IDENT-10",))
    use_log_revenue_v2 = flag(
        "Device revenue events in their second form.",
        default=True,
        key="useLogRevenueV2",
        platforms="BIA",
        rules=("AMP-REV-10", "AMP-REV-17"),
    )
    track_revenue_per_product = flag(
        "The revenue of an order on each product.", platforms="SB", rules=("AMP-ORDER-05",)
    )
    track_products_once = flag(
        "An order as one event that keeps its products.", platforms="SB", rules=("AMP-ORDER-11",)
    )
    group_type_trait = text("The group trait that holds the group's type.", platforms="SBIA", rules=("AMP-GROUP-01",))
    group_value_trait = text("The group trait that holds the group's value.", platforms="SBIA", rules=("AMP-GROUP-01",))
    enable_alias = flag(
        "Forward alias calls to the user mapping API.",
        key="sendAlias",
        platforms="SBIA",
        rules=("AMP-ALIAS-01",),
    )
    map_query_params = mapping(
        "Where to put the whole query string of the page: a name, and `event_properties` (of an order, not of its "
        "products) or `user_properties`.",
        choices=["event_properties", "user_properties"],
        platforms="SB",
        rules=("AMP-TRACK-04",),
    )
    append_fields_to_event_props = mapping(
        "Fields of the event to copy into event properties (not into those of `revenue_amount`): "
        "`context.page.title` -> a name.",
        platforms="B",
        rules=("AMP-TRACK-05",),
    )
    track_utm_properties = flag(
        "UTM parameters as user properties.", default=True, platforms="SB", rules=("AMP-CTX-13", "AMP-CTX-14")
    )
    track_referrer = flag(
        "The referrer of page calls as user properties.", default=True, platforms="B", rules=("AMP-CTX-15",)
    )
    track_gclid = flag("The Google click id as a user property.", platforms="B", rules=("AMP-CTX-16",))
    save_params_referrer_once_per_session = flag(
        "Attribution once a session.", default=True, platforms="B", rules=("AMP-CTX-18",)
    )
    unset_params_referrer_on_new_session = flag(
        "Clear attribution when a session starts.", platforms="B", rules=("AMP-CTX-17",)
    )
    use_amplitude_referral = flag(
        "Referrer handling as Amplitude's own library does it.", platforms="B", rules=("AMP-CTX-27",)
    )
    version_name = text("The version of browser events.", platforms="B", rules=("AMP-CTX-26",))
    enable_location_listening = flag(
        "Send the device's coordinates.", default=True, platforms="IA", rules=("AMP-CTX-24",)
    )
    use_custom_amplitude_properties = flag(
        "Keep `country` and `language` in event properties.", platforms="S", rules=("AMP-CTX-23",)
    )
    include_raw_user_agent = flag("Send the user agent as `user_agent`.", platforms="SBIA", rules=("AMP-CTX-21",))
    track_session_events = flag("Accepted; has no effect.", platforms="IA", rules=("AMP-MOB-04",))
    batch_events = flag("Queue browser events before sending.", platforms="B", rules=("AMP-HTTP-11",))
    event_upload_threshold = integer(
        "The queue size that triggers a send.", default=30, minimum=1, platforms="B", rules=("AMP-HTTP-11",)
    )
    event_upload_period_millis = integer(
        "The queue age in ms that triggers a send.", default=30_000, minimum=1, platforms="B", rules=("AMP-HTTP-11",)
    )
    force_https = flag("Accepted; requests are always https.", platforms="B", rules=("AMP-HTTP-10",))

    def warnings(self, config: Config) -> Iterable[str]:
        """Yield a sentence for each pair of settings that cancel each other (AMP-ORDER-11)."""
        if config.track_products_once and config.track_revenue_per_product:
            yield (
                "track_products_once and track_revenue_per_product are both on: "
                "orders are one event, and their revenue is logged nowhere."
            )
