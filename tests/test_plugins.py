"""Plugins: found without importing, loaded by name, and a broken one is named with what mends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from turnout.errors import ConfigError, PluginError, SettingsError
from turnout.filters import EventFilter
from turnout.plugins import (
    DESTINATIONS,
    GROUPS,
    HOOKS,
    PLUGIN_API,
    SOURCES,
    Plugin,
    check,
    installed,
    load,
    load_hook,
)

Install = Callable[..., None]

GOOD = """
    from turnout.destination import Destination, rule

    class Acme(Destination):
        name = "Acme"

        @rule("track")
        def tracked(self, event):
            "Nothing."
"""


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install a distribution (metadata, entry points and modules) on a sys.path of this test's own."""
    before = set(sys.modules)
    sys.path.insert(0, str(tmp_path))

    def make(distribution: str, version: str, points: str, modules: Mapping[str, str] | None = None) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(dedent(points))
        for name, source in (modules or {}).items():
            (tmp_path / f"{name}.py").write_text(dedent(source))
        installed(DESTINATIONS, refresh=True)

    yield make
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def named(name: str, group: str = DESTINATIONS) -> Plugin:
    return next(plugin for plugin in installed(group) if plugin.name == name)


def problem(name: str, group: str = DESTINATIONS) -> str:
    """Return the sentence for a plugin that can't be loaded; `check` has to say the same."""
    with pytest.raises(PluginError) as caught:
        load(group, name)
    assert check(named(name, group)) == str(caught.value)
    return str(caught.value)


def test_listing_tells_where_a_plugin_comes_from_and_imports_nothing(install: Install) -> None:
    """A plugin whose module kills the process is listed with distribution and version all the same."""
    install("acme-plugin", "1.2", "[turnout.destinations]\nacme = acme_killer:Acme\n", {"acme_killer": "1 / 0"})
    assert named("acme") == Plugin("acme", "acme_killer:Acme", "acme-plugin", "1.2", DESTINATIONS)
    assert "acme_killer" not in sys.modules


def test_the_list_is_sorted_and_by_group(install: Install) -> None:
    """Names come in order, and only those of the group."""
    install("zoo", "1", "[turnout.destinations]\nzoo = z:Z\nant = a:A\n[turnout.hooks]\nbee = b:B\n")
    names = [plugin.name for plugin in installed(DESTINATIONS)]
    assert names == sorted(names)
    assert {"zoo", "ant"} <= set(names)
    assert "bee" not in names
    assert named("bee", HOOKS).group == HOOKS


def test_what_is_installed_later_is_found(install: Install, tmp_path: Path) -> None:
    """A name that was unknown a moment ago is looked for again before it is an error."""
    with pytest.raises(PluginError):
        load(DESTINATIONS, "late")
    install("late-plugin", "1", "[turnout.destinations]\nlate = late_plugin:Acme\n", {"late_plugin": GOOD})
    assert load(DESTINATIONS, "late").name == "Acme"


def test_a_good_plugin_is_loaded(install: Install) -> None:
    """The class is returned, and `check` has nothing to say."""
    install("good-plugin", "3.1", "[turnout.destinations]\ngood = good_plugin:Acme\n", {"good_plugin": GOOD})
    kind = load(DESTINATIONS, "good")
    assert kind.name == "Acme"
    assert check(named("good")) is None


def test_an_unknown_plugin_gets_a_suggestion(install: Install) -> None:
    """The message has the nearest name, or what to do, and always what is installed."""
    install("good-plugin", "3.1", "[turnout.destinations]\nsplendid = good_plugin:Acme\n")
    with pytest.raises(PluginError, match=r"no destination plugin 'splendit'\. Did you mean 'splendid'\?"):
        load(DESTINATIONS, "splendit")
    with pytest.raises(PluginError, match=r"Install the package that provides it\. Installed are: .*splendid"):
        load(DESTINATIONS, "0000")
    with pytest.raises(
        PluginError, match=r"no plugin of the group turnout\.nothing 'x'\. Install .* None is installed\."
    ):
        load("turnout.nothing", "x")


