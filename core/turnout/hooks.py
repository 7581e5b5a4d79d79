"""What cuts across destinations: hooks that change, drop or observe events, registered through pluggy.

    class NoInternalUsers:
        @turnout.hookimpl
        def turnout_before_mapping(self, event):
            if event.user_id and event.user_id.endswith("@acme.example"):
                raise turnout.Drop("filtered", "internal user", "/userId")

An implementation may leave out arguments that it doesn't need. `tryfirst` and `trylast` are honoured.
"""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pluggy

from turnout.errors import PluginError, did_you_mean
from turnout.reasons import Code, Outcome, Reason

if TYPE_CHECKING:
    from turnout.event import Event

__all__ = ["Count", "Hooks", "Result", "Specs", "Tally", "hookimpl", "hookspec", "implemented"]

hookspec = pluggy.HookspecMarker("turnout")
hookimpl = pluggy.HookimplMarker("turnout")
"""Marks a method (or a function of a module) as the implementation of the hook of its name."""


class Result(Protocol):
    """What observers get: the plan of one event at one destination, or its outcome after delivery."""

    @property
    def destination(self) -> str:
        """The destination's id."""

    @property
    def outcome(self) -> Outcome:
        """What became of the event there."""

    @property
    def reason(self) -> Reason | None:
        """Why, None when there is nothing to explain."""


class Specs:
    """The hooks that there are."""

    @hookspec
    def turnout_before_mapping(self, event: Event) -> Event | dict[str, Any] | None:
        """Change or drop an event before any destination maps it.

        Return a new event or its dict (it is normalised again), or None to leave it as it is. Raise
        `turnout.Drop` to send nothing for it. The event itself is never changed. Called once for each event
        (once for each destination where they go separate ways: in delivery from a log, and when some are exempt from
        a tracking plan), in the order of the hooks; each gets what the one before made.
        """

    @hookspec
    def turnout_planned(self, event: object, plan: Result) -> None:
        """Observe the plan of one event at one destination.

        `event` is an `Event`, or the input as it came when it could not be accepted.
        """

    @hookspec
    def turnout_settled(self, outcome: Result) -> None:
        """Observe what became of one event at one destination after delivery."""


_HOOKS = tuple(name for name in vars(Specs) if name.startswith("turnout_"))
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Hooks:
    """The hooks of a dispatcher: for each hook, a tuple of the functions to call, in order.

    `plugins` are objects (or modules) with functions marked by `hookimpl`. The first one given is called
    first, unless `tryfirst` or `trylast` says otherwise. A pickle holds the plugins and registers them again.

    Raises PluginError, with a suggestion, for an unknown hook or argument, and for a plugin without hooks.
    """

    before_mapping: tuple[Callable[..., Event | dict[str, Any] | None], ...]
    planned: tuple[Callable[..., None], ...]
    settled: tuple[Callable[..., None], ...]

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self.plugins = tuple(plugins)
        manager = pluggy.PluginManager("turnout")
        manager.add_hookspecs(Specs)
        # pluggy calls what was registered last first.
        for plugin in reversed(self.plugins):
            _register(manager, plugin)
        _check_pending(manager)
        self.before_mapping = _resolved(manager.hook.turnout_before_mapping)
        self.planned = _resolved(manager.hook.turnout_planned)
        self.settled = _resolved(manager.hook.turnout_settled)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hooks, (self.plugins,)

    def __repr__(self) -> str:
        return f"Hooks([{', '.join(_name(plugin) for plugin in self.plugins)}])"


def implemented(plugin: object) -> list[str]:
    """Return the names of the hooks that a plugin (or its class) says it implements, known or not."""
    return [options.get("specname") or name for name, options in _marked(plugin)]


def _marked(plugin: object) -> Iterator[tuple[str, Any]]:
    manager = pluggy.PluginManager("turnout")
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            yield name, options


def _register(manager: pluggy.PluginManager, plugin: object) -> None:
    name = _name(plugin)
    if isinstance(plugin, type):
        raise PluginError(f"Hook plugin {name} is a class: give an object that is made from it.")
    if manager.is_registered(plugin):
        raise PluginError(f"Hook plugin {name} is given twice: give it once.")
    _check_marks(plugin, name)
    for method, options in _marked(plugin):
        _check_function(manager, getattr(plugin, method), options.get("specname") or method, name)
    try:
        manager.register(plugin, f"{name} {id(plugin)}")
    except pluggy.PluginValidationError as error:
        raise PluginError(f"Hook plugin {name}: {error}") from error


