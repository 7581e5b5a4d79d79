"""A small destination with a rule of each kind, which the tests of coverage and of mutants ask about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnout import (
    ITEM,
    ITEMS,
    Destination,
    Endpoint,
    Event,
    Item,
    Settings,
    form_body,
    json_body,
    rule,
    setting,
)
from turnout.settings import choice, flag, names, text

__all__ = ["Buoy", "BuoySettings", "Ferry", "FerrySettings", "Gauge", "GaugeSettings", "Pier"]


def is_order(name: str) -> bool:
    """Return whether a track call is an order."""
    return name == "Order Completed"


def is_wreck(name: str) -> bool:
    """Return whether a track call is a wreck, of which the spec knows nothing."""
    return name == "Wreck Seen"


class GaugeSettings(Settings):
    """The settings of the gauge."""

    token = text("The key.", required=True, secret=True, routing=True)
    scale = choice("The scale of readings.", ["metric", "imperial"], default="metric")
    pages = flag("Take page calls.")
    hidden = names("Properties that are left out.")


class Gauge(Destination):
    """Readings, and people who were seen."""

    name = "Gauge"
    settings = GaugeSettings
    pure = True
    readings = Endpoint("POST", "https://gauge.example/readings", body=json_body({"k": setting("token"), "all": ITEMS}))
    people = Endpoint("POST", "https://gauge.example/people", body=json_body(ITEMS))

    @rule("track", event=is_order)
    def ordered(self, event: Event) -> Iterator[Item]:
        """An order is a reading with its scale and its properties."""
        told: dict[str, Any] = {"id": event.message_id, "kind": "order", "by": event.user_id or event.anonymous_id}
        told["scale"] = self.config.scale
        told["given"] = {key: value for key, value in event.properties.items() if key not in self.config.hidden}
        yield self.readings.item(told, key=event.message_id)

    @rule("page", when="pages")
    def seen(self, event: Event) -> Item:
        """A page call says who was where."""
        told = {"where": event.name, "who": event.user_id, "language": event.context.locale}
        return self.people.item({key: value for key, value in told.items() if value is not None})


class BuoySettings(Settings):
    """The settings of the buoy."""

    token = text("The key.", required=True, secret=True, routing=True)
    sea = choice("Where it floats.", ["north", "south"], default="north", routing=True)


class Buoy(Destination):
    """Sightings, at the address of a sea, by the first of three names that there is."""

    name = "Buoy"
    settings = BuoySettings
    pure = True
    sightings = Endpoint(
        "POST", lambda config: f"https://{config.sea}.buoy.example/sightings", body=json_body(ITEMS), doc="Sightings."
    )

    @rule("page")
    def sighted(self, event: Event) -> Item:
        """A page call is a sighting."""
        by = event.user_id or event.context.traits.get("email") or event.anonymous_id
        return self.sightings.item({"id": event.message_id, "by": by}, key=event.message_id)

    @rule("track", event=is_wreck)
    def wrecked(self, event: Event) -> Item:
        """A wreck is a sighting."""
        return self.sightings.item({"id": event.message_id, "wreck": True}, key=event.message_id)


class FerrySettings(Settings):
    """The settings of the ferry."""

    token = text("The key.", required=True, secret=True, routing=True)
    decks = names("Screens that are decks.")


class Ferry(Destination):
    """What no event of the spec becomes: a call of its own, people with a trait, and screens that settings name."""

    name = "Ferry"
    settings = FerrySettings
    pure = True
    loads = Endpoint("POST", "https://ferry.example/loads", body=json_body(ITEMS))
    crews = Endpoint("POST", "https://ferry.example/crews", body=json_body(ITEMS))

    @rule("track", event=lambda name: name == "cart_lines")
    def loaded(self, event: Event) -> Item:
        """The lines of a cart are a load."""
        given = event.properties
        told = {"by": event.user_id or event.anonymous_id, "quay": given.get("quay") or given.get("harbour")}
        told |= {"lines": given.get("lines"), "crates": given.get("crates"), "language": event.context.locale}
        return self.loads.item({key: value for key, value in told.items() if value is not None})

    @rule("identify")
    def hired(self, event: Event) -> Item | None:
        """Who has a berth is crew."""
        berth, watch = event.traits.get("berth"), event.traits.get("watch")
        return self.crews.item({"berth": berth, "watch": watch}) if berth else None

    @rule("screen")
    def boarded(self, event: Event) -> Item | None:
        """A screen of a deck with a ramp is a load."""
        ramp = event.properties.get("ramp")
        deck = event.name if ramp and event.name in self.config.decks else None
        return self.loads.item({"deck": deck, "ramp": ramp, "side": event.properties.get("side")}) if deck else None


class Pier(Destination):
    """Moorings: a form for each, at the address of a ship."""

    name = "Pier"
    settings = BuoySettings
    pure = True
    moorings = Endpoint(
        "POST", "https://pier.example/{sea}/{item.ship}", body=form_body(ITEM, {"k": setting("token")}), keyed=False
    )

    @rule("page")
    def moored(self, event: Event) -> Item | None:
        """A page call with a name is a mooring."""
        told = {
            "ship": event.name,
            "by": event.user_id,
            "language": event.context.locale,
            "quay": {"side": event.category},
        }
        return self.moorings.item(told) if event.name else None
