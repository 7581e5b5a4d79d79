"""Bad input at every entry: refused with its line or carried unchanged; the other events go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from turnout import Dispatcher, Event, Refusal, load_destination
from turnout.cli import main
from turnout.config import SendSettings
from turnout_amplitude.simulator import AmplitudeSimulator

GOOD = b'{"type": "track", "messageId": "good", "userId": "u-1", "event": "Good"}'


def event(inner: bytes) -> bytes:
    """Return a track call with this text among its properties."""
    return b'{"type": "track", "messageId": "m", "userId": "u-1", "event": "E", "properties": {"p": ' + inner + b"}}"


NEVER = {
    "not json": (b"nonsense", "bad_request"),
    "half an object": (b'{"type": "track", ', "bad_request"),
    "two objects on a line": (GOOD + GOOD, "bad_request"),
    "a number": (b"5", "bad_request"),
    "a text": (b'"track"', "bad_request"),
    "null": (b"null", "bad_request"),
    "true": (b"true", "bad_request"),
    "single quotes": (b"{'type': 'track'}", "bad_request"),
    "a comment": (b"// events", "bad_request"),
    "a trailing comma": (b'{"type": "track",}', "bad_request"),
    "NaN": (event(b"NaN"), "bad_request"),
    "Infinity": (event(b"-Infinity"), "bad_request"),
    "1e999": (event(b"1e999"), "number_out_of_range"),
    "-1e999": (event(b"-1e999"), "number_out_of_range"),
    "a number of 5000 digits": (event(b"9" * 5000), "number_out_of_range"),
    "a leading zero": (event(b"01"), "bad_request"),
    "half a surrogate pair": (event(b'"\\ud800"'), "bad_request"),
    "the other half": (event(b'"\\udc00x"'), "bad_request"),
    "half a pair in a key": (b'{"\\ud800": 1, ' + GOOD[1:], "bad_request"),
    "latin-1": (event(b'"\xfc"'), "bad_request"),
    "utf-8 of half a pair": (event(b'"\xed\xa0\x80"'), "bad_request"),
    "overlong utf-8": (event(b'"\xc0\xaf"'), "bad_request"),
    "a raw control character": (event(b'"a\x01b"'), "bad_request"),
    "a raw tab in a string": (event(b'"a\tb"'), "bad_request"),
    "a nul byte": (b"\x00", "bad_request"),
    "binary": (bytes(range(128, 256)), "bad_request"),
    "utf-16": ("{}".encode("utf-16"), "bad_request"),
    "a deep list": (event(b"[" * 100_000 + b"]" * 100_000), "nesting_too_deep"),
    "a deep object": (event(b'{"a":' * 20_000 + b"1" + b"}" * 20_000), "nesting_too_deep"),
    "65 levels": (event(b"[" * 65 + b"]" * 65), "nesting_too_deep"),
    "an endless opening": (event(b"[" * 50_000), "nesting_too_deep|bad_request"),
    "33 KB": (event(b'"' + b"x" * 33_000 + b'"'), "event_too_large"),
    "17 MB": (event(b'"' + b"x" * 17_000_000 + b'"'), "event_too_large"),
    "10,001 keys": (
        event(b"1, " + b", ".join(b'"k%d": 1' % n for n in range(10_000))),
        "too_many_properties",
    ),
    "an empty batch": (b'{"batch": []}', "empty_batch"),
    "a batch that is none": (b'{"batch": {}}', "bad_request"),
    "a batch of null": (b'{"batch": null}', "bad_request"),
    "a batch in a batch": (b'{"batch": [{"batch": []}]}', "type_not_defined"),
    "a batch of numbers": (b'{"batch": [5]}', "bad_request"),
    "no type": (b"{}", "type_not_defined"),
    "an unknown type": (b'{"type": "trak"}', "type_unknown"),
    "a type that is no text": (b'{"type": ["track"]}', "type_unknown"),
    "an id with a fraction": (b'{"type": "identify", "userId": 1.5}', "id_not_string"),
    "an id that is true": (b'{"type": "identify", "userId": true}', "id_not_string"),
    "an id that is an object": (b'{"type": "identify", "userId": {}}', "id_not_string"),
    "an empty id": (b'{"type": "identify", "userId": ""}', "no_user_anon_id"),
    "a message id of 101": (GOOD.replace(b"good", b"m" * 101), "message_id_too_long"),
    "a time that is none": (GOOD[:-1] + b', "timestamp": "yesterday"}', "timestamp_invalid"),
    "a time that is a number": (GOOD[:-1] + b', "timestamp": 1700000000}', "timestamp_invalid"),
    "30 February": (GOOD[:-1] + b', "timestamp": "2026-02-30T00:00:00Z"}', "timestamp_invalid"),
    "the year 10000": (GOOD[:-1] + b', "timestamp": "10000-01-01T00:00:00Z"}', "timestamp_invalid"),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command line on a file with these bytes."""
    monkeypatch.chdir(tmp_path)
    Path("settings.json").write_text('{"api_key": "key-1234"}', encoding="utf-8")

    def call(command: str, data: bytes, *args: str) -> Any:
        Path("in.jsonl").write_bytes(data)
        known = {
            "plan": ["-d", "amplitude", "--settings", "settings.json"],
            "send": ["--config", "turnout.toml", "--json"],
        }
        result = CliRunner().invoke(main, [command, *known.get(command, ["--json"]), *args, "in.jsonl"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def told(result: Any) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", NEVER)
def test_plan_refuses_it_with_its_line_and_goes_on(run: Callable[..., Any], name: str) -> None:
    """The events before and behind are planned; the refusal has its code, its line and no requests."""
    text, code = NEVER[name]
    result = run("plan", GOOD + b"\n" + text + b"\n" + GOOD)
    first, bad, last = told(result)
    assert (first["outcome"], bad["outcome"], last["outcome"]) == ("planned", "invalid", "planned")
    assert bad["reason"]["code"] in code.split("|")
    assert bad["reason"]["message"].startswith("line 2: ")
    assert bad["requests"] == []
    assert result.exit_code == 1


@pytest.mark.parametrize("name", NEVER)
def test_validate_refuses_it_with_its_line_and_goes_on(run: Callable[..., Any], name: str) -> None:
    """The same code, and the place."""
    text, code = NEVER[name]
    (problem,) = told(run("validate", GOOD + b"\n" + text + b"\n" + GOOD))
    assert problem["code"] in code.split("|")
    assert problem["place"] == "line 2"
    assert len(problem["message"]) < 500


ELEMENTS = [
    name
    for name, (text, _) in NEVER.items()
    if text[:1] in b"{5n" and not name.startswith(("half", "an endless", "two"))
]


@pytest.mark.parametrize("name", [name for name in ELEMENTS if name != "not json"])
def test_it_is_refused_in_an_array_as_well(run: Callable[..., Any], name: str) -> None:
    """As an element of one JSON array, by its number."""
    text, code = NEVER[name]
    first, bad, last = told(run("plan", b"[" + GOOD + b", " + text + b", " + GOOD + b"]"))
    assert (first["outcome"], bad["outcome"], last["outcome"]) == ("planned", "invalid", "planned")
    assert bad["reason"]["code"] in code.split("|")
    assert bad["reason"]["message"].startswith("element 2: ")


@pytest.mark.parametrize(
    "name", [name for name in ELEMENTS if not name.startswith(("a batch", "an empty batch", "17 MB"))]
)
def test_it_is_refused_in_a_batch_as_well(name: str) -> None:
    """As an item of a batch body: refused alone, or with the body where that can't be read at all."""
    text, code = NEVER[name]
    body = (
        b'{"batch": [' + GOOD + b", " + text + b", " + GOOD + b'], "sentAt": "2026-01-01T00:00:00Z", "writeKey": "w"}'
    )
    found = list(Dispatcher({}).read_body(body))
    refusals = [one.reason.code.value for one in found if isinstance(one, Refusal)]
    assert len(refusals) == 1
    assert refusals[0] in [*code.split("|"), "bad_request", "nesting_too_deep"]
    assert len(found) == 3 or found[0].reason.code.value in ("bad_request", "nesting_too_deep")


@pytest.fixture
def amplitude(run: Callable[..., Any]) -> Iterator[AmplitudeSimulator]:
    """An Amplitude on loopback, named in turnout.toml."""
    simulator = AmplitudeSimulator()
    with simulator.serve() as url:
        Path("turnout.toml").write_text(
            f'[destinations.a]\nplugin = "amplitude"\napi_key = "key-1234"\nbase_url = "{url}"\n',
            encoding="utf-8",
        )
        yield simulator


def test_send_refuses_all_of_it_and_delivers_the_rest(run: Callable[..., Any], amplitude: AmplitudeSimulator) -> None:
    """Every bad line once, a good event behind each: as many outcomes as lines, all good ones arrive."""
    good = [GOOD.replace(b'"good"', b'"good-%d"' % number) for number in range(len(NEVER))]
    lines = [line for (text, _), behind in zip(NEVER.values(), good, strict=True) for line in (text, behind)]
    result = run("send", b"\n".join(lines))
    rows = told(result)
    assert [row["outcome"] for row in rows] == ["invalid", "delivered"] * len(NEVER)
    for number, row in enumerate(rows, start=1):
        assert row["outcome"] == "delivered" or row["reason"]["message"].startswith(f"line {number}: ")
    assert {one["insert_id"] for one in amplitude.events} == {f"good-{number}" for number in range(len(NEVER))}
    assert result.exit_code == 1


CARRIED = {
    "2**53 + 1": 2**53 + 1,
    "63 bits": -(2**63),
    "64 bits": 2**64 - 1,
    "beyond 64 bits": 2**64,
    "70 digits": 10**70 + 1,
    "a large double": 1.7976931348623157e308,
    "a tiny double": 5e-324,
    "escaped control characters": "\x00\x01\x1f\x7f\x85",
    "line separators": "\u2028\u2029",
    "a character beyond the BMP": "\U0001f600",
    "unassigned code points": "\uffff\ufffe\U0010ffff",
    "right to left": "\u202eabc",
    "combining": "e\u0301",
    "html": "</script><b>&amp;",
    "empty text": "",
    "empty containers": [{}, []],
    "nulls": [None, {"a": None}],
    "booleans": [True, False],
    "odd keys": {"": 1, " ": 2, "a.b": 3, "$x": 4, "\x1b": 5, "__proto__": 6},
    "sixty levels": json.loads("[" * 60 + "]" * 60),
}


@pytest.mark.parametrize("name", CARRIED)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_it_is_carried_unchanged(bench: Any, name: str, ascii_only: bool) -> None:
    """A property arrives in the request as it was sent, to the last digit."""
    value = CARRIED[name]
    source = {"type": "track", "userId": "u", "event": "E", "properties": {"value": value}}
    text = json.dumps(source, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    (plan,) = bench.dispatcher().plan(text)
    assert plan.outcome.value == "planned"
    (sent,) = json.loads(plan.requests[0].body)["events"]
    assert json.dumps(sent["value"]) == json.dumps(value)


def test_of_duplicate_keys_in_events_the_last_wins(bench: Any) -> None:
    """At every level, ids included."""
    text = (
        b'{"type": "page", "type": "track", "messageId": "m-1", "messageId": "m-2", "userId": "u",'
        b' "event": "A", "event": "B", "properties": {"x": 0},'
        b' "properties": {"a": 1, "a": 2, "b": {"c": 1, "c": 2}}}'
    )
    (plan,) = bench.dispatcher().plan(text)
    assert plan.to_dict()["requests"][0]["body"]["events"] == [{"name": "B", "id": "m-2", "a": 2, "b": {"c": 2}}]


FIELDS = [
    "/type",
    "/event",
    "/name",
    "/category",
    "/userId",
    "/anonymousId",
    "/groupId",
    "/previousId",
    "/messageId",
    "/timestamp",
    "/originalTimestamp",
    "/sentAt",
    "/receivedAt",
    "/properties",
    "/traits",
    "/context",
    "/integrations",
    "/_metadata",
    "/channel",
    "/version",
    "/projectId",
    "/writeKey",
    "/context/ip",
    "/context/locale",
    "/context/userAgent",
    "/context/timezone",
    "/context/app",
    "/context/app/version",
    "/context/campaign",
    "/context/campaign/source",
    "/context/device",
    "/context/device/id",
    "/context/device/advertisingId",
    "/context/device/type",
    "/context/library",
    "/context/library/name",
    "/context/location",
    "/context/location/latitude",
    "/context/network",
    "/context/network/wifi",
    "/context/os",
    "/context/os/version",
    "/context/page",
    "/context/page/url",
    "/context/page/search",
    "/context/referrer",
    "/context/screen",
    "/context/screen/width",
    "/context/traits",
    "/context/userAgentData",
    "/context/userAgentData/brands",
    "/context/groupId",
    "/context/active",
    "/options",
    "/properties/revenue",
    "/properties/products",
    "/properties/price",
    "/properties/quantity",
    "/properties/products/0",
    "/properties/order_id",
    "/properties/url",
    "/traits/address",
    "/traits/createdAt",
    "/traits/email",
    "/integrations/All",
    "/integrations/Amplitude",
    "/_metadata/bundled",
    "/integrations/Amplitude/session_id",
    "/integrations/Amplitude/groups",
    "/integrations/Amplitude/outOfSession",
]
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**70,
    "",
    "x",
    "1e999",
    [],
    [None],
    [{}],
    ["x"],
    {},
    {"a": 1},
    {"0": []},
]
CALLS = ["track", "page", "screen", "identify", "group", "alias", "delete"]


def put(document: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """Return the document with a value at a pointer; what is missing on the way is made."""
    *way, last = pointer.split("/")[1:]
    place: Any = document
    for step in way:
        place = place.setdefault(step, {})
    place[last] = value
    return document


EVERYTHING = {
    "api_key": "key-1234",
    "secret_key": "s-1",
    "track_named_pages": True,
    "track_all_pages": True,
    "enable_alias": True,
    "traits_to_increment": ["a"],
    "group_type_trait": "kind",
    "group_value_trait": "name",
    "include_raw_user_agent": True,
    "map_query_params": {"q": "event_properties"},
}


@pytest.mark.parametrize("pointer", FIELDS)
def test_a_wrong_type_at_any_field_is_refused_there_or_mapped(pointer: str) -> None:
    """For every call type and 17 values: planned, dropped or invalid with a pointer; no plugin falls over."""
    dispatcher = Dispatcher([load_destination("amplitude")(EVERYTHING)])
    for kind in CALLS:
        for value in VALUES:
            source = {
                "type": kind,
                "event": "Order Completed",
                "userId": "u",
                "groupId": "g",
                "previousId": "p",
            }
            (plan,) = dispatcher.plan(put(source, pointer, value))
            assert plan.outcome.value in ("planned", "dropped", "invalid"), (kind, value, plan.reason)
            assert (plan.reason is None) == (plan.outcome.value == "planned")
            assert plan.to_dict()["outcome"] == plan.outcome.value
            if plan.outcome.value == "invalid" and plan.event is None and plan.reason.code != "no_user_anon_id":
                assert plan.reason.path
                assert pointer.startswith(plan.reason.path) or plan.reason.path.startswith(pointer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
POINTERS = st.sampled_from(FIELDS)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(CALLS), st.dictionaries(POINTERS, JSON, max_size=6))
def test_no_event_breaks_the_amplitude_mapping(kind: str, places: dict[str, Any]) -> None:
    """Generated values at generated fields: never `failed`, and every planned request can be shown."""
    source: dict[str, Any] = {"type": kind, "event": "Order Completed", "userId": "u", "groupId": "g"}
    for pointer in sorted(places):
        try:
            put(source, pointer, places[pointer])
        except (TypeError, AttributeError):
            continue
    (plan,) = Dispatcher([load_destination("amplitude")(EVERYTHING)]).plan(source)
    assert plan.outcome.value in ("planned", "dropped", "invalid"), plan.reason
    assert json.loads(json.dumps(plan.to_dict()))["requests"] is not None


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.text(st.characters(), max_size=100) | JSON)
@example('{"batch": [{"type": "track"}, ')
@example('{"batch": "\ud800"}')
@example({"batch": [{"type": float("nan")}]})
@example({1: 2})
@example({"type": "track", "properties": {"a": {1, 2}}})
def test_no_source_raises(source: Any) -> None:
    """Whatever is given to `plan_body`: plans with one outcome each."""
    acme = load_destination("amplitude")({"api_key": "k-1"})
    for plans in Dispatcher([acme]).plan_body(source):
        (plan,) = plans
        assert plan.outcome.value in ("planned", "dropped", "invalid")


@pytest.mark.parametrize("source", [None, 5, 1.5, True, [], object(), {1, 2}, float("nan")])
def test_a_source_of_a_wrong_python_type_is_refused(source: Any) -> None:
    """A sentence says what an event may be given as."""
    (found,) = Dispatcher({}).read_body(source)
    assert isinstance(found, Refusal)
    assert "JSON text or a mapping" in found.reason.message


CIRCLE: dict[str, Any] = {"type": "track", "userId": "u", "event": "E"}
CIRCLE["properties"] = CIRCLE


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"a": float("nan")}, "number_out_of_range"),
        ({"a": float("inf")}, "number_out_of_range"),
        ({"a": {1, 2}}, "field_invalid"),
        ({"a": object()}, "field_invalid"),
        ({"a": b"bytes"}, "field_invalid"),
        ({1: 2}, "field_invalid"),
        ({"a": "\ud800"}, "field_invalid"),
        (CIRCLE, "nesting_too_deep"),
    ],
)
def test_what_json_cant_say_is_refused_in_mappings(properties: Any, code: str) -> None:
    """With its pointer, and never changed into something else."""
    (found,) = Dispatcher({}).read_body({"type": "track", "userId": "u", "event": "E", "properties": properties})
    assert isinstance(found, Refusal)
    assert found.reason.code == code
    assert (found.reason.path or "").startswith("/properties")


