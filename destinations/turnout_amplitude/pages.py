"""Page and screen calls: which events they become and how these are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import Config, Destination, Event, Item, rule
from turnout_amplitude.call import Call
from turnout_amplitude.properties import added_properties

__all__ = ["PageRules", "pages_sent"]

_PLACES = ("country", "language")
_MOBILE = ("ios", "android")
_PAGED = ("server", "browser")

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class PageRules(_Base):
    """Every setting that is on and whose part is present sends its own event (AMP-PAGE-05, AMP-PAGE-17).

    | platform | calls | settings | where the properties get `name` and `category` |
    | --- | --- | --- | --- |
    | server | page, screen | all, categorized, named | on every event |
    | browser | page | all, categorized, named | on every event |
    | ios | screen | all screens (`track_all_pages_v2`), all | with all screens only |
    | android | screen | all screens, all, categorized, named | with all screens only |
    """

    @rule("screen", when="track_all_pages_v2", platforms=_MOBILE)
    def any_screen(self, call: Call) -> Item:
        """Send `Loaded a Screen` for every screen call of a mobile device, with name and category.

        AMP-PAGE-11, AMP-PAGE-16, AMP-PAGE-17, AMP-PAGE-18.
        """
        return self._viewed(call, "Loaded a Screen", described=True)

    @rule("page", "screen", when="track_all_pages", platforms=_PAGED)
    def any_page(self, call: Call) -> Item:
        """Send `Loaded a Page` (or `Screen`) for every page or screen call.

        AMP-PAGE-01, AMP-PAGE-04 to AMP-PAGE-09, AMP-PAGE-18, AMP-PAGE-19.
        """
        return self._viewed(call, f"Loaded a {call.event.type.capitalize()}", described=True)

    @rule("screen", when="track_all_pages", platforms=_MOBILE)
    def viewed_screen(self, call: Call) -> Item:
        """Send `Viewed {name}` from iOS and `Viewed {name} Screen` from Android; without a name `Loaded a Screen`.

        AMP-PAGE-10, AMP-PAGE-12, AMP-PAGE-15, AMP-PAGE-17.
        """
        name = (call.event.name or "").strip()
        if not name:
            return self._viewed(call, "Loaded a Screen")
        return self._viewed(call, f"Viewed {name}" if call.shape.platform == "ios" else f"Viewed {name} Screen")

    @rule("page", "screen", when="track_categorized_pages", platforms=(*_PAGED, "android"))
    def categorized_page(self, call: Call) -> Item | None:
        """Send `Loaded {category} Page` (`Viewed {category} Screen`) when there is a category.

        AMP-PAGE-03, AMP-PAGE-06, AMP-PAGE-14.
        """
        if not _given(call.event.category):
            return None
        return self._viewed(call, self._title(call, call.event.category), described=call.shape.platform in _PAGED)

    @rule("page", "screen", when="track_named_pages", platforms=(*_PAGED, "android"))
    def named_page(self, call: Call) -> Item | None:
        """Send `Loaded {category} {name} Page` (`Viewed … Screen`) when there is a name.

        AMP-PAGE-02, AMP-PAGE-06, AMP-PAGE-07, AMP-PAGE-13.
        """
        if not _given(call.event.name):
            return None
        title = self._title(call, call.event.category, call.event.name)
        return self._viewed(call, title, described=call.shape.platform in _PAGED)

    def _title(self, call: Call, *parts: str | None) -> str:
        verb = self.config.page_event_verb if call.event.type == "page" else "Viewed"
        words = [verb, *parts, call.event.type.capitalize()]
        return " ".join(word.strip() for word in words if word and word.strip())

    def _viewed(self, call: Call, event_type: str, *, described: bool = False) -> Item:
        """Return a page event: the properties, where `described` with name and category, and never revenue.

        AMP-PAGE-08, AMP-PAGE-10, AMP-PAGE-19.
        """
        event, platform = call.event, call.shape.platform
        properties: dict[str, Any] = dict(event.properties)
        if platform == "server" and not self.config.use_custom_amplitude_properties:
            for key in _PLACES:
                properties.pop(key, None)
        if described and event.name is not None:
            properties["name"] = event.name
        if described and event.category is not None:
            properties["category"] = event.category
        properties |= added_properties(event, self.config, platform)
        return call.event_item(event_type, properties)


def pages_sent(event: Event, config: Config) -> int:
    """Return how many events a browser's page call becomes with these settings."""
    named = config.track_named_pages and _given(event.name)
    categorized = config.track_categorized_pages and _given(event.category)
    return bool(config.track_all_pages) + bool(categorized) + bool(named)


def _given(part: str | None) -> bool:
    return bool(part and part.strip())