BROKEN = {
    "raises": ("m:Acme", "raise ValueError('bad table')", "importing 'm' raised ValueError: bad table."),
    "exits": ("m:Acme", "raise SystemExit(3)", "importing 'm' raised SystemExit: 3."),
    "syntax": ("m:Acme", "def", "importing 'm' raised SyntaxError"),
    "needs": ("m:Acme", "import no_such_thing", "needs the module 'no_such_thing', which is not installed."),
    "no_module": ("nowhere.m:Acme", "", "its module 'nowhere' is not there. Run: pip install --force"),
    "no_attribute": ("m:Acne", "class Acme: pass", "there is no 'Acne'. Did you mean 'Acme'?"),
    "no_value": ("just words", "", "its entry point is 'just words', not 'module:Class'."),
    "no_class": ("m:acme", "acme = {}", "'m:acme' is a dict, not a class."),
    "no_api": ("m:Acme", "class Acme: pass", "doesn't state its plugin API version, as in 'api = 1'."),
    "text_api": ("m:Acme", "class Acme: api = '1'", "doesn't state its plugin API version, as in 'api = 1'."),
    "new_api": (
        "m:Acme",
        "class Acme: api = 2",
        "plugin API 2, this turnout has 1. Run: pip install --upgrade turnout",
    ),
    "old_api": (
        "m:Acme",
        "class Acme: api = 0",
        "plugin API 0, this turnout has 1. Run: pip install --upgrade acme",
    ),
    "no_name": ("m:Acme", "class Acme: api = 1", "'m:Acme' has no 'name' and no 'settings'."),
    "no_base": (
        "m:Acme",
        "class Acme: api, name, settings = 1, 'A', 5",
        "is not a subclass of turnout.Destination.",
    ),
    "no_rule": (
        "m:Acme",
        "from turnout.destination import Destination\nclass Acme(Destination): name = 'A'",
        "'m:Acme' has no method that is marked with @turnout.rule.",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_the_fix(install: Install, case: str) -> None:
    """Whatever is broken: the sentence names plugin, distribution and version, says what and what to do."""
    value, source, expected = BROKEN[case]
    module = f"acme_{case}"
    value, expected = (
        value.replace("m:", f"{module}:"),
        expected.replace("'m:", f"'{module}:").replace("'m'", f"'{module}'"),
    )
    install("acme-plugin", "1.2", f"[turnout.destinations]\nbroken = {value}\n", {module: source})
    sentence = problem("broken")
    assert sentence.startswith("The destination plugin 'broken' of acme-plugin 1.2 can't be loaded: ")
    assert expected in sentence
    assert sentence.endswith(("for the author of acme-plugin to mend.", "tell its author.", "acme-plugin", "turnout"))


def test_a_broken_plugin_hurts_no_other(install: Install) -> None:
    """Beside one that can't be imported and one that can't be listed, a good one loads."""
    install("broken-one", "1", "[turnout.destinations]\nbroken = acme_broken:Acme\n", {"acme_broken": "1 / 0"})
    install("broken-two", "1", "[turnout.destinations]\nno equals sign\n")
    install("good-plugin", "1", "[turnout.destinations]\ngood = good_beside:Acme\n", {"good_beside": GOOD})
    assert load(DESTINATIONS, "good").name == "Acme"
    assert "entry_points.txt can't be read" in (check(named("broken-two")) or "")


def test_two_distributions_with_one_name_are_refused(install: Install) -> None:
    """Both are named with version and place, and how to get rid of one."""
    install("acme-a", "1.0", "[turnout.destinations]\nacme = acme_a:A\n")
    install("acme-b", "2.0", "[turnout.destinations]\nacme = acme_b:B\n")
    assert problem("acme") == (
        "The destination plugin 'acme' is offered more than once, by acme-a 1.0 (acme_a:A) and "
        "acme-b 2.0 (acme_b:B). Uninstall one of them, as in: pip uninstall acme-b"
    )


def test_of_turnout_and_another_the_other_is_to_go(install: Install) -> None:
    """Whichever is listed first."""
    install("acme-a", "1.0", "[turnout.destinations]\namplitude = acme_a:A\n")
    assert problem("amplitude").endswith("Uninstall one of them, as in: pip uninstall acme-a")


def test_the_first_version_on_the_path_is_the_one(install: Install, tmp_path: Path) -> None:
    """The same distribution further down sys.path is not a rival, it is not there at all."""
    install("acme-plugin", "2.0", "[turnout.destinations]\nacme = acme_two:A\n")
    old = tmp_path / "old" / "acme_plugin-1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Name: acme-plugin\nVersion: 1.0\n")
    (old / "entry_points.txt").write_text("[turnout.destinations]\nacme = acme_one:A\n")
    sys.path.append(str(old.parent))
    try:
        found = [plugin for plugin in installed(DESTINATIONS) if plugin.name == "acme"]
    finally:
        sys.path.remove(str(old.parent))
    assert [plugin.version for plugin in found] == ["2.0"]


def test_metadata_without_a_name_is_survived(install: Install, tmp_path: Path) -> None:
    """A distribution whose metadata is empty is listed with words in place of the name."""
    install(
        "nameless",
        "1",
        "[turnout.destinations]\nnameless = nameless_plugin:Acme\n",
        {"nameless_plugin": GOOD},
    )
    (tmp_path / "nameless-1.dist-info" / "METADATA").write_text("")
    installed(DESTINATIONS, refresh=True)
    assert named("nameless").distribution == "a distribution without a name"
    assert load(DESTINATIONS, "nameless").name == "Acme"


def test_sources_need_settings_and_read(install: Install) -> None:
    """A source states its API version and has a settings schema and `read`."""
    source = f"class Feed:\n    api = {PLUGIN_API}\n    settings = object"
    install("feed", "1", "[turnout.sources]\nfeed = feed_source:Feed\n", {"feed_source": source})
    assert "'feed_source:Feed' has no 'read'." in problem("feed", SOURCES)


def test_the_own_plugins_are_installed_like_any_other() -> None:
    """The bundled hook is found through the same entry points; every group has a word."""
    assert load(HOOKS, "filter") is EventFilter
    assert sorted(GROUPS.values()) == ["destination", "hook", "simulator", "source"]


def test_a_hook_plugin_is_made_with_its_settings(install: Install) -> None:
    """Settings are checked under the hook's name; `${NAME}` comes from the environment."""
    hook = load_hook("filter", {"blockEvents": ["Heartbeat"]}, {})
    assert isinstance(hook, EventFilter)
    assert hook.config.block_events == ["Heartbeat"]
    with pytest.raises(SettingsError, match=r"hook 'filter': 'block' is not a setting"):
        load_hook("filter", {"block": []})


def test_a_hook_plugin_without_settings_takes_none(install: Install) -> None:
    """Such a hook is made with nothing, and settings for it are an error."""
    source = """
        from turnout.hooks import hookimpl

        class Quiet:
            @hookimpl
            def turnout_settled(self, outcome):
                "Nothing."

        class Mute:
            pass
    """
    points = "[turnout.hooks]\nquiet = quiet_hook:Quiet\nmute = quiet_hook:Mute\n"
    install("quiet", "1", points, {"quiet_hook": source})
    assert type(load_hook("quiet", {})).__name__ == "Quiet"
    with pytest.raises(ConfigError, match="hook 'quiet': It takes no settings: take out loud"):
        load_hook("quiet", {"loud": True})
    with pytest.raises(PluginError, match=r"has no method that is marked with @turnout\.hookimpl"):
        load_hook("mute", {})


def test_a_predicate_may_ask_for_more(install: Install) -> None:
    """`accepts` has the last word on what was loaded."""
    install("good-plugin", "1", "[turnout.destinations]\ngood = good_asked:Acme\n", {"good_asked": GOOD})
    with pytest.raises(PluginError, match=r"can't be loaded: it is not blue\. That is for the author of good-plugin"):
        load(DESTINATIONS, "good", accepts=lambda loaded: "it is not blue")
    assert check(named("good"), accepts=lambda loaded: None) is None
