"""A little destination that passes the whole contract suite."""

from __future__ import annotations

from typing import Any

from turnout import ITEMS, Batch, Config, Destination, Endpoint, Event, Item, Settings, bearer, json_body, rule
from turnout.settings import choice, flag, text

HOSTS = {"US": "https://api.sound.example", "EU": "https://api.eu.sound.example"}


class SoundSettings(Settings):
    """The settings of Sound Analytics."""

    api_key = text("The project's API key.", required=True, secret=True)
    region = choice("Where the project lives.", ["US", "EU"], default="US")
    named_pages = flag("Send an event for every page that has a name.")


def events_url(config: Config) -> str:
    """Return the address of the Events API in the project's region."""
    return f"{HOSTS[config.region]}/v1/events"


def people_url(config: Config) -> str:
    """Return the address of the People API in the project's region."""
    return f"{HOSTS[config.region]}/v1/people"


class Sound(Destination):
    """Sound Analytics, through its Events API and its People API."""

    name = "Sound"
    settings = SoundSettings
    pure = True

    events = Endpoint(
        "POST",
        events_url,
        body=json_body({"events": ITEMS}),
        auth=bearer("api_key"),
        batch=Batch(items=100, bytes=20_000),
    )
    people = Endpoint("POST", people_url, body=json_body({"people": ITEMS}), auth=bearer("api_key"), keyed=False)

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event of the same name."""
        return self.event(event, str(event.event))

    @rule("page", when="named_pages")
    def named_page(self, event: Event) -> Any:
        """A page call with a name becomes `Viewed <name> Page`."""
        return self.event(event, f"Viewed {event.name} Page") if event.name else None

    @rule("identify")
    def identified(self, event: Event) -> Item:
        """An identify call becomes a person."""
        return self.people.item({"user": user_of(event), "email": str(event.traits.get("email", ""))})

    def event(self, event: Event, name: str, **more: Any) -> Item:
        """Return an event for the vendor; `more` are further fields."""
        fields = {"id": event.message_id, "name": name, "user": user_of(event), "at": event.timestamp_ms}
        return self.events.item({**fields, **more}, key=event.message_id)


def user_of(event: Event) -> str | None:
    """Return who did it."""
    return event.user_id or event.anonymous_id
