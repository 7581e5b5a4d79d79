"""The source side for those who write one: what a payload becomes, whatever it is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnout import (
    Code,
    ConfigError,
    PluginError,
    Refusal,
    Source,
    SourceSettings,
    decoded,
    events_of,
    load_source,
    wanted,
)
from turnout.cli import main
from turnout.config import load_config
from turnout.settings import text
from turnout.source import check_source, configured_source, unpacked


class PlainSettings(SourceSettings):
    """One secret."""

    token = text("The token.", secret=True)


class Plain(Source):
    """Gives back the rows of its payload."""

    name = "Plain"
    settings = PlainSettings

    def read(self, payload: Any) -> Iterator[Any]:
        for row in wanted(decoded(payload), list, "", "The payload"):
            if row == "burst":
                raise LookupError(f"with {self.config.token}")
            yield row


def test_events_carry_the_id_of_their_source() -> None:
    """As `projectId`, by which they are routed; a write key that stands in the payload is left out."""
    row = {"type": "track", "writeKey": "wk-7", "projectId": "other"}
    assert list(events_of(Plain({}, id="mine"), [row])) == [{"type": "track", "projectId": "mine"}]
    assert row == {"type": "track", "writeKey": "wk-7", "projectId": "other"}


@pytest.mark.parametrize(
    ("payload", "code", "path"),
    [
        (b"", "bad_request", None),
        (b"no json", "bad_request", None),
        (b"\xff\xfe[\x00]\x00", "bad_request", None),
        ("\ud800", "bad_request", None),
        (b"[1e999]", "number_out_of_range", "/0"),
        (b"[" * 100_000, "nesting_too_deep", None),
        (b"{}", "field_invalid", ""),
        ({1: 2}, "field_invalid", ""),
        ([{"a": float("nan")}], "number_out_of_range", "/0/a"),
        (gzip.compress(b"[]", mtime=0)[:-5], "bad_request", None),
        (b"\x1f\x8bgzip it is not", "bad_request", None),
    ],
)
def test_a_payload_that_cannot_be_read_is_one_refusal(payload: Any, code: str, path: str | None) -> None:
    """Never an exception: a code, a sentence and, where there is one, the place."""
    [refusal] = events_of(Plain({}), payload)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason.code, refusal.reason.path) == (code, path)


def test_what_came_before_a_failing_plugin_stays() -> None:
    """The plugin's exception is a refusal that names it; a secret in its words is masked."""
    event, refusal = events_of(
        Plain({"token": "tok-123456"}, id="mine"), [{"type": "page"}, "burst", {"type": "track"}]
    )
    assert event == {"type": "page", "projectId": "mine"}
    assert isinstance(refusal, Refusal)
    assert refusal.reason.code is Code.PLUGIN_RAISED
    assert "'mine' raised LookupError" in refusal.reason.message
    assert "tok-123456" not in refusal.reason.message


def test_what_is_no_event_is_a_refusal_and_the_rest_goes_on() -> None:
    """A source that gives a text instead of a mapping is told so."""
    refusal, event = events_of(Plain({}, id="mine"), ["row", {"type": "page"}])
    assert isinstance(refusal, Refusal)
    assert refusal.reason.code is Code.PLUGIN_BAD_RESULT
    assert event == {"type": "page", "projectId": "mine"}


def test_gzip_is_recognised() -> None:
    """Also several files one behind another; a bomb and what is behind the end are refused."""
    assert decoded(gzip.compress(b'{"a":1}')) == {"a": 1}
    assert decoded(gzip.compress(b'{"a"') + gzip.compress(b":1}")) == {"a": 1}
    with pytest.raises(Refusal, match="more than 1,000 bytes"):
        unpacked(gzip.compress(b" " * 2000), 1000)
    with pytest.raises(Refusal, match="more than 1,000 bytes"):
        unpacked(gzip.compress(b" " * 600) * 2, 1000)
    with pytest.raises(Refusal, match="gzip"):
        decoded(gzip.compress(b"{}") + b"more")


@pytest.mark.parametrize(
    ("value", "kind", "said"), [(7, str, "a text"), ("x", list, "a list"), (None, dict, "an object")]
)
def test_a_wrong_type_is_told_with_its_place(value: object, kind: type, said: str) -> None:
    """`wanted` gives back what has the right type, and refuses anything else."""
    with pytest.raises(Refusal, match=f"The thing must be {said}") as caught:
        wanted(value, kind, "/a/0", "The thing")
    assert caught.value.reason.path == "/a/0"
    assert wanted("seven", str, "/a/0", "The thing") == "seven"


def test_sources_are_loaded_by_name() -> None:
    """An unknown name is a PluginError with a suggestion."""
    assert load_source("flagsmith").name == "Flagsmith"
    with pytest.raises(PluginError, match="Did you mean 'flagsmith'"):
        load_source("flagsmit")


def test_a_source_of_the_configuration(tmp_path: Path) -> None:
    """Its settings come from its table; one that sends calls reads nothing, and an unknown id is told."""
    path = tmp_path / "turnout.toml"
    path.write_text(
        '[sources.web]\nwrite_key = "wk-1"\n[sources.flags]\nplugin = "flagsmith"\nflag_prefix = "flag: "\n'
    )
    configuration = load_config(path)
    made = configured_source("flags", configuration, {"flagPrefix": "other: "})
    assert (made.id, made.config.flag_prefix) == ("flags", "other: ")
    with pytest.raises(ConfigError, match="'web' sends calls to the gateway"):
        configured_source("web", configuration)
    with pytest.raises(ConfigError, match=r"no source 'flag'\. Did you mean 'flags'"):
        configured_source("flag", configuration)


def test_turnout_plugins_lists_sources() -> None:
    """With their distribution, and what is wrong with them."""
    done = CliRunner().invoke(main, ["plugins", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout) if row["kind"] == "source"}
    assert rows["flagsmith"]["distribution"] == "turnout"
    assert rows["flagsmith"]["problem"] is None


def test_a_source_that_is_none_is_told() -> None:
    """A class that doesn't come from `Source` is named as such by whoever loads it."""
    assert check_source(Plain) is None
    assert check_source(dict) == "it is no subclass of turnout.Source"