@pytest.mark.parametrize("command", ["plan", "validate", "send"])
@pytest.mark.parametrize("data", [b"", b"\n\n", b"[]", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_mistake(
    run: Callable[..., Any], amplitude: AmplitudeSimulator, command: str, data: bytes
) -> None:
    """Exit 0, no line, no request."""
    result = run(command, data)
    assert (result.exit_code, result.stdout, amplitude.ledger) == (0, "", [])


@pytest.mark.parametrize("command", ["plan", "validate"])
def test_a_binary_file_is_refused_line_by_line(run: Callable[..., Any], command: str) -> None:
    """An image by mistake: as many refusals as it has lines, quickly."""
    data = bytes(range(256)) * 20
    result = run(command, data)
    assert result.exit_code == 1
    assert len(told(result)) == 21
    assert {row.get("outcome", "invalid") for row in told(result)} == {"invalid"}


def test_bad_bytes_on_standard_input(tmp_path: Path) -> None:
    """Through a real pipe and an ASCII locale: refused and planned, nothing on standard error."""
    (tmp_path / "s.json").write_text('{"api_key": "k-1234"}', encoding="utf-8")
    data = b"\n".join([GOOD, b"\xff\xfe", b'"\\ud800', "ü".encode(), GOOD.replace(b"Good", "Grüße ☃".encode())])
    command = [
        sys.executable,
        "-c",
        "from turnout.cli import main; main()",
        "plan",
        "-d",
        "amplitude",
        "--settings",
        "s.json",
    ]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, input=data, capture_output=True, cwd=tmp_path, env=environ, check=False)
    outcomes = [json.loads(line)["outcome"] for line in done.stdout.splitlines()]
    assert outcomes == ["planned", "invalid", "invalid", "invalid", "planned"]
    assert "Grüße ☃".encode() in done.stdout
    assert (done.returncode, done.stderr) == (1, b"")
    command[3:] = ["validate"]
    data += '\n{"type": "Grüße"}'.encode()
    done = subprocess.run(command, input=data, capture_output=True, cwd=tmp_path, env=environ, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"line 4" in done.stdout
    assert b"line 6" in done.stdout


def test_an_event_survives_the_way_to_the_vendor(bench: Any) -> None:
    """What is carried is also what arrives: the odd values over HTTP."""
    got: list[Any] = []

    async def vendor(scope: Any, receive: Any, send: Any) -> None:
        got.append(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    fast = SendSettings.configure({"attempts": 1}, owner="[send]")
    dispatcher = bench.dispatcher(transport=httpx.ASGITransport(app=vendor), send=fast)
    (row,) = dispatcher.send([{"type": "track", "userId": "u", "event": "E", "messageId": "m", "properties": CARRIED}])
    assert row.outcome.value == "delivered"
    assert got == [{"key": "key-1234", "events": [{"name": "E", "id": "m", **CARRIED}]}]


def test_events_are_not_changed_by_refusing_them() -> None:
    """A mapping that is refused is the same as before."""
    source = {
        "type": "track",
        "userId": "u",
        "event": "E",
        "properties": [1, {"a": None}],
        "context": {"os": 5},
    }
    before = json.dumps(source)
    (found,) = Dispatcher({}).read_body(source)
    assert not isinstance(found, Event)
    assert json.dumps(source) == before
