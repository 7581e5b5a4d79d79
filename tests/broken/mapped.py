"""Broken in what they map: purity, items, keys, outcomes, gates, secrets."""

from __future__ import annotations

import base64
import datetime
import json
import logging
import os
import random
import time
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, validates_schema

from broken.sound import Sound, SoundSettings, events_url, user_of
from turnout import ITEMS, Batch, Code, Config, Drop, Endpoint, Event, Item, Refusal, bearer, json_body, rule, share
from turnout.endpoint import BoundEndpoint


class Grasping(Sound):
    """Takes out of the event what it has used."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), price=str(event.properties.pop("price", "none")))


class Remembering(Sound):
    """Says who was there before."""

    last = "nobody"

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        before, self.last = self.last, str(event.message_id)
        return self.event(event, str(event.event), before=before)


class Homely(Sound):
    """Reads the environment."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), home=os.environ.get("SOUND_HOME", "none"))


class Today(Sound):
    """Asks for the day."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), day=f"{datetime.date.today():%Y}")


class Hurried(Sound):
    """Asks for the time, in a function that a rule calls."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), era=_era())


def _era() -> int:
    return int(time.time() // 10**10)


class Gambling(Sound):
    """Throws a die."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), luck=random.random() >= 0)


class Reading(Sound):
    """Reads a file."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), size=len(Path(__file__).read_text(encoding="utf-8")))


class Chatting(Sound):
    """Prints what it maps."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        print(event.event)
        return self.event(event, str(event.event))


class Hashing(Sound):
    """Counts on hash(), which is another one in every process."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), bucket=hash(event.message_id) % 1000)


class Local(Sound):
    """Takes the time zone of the machine."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), local=event.timestamp.astimezone().isoformat())


class Ordered(Sound):
    """Takes the first property for the most important one."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), first=next(iter(event.properties), "none"))


class Hollow(Sound):
    """Sends null for what the event hasn't got."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), os=event.context.os.name)


class Blank(Sound):
    """Sends a null with every event."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), place=None)


class Literal(Sound):
    """Takes a null for a value, since the key is there."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), known="anonymousId" in event.to_dict())


class Loose(Sound):
    """Puts a set into an item."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), keys={"a", "b"} if event.name else {"a"})


class NotANumber(Sound):
    """Reads numbers as Python does, NaN included."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        try:
            price = float(event.properties.get("price", 0))
        except (TypeError, ValueError, OverflowError):
            price = 0.0
        return self.event(event, str(event.event), price=price)


class Textual(Sound):
    """Makes items of text, not of bytes."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        data: Any = json.dumps({"id": event.message_id})
        return Item(self.events, data, event.message_id)


class Twofold(Sound):
    """Gives a field twice, once shared."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        shared = share({"user": user_of(event)})
        return self.events.item({"id": event.message_id, "user": "me"}, shared, event.message_id)


class HandMade(Sound):
    """Makes items without the endpoint, which would have refused what is too large."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        fields = {"id": event.message_id, "properties": event.properties}
        return Item(self.events, json.dumps(fields).encode(), event.message_id)


class Elsewhere(Sound):
    """Makes items for an endpoint that it doesn't declare."""

    def configured(self) -> None:
        hidden = Endpoint("POST", events_url, body=json_body(ITEMS), auth=bearer("api_key"), batch=Batch(items=9))
        hidden.name = "hidden"
        self._hidden = hidden.bind(self.config, self.name)

    @rule("page", when="named_pages")
    def named_page(self, event: Event) -> Any:
        """A page call becomes an event."""
        return self._hidden.item({"id": event.message_id}, key=event.message_id)


class Keyless(Sound):
    """Gives no key, and doesn't say that there is none."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.events.item({"name": event.event})


class SameKeys(Sound):
    """Gives two items of an event one key."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes two events."""
        return [self.event(event, str(event.event)), self.event(event, "Copy")]


class LateKeys(Sound):
    """Makes the key of the time at which the event was sent."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        key = f"{event.message_id}-{event.sent_at}"
        return self.events.item({"id": key}, key=key)


class FewKeys(Sound):
    """Makes the key of the user."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.events.item({"id": user_of(event)}, key=user_of(event))


class SecretKeys(Sound):
    """Has keys that the vendor never sees."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.events.item({"name": event.event}, key=event.message_id)


class ModestKeys(Sound):
    """Has keys where it says that it hasn't any."""

    @rule("identify")
    def identified(self, event: Event) -> Any:
        """An identify call becomes a person."""
        return self.people.item({"id": event.message_id}, key=event.message_id)


class Rambling(Sound):
    """Gives back what is no item."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return {"name": event.event}


class Trusting(Sound):
    """Expects a number to be one."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), cents=int(float(event.properties.get("price") or 0) * 100))


class Silent(Sound):
    """Drops events without a word."""

    @rule("group")
    def grouped(self, event: Event) -> Any:
        """A group call of a certain group becomes an event."""
        if event.group_id != "group-of-the-case":
            raise Drop(Code.FILTERED, "")
        return self.event(event, "Group")


class Pointless(Sound):
    """Says in its own way where something is."""

    @rule("group")
    def grouped(self, event: Event) -> Any:
        """A group call of a certain group becomes an event."""
        if event.group_id != "group-of-the-case":
            raise Refusal(Code.VALUE_INVALID, "This group is none of ours.", "event.groupId")
        return self.event(event, "Group")


class Confused(Sound):
    """Gives a reason of delivery while it maps."""

    @rule("group")
    def grouped(self, event: Event) -> Any:
        """A group call of a certain group becomes an event."""
        if event.group_id != "group-of-the-case":
            raise Refusal(Code.VENDOR_REFUSED, "This group is none of ours.", "/groupId")
        return self.event(event, "Group")


class Renamed(Sound):
    """Changes its key in `integrations`."""

    def configured(self) -> None:
        self.name = f"Sound {self.config.region}"  # type: ignore[misc]


class Demanding(Sound):
    """Expects options to be what its page says."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        options: Any = event.integrations.get("Sound") or {}
        return self.event(event, str(event.event), option=options.get("colour", "none"))


class Encoded(Sound):
    """Puts the key into an item, in base64."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), auth=base64.b64encode(f"me:{self.config.api_key}".encode()).decode())


class Chatty(Sound):
    """Logs its settings."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        logging.getLogger(__name__).debug("mapping with %s", self.config.api_key)
        return self.event(event, str(event.event))


class Proud(Sound):
    """Shows its key in its repr."""

    def __repr__(self) -> str:
        return f"Proud({self.config.api_key})"


class BlabbingSettings(SoundSettings):
    """A check whose message repeats the secret, in hex."""

    @validates_schema
    def check_region(self, data: Any, **_: Any) -> None:
        if data["region"] == "EU":
            raise ValidationError(f"no project in the EU has the key {data['api_key'].encode().hex()}.")


class Blabbing(Sound):
    """Settings that tell a secret when they are wrong."""

    settings = BlabbingSettings


class OpenAddress(Endpoint):
    """An endpoint that shows the address as it is."""

    def bind(self, config: Config, owner: str = "") -> BoundEndpoint:
        bound = super().bind(config, owner)
        bound.masked.target = bound.target
        return bound


class Showing(Sound):
    """Has a secret in its address, and shows it."""

    events = OpenAddress("POST", "https://api.sound.example/{api_key}/events", body=json_body({"events": ITEMS}))


class Endless(Sound):
    """Pays in parts until nothing is left, which is never so of a price that is no multiple of 5."""

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, str(event.event), parts=_parts(event.properties.get("price")))


def _parts(price: object) -> int:
    left, parts = price if isinstance(price, int | float) else 0, 0
    while left != 0:
        left, parts = left - 5, parts + 1
    return parts


class Waiting(Sound):
    """Waits, before any rule is asked, for what nobody does; and keeps to itself whatever is raised meanwhile."""

    def prepare(self, event: Event, carried: Any = None) -> Event:
        """Wait."""
        while event.type == "alias":
            try:
                time.sleep(60)
            except Exception:
                continue
        return event