def _check_marks(plugin: object, name: str) -> None:
    """Refuse a plugin of which a hook, or all of it, would silently never be called."""
    marked = dict(_marked(plugin))
    for attribute in dir(plugin):
        if attribute in vars(Specs) and attribute.startswith("turnout_") and attribute not in marked:
            raise PluginError(f"Hook plugin {name}: put @turnout.hookimpl above {attribute}.")
    if not marked:
        raise PluginError(f"Hook plugin {name} has no method that is marked with @turnout.hookimpl.")


def _check_function(manager: pluggy.PluginManager, function: Any, hook: str, name: str) -> None:
    """Refuse what would be called in vain, or with an argument that its hook doesn't have."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise PluginError(f"Hook plugin {name}: {hook} must be a plain function, without async or yield.")
    caller = getattr(manager.hook, hook, None)
    known = caller.spec.argnames if caller and caller.spec else None
    for argument in inspect.signature(function).parameters.values():
        needed = argument.default is argument.empty and argument.kind not in _COLLECTING
        if needed and known is not None and argument.name not in known:
            hint = did_you_mean(argument.name, known) or f" It has: {', '.join(known)}."
            raise PluginError(f"Hook plugin {name}: {hook} has no argument '{argument.name}'.{hint}")


def _check_pending(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = _name(error.plugin)
        unknown = [hook for hook in implemented(error.plugin) if hook not in vars(Specs)]
        hint = did_you_mean(unknown[0], _HOOKS) or f" There are: {', '.join(_HOOKS)}."
        raise PluginError(f"Hook plugin {name}: '{unknown[0]}' is not a hook.{hint}") from error


def _resolved(caller: pluggy.HookCaller) -> tuple[Callable[..., Any], ...]:
    """Return the functions of one hook in the order of their calls; a pluggy call costs ten times as much."""
    names = caller.spec.argnames if caller.spec else ()
    return tuple(_direct(one, tuple(names)) for one in reversed(caller.get_hookimpls()))


def _direct(one: pluggy.HookImpl, names: tuple[str, ...]) -> Callable[..., Any]:
    function, wanted = one.function, one.argnames
    if wanted == names:
        return function

    def some(*values: Any, **given: Any) -> Any:
        given.update(zip(names, values, strict=False))
        return function(*(given[name] for name in wanted))

    return some


def _name(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return f"'{plugin.__name__}'"
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"'{kind.__module__}.{kind.__qualname__}'"


class Count(NamedTuple):
    """How often one outcome was seen at one destination, and why (`code` is None without a reason)."""

    destination: str
    outcome: Outcome
    code: Code | None
    times: int


class Tally:
    """Counts plans and outcomes by destination, outcome and reason code; may be shared between threads.

    It is a hook plugin: give it to a dispatcher, and read `planned()` and `settled()` afterwards.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: Counter[tuple[str, Outcome, Code | None]] = Counter()
        self._settled: Counter[tuple[str, Outcome, Code | None]] = Counter()

    @hookimpl
    def turnout_planned(self, plan: Result) -> None:
        """Count a plan."""
        self._count(self._planned, plan)

    @hookimpl
    def turnout_settled(self, outcome: Result) -> None:
        """Count an outcome."""
        self._count(self._settled, outcome)

    def planned(self) -> list[Count]:
        """Return the counts of plans, by destination, outcome and code."""
        return self._rows(self._planned)

    def settled(self) -> list[Count]:
        """Return the counts of outcomes after delivery, by destination, outcome and code."""
        return self._rows(self._settled)

    def _count(self, counter: Counter[tuple[str, Outcome, Code | None]], result: Result) -> None:
        key = (result.destination, result.outcome, result.reason.code if result.reason else None)
        with self._lock:
            counter[key] += 1

    def _rows(self, counter: Counter[tuple[str, Outcome, Code | None]]) -> list[Count]:
        with self._lock:
            found = [Count(*key, times) for key, times in counter.items()]
        return sorted(found, key=lambda row: (row.destination, row.outcome, row.code or ""))

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_planned": Counter(self._planned), "_settled": Counter(self._settled)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())
