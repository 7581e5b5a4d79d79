"""The `Dispatcher`: one event in, for each destination a plan; and sending it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from turnout import plugins
from turnout.body import encoded, is_batch, told_message_id
from turnout.config import Configuration, DeliverSettings, LogSettings, SendSettings, load_config
from turnout.destination import Destination, load_destination
from turnout.errors import ConfigError, Drop, Refusal, TurnoutError, did_you_mean
from turnout.event import Event
from turnout.hooks import Hooks
from turnout.inputs import DeviceIds, Inputs, regenerate
from turnout.mapping import map_event, map_on, rebound
from turnout.normalise import EventLike, Normaliser
from turnout.plan import Judgement, Plan, Settled, Violation, let_go
from turnout.reasons import Code, Outcome, Reason
from turnout.settings import Config, redact

if TYPE_CHECKING:
    from turnout.accepting import Acceptor, Receipt
    from turnout.gathering import Gatherer
    from turnout.sending import Transport
    from turnout.trackingplan import TrackingPlan

__all__ = ["Dispatcher", "EventLike"]

_logger = logging.getLogger("turnout")
_PLANNED = Outcome.PLANNED
_AHEAD = 64


class Dispatcher:
    """Takes events to configured destinations; the same calls as the command line's, for code.

    It keeps no state: it can be pickled and used from several threads. `destinations` are configured
    destinations, or a mapping of ids to them. `hooks` are objects with `@turnout.hookimpl` functions.
    `clock` and `new_id` are where times and missing message ids come from. `transport` is handed to httpx: a
    function that makes a transport, called for each destination of each send; or a transport, which is never
    closed here and belongs to one event loop. `device_id_provider` is a function of an event that returns the
    device id which the host keeps for it, or None: where a vendor's own library would have made one, in device mode.
    `tracking_plan` judges each event before hooks and destinations see it, but not for the destinations in `exempt`.
    `routes` names the destinations of a source, by the `projectId` of its events; any other event goes to all.
    """

    def __init__(
        self,
        destinations: Mapping[str, Destination] | Iterable[Destination],
        *,
        hooks: Iterable[object] = (),
        clock: Callable[[], datetime] | None = None,
        new_id: Callable[[bytes], str] | None = None,
        send: Config | None = None,
        transport: Transport | None = None,
        device_id_provider: DeviceIds | None = None,
        log: Config | None = None,
        deliver: Config | None = None,
        routes: Mapping[str, Iterable[str]] | None = None,
        tracking_plan: TrackingPlan | None = None,
        exempt: Iterable[str] = (),
    ) -> None:
        self.destinations = _named(destinations)
        self.routes = {source: frozenset(names) for source, names in (routes or {}).items()}
        self.hooks = Hooks(hooks)
        self.normaliser = Normaliser(clock=clock, new_id=new_id)
        self.send_settings = send or SendSettings.configure({}, owner="[send]")
        self.log_settings = log or LogSettings.configure({}, owner="[log]")
        self.deliver_settings = deliver or DeliverSettings.configure({}, owner="[deliver]")
        self.transport = transport
        self.device_id_provider = device_id_provider
        self.tracking_plan = tracking_plan
        self.exempt = frozenset(exempt)
        for name in sorted(self.exempt):
            self._check_known(name)
        self._gatherers: weakref.WeakSet[Gatherer] = weakref.WeakSet()
        self._opening = threading.Lock()
        self._accepting: Acceptor | None = None
        self._targets = tuple(self.destinations.values())
        self._carrying = any(target.carries for target in self._targets)
        self._leaders = _leaders(self._targets)
        self._only = self._single()
        for target in self._targets:
            for line in target.config.warnings:
                _logger.warning("destination '%s': %s", target.id, line)

    @classmethod
    def from_config(
        cls,
        path: Any,
        *,
        environ: Mapping[str, str] | None = None,
        only: Iterable[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Dispatcher:
        """Return a dispatcher for a `turnout.toml` (a path, or a `Configuration` that was read before).

        `only` takes just the destinations of these ids; `settings` are laid over theirs. Other keyword
        arguments go to the constructor. Raises `ConfigError`.
        """
        configuration = path if isinstance(path, Configuration) else load_config(path, environ)
        names = configuration.destinations if only is None else only
        destinations = {}
        for name in names:
            plugin, given = configuration.destination(name)
            kind = load_destination(plugin)
            destinations[name] = kind(kind.settings.overlay(given, settings or {}), id=name, environ=environ)
        hooks = [plugins.load_hook(name, given, environ) for name, given in configuration.hooks.items()]
        hooks = [*hooks, *options.pop("hooks", ())]
        if "tracking_plan" not in options:
            options |= _governed_by(configuration, destinations)
        sections = {name: getattr(configuration, name) for name in ("send", "log", "deliver")}
        return cls(destinations, hooks=hooks, routes=configuration.routes, **(sections | options))

    def plan(self, event: EventLike, inputs: Inputs | None = None) -> list[Plan]:
        """Return what `event` becomes at each destination; nothing is sent.

        `event` is JSON text (bytes or str), a mapping, or an `Event`. An event that can't be accepted gets a
        plan with the outcome `invalid` for each destination; this method raises nothing for a bad event.
        `inputs` is what earlier events left behind, and gets what this one leaves; without it the event stands alone.
        """
        try:
            accepted = self.normaliser.event(event)
        except Refusal as refusal:
            return self._all(event, Outcome.INVALID, refusal.reason)
        return self._accepted(accepted, inputs)

    def plans(self, events: Iterable[EventLike], inputs: Inputs | None = None) -> Iterator[list[Plan]]:
        """Yield what `plan` returns for each of `events` (of a batch body: for each of its events), in their order.

        It reads ahead, 64 events at a time, and is quicker for that: what a processor decodes in one go is still near
        when it is mapped. Nothing is read behind a batch body, or behind what is refused, before that is planned. The
        plans come without their `event`: hundreds of them would only fill memory. What carries over between events is
        kept in `inputs`, or only for this call.
        """
        coming, only = iter(_several(events)), self._only
        inputs = Inputs() if inputs is None else inputs
        while True:
            ahead, odd = self._read(coming)
            for event in ahead:
                if only is None:
                    yield let_go(self._accepted(event, inputs))
                else:
                    plan = map_event(only, event)
                    plan.event = None
                    yield [plan]
            if odd is not None:
                yield from map(let_go, self.plan_body(odd[0], inputs=inputs))
            elif not ahead:
                return

    def _read(self, coming: Iterator[EventLike]) -> tuple[list[Event], tuple[EventLike] | None]:
        """Return the next events, normalised, and what came behind them that is none."""
        normalise, ahead = self.normaliser.event, list[Event]()
        for event in islice(coming, _AHEAD):
            if event.__class__ is dict and "batch" in event:
                return ahead, (event,)
            try:
                ahead.append(normalise(event))
            except Refusal:
                return ahead, (event,)
        return ahead, None

    def _accepted(self, accepted: Event, inputs: Inputs | None) -> list[Plan]:
        if self._only is not None:
            return [map_event(self._only, accepted)]
        if self.tracking_plan is not None:
            return self._governed(self.judge(accepted), inputs)
        return self._planned(accepted, inputs)

    def _governed(self, judged: Judgement, inputs: Inputs | None) -> list[Plan]:
        """Return the plans of an event that the tracking plan has judged."""
        if self.exempt:
            carried = Inputs() if inputs is None else inputs
            return [self.plan_at(name, judged, carried) for name in self.destinations]
        if judged.reason is not None:
            return self._all(judged.event, Outcome.DROPPED, judged.reason, judged.violations)
        return self._planned(judged.kept, inputs, judged.violations)

    def _planned(self, event: Event, inputs: Inputs | None, violations: tuple[Violation, ...] = ()) -> list[Plan]:
        try:
            changed = self._changed(event) if self.hooks.before_mapping else event
        except (Drop, Refusal) as stopped:
            return self._all(event, _outcome_of(stopped), stopped.reason, violations)
        plans = self._mapped(changed, inputs)
        for plan in plans if violations else ():
            plan.notes = (*violations, *plan.notes)
        if self.hooks.planned:
            self._observe(changed, plans)
        return plans

    def judge(self, event: Event) -> Judgement:
        """Return what the tracking plan says of an event; without a plan, that all of it goes on.

        What is wrong with it is logged, unless it is blocked: then its outcome says so.
        """
        if self.tracking_plan is None:
            return Judgement(event, event)
        judged = self.tracking_plan.judge(event)
        if judged.violations and judged.reason is None:
            from turnout.trackingplan import report

            report(judged, self.tracking_plan)
        return judged

    def plan_at(self, destination: str, event: Event | Refusal | Judgement, inputs: Inputs) -> Plan:
        """Return what an accepted event becomes at one destination, as `plan` does for all.

        It may have been judged by `judge`, once for all destinations.
        """
        if isinstance(event, Refusal):
            return next(plan for plan in self.refused(event) if plan.destination == destination)
        if self.tracking_plan is not None and destination not in self.exempt:
            return self._plan_judged(destination, event if isinstance(event, Judgement) else self.judge(event), inputs)
        return self._plan_kept(destination, event.event if isinstance(event, Judgement) else event, inputs)

    def _plan_judged(self, destination: str, judged: Judgement, inputs: Inputs) -> Plan:
        if judged.reason is None:
            plan = self._plan_kept(destination, judged.kept, inputs)
            plan.notes = (*judged.violations, *plan.notes)
            return plan
        plan = self._stopped(judged.event, destination, Outcome.DROPPED, self._redacted(judged.reason))
        plan.notes = judged.violations
        if self.hooks.planned:
            self._observe(judged.event, [plan])
        return plan

    def _plan_kept(self, destination: str, event: Event, inputs: Inputs) -> Plan:
        target = self.destinations[destination]
        try:
            changed = self._changed(event) if self.hooks.before_mapping else event
        except (Drop, Refusal) as stopped:
            plan = self._stopped(event, destination, _outcome_of(stopped), self._redacted(stopped.reason))
        else:
            away = self._away(changed, target) if self.routes else None
            plan = away or map_on(target, changed, inputs, self.device_id_provider)
        if self.hooks.planned:
            self._observe(event, [plan])
        return plan

    def planner(self, destination: str) -> Callable[[Event | Refusal | Judgement, Inputs], Plan]:
        """Return a function that does what `plan_at` does for this destination, without what isn't configured."""
        target = self.destinations[destination]
        if (
            self.hooks.before_mapping
            or self.hooks.planned
            or target.carries
            or self.routes
            or self.tracking_plan is not None
        ):
            return partial(self.plan_at, destination)

        def plan(event: Event | Refusal | Judgement, inputs: Inputs) -> Plan:
            if not isinstance(event, Event):
                return self.plan_at(destination, event, inputs)
            return map_event(target, event)

        return plan

    def _redacted(self, reason: Reason) -> Reason:
        secrets = frozenset(value for target in self._targets for value in target.config.secret_values)
        return Reason(reason.code, redact(reason.message, secrets), reason.path)

    def _single(self) -> Destination | None:
        """Return the destination, when there is one alone and nothing beside its mapping to be done."""
        more = self.hooks.before_mapping or self.hooks.planned or self._carrying or self.routes
        alone = len(self._targets) == 1 and not more and self.tracking_plan is None
        return self._targets[0] if alone else None

    def _mapped(self, event: Event, inputs: Inputs | None) -> list[Plan]:
        """Return the plans of all destinations, mapping once for those that map alike."""
        if self._carrying or self.routes:
            carried = Inputs() if inputs is None else inputs
            return [
                self._away(event, target) or map_on(target, event, carried, self.device_id_provider)
                for target in self._targets
            ]
        if not self._leaders:
            return [map_event(target, event) for target in self._targets]
        plans: list[Plan] = []
        for number, target in enumerate(self._targets):
            first = plans[self._leaders[number]] if number in self._leaders else None
            same = first is not None and first.outcome is _PLANNED
            plans.append(rebound(first, target) if first and same else map_event(target, event))
        return plans

    def _away(self, event: Event, target: Destination) -> Plan | None:
        """Return the plan of an event whose source does not send to this destination, None for any other."""
        wanted = self.routes.get(event.project_id or "")
        if wanted is None or target.id in wanted:
            return None
        message = f"The source '{event.project_id}' sends to {', '.join(sorted(wanted))}, not to '{target.id}'."
        reason = Reason(Code.SOURCE_NOT_CONNECTED, message, "/projectId")
        return Plan(event.message_id, target.id, Outcome.DROPPED, reason, [], event.user_id or event.anonymous_id or "")

    def _changed(self, event: Event) -> Event:
        """Return what the hooks make of an event before it is mapped."""
        for change in self.hooks.before_mapping:
            try:
                changed = change(event=event)
            except (Drop, Refusal):
                raise
            except Exception as error:
                message = f"The hook turnout_before_mapping of {_named_hook(change)} raised {type(error).__name__}."
                _logger.error("%s", message)
                _logger.debug("The traceback:", exc_info=True)
                raise _HookError(Code.PLUGIN_RAISED, message) from error
            event = event if changed is None else self._remade(change, changed)
        return event

    def _remade(self, change: Callable[..., object], changed: EventLike) -> Event:
        try:
            return self.normaliser.event(changed)
        except Refusal as refusal:
            message = f"The hook turnout_before_mapping of {_named_hook(change)} gave back no good event: {refusal}"
            _logger.error("%s", message)
            raise _HookError(Code.PLUGIN_BAD_RESULT, message, refusal.reason.path) from refusal

    def _observe(self, event: EventLike, plans: Iterable[Plan]) -> None:
        for observe in self.hooks.planned:
            for plan in plans:
                _call(observe, event=event, plan=plan)

    def plan_body(self, body: EventLike, place: str = "", inputs: Inputs | None = None) -> Iterator[list[Plan]]:
        """Yield what `plan` returns for one event, or for each event of a batch body (`{"batch": [...]}`).

        `place` (`line 3`) is put in front of the message of what is invalid. Without `inputs`, what carries over
        is kept within the body.
        """
        if isinstance(body, Event) or not is_batch(body):
            yield _placed(self.plan(body, inputs), place)
            return
        inputs = Inputs() if inputs is None else inputs
        for number, found in enumerate(self.read_body(body), start=1):
            plans = self.refused(found) if isinstance(found, Refusal) else self.plan(found, inputs)
            yield _placed(plans, place, number)

    def read_body(self, body: EventLike) -> Iterator[Event | Refusal]:
        """Yield the normalised event of `body`, or those of a batch body; for a bad one, the refusal."""
        try:
            if not isinstance(body, Event) and is_batch(body):
                yield from self.normaliser.batch(body)
            else:
                yield self.normaliser.event(body)
        except Refusal as refusal:
            refusal.source = refusal.source or (body if isinstance(body, Mapping) else encoded(body))
            yield refusal

    def refused(self, refusal: Refusal, place: str = "") -> list[Plan]:
        """Return the plans of an event that can't be accepted: `invalid` at each destination."""
        return _placed(self._all(refusal.source or b"", Outcome.INVALID, refusal.reason), place)

    def _all(
        self, event: EventLike, outcome: Outcome, reason: Reason, violations: tuple[Violation, ...] = ()
    ) -> list[Plan]:
        reason = self._redacted(reason)
        if isinstance(event, Event):
            plans = [self._stopped(event, name, outcome, reason) for name in self.destinations]
        else:
            message_id = told_message_id(event, self.normaliser.new_id)
            plans = [Plan(message_id, name, outcome, reason, []) for name in self.destinations]
        for plan in plans if violations else ():
            plan.notes = violations
        self._observe(event, plans)
        return plans

    def _stopped(self, event: Event, destination: str, outcome: Outcome, reason: Reason) -> Plan:
        """Return the plan of an event that is not mapped."""
        user = event.user_id or event.anonymous_id or ""
        return Plan(event.message_id, destination, outcome, reason, [], user, event)

    def send(self, events: Iterable[EventLike], inputs: Inputs | None = None) -> list[Settled]:
        """Deliver events now and return the outcome of each at each destination, in the order of the events.

        Nothing is kept: what could not be delivered within the attempts of `[send]` has the outcome `dead`. What
        carries over between events is kept in `inputs`, or only for this call.
        Raises `TurnoutError` inside a running event loop; use `send_async` there.
        """
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.send_async(events, inputs))
        raise TurnoutError("send() can't wait inside a running event loop. Use: await dispatcher.send_async(events)")

    async def send_async(self, events: Iterable[EventLike], inputs: Inputs | None = None) -> list[Settled]:
        """Deliver events now, as `send` does, from asyncio."""
        return [outcome async for outcome in self.stream(events, inputs=inputs)]

    def accept(self, events: Iterable[EventLike]) -> list[Receipt]:
        """Return a receipt for each event (of a batch body: for each of its events), once they are durably in the log.

        The log is the one of `log`, the section `[log]`. Several events at a time are cheaper than one by one. Raises
        `LogFull` when there is no room, and `LogError` when the log can't be used or another process accepts into it.
        """
        return self._acceptor().accept([found for event in _several(events) for found in self.read_body(event)])

    async def accept_async(self, events: Iterable[EventLike]) -> list[Receipt]:
        """Do the same from asyncio."""
        import asyncio

        found = [found for event in _several(events) for found in self.read_body(event)]
        acceptor = await asyncio.to_thread(self._acceptor)
        return await acceptor.accept_async(found)

    def _acceptor(self) -> Acceptor:
        """Return what accepts into the log; it is opened at the first use."""
        with self._opening:
            if self._accepting is None:
                from turnout.accepting import Acceptor, now_ms
                from turnout.log import open_log

                self._accepting = Acceptor(open_log(self.log_settings), self.log_settings, now_ms)
                self._accepting.__enter__()
            return self._accepting

    def close(self) -> None:
        """Close the log that `accept` has opened; nothing that was accepted is lost without it."""
        with self._opening:
            accepting, self._accepting = self._accepting, None
        if accepting is not None:
            accepting.__exit__()
            accepting.log.close()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def stream(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        chunk: int = 500,
        inputs: Inputs | None = None,
    ) -> AsyncGenerator[Settled, None]:
        """Yield the outcomes as they are settled, holding at most `chunk` events at a time.

        From an async iterable, what has come is delivered once an endpoint's batch is full or its `linger_ms` are
        over, and at `flush`.
        """
        carried = Inputs() if inputs is None else inputs
        chunks: AsyncGenerator[list[list[Plan]], None]
        if isinstance(events, AsyncIterable):
            chunks = self._gathered(
                (row async for event in events for row in self.plan_body(event, "", carried)), chunk
            )
        else:
            found = (row for event in _several(events) for row in self.plan_body(event, "", carried))
            chunks = _cut(map(let_go, found), chunk)
        async with aclosing(self._delivered(chunks)) as settled:
            async for outcome, _ in settled:
                yield outcome

    async def stream_plans(
        self, plans: Iterable[list[Plan]] | AsyncIterator[list[Plan]], *, chunk: int = 500
    ) -> AsyncGenerator[tuple[Settled, Plan], None]:
        """Deliver plans that `plan` returned, and yield each outcome with its plan, in order."""
        chunks = self._gathered(plans, chunk) if isinstance(plans, AsyncIterator) else _cut(map(let_go, plans), chunk)
        async with aclosing(self._delivered(chunks)) as settled:
            async for one in settled:
                yield one

    async def _delivered(
        self, chunks: AsyncGenerator[list[list[Plan]], None]
    ) -> AsyncGenerator[tuple[Settled, Plan], None]:
        from turnout.delivery import Deliverer

        async with Deliverer(self.send_settings, self.transport) as deliverer, aclosing(chunks):
            async for taken in chunks:
                async for outcome, plan in deliverer.deliver(taken):
                    self.observe(outcome)
                    yield outcome, plan

    def observe(self, outcome: Settled) -> None:
        """Tell the hooks what became of an event."""
        for observe in self.hooks.settled:
            _call(observe, outcome=outcome)

    async def _gathered(self, plans: AsyncIterator[list[Plan]], chunk: int) -> AsyncGenerator[list[list[Plan]], None]:
        from turnout.gathering import Gatherer

        gatherer = Gatherer(plans, chunk)
        self._gatherers.add(gatherer)
        async with aclosing(gatherer.chunks()) as chunks:
            async for taken in chunks:
                yield taken

    def flush(self, destination: str | None = None) -> None:
        """Send now what running streams are still gathering for a destination (None: for all).

        It returns at once, works from any thread, and sends nothing when nothing waits. Raises `ConfigError` for
        an unknown destination.
        """
        self._check_known(destination)
        for gatherer in list(self._gatherers):
            gatherer.flush(destination)

    def reset(self, anonymous_id: str, inputs: Inputs, destination: str | None = None) -> None:
        """Forget a user who logged out, at a destination (None: at all): the made device id and the session.

        The `device_id_provider` is asked to make a new id, when it has a method `regenerate(anonymous_id)`.
        Nothing is sent, and no user property is cleared: events that come after it simply belong to a new device.
        Raises `ConfigError` for an unknown destination.
        """
        self._check_known(destination)
        inputs.forget(anonymous_id, destination)
        regenerate(self.device_id_provider, anonymous_id)

    def _check_known(self, destination: str | None) -> None:
        if destination is not None and destination not in self.destinations:
            raise ConfigError(f"There is no destination '{destination}'.{did_you_mean(destination, self.destinations)}")

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (
            self.send_settings,
            self.transport,
            self.device_id_provider,
            self.log_settings,
            self.deliver_settings,
            self.routes,
            self.tracking_plan,
            self.exempt,
        )
        state = (self.destinations, self.hooks, self.normaliser, *settings)
        return _restore, (type(self), *state)


