"""The destination: where requests go, and the rules that turn events into what they hold.

Everything here is a function of event and settings: no clock, no randomness, no I/O, and the event stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from turnout import (
    ITEMS,
    Batch,
    Code,
    Config,
    Copy,
    Destination,
    Endpoint,
    Event,
    Item,
    Note,
    Refusal,
    bearer,
    compile_copies,
    json_body,
    rule,
)

from turnout_acme_analytics.answers import read_events
from turnout_acme_analytics.settings import AcmeAnalyticsSettings

__all__ = ["AcmeAnalytics"]

_HOSTS = {
    "US": "https://api.acme-analytics.example",
    "EU": "https://api.eu.acme-analytics.example",
}
_LONGEST_NAME = 64
_ORDER = "Order Completed"


def _api(path: str) -> Callable[[Config], str]:
    return lambda config: _HOSTS[config.region] + path


def is_order(name: str) -> bool:
    """Return whether a track call of this name is an order."""
    return name == _ORDER


def is_no_order(name: str) -> bool:
    """Return whether a track call of this name is anything but an order."""
    return name != _ORDER


class AcmeAnalytics(Destination):
    """Acme Analytics, through its Events API and its Profiles API."""

    name = "Acme Analytics"
    api = 1
    settings = AcmeAnalyticsSettings
    pure = True
    table: ClassVar = (
        Copy("context.ip", "ip"),
        Copy("context.locale", "language"),
        Copy("context.os.name", "os"),
        Copy("context.page.url", "url"),
    )

    events = Endpoint(
        "POST",
        _api("/v1/events"),
        body=json_body({"events": ITEMS}),
        auth=bearer("api_key"),
        batch=Batch(items=500, bytes=1_000_000),
        read=read_events,
        doc="Events.",
    )
    profiles = Endpoint(
        "POST",
        _api("/v1/profiles"),
        body=json_body({"profiles": ITEMS}),
        auth=bearer("api_key"),
        batch=Batch(items=100, bytes=1_000_000),
        doc="What is known of users.",
    )

    def configured(self) -> None:
        """Do once, when the settings are known, what no event should pay for."""
        self._copied = compile_copies(self.table)
        self._hidden = frozenset(self.config.hidden_properties)

    @rule("track", event=is_no_order)
    def tracked(self, event: Event) -> Item:
        """A track call becomes an event of the same name, without the `hidden_properties`."""
        return self._event(event, event.event or "", self._shown(event.properties), path="/event")

    @rule("track", event=is_order)
    def ordered(self, event: Event) -> Iterator[Item | Note]:
        """An order becomes an event without its products, and `Product Bought` for each of them."""
        order = self._shown(event.properties)
        products = order.pop("products", None)
        yield self._event(event, _ORDER, order)
        for number, product in enumerate(products if isinstance(products, list) else []):
            if isinstance(product, dict):
                yield self._event(event, "Product Bought", product, copy=number + 1)
            else:
                yield Note("A product that is no object was left out.", f"/properties/products/{number}")

    @rule("page", "screen", when="track_named_pages")
    def named_page(self, event: Event) -> Item | None:
        """A page or screen with a name becomes `Viewed <name>`."""
        if event.name is None:
            return None
        return self._event(event, f"Viewed {event.name}", event.properties, path="/name")

    @rule("identify")
    def identified(self, event: Event) -> Iterator[Item | Note]:
        """A user's traits become the user's profile. Objects and lists are left out: a profile takes none."""
        if event.user_id is None:
            raise Refusal(Code.VALUE_REQUIRED, "A profile needs a user: give a userId.", "/userId")
        traits = {}
        for key, value in event.traits.items():
            if isinstance(value, dict | list):
                yield Note("A profile takes no objects and lists: the trait was left out.", f"/traits/{_escaped(key)}")
            else:
                traits[key] = value
        profile = {"id": event.message_id, "user": event.user_id, "traits": traits}
        yield self.profiles.item(profile, key=event.message_id)

    def _shown(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in properties.items() if key not in self._hidden}

    def _event(
        self, event: Event, name: str, properties: Mapping[str, Any], *, path: str | None = None, copy: int = 0
    ) -> Item:
        """Return one event for the vendor; the further ones of a call get ids of their own."""
        if len(name) > _LONGEST_NAME:
            message = f"The name of an event has at most {_LONGEST_NAME} characters. Choose a shorter one."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, path)
        own = f"{event.message_id}-{copy}" if copy else event.message_id
        made = {
            "id": own,
            "event": name,
            "user": event.user_id or event.anonymous_id,
            "time": event.timestamp_ms,
            "properties": properties,
        }
        return self.events.item(made | self._copied(event), key=own)


def _escaped(key: str) -> str:
    """Return a key as a JSON Pointer writes it."""
    return key.replace("~", "~0").replace("/", "~1")
