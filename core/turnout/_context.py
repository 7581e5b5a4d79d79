"""The typed view of `context`: every key of the common spec; what is absent or null is None."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout._json import Object, fresh

__all__ = ["Context"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An object of the context. Keys that it doesn't know stay in `event.raw` and `event.to_dict()`."""


class _Leaf(_Part, frozen=True, gc=False):
    """A part that holds no dict, so the garbage collector needs not watch it."""


class App(_Leaf, frozen=True):
    """The application."""

    name: str | None = None
    version: str | None = None
    build: str | None = None
    namespace: str | None = None


class Amp(_Leaf, frozen=True):
    """What AMP pages send."""

    id: str | None = None


class Brand(_Leaf, frozen=True):
    """One brand of the browser."""

    brand: str | None = None
    version: str | None = None


class Campaign(_Leaf, frozen=True):
    """The campaign: `utm_campaign` is `name`, the others go by their own name."""

    name: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None


class Consent(_Part, frozen=True):
    """The user's consent by category."""

    category_preferences: Object = msgspec.field(default_factory=dict)


class _Nothing(dict[str, Any]):
    """An empty object that all events without one share, so it stays empty."""

    def __setitem__(self, *_: Any, **__: Any) -> None:
        raise TypeError("an event never changes")

    update = setdefault = __ior__ = __setitem__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()


_NO_CONSENT = Consent(category_preferences=_Nothing())


class Device(_Leaf, frozen=True):
    """The device. `brand` and `idfa` come from old libraries."""

    id: str | None = None
    advertising_id: str | None = None
    ad_tracking_enabled: bool | None = None
    manufacturer: str | None = None
    model: str | None = None
    name: str | None = None
    type: str | None = None
    token: str | None = None
    version: str | None = None
    brand: str | None = None
    idfa: str | None = None


class Integration(_Leaf, frozen=True):
    """The cloud application that the event comes from."""

    name: str | None = None
    version: str | None = None


class Library(_Leaf, frozen=True):
    """The library that made the event."""

    name: str | None = None
    version: str | None = None


class Location(_Leaf, frozen=True):
    """The place; latitude and longitude are degrees, speed is metres a second. What is no number is None."""

    city: str | None = None
    country: str | None = None
    region: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    speed: float | None = None


class Network(_Leaf, frozen=True):
    """The network."""

    bluetooth: bool | None = None
    carrier: str | None = None
    cellular: bool | None = None
    wifi: bool | None = None


class Os(_Leaf, frozen=True):
    """The operating system."""

    name: str | None = None
    version: str | None = None


class Page(_Leaf, frozen=True):
    """The web page."""

    path: str | None = None
    referrer: str | None = None
    search: str | None = None
    title: str | None = None
    url: str | None = None


class Referrer(_Leaf, frozen=True):
    """Who brought the user."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    url: str | None = None
    link: str | None = None


class Screen(_Leaf, frozen=True):
    """The screen: width and height in pixels, density in pixels for each of the layout's."""

    width: int | float | None = None
    height: int | float | None = None
    density: int | float | None = None


class UserAgentData(_Leaf, frozen=True):
    """The browser's client hints."""

    brands: tuple[Brand, ...] = ()
    mobile: bool | None = None
    platform: str | None = None
    architecture: str | None = None
    bitness: str | None = None
    model: str | None = None
    platform_version: str | None = None
    ua_full_version: str | None = None
    full_version_list: tuple[Brand, ...] = ()
    wow64: bool | None = None


class Context(_Part, frozen=True):
    """Where an event comes from. Its objects are never None: without `os`, `context.os.name` is None.

    The usual keys stand first, in an order near to that of the libraries: the decoder looks for a key where it found
    the last one, and passes over what lies between.
    """

    library: Library = Library()
    app: App = App()
    device: Device = Device()
    os: Os = Os()
    network: Network = Network()
    location: Location = Location()
    page: Page = Page()
    campaign: Campaign = Campaign()
    screen: Screen = Screen()
    user_agent: str | None = None
    user_agent_data: UserAgentData = UserAgentData()
    locale: str | None = None
    timezone: str | None = None
    ip: str | None = None
    traits: Object = msgspec.field(default_factory=dict)
    active: bool | None = None
    referrer: Referrer = Referrer()
    group_id: str | None = None
    channel: str | None = None
    direct: bool | None = None
    integration: Integration = Integration()
    protocols: Object = msgspec.field(default_factory=dict)
    consent: Consent = _NO_CONSENT
    amp: Amp = Amp()
    instance_id: str | None = None
    session_id: str | None = None

    def copy(self) -> Context:
        """Return an equal context that shares no object and no list with this one."""
        consent = Consent(category_preferences=fresh(self.consent.category_preferences))
        return msgspec.structs.replace(
            self, traits=fresh(self.traits), protocols=fresh(self.protocols), consent=consent
        )
