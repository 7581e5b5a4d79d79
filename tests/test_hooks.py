"""Hooks: in which order they are called, and that a mistake in one is never silent."""

from __future__ import annotations

import pickle
import sys
import threading
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from turnout.errors import PluginError
from turnout.hooks import Count, Hooks, Specs, Tally, hookimpl, implemented
from turnout.reasons import Code, Outcome, Reason


class Named:
    """Adds its name to the event, so that the order of calls can be read."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def turnout_before_mapping(self, event: Any) -> Any:
        return [*event, self.name]


class First(Named):
    """Wants to be called before the others."""

    @hookimpl(tryfirst=True)
    def turnout_before_mapping(self, event: Any) -> Any:
        return [*event, self.name]


class Last(Named):
    """Wants to be called after the others."""

    @hookimpl(trylast=True)
    def turnout_before_mapping(self, event: Any) -> Any:
        return [*event, self.name]


class Watcher:
    """Observes, with the arguments turned round, left out, or with a default."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def turnout_planned(self, plan: Any, event: Any, note: str = "default") -> None:
        self.seen.append((event, plan, note))

    @hookimpl
    def turnout_settled(self) -> None:
        self.seen.append("settled")


class Result(NamedTuple):
    """The part of a plan or outcome that observers are promised."""

    destination: str
    outcome: Outcome
    reason: Reason | None = None


def order(*plugins: object) -> list[str]:
    event: Any = []
    for change in Hooks(plugins).before_mapping:
        event = change(event=event)
    return list(event)


def test_hooks_are_called_in_the_order_given() -> None:
    """The first plugin is called first; `tryfirst` and `trylast` go before that."""
    assert order(Named("a"), Named("b"), Named("c")) == ["a", "b", "c"]
    assert order(Last("z"), Named("a"), First("0"), Named("b")) == ["0", "a", "b", "z"]


def test_without_plugins_there_is_nothing_to_call() -> None:
    """An event costs nothing for hooks that nobody implements."""
    hooks = Hooks()
    assert (hooks.before_mapping, hooks.planned, hooks.settled) == ((), (), ())
    assert Hooks([Named("a")]).planned == ()


def test_a_full_implementation_is_called_directly() -> None:
    """One that takes every argument is in the tuple itself, with no call in between."""
    plugin = Named("a")
    assert Hooks([plugin]).before_mapping == (plugin.turnout_before_mapping,)


def test_arguments_go_by_name() -> None:
    """Arguments may be turned round or left out, and are given by place or by name."""
    watcher = Watcher()
    hooks = Hooks([watcher])
    hooks.planned[0]("event", "plan")
    hooks.planned[0](plan="plan", event="event")
    hooks.settled[0](outcome="outcome")
    assert watcher.seen == [("event", "plan", "default")] * 2 + ["settled"]


def test_a_module_can_be_a_plugin() -> None:
    """Functions of a module work like methods."""
    module = ModuleType("my_hooks")
    vars(module)["turnout_settled"] = hookimpl(lambda outcome: outcome)
    assert Hooks([module]).settled[0](outcome=3) == 3


def test_hooks_pickle() -> None:
    """A pickle registers the plugins again, in the same order."""
    hooks = pickle.loads(pickle.dumps(Hooks([Tally(), Tally()])))
    assert len(hooks.settled) == len(hooks.plugins) == 2
    assert repr(hooks) == "Hooks(['turnout.hooks.Tally', 'turnout.hooks.Tally'])"


class Misspelt:
    """A marked function with a name that is no hook."""

    @hookimpl
    def turnout_before_maping(self, event: Any) -> None:
        """Never called."""


class Other:
    """A name far from every hook."""

    @hookimpl
    def on_startup(self) -> None:
        """Never called."""


class WrongArgument:
    """An argument that its hook doesn't have."""

    @hookimpl
    def turnout_planned(self, evnt: Any) -> None:
        """Never called."""


