"""What an author writes: a `Destination` with settings, endpoints and rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import msgspec

from turnout.copies import Copy, Derived
from turnout.endpoint import BoundEndpoint, Endpoint, Item
from turnout.errors import PluginError, TurnoutError, did_you_mean
from turnout.event import CALL_TYPES, Event
from turnout.inputs import Carried
from turnout.platforms import PLATFORMS, SERVER, platform_of
from turnout.plugins import DESTINATIONS, installed, load
from turnout.settings import Config, Settings, redact

__all__ = ["Destination", "Made", "Rule", "load_destination", "origin", "rebuilt", "rule"]

Made = Item | Iterable[Item] | None
"""What a rule gives back: one item, several (a list, or a generator that yields them), or nothing."""

Rules = tuple[tuple[str, Callable[[Any], Made]], ...]
When = str | tuple[str, ...] | Callable[[Config], bool] | None
Named = Callable[[str], bool] | None
_Method = TypeVar("_Method", bound=Callable[..., Any])


class Rule:
    """One named mapping function: its id, the call types it handles, its conditions and its docstring."""

    __slots__ = ("aside", "call_types", "doc", "event", "id", "platforms", "when")

    def __init__(
        self,
        rule_id: str,
        call_types: tuple[str, ...],
        when: When,
        event: Named,
        platforms: tuple[str, ...],
        aside: bool,
        doc: str,
    ) -> None:
        self.id = rule_id
        self.call_types = call_types
        self.when = when
        self.event = event
        self.platforms = platforms
        self.aside = aside
        self.doc = doc

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the names of the settings in the condition, each with `not ` in front when it must be off."""
        if isinstance(self.when, str):
            return (self.when,)
        return self.when if isinstance(self.when, tuple) else ()

    def active(self, config: Config) -> bool:
        """Return whether the condition holds with these settings."""
        if callable(self.when):
            return bool(self.when(config))
        return all(_holds(name, config, self.id) for name in self.settings)


def _holds(condition: str, config: Config, rule_id: str) -> bool:
    name = condition.removeprefix("not ")
    if name not in config:
        raise PluginError(
            f"rule '{rule_id}' depends on the setting '{name}', which is not there.{did_you_mean(name, config)}"
        )
    return bool(config[name]) is not condition.startswith("not ")


def rule(
    *call_types: str, when: When = None, event: Named = None, platforms: Iterable[str] = PLATFORMS, aside: bool = False
) -> Callable[[_Method], _Method]:
    """Mark a method as the rule for these call types; its name is the rule's id.

    `when` switches it on: the name of a setting that must be on (`"not name"`: off), a tuple of such names
    (all must hold), or a function of the settings. It is resolved once, when the destination is configured.
    `event` restricts it to track calls whose event name satisfies this function, which is asked once for each name.
    `platforms` are those that it runs on (see `turnout.platforms`): outside device mode, `server` is the only one.
    `aside` says that it sends what goes beside a call, so a call for which nothing else is on counts as switched off.
    The method gets what `Destination.prepare` made of the event (by default the event) and gives back `Made`.
    """
    for kind, given, known in (("call type", call_types, CALL_TYPES), ("platform", platforms, PLATFORMS)):
        for name in given:
            if name not in known:
                raise PluginError(f"@rule: '{name}' is no {kind}.{did_you_mean(name, known)}")

    def mark(method: _Method) -> _Method:
        doc = inspect.cleandoc(method.__doc__ or "")
        made = Rule(method.__name__, call_types, when, event, tuple(platforms), aside, doc)
        method.__turnout_rule__ = made  # type: ignore[attr-defined]
        return method

    return mark


class RuleSet:
    """The rules of a configured destination on one platform: those that are on, and those that settings keep off."""

    __slots__ = ("for_name", "off", "on")

    def __init__(self, on: dict[str, Rules], off: dict[str, tuple[Rule, ...]], names: Mapping[str, Named]) -> None:
        self.on = on
        self.off = off
        track = on["track"]

        def for_name(name: str) -> Rules:
            return tuple(one for one in track if (fits := names.get(one[0])) is None or fits(name))

        self.for_name = lru_cache(maxsize=4096)(for_name)


