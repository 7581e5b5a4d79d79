"""The documentation says what the code does, ours and a third party's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnout import ITEMS, Batch, Destination, Endpoint, Settings, form_body, json_body, rule, setting
from turnout.cli import main
from turnout.docs import describe_destination, destination_page, rule_ids
from turnout.settings import choice, flag, integer, text

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "cases"


def docs(*words: str | Path) -> tuple[int, str]:
    """Return the exit code of `turnout docs` and all that it says."""
    done = CliRunner().invoke(main, ["docs", *map(str, words)])
    return done.exit_code, done.output


def written(name: str, *words: str | Path) -> Any:
    """Return the object that `turnout docs --json` writes."""
    code, told = docs(name, "--json", *words)
    assert code == 0, told
    return json.loads(told)


def test_generated_pages_are_up_to_date() -> None:
    """Every generated page equals what the code makes now; `make docs` writes them."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rule_ids_reads_ranges() -> None:
    """A docstring may name rules one by one, as a range, or shortened."""
    assert rule_ids("AMP-CTX-01, AMP-PAGE-04 to AMP-PAGE-06 and AMP-REV-02 to -03, AMP-ORDER-05, -07.") == [
        "AMP-CTX-01",
        "AMP-PAGE-04",
        "AMP-PAGE-05",
        "AMP-PAGE-06",
        "AMP-REV-02",
        "AMP-REV-03",
        "AMP-ORDER-05",
        "AMP-ORDER-07",
    ]


def test_the_page_of_amplitude() -> None:
    """Settings in both spellings, rules with condition and ids, fields, endpoints with limits and answers, examples."""
    code, page = docs("amplitude", "--cases", CASES)
    assert code == 0
    assert "| `enable_alias` | `sendAlias` | true or false | `false` | SBIA |" in page
    assert "| `ordered` | track (if `is_order`) | SB | `not track_products_once` |" in page
    assert "AMP-ORDER-01, AMP-ORDER-02" in page
    assert "| `context.os.name` | `os_name` | As it is. | AMP-CTX-03 |" in page
    keys = "| Basic `api_key`, `secret_key` | `endpoint` in the URL |"
    assert f"{keys} 100 items, 1,000,000 bytes | none | User deletion" in page
    assert "| `deletions` | Judge users that are to be deleted together:" in page
    assert "becomes POST `https://amplitude.com/api/2/deletions/users`:" in page


def test_every_rule_of_amplitude_has_an_example() -> None:
    """For each rule there is a case in which it runs, and its plan is what the case's snapshot holds."""
    told = written("amplitude", "--cases", CASES)
    shown = {rule for example in told["examples"] for rule in example["rules"]}
    assert shown == {rule["id"] for rule in told["rules"]}
    for example in told["examples"]:
        snapshot = CASES / "amplitude" / "__snapshots__" / f"{example['name']}.json"
        assert example["plans"] == json.loads(snapshot.read_text(encoding="utf-8"))


def test_the_json_keeps_its_shape() -> None:
    """What scripts rely on: the format's number, and the keys of everything in it."""
    told = written("amplitude", "--cases", CASES)
    assert (told["format"], told["plugin"], told["name"], told["distribution"]) == (
        1,
        "amplitude",
        "Amplitude",
        "turnout",
    )
    keys = {name: list(told[name][0]) for name in ("settings", "rules", "fields", "endpoints", "examples")}
    assert keys == {
        "settings": [
            "name", "key", "type", "default", "choices", "secret", "required", "doc", "platforms", "rules", "requires",
        ],
        "rules": ["id", "calls", "platforms", "settings", "by_settings", "events", "aside", "doc", "rules"],
        "fields": ["sources", "targets", "doc", "rules"],
        "endpoints": [
            "name", "method", "url", "url_by_settings", "url_settings", "content_type", "body_settings", "gzip",
            "gzip_by_settings", "auth", "auth_settings", "headers", "header_settings", "items", "bytes", "item_bytes",
            "linger_ms", "limits_by_settings", "keyed", "answers", "doc",
        ],
        "examples": ["name", "doc", "rules", "settings", "events", "plans"],
    }  # fmt: skip
    assert list(told)[:9] == [
        "format", "plugin", "name", "distribution", "version", "api", "doc", "ignored", "settings",
    ]  # fmt: skip


class PlacedSettings(Settings):
    """Settings for every place of a request."""

    tenant = text("Whose data.", required=True)
    shard = choice("Where.", ["east", "west"], default="east")
    busy = flag("Whether there is another path.")
    token = text("The token.", secret=True, default="hunter3-default")
    tag = text("A tag.")
    unused = integer("Nothing reads it.", default=3)


