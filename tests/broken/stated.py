"""Broken in what they state: documentation, settings, secrets, conditions, what is declared in vain."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import ValidationError, fields

from broken.sound import Sound, SoundSettings, events_url
from turnout import ITEMS, Config, Endpoint, Event, bearer, json_body, rule
from turnout.endpoint import BoundEndpoint
from turnout.settings import flag, integer, text


class Unsaid(Sound):  # noqa: D101
    pass


Unsaid.__doc__ = None


class Newer(Sound):
    """Made for a plugin API that this turnout hasn't."""

    api = 2


class Undocumented(Sound):
    """A rule without a docstring."""

    @rule("screen")
    def seen(self, event: Event) -> Any:
        return self.event(event, "Screen")


class Doubled(Sound):
    """Two attributes are one rule, which so runs twice."""

    @rule("screen")
    def seen(self, event: Event) -> Any:
        """A screen call becomes an event."""
        return self.event(event, "Screen") if event.properties.get("never") == "set" else None

    seen_again = seen


def _maker() -> Any:
    def made(self: Sound, event: Event) -> Any:
        """A screen call becomes an event."""
        return self.event(event, "Screen")

    return rule("screen")(made)


class Factory(Sound):
    """A rule that isn't called like its attribute, where nobody finds it."""

    seen = _maker()


class WordlessSettings(SoundSettings):
    """A setting without documentation."""

    verbose = flag("")


class Wordless(Sound):
    """A setting that nobody can understand."""

    settings = WordlessSettings


class ContraryDefault(SoundSettings):
    """A default that the setting itself refuses."""

    queue = integer("How many events wait.", default=0, minimum=1)


class Contrary(Sound):
    """A setting whose default is refused."""

    settings = ContraryDefault


class OpenSettings(SoundSettings):
    """A token that isn't marked."""

    access_token = text("The token of the account.")


class Open(Sound):
    """A secret that everybody sees."""

    settings = OpenSettings


class AccountSettings(SoundSettings):
    """Something that authenticates, and sounds harmless."""

    account = text("The account.", default="account-1")


class Account(Sound):
    """A setting in `authorization` that isn't secret."""

    settings = AccountSettings
    events = Endpoint("POST", events_url, body=json_body({"events": ITEMS}), auth=bearer("account"))


class GullibleSettings(SoundSettings):
    """A setting that takes anything."""

    extras = fields.Raw(load_default=None, metadata={"doc": "Whatever."})


class Gullible(Sound):
    """Settings that are not checked."""

    settings = GullibleSettings


class CrashingSettings(SoundSettings):
    """A validator that expects a text, and gets what a user wrote."""

    extras = fields.Raw(
        load_default="x", metadata={"doc": "A text."}, validate=lambda value: len(value.strip()) > 0 or _no()
    )


def _no() -> bool:
    raise ValidationError("must not be empty.")


class Crashing(Sound):
    """A validator that raises something else than ValidationError."""

    settings = CrashingSettings


class HalfConfigured(Sound):
    """Can't be configured in one region."""

    def configured(self) -> None:
        self.zone = {"US": 1}[self.config.region]


class Misnamed(Sound):
    """A condition on a setting that isn't there."""

    @rule("screen", when="named_screens")
    def seen(self, event: Event) -> Any:
        """A screen call becomes an event."""
        return self.event(event, "Screen")


class Mistyped(Sound):
    """A condition, as a function, on a setting that isn't there, asked for on devices only."""

    @rule("page", when=lambda config: bool(config.named_page))
    def seen(self, event: Event) -> Any:
        """A page call becomes an event."""
        return self.event(event, "Page")


class FixedEndpoint(Endpoint):
    """An endpoint that goes where it always went."""

    def bind(self, config: Config, owner: str = "") -> BoundEndpoint:
        bound = super().bind(config, owner)
        bound.target = bound.masked.target = "https://api.sound.example/v1/events"
        return bound


class Unmovable(Sound):
    """Takes no notice of base_url."""

    events = FixedEndpoint("POST", events_url, body=json_body({"events": ITEMS}), auth=bearer("api_key"))


class Forgetful(Sound):
    """Makes in __init__ what configured() ought to make, so that a pickled copy hasn't got it."""

    suffix = ""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.suffix = " now"

    @rule("track")
    def tracked(self, event: Event) -> Any:
        """A track call becomes an event."""
        return self.event(event, f"{event.event}{self.suffix}")


class Idle(Sound):
    """A rule whose condition can't hold."""

    @rule("track", when=("named_pages", "not named_pages"))
    def never(self, event: Event) -> Any:
        """A track call becomes an event while a flag is on and off."""
        return self.event(event, "Never")


class Deserted(Sound):
    """An endpoint that no rule uses."""

    groups = Endpoint("POST", "https://api.sound.example/v1/groups", body=json_body(ITEMS), auth=bearer("api_key"))


class Caseless(Sound):
    """A rule without a case."""

    @rule("screen")
    def seen(self, event: Event) -> Any:
        """A screen call becomes an event."""
        return self.event(event, "Screen")


class Stale(Sound):
    """Maps otherwise than its snapshots say; the test keeps these for it."""

    table: ClassVar = ()