class Unmarked:
    """A hook without its mark, beside one with it."""

    @hookimpl
    def turnout_settled(self, outcome: Any) -> None:
        """Called."""

    def turnout_planned(self, plan: Any) -> None:
        """Would never be called."""


class Empty:
    """No hook at all."""


class Asynchronous:
    """A coroutine that nobody would await."""

    @hookimpl
    async def turnout_settled(self, outcome: Any) -> None:
        """Never awaited."""


class Wrapper:
    """A wrapper, which the direct calls leave no room for."""

    @hookimpl(wrapper=True)
    def turnout_settled(self, outcome: Any) -> Any:
        return (yield)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Misspelt, "'turnout_before_maping' is not a hook. Did you mean 'turnout_before_mapping'?"),
        (
            Other,
            "'on_startup' is not a hook. There are: turnout_before_mapping, turnout_planned, turnout_settled.",
        ),
        (WrongArgument, "turnout_planned has no argument 'evnt'. Did you mean 'event'?"),
        (Unmarked, "put @turnout.hookimpl above turnout_planned."),
        (Asynchronous, "turnout_settled must be a plain function, without async or yield."),
        (Wrapper, "turnout_settled must be a plain function, without async or yield."),
    ],
)
def test_a_mistake_in_a_hook_is_told(kind: type, sentence: str) -> None:
    """Each mistake names the plugin, the hook and what to write; nothing is silently never called."""
    with pytest.raises(PluginError) as caught:
        Hooks([Named("a"), kind()])
    assert str(caught.value) == f"Hook plugin '{__name__}.{kind.__name__}': {sentence}"


def test_what_is_no_plugin_is_refused() -> None:
    """An object without hooks, a class, and the same object twice are errors."""
    plugin = Named("a")
    with pytest.raises(PluginError, match=r"Empty' has no method that is marked with @turnout\.hookimpl"):
        Hooks([Empty()])
    with pytest.raises(PluginError, match="Named' is a class: give an object"):
        Hooks([Named])
    with pytest.raises(PluginError, match="Named' is given twice"):
        Hooks([plugin, plugin])


def test_implemented_names_hooks_known_or_not() -> None:
    """What a class claims to implement can be asked without making one."""
    assert implemented(Tally) == ["turnout_planned", "turnout_settled"]
    assert implemented(Misspelt) == ["turnout_before_maping"]
    assert implemented(Empty) == implemented(sys) == []


def test_every_hook_is_documented() -> None:
    """A hook's docstring is its documentation."""
    assert all(vars(Specs)[name].__doc__ for name in vars(Specs) if name.startswith("turnout_"))


def test_a_tally_counts_by_destination_outcome_and_code() -> None:
    """Plans and outcomes are counted apart, and the rows come sorted."""
    tally = Tally()
    hooks = Hooks([tally])
    off = Reason(Code.SETTING_OFF, "track_named_pages is off")
    for result in (
        Result("b", Outcome.PLANNED),
        Result("a", Outcome.DROPPED, off),
        Result("b", Outcome.PLANNED),
    ):
        hooks.planned[0](event=None, plan=result)
    hooks.settled[0](outcome=Result("b", Outcome.DELIVERED))
    assert tally.planned() == [
        Count("a", Outcome.DROPPED, Code.SETTING_OFF, 1),
        Count("b", Outcome.PLANNED, None, 2),
    ]
    assert tally.settled() == [Count("b", Outcome.DELIVERED, None, 1)]
    assert pickle.loads(pickle.dumps(tally)).planned() == tally.planned()


def test_a_tally_loses_no_count_between_threads() -> None:
    """Threads may share one."""
    tally = Tally()

    def count() -> None:
        for _ in range(2000):
            tally.turnout_settled(Result("a", Outcome.DELIVERED))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.settled() == [Count("a", Outcome.DELIVERED, None, 8000)]
