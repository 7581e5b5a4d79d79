"""The configuration file: what it may hold, what wins, and what each mistake is told."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from turnout.config import SECTIONS, Configuration, Instance, SendSettings, load_config
from turnout.errors import ConfigError
from turnout.settings import describe

GOOD = """
[send]
attempts = 7

[hooks.filter]
block_events = ["Heartbeat"]

[destinations.main]
plugin = "amplitude"
api_key = "very-secret"

[destinations.second-one]
plugin = "amplitude"
apiKey = "${OTHER}"
"""


def load(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> Configuration:
    path = folder / "turnout.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path, environ or {})


def problem(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> str:
    """Return the sentence for a bad file, without the file's name in front."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return str(caught.value).replace(f"{folder / 'turnout.toml'}", "FILE")


def test_a_good_file_is_read_in_its_order(tmp_path: Path) -> None:
    """Destinations and hooks come in the file's order with their settings as written; `send` is complete."""
    found = load(tmp_path, GOOD)
    assert list(found.destinations.items()) == [
        ("main", ("amplitude", {"api_key": "very-secret"})),
        ("second-one", ("amplitude", {"apiKey": "${OTHER}"})),
    ]
    assert found.hooks == {"filter": {"block_events": ["Heartbeat"]}}
    assert dict(found.send) == {"timeout_seconds": 10.0, "attempts": 7}
    assert found.path == tmp_path / "turnout.toml"


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    """Nothing is required; a byte order mark and Windows line ends are no obstacle."""
    for text in ("", b"\xef\xbb\xbf[send]\r\nattempts = 5\r\n"):
        found = load(tmp_path, text)
        assert (found.destinations, found.hooks, found.send.attempts) == ({}, {}, 5)


def test_a_configuration_never_shows_settings(tmp_path: Path) -> None:
    """Before a plugin has said what is secret, no value of a destination or hook is shown."""
    found = load(tmp_path, GOOD)
    for shown in (repr(found), str(found), repr(found.destinations), f"{found.destinations['main']}"):
        assert "very-secret" not in shown
        assert "api_key" in shown or "apiKey" in shown
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_destination_is_found_by_id(tmp_path: Path) -> None:
    """An unknown id gets a suggestion, and all that there are."""
    found = load(tmp_path, GOOD)
    assert found.destination("main") == Instance("amplitude", {"api_key": "very-secret"})
    with pytest.raises(ConfigError, match=r"no destination 'mian'\. Did you mean 'main'\? There are: main, sec"):
        found.destination("mian")
    with pytest.raises(ConfigError, match=r"There are: none\."):
        load(tmp_path, "").destination("main")


AN_ID = "an id has small letters, digits, '-' and '_', and starts with a letter or digit."
ATTEMPTS = "FILE, section [send]: Setting 'attempts' must be a whole number from 1 to 100, not "
TIMEOUT = "FILE, section [send]: Setting 'timeout_seconds' must be a number from 0.001 to 3600.0, not "
NO_NAME = "FILE: [destinations.x]: 'plugin' must be the name of a plugin, not "
BAD = [
    (b"a = '\xff'", "FILE: is not UTF-8 text (byte 5)."),
    ("a = " + "[" * 5000, "FILE: is not valid TOML: nested too deeply."),
    ("[destination.x]", "FILE: 'destination' is not a section. Did you mean 'destinations'?"),
    (
        "[gate]",
        "FILE: 'gate' is not a section. Did you mean 'gateway'?",
    ),
    (
        "[sources.web]\ndestinations = 'x'",
        "FILE: [sources.web]: 'destinations' must be a list of ids; without it, all are meant.",
    ),
    ("[sources.web]\ndestinations = ['x']", "FILE: [sources.web]: there is no destination 'x'. There are: none."),
    ("[sources.web]\nplugin = 5", "FILE: [sources.web]: 'plugin' must be the name of a plugin, not 5."),
    ("send = 3", "FILE: 'send' must be a table, written [send], not 3."),
    ("hooks = ['filter']", "FILE: 'hooks' must be a table, written [hooks], not a list."),
    ("[[send]]", "FILE: 'send' must be a table, written [send], not a list."),
    (
        "destinations.plugin = 'a'",
        "FILE: 'destinations.plugin' must be a table, written [destinations.<id>], not a text.",
    ),
    ("hooks.filter = true", "FILE: 'hooks.filter' must be a table, written [hooks.<id>], not true."),
    (
        "[destinations.x]\napi_key = 's3cret'",
        "FILE: [destinations.x] has no 'plugin': add the plugin's name, as in plugin = \"x\".",
    ),
    ("[destinations.x]\nplugin = 5", f"{NO_NAME}5."),
    ("[destinations.x]\nplugin = ''", f"{NO_NAME}''."),
    ("[destinations.Main]\nplugin = 'a'", f"FILE: [destinations.'Main']: {AN_ID}"),
    ("[destinations.'']\nplugin = 'a'", f"FILE: [destinations.'']: {AN_ID}"),
    ("[send]\nattempt = 3", "FILE, section [send]: 'attempt' is not a setting. Did you mean 'attempts'?"),
    ("[send]\nattempts = '3'", f"{ATTEMPTS}'3'."),
    ("[send]\nattempts = 1979-05-27", f"{ATTEMPTS}a date."),
    ("[send]\nattempts = 0", f"{ATTEMPTS}0."),
    ("[send]\ntimeout_seconds = inf", f"{TIMEOUT}inf."),
    ("[send]\ntimeout_seconds = true", f"{TIMEOUT}true."),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=range(len(BAD)))