class Placed(Destination):
    """A vendor that wants its settings everywhere."""

    name = "Placed"
    settings = PlacedSettings
    by_template = Endpoint(
        "PUT",
        "https://placed.example/{tenant}/{item.id}?tag={tag}&again={tenant}",
        body=json_body({"meta": [{"tag": setting("tag")}, setting("shard")], "token": setting("token"), "all": ITEMS}),
        headers={"X-Token": setting("token"), "x-kind": "odd", "x-tenant": setting("tenant")},
    )
    by_function = Endpoint(
        "POST",
        lambda config: f"https://{config.shard}.placed.example/{'busy' if config.busy else ''}?{config['tag']}",
        body=form_body({"token": setting("token"), "all": ITEMS}),
    )


def test_where_settings_stand_in_a_request_is_told() -> None:
    """In the URL, in which header, in the body: what a reader of an access log or a proxy has to know."""
    told = {one.name: one for one in describe_destination(Placed, "placed").endpoints}
    assert told["by_template"].url_settings == ["tenant", "tag"]
    assert told["by_template"].header_settings == {"X-Token": "token", "x-tenant": "tenant"}
    assert told["by_template"].body_settings == ["tag", "shard", "token"]
    assert sorted(told["by_function"].url_settings) == ["busy", "shard", "tag"]
    assert (told["by_function"].header_settings, told["by_function"].body_settings) == ({}, ["token"])
    page = destination_page(Placed, "placed")
    places = "`tenant`, `tag` in the URL; `token` in the header `X-Token`; `tenant` in the header `x-tenant`; "
    assert f"| {places}`tag`, `shard`, `token` in the body |" in page
    assert "hunter3" not in page


class OddSettings(Settings):
    """Settings that a page has to be careful with."""

    project = text("The project.", required=True)
    area = choice("The area.", ["north", "south"], required=True)
    token = text("The token.", secret=True, default="hunter2-default")


class Odd(Destination):  # noqa: D101 - as of an author who documents nothing
    name = "Odd|One"
    settings = OddSettings
    by_project = Endpoint(
        "POST", lambda config: f"https://{config.project}.{config.area}.example", body=json_body(ITEMS)
    )
    strict = Endpoint("PUT", lambda config: {"p-1": "https://one.example"}[config.project], body=json_body(ITEMS))
    template = Endpoint(
        "POST", "https://odd.example/{project}", body=form_body({"all": ITEMS}), batch=Batch(1, 10, 2500, 7), gzip=True
    )
    limited = Endpoint(
        "POST",
        "https://odd.example",
        body=json_body(ITEMS),
        batch=lambda config: Batch(config.limit),
        gzip=lambda config: bool(config.token),
    )

    @rule("track", event=lambda name: name == "Odd")
    def odd(self, event: Any) -> Any:
        """Nothing | much."""

    @rule("page", when=lambda config: config.project == "p-1", platforms=("ios",))
    def other(self, event: Any) -> Any:
        pass


def test_a_destination_that_says_little() -> None:
    """Without docstrings, installation or settings that its functions can work with there is a page all the same."""
    told = describe_destination(Odd, "odd")
    assert (told.doc, told.distribution, told.version, told.fields, told.examples) == ("", "", "", [], [])
    urls = {one.name: (one.url, one.url_by_settings) for one in told.endpoints}
    assert urls == {
        "by_project": ("https://{project}.north.example", True),
        "strict": (None, True),
        "template": ("https://odd.example/{project}", False),
        "limited": ("https://odd.example", False),
    }
    limits = {one.name: (one.items, one.bytes, one.linger_ms, one.limits_by_settings) for one in told.endpoints}
    assert limits["template"] == (1, 10, 2500, False)
    assert limits["limited"] == (None, None, None, True)
    page = destination_page(Odd, "odd")
    assert "# Odd|One" in page
    assert "| PUT (by its settings) |" in page
    assert "| 1 item, 10 bytes, 7 an item, waits 2.5 s for others |" in page
    assert [(one.gzip, one.gzip_by_settings) for one in told.endpoints][-3:] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert "| application/x-www-form-urlencoded, gzip |" in page
    assert "| application/json, gzip by its settings |" in page
    assert "| `odd` | track (if `<lambda>`) | SBIA | always | Nothing \\| much. |" in page
    assert "| `other` | page | I | by its settings |" in page
    assert "Platforms: S server" in page


