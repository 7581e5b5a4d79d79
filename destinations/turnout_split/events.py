"""Track, page and screen calls: Split's events, which metrics are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from turnout import Code, Destination, Drop, Event, Item, Note, Refusal, rule
from turnout_split.names import event_type
from turnout_split.properties import LARGEST, Properties, check_size, first_number, flat, kept

__all__ = ["EventRules", "checked_key"]

_LONGEST_KEY = 250
_SMALL = LARGEST - 1024

if TYPE_CHECKING:
    _Base = Destination
else:
    _Base = object


class EventRules(_Base):
    """One call, one event for each of its ids that has a traffic type."""

    traffic_types: tuple[tuple[str, str, str], ...]
    """For each id: the event's attribute, its JSON Pointer, and the traffic type in lower case."""
    further: Callable[[Event], Properties] | None
    """Reads the properties of `context_properties`."""

    @rule("track", when="send_events")
    def tracked(self, event: Event) -> Iterator[Item | Note]:
        """A track call becomes an event of its name, cleaned: what is no letter, digit, `-`, `_` or `.` becomes `_`."""
        yield from self._sent(event, event.event or "", event.properties, "/event")

    @rule("page", when=("send_events", "track_pages"))
    def page_viewed(self, event: Event) -> Iterator[Item | Note]:
        """A page call becomes `Viewed_<category>_<name>_Page`, or `Loaded_a_Page` when it has neither."""
        yield from self._viewed(event, "Page")

    @rule("screen", when=("send_events", "track_screens"))
    def screen_viewed(self, event: Event) -> Iterator[Item | Note]:
        """A screen call becomes `Viewed_<category>_<name>_Screen`, or `Loaded_a_Screen` when it has neither."""
        yield from self._viewed(event, "Screen")

    def _viewed(self, event: Event, what: str) -> Iterator[Item | Note]:
        """Yield the event of a page or screen, with name and category among its properties."""
        told = {"name": event.name, "category": event.category}
        properties = {**event.properties, **{key: word for key, word in told.items() if word is not None}}
        words = [word for word in (event.category, event.name) if word]
        name = " ".join(["Viewed", *words, what]) if words else f"Loaded a {what}"
        yield from self._sent(event, name, properties, "/name")

    def _sent(self, event: Event, name: str, properties: Mapping[str, Any], path: str) -> Iterator[Item | Note]:
        """Yield what goes out for a call: notes on what was left out, and an item for each id."""
        keys = self._keys(event)
        fields, note = self._fields(event, name, properties, path)
        if note is not None:
            yield note
        for key, traffic_type in keys:
            item: Item = self.events.item({"key": key, "trafficTypeName": traffic_type, **fields})  # type: ignore[attr-defined]
            if len(item.data) > _SMALL:
                check_size(fields.get("properties", {}))
            yield item

    def _fields(
        self, event: Event, name: str, properties: Mapping[str, Any], path: str
    ) -> tuple[dict[str, Any], Note | None]:
        """Return what is the same in the events of a call, whatever their keys."""
        fields: dict[str, Any] = {
            "eventTypeId": self._type(name, path),
            "environmentName": self.config.environment,
            "timestamp": event.timestamp_ms,
        }
        value = first_number(properties, self.config.value_properties)
        if value is not None:
            fields["value"] = value
        flattened = flat(properties)
        if self.further is not None:
            flattened = {**flat(self.further(event)), **flattened}
        sent, note = kept(flattened)
        if sent:
            fields["properties"] = sent
        return fields, note

    def _type(self, name: str, path: str) -> str:
        prefix, most = self.config.event_type_prefix, self.config.event_type_length
        # A prefix doesn't help a name of which nothing is left: all of them would be one type.
        cleaned = event_type(prefix + name, most) if not prefix or event_type(name, most) else ""
        if not cleaned:
            message = "Nothing of the name can stand in an event type: it needs a letter or digit of ASCII."
            raise Refusal(Code.VENDOR_WOULD_REFUSE, message, path)
        return cleaned

    def _keys(self, event: Event) -> list[tuple[str, str]]:
        """Return the keys of the call's events, each with its traffic type."""
        found = [
            (checked_key(key, path), traffic_type)
            for attribute, path, traffic_type in self.traffic_types
            if (key := getattr(event, attribute)) is not None
        ]
        if found:
            return found
        name, missing = ("traffic_type", "userId") if event.user_id else ("anonymous_traffic_type", "anonymousId")
        message = f"The event has no id with a traffic type: {name}, for its {missing}, is not set."
        raise Drop(Code.SETTING_OFF, message, f"/{missing}")


def checked_key(key: str, path: str) -> str:
    """Return a key that Split takes; raise `Refusal` for a longer one."""
    if len(key) > _LONGEST_KEY:
        message = f"A key at Split has at most {_LONGEST_KEY} characters; this one has {len(key):,}."
        raise Refusal(Code.VENDOR_WOULD_REFUSE, message, path)
    return key