def test_a_mistake_in_the_file_gets_one_sentence(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """Each mistake names the file and the key (or line and column), and shows no value of a destination."""
    assert problem(tmp_path, text) == sentence


def test_bad_toml_is_told_its_line_and_column(tmp_path: Path) -> None:
    """The parser's own words, which have line and column, stand behind the file's name."""
    sentence = problem(tmp_path, "[send]\nattempts = 3 4")
    assert sentence.startswith("FILE: is not valid TOML: ")
    assert sentence.endswith("(at line 2, column 14).")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No file, or a folder in its place: one sentence, no traceback."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file\."):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"can't be read: Is a directory\."):
        load_config(str(tmp_path))


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """TURNOUT_SEND_* is read as the number that it spells; other TURNOUT_ variables may be anybody's."""
    environ = {"TURNOUT_SEND_ATTEMPTS": "2", "TURNOUT_SEND_TIMEOUT_SECONDS": "0.5", "TURNOUT_ACME_KEY": "k"}
    found = load(tmp_path, GOOD, environ)
    assert (found.send.attempts, found.send.timeout_seconds) == (2, 0.5)
    assert found.send.given == {"attempts", "timeout_seconds"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TURNOUT_SEND_ATTEMPT", "3", "is not a setting. Did you mean 'TURNOUT_SEND_ATTEMPTS'?"),
        ("TURNOUT_SEND_ATTEMPTS", "many", "'attempts' must be a whole number from 1 to 100, not 'many'."),
        ("TURNOUT_SEND_ATTEMPTS", "", "'attempts' must be a whole number from 1 to 100, not ''."),
        ("TURNOUT_SEND_ATTEMPTS", "1_0", "'attempts' must be a whole number from 1 to 100, not '1_0'."),
        ("TURNOUT_SEND_ATTEMPTS", "true", "'attempts' must be a whole number from 1 to 100, not true."),
        ("TURNOUT_SEND_ATTEMPTS", "0", "'attempts' must be a whole number from 1 to 100, not 0."),
        ("TURNOUT_SEND_TIMEOUT_SECONDS", "nan", "a number from 0.001 to 3600.0, not 'nan'."),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    """The variable is named, not the file, and the value gets the same checks as in the file."""
    found = problem(tmp_path, GOOD, {variable: value})
    assert found.startswith(f"The environment variable {variable}")
    assert found.endswith(sentence)


def test_the_sections_can_be_described() -> None:
    """Documentation is made from the same schemas that check the file."""
    assert SECTIONS["send"] is SendSettings
    assert [entry.name for entry in describe(SendSettings)] == ["timeout_seconds", "attempts"]
    assert all(entry.doc for entry in describe(SendSettings))