def test_a_secret_is_on_no_page() -> None:
    """Neither a secret's default is shown, nor, in an example, the one that a case gives."""
    assert "hunter2" not in destination_page(Odd, "odd")
    told = written("amplitude", "--cases", CASES)
    assert {example["settings"]["api_key"] for example in told["examples"]} == {"***"}


@pytest.fixture
def shipped(widget: Path) -> Path:
    """The package of the destination `widget`, as a folder that ships cases; its folder of cases."""
    (widget / "turnout_widget").mkdir()
    (widget / "turnout_widget.py").rename(widget / "turnout_widget" / "__init__.py")
    folder = widget / "turnout_widget" / "cases" / "widget"
    folder.mkdir(parents=True)
    return folder


def save(folder: Path, name: str, **told: Any) -> None:
    """Write a case."""
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


def track(message_id: str, **properties: Any) -> dict[str, Any]:
    """Return a track call."""
    return {
        "type": "track", "messageId": message_id, "userId": f"user-{message_id}", "event": f"Event {message_id}",
        "timestamp": "2026-01-02T03:04:05Z", "properties": properties,
    }  # fmt: skip


def test_cases_that_a_package_ships_are_its_examples(shipped: Path) -> None:
    """A folder `cases` in a package needs no option; its secrets are masked wherever they stand."""
    save(shipped, "told", doc="Tells tok-77.", settings={"token": "tok-77"}, event=track("m-1", note="tok-77 it is"))
    [example] = written("widget")["examples"]
    assert (example["name"], example["rules"], example["doc"]) == ("told", ["tracked"], "Tells ***.")
    assert example["settings"] == {"token": "***"}
    assert example["events"][0]["properties"] == {"note": "*** it is"}
    code, page = docs("widget")
    assert code == 0
    assert "tok-77" not in page
    assert '### `told`\n\nTells ***.\n\nRules: `tracked`. Settings: `{"token": "***"}`.' in page


