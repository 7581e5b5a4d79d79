"""Page and screen calls: which events they become and how these are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Destination, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.properties import query_properties

__all__ = ["PageRules"]

_PLACES = ("country", "language")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class PageRules(_Base):
    """Every setting that is on and whose part is present sends its own event (AMP-PAGE-05)."""

    @rule("page", "screen", when="track_all_pages")
    def any_page(self, call: Call) -> Item:
        """Send `Loaded a Page` (or `Screen`) for every page or screen call.

        AMP-PAGE-01, AMP-PAGE-04 to AMP-PAGE-09, AMP-PAGE-18, AMP-PAGE-19.
        """
        return self._viewed(call, f"Loaded a {call.event.type.capitalize()}")

    @rule("page", "screen", when="track_categorized_pages")
    def categorized_page(self, call: Call) -> Item | None:
        """Send `Loaded {category} Page` (`Viewed {category} Screen`) when there is a category.

        AMP-PAGE-03, AMP-PAGE-06.
        """
        if not (call.event.category or "").strip():
            return None
        return self._viewed(call, self._title(call, call.event.category))

    @rule("page", "screen", when="track_named_pages")
    def named_page(self, call: Call) -> Item | None:
        """Send `Loaded {category} {name} Page` (`Viewed … Screen`) when there is a name.

        AMP-PAGE-02, AMP-PAGE-06, AMP-PAGE-07.
        """
        if not (call.event.name or "").strip():
            return None
        return self._viewed(call, self._title(call, call.event.category, call.event.name))

    def _title(self, call: Call, *parts: str | None) -> str:
        verb = self.config.page_event_verb if call.event.type == "page" else "Viewed"
        words = [verb, *parts, call.event.type.capitalize()]
        return " ".join(word.strip() for word in words if word and word.strip())

    def _viewed(self, call: Call, event_type: str) -> Item:
        """Return a page event: the properties, with name and category, and never revenue (AMP-PAGE-08, AMP-PAGE-19)."""
        event = call.event
        properties: dict[str, Any] = dict(event.properties)
        if not self.config.use_custom_amplitude_properties:
            for key in _PLACES:
                properties.pop(key, None)
        if event.name is not None:
            properties["name"] = event.name
        if event.category is not None:
            properties["category"] = event.category
        if self.config.map_query_params:
            properties.update(query_properties(event, self.config, "event_properties"))
        return call.event_item(event_type, properties)