async def _cut(rows: Iterator[list[Plan]], chunk: int) -> AsyncGenerator[list[list[Plan]], None]:
    while taken := list(islice(rows, chunk)):
        yield taken


def _placed(plans: list[Plan], place: str, number: int = 1) -> list[Plan]:
    """Return the plans, those that are invalid with their place in front of the message."""
    where = f"{place}, event {number}" if number > 1 else place
    for plan in plans:
        if place and plan.reason is not None and plan.outcome is Outcome.INVALID:
            plan.reason = msgspec.structs.replace(plan.reason, message=f"{where}: {plan.reason.message}")
    return plans


def _governed_by(configuration: Configuration, chosen: Iterable[str]) -> dict[str, Any]:
    """Return the options for the section `[tracking_plan]`; `chosen` are the ids of the destinations."""
    for name in configuration.tracking_plan.exempt:
        if name not in configuration.destinations:
            hint = did_you_mean(name, configuration.destinations)
            raise ConfigError(f"{configuration.path}: [tracking_plan] exempt: there is no destination '{name}'.{hint}")
    if not configuration.tracking_plan.path:
        return {}
    from turnout.trackingplan import configured

    exempt = [name for name in configuration.tracking_plan.exempt if name in chosen]
    return {"tracking_plan": configured(configuration), "exempt": exempt}


