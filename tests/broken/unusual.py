"""Destinations that are unusual and right: the contract suite has nothing against them."""

from __future__ import annotations

import datetime
import hashlib
import logging
import random
from collections.abc import Iterator
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate, validates_schema

from turnout import (
    ITEM,
    ITEMS,
    Answer,
    Batch,
    Carried,
    Code,
    Destination,
    Drop,
    Endpoint,
    Event,
    Fate,
    Note,
    Reason,
    Refusal,
    Settings,
    Verdict,
    basic,
    form_body,
    json_body,
    read_status,
    rule,
    setting,
)
from turnout.settings import choice, flag, mapping, names, number, text, url


class Bare(Destination):
    """The least that a destination can be."""

    name = "Bare"
    out = Endpoint("POST", "https://bare.example/in", body=json_body(ITEM), keyed=False)

    @rule("track")
    def tracked(self, event):  # type: ignore[no-untyped-def]
        """A track call becomes its name."""
        return self.out.item({"name": event.event})


class ForwardingSettings(Settings):
    """The settings of a destination that hands on what it gets."""

    write_key = text("The write key.", required=True, secret=True)
    partition_key = text("The property by which events are put into partitions.", secret=False)


class Forwarding(Destination):
    """Hands on every event with all of its keys, nulls and times included."""

    name = "Forwarding"
    settings = ForwardingSettings
    pure = True
    batch = Endpoint(
        "POST",
        "https://forward.example/v1/batch",
        body=json_body({"writeKey": setting("write_key"), "batch": ITEMS}),
        batch=Batch(items=50, bytes=500_000, linger_ms=100),
    )

    @rule("track", "page", "screen", "identify", "group", "alias", "delete")
    def forwarded(self, event: Event) -> Any:
        """Every call is sent as it came."""
        return self.batch.item(event.to_dict(), key=event.message_id)


class PeculiarSettings(Settings):
    """Settings of many kinds, some of which exclude each other."""

    project_id = fields.String(
        required=True, validate=validate.Regexp(r"^[A-F]{2}-\d{4}$"), metadata={"doc": "The project.", "key": "project"}
    )
    secret_code = fields.String(
        required=True, validate=validate.Length(equal=12), metadata={"doc": "The code.", "secret": True}
    )
    level = fields.Integer(
        load_default=3, validate=validate.Range(min=1, max=5), metadata={"doc": "How much is sent, 1 to 5."}
    )
    connection_mode = choice("Which rules map.", ["cloud", "device"], default="cloud")
    zone = text("The vendor's zone; needed unless it is hosted.")
    hosted_at = url("Where the vendor is hosted; needed with `hosted`.")
    hosted = flag("The vendor runs on a host of the customer's.", requires="hosted_at")
    quiet = flag("Send nothing of pages; not together with `hosted`.")
    share = number("The part of events that is kept.", default=1.0, minimum=0.0, maximum=1.0)
    hidden = names("Properties that are left out.")
    renamed = mapping("New names of properties.")

    @validates_schema
    def check_hosting(self, data: Any, **_: Any) -> None:
        if data["quiet"] and data["hosted"]:
            raise ValidationError("quiet and hosted exclude each other: switch one of them off.")
        if not data["hosted"] and not data["zone"]:
            raise ValidationError("is required unless the vendor is hosted.", "zone")


def read_peculiar(answer: Answer, count: int) -> list[Verdict]:
    """Return verdicts by what stands in the body, whatever the status is."""
    told = answer.json()
    state = told.get("state") if isinstance(told, dict) else None
    if answer.status == 200 and state == "stored":
        return [Verdict(Fate.DELIVERED)] * count
    if answer.status < 300:
        return [Verdict(Fate.RETRY, Reason(Code.VENDOR_UNAVAILABLE, answer.words()), 20.0)] * count
    if answer.status in (408, 429):
        return [Verdict(Fate.RETRY, Reason(Code.RATE_LIMITED, answer.words()), 20.0)] * count
    return read_status(answer, count)


class Peculiar(Destination):
    """Form bodies, platforms, sessions, notes, refusals, numbers drawn by lot, and an answer of its own."""

    name = "Peculiar"
    settings = PeculiarSettings
    session_gap_ms = 60_000
    ignored: ClassVar = {"ios": ("page",)}

    calls = Endpoint(
        "POST",
        lambda config: (config.hosted_at or "https://peculiar.example") + "/calls?level={level}",
        body=form_body({"code": setting("secret_code"), "data": ITEMS, "options": {"level": 1}}),
        auth=basic("project_id", "secret_code"),
        headers={"X-Project": setting("project_id")},
        batch=lambda config: Batch(items=10 * config.level, bytes=40_000),
        read=read_peculiar,
    )

    def prepare(self, event: Event, carried: Carried | None) -> tuple[Event, Carried | None]:
        """Return the event with what earlier ones left."""
        if event.user_id == "nobody":
            raise Drop(Code.FILTERED, "Nobody is a user for tests.", "/userId")
        return event, carried

    def device_of(self, event: Event, carried: Carried) -> str | None:
        """Return the device whose session it is."""
        return event.anonymous_id

    @rule("track")
    def tracked(self, subject: tuple[Event, Carried | None]) -> Iterator[Any]:
        """A track call becomes an event, and a second one for its products; a share of them is drawn by lot."""
        event, carried = subject
        logging.getLogger(__name__).debug("tracking %s", event.event)
        if random.Random(event.message_id).random() >= self.config.share:
            raise Drop(Code.FILTERED, "The lot decided against this event (share).")
        shown = {self.config.renamed.get(key, key): value for key, value in event.properties.items()}
        event.properties.clear()  # a private copy: `pure` is not stated
        yield self.made(event, 0, shown, carried)
        products = shown.get("products")
        if isinstance(products, list) and products:
            yield self.made(event, 1, {"count": len(products)}, carried)
        elif products is not None:
            yield Note("Products that are no list were left out.", "/properties/products")

    @rule("page", when=lambda config: not config.quiet)
    def seen(self, subject: tuple[Event, Carried | None]) -> Any:
        """A page call becomes an event."""
        return self.made(subject[0], 0, {}, subject[1])

    @rule("screen", platforms=("ios", "android"))
    def shown(self, subject: tuple[Event, Carried | None]) -> Any:
        """A screen call from a device becomes an event."""
        event, carried = subject
        if event.name is None:
            raise Refusal(Code.VALUE_REQUIRED, "A screen needs a name.", "/name")
        return self.made(event, 0, {"screen": event.name}, carried)

    def made(self, event: Event, number: int, properties: dict[str, Any], carried: Carried | None) -> Any:
        """Return an item whose key is the hash of the message id."""
        key = hashlib.sha256(f"{event.message_id}/{number}".encode()).hexdigest()
        day = datetime.datetime.fromtimestamp(event.timestamp_ms / 1000, datetime.UTC).date()
        fields = {"dedupe": key, "type": event.type, "day": day, "properties": properties}
        return self.calls.item(fields | ({"new": carried.new_session} if carried else {}), key=key)