def test_shipped_cases_without_pyyaml_cost_only_the_examples(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where PyYAML is missing, a package whose cases are YAML has its page all the same, and a warning says why."""
    (shipped / "told.yaml").write_text("settings: {token: tok-78}\nevent: {type: track}\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "yaml", None)
    told = written("widget")
    assert (told["plugin"], told["examples"]) == ("widget", [])
    [warning] = caplog.messages
    assert warning.startswith("The examples of 'widget' are left out: ")
    assert "pip install pyyaml" in warning


def test_a_plain_case_is_preferred(shipped: Path) -> None:
    """Of several cases for a rule, one with few events and few settings is shown."""
    save(shipped, "a_many", settings={"token": "t-1"}, events=[track("m-1"), track("m-2")])
    save(shipped, "b_settings", settings={"token": "t-2", "pages": True}, event=track("m-3"))
    save(shipped, "c_plain", settings={"token": "t-3"}, event=track("m-4"))
    assert [example["name"] for example in written("widget")["examples"]] == ["c_plain"]


def test_several_events_and_a_batch(shipped: Path) -> None:
    """Every event of a case stands on the page, with its own plan; a batch has as many plans as events."""
    save(
        shipped,
        "two",
        settings={"token": "t-1"},
        events=[track("m-1"), {"type": "group", "groupId": "g", "userId": "u"}],
    )
    page = docs("widget")[1]
    assert page.index('"Event m-1"') < page.index("becomes POST") < page.index('"group"') < page.index("is dropped:")
    save(shipped, "two", settings={"token": "t-1"}, events=[{"batch": [track("m-2"), track("m-3")]}])
    page = docs("widget")[1]
    assert page.count("becomes POST") == 2


def test_backticks_in_an_example(shipped: Path) -> None:
    """What an event holds can't end the block that it is shown in."""
    save(shipped, "ticks", settings={"token": "t-1"}, event=track("m-1", code="````"))
    assert "`````json\n" in docs("widget")[1]


def test_cases_are_found_from_inside_their_folder(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--cases .` works in the folder of the cases as from anywhere else."""
    save(shipped, "inside", settings={"token": "t-1"}, event=track("m-1"))
    monkeypatch.chdir(shipped)
    assert [example["name"] for example in written("widget", "--cases", ".")["examples"]] == ["inside"]


def test_a_shipped_folder_without_cases_is_no_mistake(shipped: Path) -> None:
    """A package may have a folder `cases` for something else; a folder that a user names must have some."""
    assert written("widget")["examples"] == []
    assert docs("widget", "--cases", shipped.parent) == (
        2,
        f"turnout: {shipped.parent}: there is no case of 'widget' in it. "
        "A case is a file cases/widget/<name>.json with an event.\n",
    )


def test_a_broken_case_is_named(shipped: Path) -> None:
    """A case that can't be read is one sentence with its file."""
    save(shipped, "wrong", setting={})
    code, told = docs("widget")
    assert code == 2
    assert told == f"turnout: {shipped / 'wrong.json'}: 'setting' is no key of a case. Did you mean 'settings'?\n"
    save(shipped, "wrong", settings={"tokn": "t-1"}, event=track("m-1"))
    code, told = docs("widget")
    assert code == 2
    assert told.startswith(f"turnout: {shipped / 'wrong.json'}: destination 'widget': 'tokn' is not a setting.")
    assert told.splitlines()[1:] == []


def test_out_writes_a_file(tmp_path: Path) -> None:
    """`--out` writes what standard output would have had; a place that can't be written is a sentence."""
    out = tmp_path / "amplitude.md"
    assert docs("amplitude", "--out", out) == (0, f"{out}: written.\n")
    assert out.read_text(encoding="utf-8") == docs("amplitude")[1]
    away = tmp_path / "nowhere" / "amplitude.md"
    assert docs("amplitude", "--out", away) == (2, f"turnout: {away}: can't be written: No such file or directory.\n")


def test_a_destination_that_is_not_there(widget: Path) -> None:
    """An unknown name gets a suggestion, and one that can't be loaded its package and what mends it."""
    code, told = docs("amplitud")
    assert code == 2
    assert told.startswith("turnout: There is no destination plugin 'amplitud'. Did you mean 'amplitude'?")
    (widget / "turnout_widget.py").write_text("import no_such_module", encoding="utf-8")
    code, told = docs("widget")
    assert code == 2
    assert "of turnout-widget 3.2.1 can't be loaded: it needs the module 'no_such_module'" in told
    assert len(told.splitlines()) == 1


def test_cases_that_are_not_there() -> None:
    """A folder that isn't there is one sentence."""
    assert docs("amplitude", "--cases", "no-such-folder") == (
        2,
        "turnout: no-such-folder: there is no such folder of cases.\n",
    )


def test_the_page_of_a_source() -> None:
    """Its settings with their defaults, and the options of its pull as they are written; as JSON the same."""
    done = CliRunner().invoke(main, ["docs", "flagsmith"])
    assert done.exit_code == 0
    assert done.stdout.startswith("# Flagsmith\n")
    assert "| `environment_key` | text, secret |" in done.stdout
    assert "| `--identifier` | a list of texts, required |" in done.stdout
    told = json.loads(CliRunner().invoke(main, ["docs", "flagsmith", "--json"]).stdout)
    assert (told["format"], told["plugin"], told["pulls"]) == (1, "flagsmith", True)
    assert [one["name"] for one in told["options"]] == ["identifier", "transient", "unchanged"]
    assert told["examples"] == []


def test_the_examples_of_a_source_are_cases() -> None:
    """One without settings, and one for each setting that a case has, with what is read of it."""
    words = ("docs", "flagsmith", "--cases", str(CASES))
    page = CliRunner().invoke(main, words).stdout
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["examples"]
    assert found[0]["settings"] == {}
    assert {name for one in found for name in one["settings"]} == {
        "value_rule", "empty_is_no_value", "flag_prefix", "include_traits",
    }  # fmt: skip
    for one in found:
        kept = json.loads((CASES / "flagsmith" / "__snapshots__" / f"{one['name']}.json").read_text(encoding="utf-8"))
        assert (one["events"], one["refused"]) == (kept["events"], kept["refused"])
        assert f"### `{one['name']}`\n\n{one['doc']}\n" in page


def test_an_example_of_a_source_shows_no_secret(tmp_path: Path) -> None:
    """Neither in its settings nor where the payload repeats it."""
    folder = tmp_path / "cases" / "flagsmith"
    folder.mkdir(parents=True)
    payload = {"identifier": "u-1", "flags": [["key", True, "env-key-91"]]}
    case = {"settings": {"environment_key": "env-key-91"}, "payload": payload}
    (folder / "one.json").write_text(json.dumps(case), encoding="utf-8")
    for more in ((), ("--json",)):
        shown = CliRunner().invoke(main, ["docs", "flagsmith", "--cases", str(folder), *more]).stdout
        assert "u-1" in shown
        assert "env-key-91" not in shown


@pytest.mark.parametrize("folder", ["segment", "no_such_folder"])
def test_a_source_without_cases_in_the_folder_is_told(folder: str) -> None:
    """As a destination is."""
    code, said = docs("flagsmith", "--cases", str(CASES / folder))
    assert (code, said.count("\n")) == (2, 1)
    assert "there is no" in said