class _HookError(Refusal):
    """A hook raised an exception."""


def _outcome_of(stopped: Drop | Refusal) -> Outcome:
    if isinstance(stopped, Drop):
        return Outcome.DROPPED
    return Outcome.FAILED if isinstance(stopped, _HookError) else Outcome.INVALID


def _call(observe: Callable[..., None], **given: object) -> None:
    """Call an observer; what it raises is its own affair."""
    try:
        observe(**given)
    except Exception:
        _logger.error("An observing hook of %s raised.", _named_hook(observe))
        _logger.debug("The traceback:", exc_info=True)


def _named_hook(function: Callable[..., object]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"


def _leaders(targets: Iterable[Destination]) -> dict[int, int]:
    """Return, for each destination that maps like one before it, the number of that one."""
    targets = list(targets)
    if len(targets) < 2:
        return {}  # what a mapping depends on costs a schema to find out
    first: dict[object, int] = {}
    leaders: dict[int, int] = {}
    for number, target in enumerate(targets):
        leader = first.setdefault(target.mapping_key, number)
        if leader != number:
            leaders[number] = leader
    return leaders


def _several(events: Iterable[EventLike]) -> Iterable[EventLike]:
    """Return events; raises `TurnoutError` for one alone, of which each key, or each byte, would be taken for one."""
    if isinstance(events, Mapping | str | bytes | bytearray | memoryview) or not isinstance(events, Iterable):
        raise TurnoutError(f"Several events are expected, not one {type(events).__name__}. Give a list, as in [event].")
    return events


def _named(destinations: Mapping[str, Destination] | Iterable[Destination]) -> dict[str, Destination]:
    if isinstance(destinations, Mapping):
        return _called(destinations)
    named: dict[str, Destination] = {}
    for destination in destinations:
        if not isinstance(destination, Destination):
            kind = type(destination).__name__
            raise ConfigError(
                f"A dispatcher takes destinations, such as Amplitude({{...}}, id='amplitude'), not {kind}."
            )
        if destination.id in named:
            raise ConfigError(f"Two destinations have the id '{destination.id}'. Give one of them another id=.")
        named[destination.id] = destination
    return named


def _called(destinations: Mapping[str, Destination]) -> dict[str, Destination]:
    seen: dict[int, str] = {}
    for name, destination in destinations.items():
        if id(destination) in seen:
            raise ConfigError(f"'{seen[id(destination)]}' and '{name}' are one object. Make a destination for each.")
        seen[id(destination)] = name
        destination.id = name
    return dict(destinations)


def _restore(
    kind: type[Dispatcher],
    destinations: dict[str, Destination],
    hooks: Hooks,
    normaliser: Normaliser,
    send: Config,
    transport: Any,
    provider: DeviceIds | None,
    log: Config,
    deliver: Config,
    routes: Mapping[str, frozenset[str]],
    tracking_plan: TrackingPlan | None,
    exempt: frozenset[str],
) -> Dispatcher:
    made = kind(
        destinations,
        send=send,
        transport=transport,
        device_id_provider=provider,
        log=log,
        deliver=deliver,
        routes=routes,
        tracking_plan=tracking_plan,
        exempt=exempt,
    )
    made.hooks, made.normaliser = hooks, normaliser
    made._only = made._single()
    return made