class Destination:
    """A plugin that maps events to items for one vendor.

    Class attributes: `name` is the key in `event.integrations`; `api` the version of the plugin API that it
    was written for; `settings` a `Settings` schema; every `Endpoint` and every method marked with `@rule` is
    found by itself. Rules run in the order in which they are written (those of base classes first).

    `pure = True` promises that no rule changes anything inside an event. It is what every mapping should be,
    and saves the private copy of the event that a destination gets otherwise.

    A destination that maps differently for each platform has the setting `connection_mode` (`cloud` or `device`), and
    names in `ignored` the call types that a platform doesn't have. In device mode it can ask for what carries
    over between events: `wants_device_id` and `device_of` say of which device.

    Constructing one configures it: `Acme({"api_key": "…"})`. Raises `SettingsError`.
    """

    name: ClassVar[str] = ""
    api: ClassVar[int] = 1
    settings: ClassVar[type[Settings]] = Settings
    pure: ClassVar[bool] = False
    table: ClassVar[tuple[Copy | Derived, ...]] = ()
    """What is copied from an event into the vendor's objects, for the generated page."""
    ignored: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The call types that a platform doesn't have: nothing is sent for them in device mode."""
    session_gap_ms: ClassVar[int] = 30 * 60 * 1000
    """How long a device is silent, in ms, before its next event begins a session."""

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the configuration file
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.id = id or type(self).__name__.lower()
        config = self.settings.configure(settings or {}, owner=f"destination '{self.id}'", environ=environ)
        try:
            self._configure(config)
        except PluginError as error:
            raise PluginError(f"destination '{self.id}' ({origin(type(self))}): {error}") from None
        except TurnoutError:
            raise
        except Exception as error:
            fault = redact(f"{type(error).__name__}: {error}", config.secret_values)
            where = f"destination '{self.id}' ({origin(type(self))})"
            raise PluginError(f"{where} can't be configured: it raised {fault}. Tell its author.") from error

    def _configure(self, config: Config, endpoints: Mapping[str, BoundEndpoint] | None = None) -> None:
        self.config = config
        self.endpoints: dict[str, BoundEndpoint] = {}
        known = endpoints or {}
        for endpoint in declared_endpoints(type(self)):
            bound = known.get(endpoint.name) or endpoint.bind(config, self.name)
            self.endpoints[endpoint.name] = bound
            setattr(self, endpoint.name, bound)
        self.device_mode = config.get("connection_mode") == "device"
        """Whether the rules go by the event's platform; otherwise they are the server's for every event."""
        kind = type(self)
        asks = kind.device_of is not Destination.device_of or kind.wants_device_id is not Destination.wants_device_id
        self.carries = asks and self.device_mode
        """Whether a mapping can depend on earlier events."""
        platforms = PLATFORMS if self.device_mode else (SERVER,)
        self.rules = {platform: self._rule_set(platform) for platform in platforms}
        self._server_rules = self.rules[SERVER]
        self.secret_bytes = tuple(msgspec.json.encode(secret)[1:-1] for secret in config.secret_values)
        self._twin: Destination | None = None
        self.configured()

    def _rule_set(self, platform: str) -> RuleSet:
        on: dict[str, Rules] = {}
        off: dict[str, tuple[Rule, ...]] = {}
        declared = [one for one in declared_rules(type(self)) if platform in one.platforms]
        active = {one.id for one in declared if one.active(self.config)}
        ignored = self.ignored.get(platform, ())
        for call_type in CALL_TYPES:
            mine = [one for one in declared if call_type in one.call_types and call_type not in ignored]
            on[call_type] = tuple((one.id, getattr(self, one.id)) for one in mine if one.id in active)
            off[call_type] = tuple(one for one in mine if one.id not in active)
        return RuleSet(on, off, {one.id: one.event for one in declared if one.event})

    def rule_set(self, event: Event) -> RuleSet:
        """Return the rules of the event's platform."""
        return self.rules[platform_of(event)] if self.device_mode else self._server_rules

    def rules_for(self, event: Event) -> Rules:
        """Return the rules that are on for this event, each with its id."""
        rules = self.rules[platform_of(event)] if self.device_mode else self._server_rules
        return rules.for_name(event.event or "") if event.type == "track" else rules.on[event.type]

    def wants_device_id(self, event: Event) -> bool:
        """Return whether the mapping of this event asks for the device id that the host has made."""
        return False

    def device_of(self, event: Event, carried: Carried) -> str | None:
        """Return the device whose session this event belongs to; None when its mapping needs no session."""
        return None

    def configured(self) -> None:
        """Do once, after the settings are known, what would otherwise cost time for every event."""

    def prepare(self, event: Event, carried: Carried | None) -> Any:
        """Return what the rules get: by default the event itself.

        Override it to work out once what several rules need. `carried` is what earlier events left for this one,
        None for a destination that asks for nothing. It may raise `Refusal` or `Drop`.
        """
        return event

    @property
    def mapping_key(self) -> tuple[type, bytes]:
        """Return what the mapping depends on: the class, and every setting that is not marked `routing`.

        Destinations with equal keys make the same items of an event, so a dispatcher maps it once for all of them.
        """
        fields = self.settings().load_fields
        read = {name: self.config[name] for name in sorted(self.config) if not fields[name].metadata.get("routing")}
        return type(self), msgspec.json.encode(read)

    @property
    def twin(self) -> Destination:
        """Return the same destination with every secret replaced by `***`, for showing what it makes."""
        if self._twin is None:
            self._twin = rebuilt(type(self), self.id, self.config.masked())
        return self._twin

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt, (type(self), self.id, self.config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} destination '{self.id}'>"


def rebuilt(
    kind: type[Destination],
    id: str,  # noqa: A002
    config: Config,
    endpoints: Mapping[str, BoundEndpoint] | None = None,
) -> Destination:
    """Return the destination of this class with settings that were checked before.

    `endpoints` are those, by name, that were bound to the same settings before, as far as they read any.
    """
    made = object.__new__(kind)
    made.id = id
    made._configure(config, endpoints)
    return made


def load_destination(name: str) -> type[Destination]:
    """Return the destination class that is installed under this name; raises `PluginError`."""
    found: type[Destination] = load(DESTINATIONS, name, accepts=check_destination)
    return found


def check_destination(loaded: Any) -> str | None:
    """Return what keeps a loaded class from being a destination, or None."""
    if not issubclass(loaded, Destination):
        return "it is no subclass of turnout.Destination"
    known = loaded.settings().load_fields
    for one in declared_rules(loaded):
        for condition in one.settings:
            name = condition.removeprefix("not ")
            if name not in known:
                return f"rule '{one.id}' depends on the setting '{name}', which is not there{did_you_mean(name, known)}"
    return None


def origin(kind: type) -> str:
    """Return where a destination class comes from, as `turnout_acme of turnout-acme 1.2.0`."""
    package = kind.__module__.partition(".")[0]
    for plugin in installed(DESTINATIONS):
        if plugin.value.partition(":")[0].partition(".")[0] == package:
            return f"{package} of {plugin.distribution} {plugin.version}"
    return f"{kind.__module__}.{kind.__qualname__}, not installed as a plugin"


def declared_rules(kind: type[Destination]) -> list[Rule]:
    """Return the rules of a destination class in the order in which they run."""
    # Which of several methods of one name counts is Python's affair; one without a mark is no rule.
    marks = [getattr(getattr(kind, name), "__turnout_rule__", None) for name in _names(kind)]
    return [mark for mark in marks if isinstance(mark, Rule)]


def declared_endpoints(kind: type[Destination]) -> list[Endpoint]:
    """Return the endpoints of a destination class in the order in which they are written."""
    found = [getattr(kind, name) for name in _names(kind)]
    return [one for one in found if isinstance(one, Endpoint)]


def _found_names(kind: type) -> dict[str, None]:
    return dict.fromkeys(name for base in _bases_first(kind) for name in vars(base) if not name.startswith("__"))


_names: Callable[[type], dict[str, None]] = lru_cache(maxsize=256)(_found_names)


def _bases_first(kind: type) -> list[type]:
    """Return the class and its bases, bases first and from left to right, so that mixins keep their order."""
    ordered: dict[type, None] = {}
    for base in kind.__bases__:
        ordered.update(dict.fromkeys(_bases_first(base)))
    ordered[kind] = None
    return list(ordered)
