"""Stand-ins: what is personal or secret is replaced in its form, what drives a mapping stays; `turnout case add`."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from turnout.cases import Case, dump
from turnout.checking import Status, check, find
from turnout.cli import main
from turnout.standins import StandIns, replaced

Run = Callable[..., Result]

IDENTIFY: dict[str, Any] = {
    "type": "identify",
    "messageId": "ajs-next-1739-0c1f",
    "userId": 4711,
    "anonymousId": "6f9619ff-8b86-4011-b42d-00cf4fc964ff",
    "writeKey": "wk-5d1",
    "timestamp": "2026-01-02T03:04:05.006Z",
    "traits": {
        "email": "ada@ring.example",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "name": "Ada Lovelace",
        "phone": "+49 (170) 123-4567",
        "birthday": "1815-12-10",
        "motto": "carpe diem",
        "age": 36,
        "plan": "gold",
        "vip": True,
        "createdAt": "2025-05-06T07:08:09Z",
        "address": {"street": "Storgata 2", "city": "Oslo", "postalCode": "SW1A 1AA", "country": "NO"},
        "company": {"name": "Analytical Engines", "id": 86, "employee_count": 12},
    },
    "context": {
        "ip": "8.8.4.4",
        "locale": "nb-NO",
        "library": {"name": "analytics.js", "version": "4.1.0"},
        "device": {"id": "dev-99ab", "name": "Phone of Ada", "type": "ios", "model": "iPhone15,2"},
        "location": {"latitude": 59.9139, "longitude": "-10.75"},
        "page": {
            "url": "https://shop.example/users/4711/orders?email=ada%40ring.example&ref=nav#top",
            "title": "Orders of Ada Lovelace",
        },
        "traits": {"email": "ada@ring.example"},
    },
}


def at(event: Any, path: str) -> Any:
    """Return the value at a JSON Pointer."""
    for part in path.split("/")[1:]:
        event = event[int(part)] if isinstance(event, list) else event[part]
    return event


def track(**properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Order Completed", "userId": "user-one-77", "properties": properties}


def one(key: str, value: Any) -> Any:
    """Return the stand-in of one property."""
    return replaced(track(**{key: value})).event["properties"][key]


# Forms


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/messageId", "message-1"),
        ("/userId", 1001),
        ("/anonymousId", "00000000-0000-4000-8000-000000000001"),
        ("/writeKey", "key-1"),
        ("/traits/email", "person-1@example.com"),
        ("/traits/firstName", "Name1"),
        ("/traits/name", "Name1 Name2"),
        ("/traits/phone", "+10 (000) 000-0001"),
        ("/traits/birthday", "1970-01-02"),
        ("/traits/motto", "Text 1"),
        ("/traits/address/street", "1 Example Street"),
        ("/traits/address/city", "City1"),
        ("/traits/address/postalCode", "XX1X 1XX"),
        ("/traits/company/name", "Company 1"),
        ("/traits/company/id", 11),
        ("/context/ip", "192.0.2.1"),
        ("/context/device/id", "device-1"),
        ("/context/device/name", "Device 1"),
        ("/context/location/latitude", 1.5555),
        ("/context/location/longitude", "-1.55"),
        ("/context/traits/email", "person-1@example.com"),
        (
            "/context/page/url",
            "https://shop.example/users/1001/orders?email=person-1%40example.com&ref=nav#top",
        ),
        ("/context/page/title", "Orders of Name1 Name2"),
    ],
)
def test_a_stand_in_has_the_form_of_its_original(path: str, made: Any) -> None:
    """Counted in the order of appearance; a value that stands twice has one."""
    assert at(replaced(IDENTIFY).event, path) == made


@pytest.mark.parametrize(
    "path",
    [
        "/type",
        "/timestamp",
        "/traits/age",
        "/traits/plan",
        "/traits/vip",
        "/traits/createdAt",
        "/traits/address/country",
        "/traits/company/employee_count",
        "/context/locale",
        "/context/library/name",
        "/context/library/version",
        "/context/device/type",
        "/context/device/model",
    ],
)
def test_what_drives_a_mapping_stays(path: str) -> None:
    """Types, times, platforms, numbers that are no ids, and texts that belong to nobody."""
    assert at(replaced(IDENTIFY).event, path) == at(IDENTIFY, path)


def test_an_order_keeps_what_was_bought() -> None:
    """Event, products, prices, currency; the id of the order and the buyer's are replaced."""
    bought = track(
        order_id="50314b8e9bcf0000",
        total=27.5,
        revenue=25,
        currency="USD",
        coupon="hasbros",
        products=[{"product_id": "p-1", "sku": "45790-32", "name": "Monopoly", "price": 19, "quantity": 2}],
        customer={"name": "Bob", "tier": "gold"},
    )
    made = replaced(bought).event
    assert made["event"] == "Order Completed"
    for key in ("total", "revenue", "currency", "coupon", "products"):
        assert made["properties"][key] == bought["properties"][key]
    assert made["properties"]["order_id"] == "0000000000000001"
    assert made["properties"]["customer"] == {"name": "Name1", "tier": "gold"}
    assert made["userId"] == "user-1"


@pytest.mark.parametrize(
    ("key", "value", "check"),
    [
        ("a", "ada@ring.example", lambda made: "@" in made),
        ("a", "Ada@Ring.example", lambda made: made != made.lower()),
        ("a", "2001:db9::77", lambda made: ipaddress.ip_address(made).version == 6),
        ("a", "10.11.12.13", lambda made: ipaddress.ip_address(made).version == 4),
        ("a", "6F9619FF-8B86-1011-B42D-00CF4FC964FF", lambda made: uuid.UUID(made).version == 1),
        ("a", "507f1f77bcf86cd799439011", lambda made: re.fullmatch("[0-9a-f]{24}", made)),
        ("a", "4111 1111 1111 1111", lambda made: re.fullmatch(r"[0-9]{4}( [0-9]{4}){3}", made)),
        ("a", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", lambda made: made == "key-1"),
        ("a", "AbCdEfGhIjKlMnOp1234", lambda made: made == "key-1"),
        ("mobile_phone", "0170/1234567", lambda made: re.fullmatch("[0-9]{4}/[0-9]{7}", made)),
        ("user_id", "u7", lambda made: len(made) == 2),
        ("user_id", "ab", lambda made: len(made) == 2 and made.isalpha()),
        ("user_id", "0042", lambda made: len(made) == 4 and made.isdigit()),
        ("account_id", -45, lambda made: isinstance(made, int) and made < 0),
        ("customer_id", 12345678901234567890123, lambda made: len(str(made)) == 23),
        ("customer_id", 7.0, lambda made: isinstance(made, float)),
        ("pin", 1234, lambda made: isinstance(made, int) and made > 999),
        ("zip", 80331, lambda made: isinstance(made, int) and len(str(made)) == 5),
        ("api_key", "9f-hush", lambda made: made == "key-1"),
        ("Password", "x", lambda made: made == "key-1"),
        ("first_name", "ada", lambda made: made == "name1"),
        ("comment", "call me", lambda made: made == "Text 1"),
        ("shipping_address", {"line": "Storgata 2"}, lambda made: made == {"line": "Text 1"}),
        ("emails", ["a@b.example", "c@d.example"], lambda made: made[0] != made[1]),
    ],
)
def test_a_property_is_known_by_its_key_or_its_form(key: str, value: Any, check: Callable[[Any], Any]) -> None:
    """An email stays one, an IPv6 stays one, digits keep their number, numbers stay numbers."""
    made = one(key, value)
    assert made != value
    assert check(made), made


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "pdf"),
        ("currency", "EUR"),
        ("price", 4711),
        ("product_id", "p-889"),
        ("event_id", "evt-12"),
        ("session_id", 1772345679000),
        ("advertisingId", "00000000-0000-0000-0000-000000000000"),
        ("app_version", "10.0.0.1"),
        ("deadline", "2026-03-04"),
        ("phone_ok", True),
        ("email", None),
        ("email", ""),
        ("coupon", "SUMMER"),
        ("url", "https://shop.example/plans?utm_source=news&page=2"),
        ("path", "/plans/gold"),
        ("share", 0.25),
        ("id", []),
    ],
)
def test_a_property_that_is_nobodys_stays(key: str, value: Any) -> None:
    """Also the id that says that there is none, versions that look like addresses, and what is empty."""
    assert one(key, value) == value


def test_names_of_events_and_pages_keep_all_but_what_can_be_nothing_else() -> None:
    """A first name may be a word of an event's name; an email or a secret is never part of it."""
    event = {
        "type": "page",
        "userId": "user-one-77",
        "name": "Home of ada@ring.example and hush-hush",
        "category": "Ada",
        "context": {"traits": {"firstName": "Ada", "email": "ada@ring.example"}},
    }
    made = replaced(event, ["hush-hush"]).event
    assert made["name"] == "Home of person-1@example.com and key-1"
    assert made["category"] == "Ada"


def test_the_name_of_a_group_is_a_companys() -> None:
    """Other than the name of a person it is not taken apart."""
    made = replaced({"type": "group", "groupId": "grp-2", "userId": "u", "traits": {"name": "Old Engines"}})
    assert made.event["traits"]["name"] == "Company 1"


# Relations


def test_a_value_is_found_inside_other_texts_and_keys() -> None:
    """In any case of letters, at word boundaries, in lists and as a key of an object."""
    made = replaced(
        track(
            email="ada@ring.example",
            user_name="Lovelace",
            hint=["ask LOVELACE, not lovelaces", "mail ADA@ring.example"],
            votes={"ada@ring.example": 1},
        )
    )
    properties = made.event["properties"]
    assert properties["hint"] == [
        "ask Name1, not lovelaces",
        "mail Person-1@Example.Com",
    ]
    assert properties["votes"] == {"person-1@example.com": 1}
    assert "/properties/votes/person-1@example.com" in [stood.path for stood in made.stood]


def test_short_values_are_not_looked_for_inside_texts() -> None:
    """A user id of two letters says nothing of the words that hold it; a number is no id because one is equal to it."""
    event = {
        "type": "track",
        "event": "Sold",
        "userId": "us",
        "properties": {"size": "us 12", "seats": 12, "order_id": 12},
    }
    made = replaced(event).event["properties"]
    assert (made["size"], made["seats"]) == ("us 12", 12)
    assert made["order_id"] != 12


def test_an_id_is_one_id_as_number_and_as_text() -> None:
    """Whichever comes first."""
    for first, second in ((4711, "4711"), ("4711", 4711)):
        made = replaced(track(user_id=first, customer_id=second)).event["properties"]
        assert str(made["user_id"]) == str(made["customer_id"]) == "1001"
        assert type(made["customer_id"]) is type(second)


def test_stand_ins_avoid_what_is_in_the_event() -> None:
    """A stand-in is never a value that stands in the event already."""
    made = replaced(track(email="ada@ring.example", reply_to="person-1@example.com", order_id=4711, seats=1001))
    properties = made.event["properties"]
    assert len({properties["email"], properties["reply_to"], "person-1@example.com"}) == 3
    assert properties["order_id"] == 1002


def test_a_batch_is_replaced_event_by_event() -> None:
    """Its events share their stand-ins."""
    batch = [track(email="ada@ring.example"), {"type": "group", "groupId": "user-one-77", "traits": {"name": "Old"}}]
    made = replaced({"batch": batch, "writeKey": "wk-9"})
    first, second = made.event["batch"]
    assert first["event"] == "Order Completed"
    assert first["userId"] == second["groupId"] == "user-1"
    assert second["traits"]["name"] == "Company 1"
    assert made.event["writeKey"] == "key-1"


def test_addresses_are_replaced_part_by_part() -> None:
    """User and password, ids in the path, values of the query that are personal, tokens behind the #."""
    url = "https://bob:pw@shop.example/u/31337/6f9619ff-8b86-4011-b42d-00cf4fc964ff?q=red+shoes&lang=no&token=t0k#id_token=z9"
    made = one("url", url)
    assert made == (
        "https://key-1@shop.example/u/10001/00000000-0000-4000-8000-000000000001?q=Text+1&lang=no&token=key-2#id_token=key-3"
    )
    assert one("link", "https://go.example/?to=https%3A%2F%2Fx.example%2F%3Femail%3Da%2540b.example") == (
        "https://go.example/?to=https%3A%2F%2Fx.example%2F%3Femail%3Dperson-1%2540example.com"
    )


# Secrets


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example/cart?session=ab12&step=2", "https://shop.example/cart?session=key-1&step=2"),
        ("https://shop.example/cart;jsessionid=1A530;v=7?a=b", "https://shop.example/cart;jsessionid=key-1;v=7?a=b"),
        ("https://shop.example/?PHPSESSID=zz9&lang=en", "https://shop.example/?PHPSESSID=key-1&lang=en"),
        ("https://shop.example/?r=a8f3k2m9q1z7&x=iphone15", "https://shop.example/?r=key-1&x=iphone15"),
        ("https://shop.example/?code=x7f9q2&lang=de", "https://shop.example/?code=key-1&lang=de"),
        ("https://shop.example/?next=%2Fcart%3Fsid%3Dqq7", "https://shop.example/?next=%2Fcart%3Fsid%3Dkey-1"),
        ("https://shop.example/#session=ab12", "https://shop.example/#session=key-1"),
        ("/cart?session=ab12", "/cart?session=key-1"),
        ("shop://open?sid=ab12", "shop://open?sid=key-1"),
    ],
)
def test_sessions_and_tokens_in_addresses_are_replaced(url: str, expected: str) -> None:
    """By the parameter's name, and by a value that nobody writes by hand; also in addresses without a host."""
    assert one("link", url) == expected


@pytest.mark.parametrize("query", ["code=DE&page=2", "session=true", "slug=summer-sale-2026-jackets", "size=10x20x30"])
def test_parameters_that_drive_a_page_stay(query: str) -> None:
    """A country, a number, a flag, words with a year, measures."""
    assert one("url", f"https://shop.example/?{query}") == f"https://shop.example/?{query}"


def test_parameters_that_are_no_texts_stay() -> None:
    """`query` may be an object of the sender's own."""
    event = {"type": "track", "event": "Sold", "userId": "u-7", "query": {"page": 5, "all": True, "of": [1.5, None]}}
    assert replaced(event).event["query"] == event["query"]


def test_a_session_inside_a_text_is_replaced_wherever_it_stands() -> None:
    """Also where only the text around it is known, such as the title of a page."""
    event = {"type": "page", "userId": "4711", "name": "Back to /cart?session=ab12cd", "properties": {"x": "ab12cd"}}
    made = replaced(event).event
    assert (made["name"], made["properties"]["x"]) == ("Back to /cart?session=key-1", "key-1")


def test_a_secret_stands_nowhere_not_even_encoded() -> None:
    """As a value, inside a text, in a name, as a key, in base64: a stand-in or ***."""
    secret = "hush-hush-0815"
    event = track(
        a=secret,
        b=f"x {secret} y",
        c={secret: 1},
        d="aHVzaC1odXNoLTA4MTU6",
        url=f"https://x.example/?k={secret}",
    )
    event["event"] = f"Sold {secret}"
    text = json.dumps(replaced(event, [secret]).event)
    assert secret not in text
    assert "aHVzaC1odXNoLTA4" not in text
    assert text.count("key-1") == 5


# Properties of all stand-ins


words = st.from_regex(r"[a-z]{6,9}", fullmatch=True)


@given(st.lists(words, min_size=9, max_size=9, unique=True), st.lists(words, min_size=9, max_size=9, unique=True))
def test_nothing_of_a_value_is_in_its_stand_in(first: list[str], second: list[str]) -> None:
    """Two people whose data have the same forms come out as the same event."""

    def event(given: list[str]) -> dict[str, Any]:
        a, b, c, d, e, f, g, h, i = given
        return {
            "type": "identify",
            "userId": f"{a}-x",
            "traits": {
                "email": f"{b}@{c}.example",
                "name": f"{d.title()} {e.title()}",
                "about": f"{f} {g}",
                "login": h,
            },
            "context": {"page": {"url": f"https://shop.example/?email={b}@{c}.example&token={i}"}},
        }

    made = replaced(event(first))
    assert made == replaced(event(second))
    text = json.dumps(made.event)
    assert not [word for word in first if re.search(rf"\b{word}\b", text, re.IGNORECASE) and word not in _OURS]


_OURS = {"person", "example", "message"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)
keys = st.sampled_from(
    ["userId", "email", "phone", "ip", "zip", "lat", "token", "name", "url", "birthday", "properties"]
)


@given(st.dictionaries(keys, json_values, max_size=6) | json_values)
def test_any_json_keeps_its_structure(event: Any) -> None:
    """Types and lengths stay, nothing raises, the original is not changed, and twice gives the same."""
    before = json.dumps(event)
    made = replaced(event)
    assert json.dumps(event) == before
    assert replaced(event) == made
    assert _shape(made.event) == _shape(event)
    json.dumps(made.event, allow_nan=False)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [_shape(inner) for inner in value.values()]
    return [_shape(inner) for inner in value] if isinstance(value, list) else type(value)


@given(st.lists(st.emails(), unique_by=str.lower, min_size=1, max_size=8))
def test_different_values_have_different_stand_ins(emails: list[str]) -> None:
    """And each is an email, of a domain that is nobody's."""
    made = replaced(track(emails=emails)).event["properties"]["emails"]
    assert len({mail.lower() for mail in made}) == len(emails)
    assert all(mail.lower().endswith("@example.com") for mail in made if "@" in mail)
    assert not set(made) & set(emails)


def test_many_values_of_one_kind_stay_different() -> None:
    """Also where the form leaves little room."""
    given_ = [f"10.{number // 256}.{number % 256}.1" for number in range(1500)]
    made = replaced(track(ips=given_, user_ids=list(range(30)), zips=[f"{n:02}" for n in range(90)])).event[
        "properties"
    ]
    assert len(set(made["ips"])) == 1500
    assert len(set(made["user_ids"])) == 30
    assert len(set(made["zips"])) == 90
    assert all(ipaddress.ip_address(address) for address in made["ips"])


def test_stand_ins_can_be_asked_one_by_one() -> None:
    """The same text, the same stand-in; `patterned` keeps the form of a secret."""
    made = StandIns(["hush"])
    assert made.of("ada@ring.example", "email") == made.of("ada@ring.example", "email") == "person-1@example.com"
    assert made.of("hush", "key") == "key-1"
    assert made.patterned("ab-12-CD") == "xx-11-XX"


# turnout case add


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widget: Path) -> Path:
    """A project as working folder, with recorded events and settings; the plugin `widget` is installed."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lines = [json.dumps(track(email="ada@ring.example", token="tok-1234")), "", json.dumps(IDENTIFY), "{oops"]
    (folder / "events.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "settings.json").write_text('{"token": "tok-1234", "pages": true}', encoding="utf-8")
    return folder


@pytest.fixture
def add(home: Path) -> Run:
    """Runs `turnout case add` in this process, with the settings unless others are given."""

    def call(*args: str, given: str | None = None, plain: bool = False) -> Result:
        settings = () if plain or "--settings" in args else ("--settings", "settings.json")
        destination = () if "-d" in args else ("-d", "widget")
        result = CliRunner().invoke(main, ["case", "add", *args, *destination, *settings], input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def test_a_case_is_made_of_a_line(add: Run, home: Path) -> None:
    """Case and snapshot are written, nothing personal or secret is in them, and the case passes at once."""
    result = add("events.jsonl", "--doc", "An order.")
    assert result.exit_code == 0
    path = home / "cases" / "widget" / "track_order_completed.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "doc": "An order.",
        "settings": {"token": "key-1", "pages": True},
        "event": {
            "type": "track",
            "event": "Order Completed",
            "userId": "user-1",
            "properties": {"email": "person-1@example.com", "token": "key-1"},
        },
    }
    snapshot = path.parent / "__snapshots__" / path.name
    assert snapshot.read_text(encoding="utf-8") == dump(Case.load(path).plan())
    (checked,) = check(find([home / "cases"]))
    assert checked.status is Status.PASSED
    for text in (path.read_text(encoding="utf-8"), snapshot.read_text(encoding="utf-8"), result.output):
        assert "ada@" not in text
        assert "tok-1234" not in text


def test_what_was_replaced_is_listed_by_place(add: Run) -> None:
    """Places and kinds, no values."""
    result = add("events.jsonl")
    assert result.stdout.splitlines() == [
        "wrote  cases/widget/track_order_completed.json",
        "wrote  cases/widget/__snapshots__/track_order_completed.json",
        "events.jsonl, line 1: planned, 1 request",
        "Stand-ins:",
        "  setting token      secret",
        "  /userId            id",
        "  /properties/email  email",
        "  /properties/token  secret",
        "The rest is as it was: read both files before you share them.",
    ]


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((), "cases/widget/identify.json"),
        (("--name", "a_person"), "cases/widget/a_person.json"),
        (("--into", "spec"), "spec/cases/widget/identify.json"),
        (("--into", "spec/cases"), "spec/cases/widget/identify.json"),
        (("--into", "cases/widget/people"), "cases/widget/people/identify.json"),
        (("--into", "cases/other"), "cases/other/identify.json"),
    ],
)
def test_where_a_case_goes(add: Run, args: tuple[str, ...], path: str) -> None:
    """A folder of cases, one below it, or any other; a folder of another destination is made up for in the file."""
    assert add("events.jsonl", "--line", "3", *args).exit_code == 0
    assert Case.load(Path(path)).destination == "widget"
    assert ("destination" in json.loads(Path(path).read_text(encoding="utf-8"))) == ("other" in path)


def test_tests_cases_is_where_cases_go_by_default(add: Run) -> None:
    """Where there are tests."""
    Path("tests").mkdir()
    add("events.jsonl")
    assert Path("tests/cases/widget/track_order_completed.json").is_file()


def test_standard_input_and_arrays(add: Run) -> None:
    """A line is an element then."""
    result = add(
        "-", "--line", "2", "--name", "second", given='[{"type": "alias"}, {"type": "page", "userId": "u-22"}]'
    )
    assert "standard input, element 2: dropped" in result.stdout
    assert json.loads(Path("cases/widget/second.json").read_text(encoding="utf-8"))["event"]["type"] == "page"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"type": "track", "event": "Sold"}', "invalid (no_user_anon_id): "),
        ('["track"]', "invalid (bad_request): "),
        ("12", "invalid (bad_request): "),
    ],
)
def test_an_event_that_is_refused_is_a_case_too(add: Run, line: str, message: str) -> None:
    """It is said, and its snapshot pins it."""
    result = add("-", "--name", "refused", given=line)
    assert result.exit_code == 0
    assert message in result.stdout
    assert "The case pins that this event is refused." in result.stdout
    (plan,) = json.loads(Path("cases/widget/__snapshots__/refused.json").read_text(encoding="utf-8"))
    assert plan["outcome"] == "invalid"


def test_a_batch_is_a_case_with_a_plan_for_each_event(add: Run) -> None:
    """It stays a batch."""
    batch = {"batch": [track(), {"type": "page", "anonymousId": "anon-71", "name": "Help"}]}
    add("-", "--name", "both", given=json.dumps(batch))
    plans = json.loads(Path("cases/widget/__snapshots__/both.json").read_text(encoding="utf-8"))
    assert [plan["outcome"] for plan in plans] == ["planned", "dropped"]


def test_nothing_is_overwritten(add: Run) -> None:
    """Neither a case, nor one in YAML, nor a snapshot; what was there is as it was."""
    add("events.jsonl", "--name", "one")
    before = Path("cases/widget/one.json").read_bytes()
    result = add("events.jsonl", "--line", "3", "--name", "one")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr == "turnout: cases/widget/one.json: is there already. Give the case another name with --name.\n"
    )
    assert Path("cases/widget/one.json").read_bytes() == before
    Path("cases/widget/two.yaml").touch()
    assert "would share its snapshot" in add("events.jsonl", "--name", "two").stderr
    Path("cases/widget/__snapshots__/three.json").touch()
    assert "__snapshots__/three.json: is there already" in add("events.jsonl", "--name", "three").stderr
    assert not Path("cases/widget/three.json").exists()


def test_secrets_of_the_environment_stay_there(add: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret `${NAME}` has a stand-in, whether the variable is set or not, and is found in the event when it is."""
    Path("env.json").write_text('{"token": "${WIDGET_TOKEN}"}', encoding="utf-8")
    assert add("events.jsonl", "--settings", "env.json", "--name", "unset").exit_code == 0
    monkeypatch.setenv("WIDGET_TOKEN", "Order")
    result = add("events.jsonl", "--settings", "env.json", "--name", "set_")
    assert result.exit_code == 0
    for name in ("unset", "set_"):
        told = json.loads(Path(f"cases/widget/{name}.json").read_text(encoding="utf-8"))
        assert told["settings"] == {"token": "key-1"}
    assert told["event"]["event"] == "key-1 Completed"


def test_other_settings_of_the_environment_are_written_out(add: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case reads nothing from the environment; a secret that stands in another setting is masked there."""
    monkeypatch.setenv("WIDGET_URL", "https://proxy.example/tok-1234")
    Path("env.json").write_text('{"token": "tok-1234", "baseUrl": "${WIDGET_URL}"}', encoding="utf-8")
    add("events.jsonl", "--settings", "env.json", "--name", "one")
    told = json.loads(Path("cases/widget/one.json").read_text(encoding="utf-8"))
    assert told["settings"] == {"token": "key-1", "baseUrl": "https://proxy.example/***"}
    monkeypatch.delenv("WIDGET_URL")
    result = add("events.jsonl", "--settings", "env.json", "--name", "two")
    assert (result.exit_code, "WIDGET_URL, which is not set" in result.stderr) == (2, True)


def test_a_secret_that_needs_a_form_keeps_its_form(add: Run, widget: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the schema refuses `key-1`, the stand-in has letters for letters and digits for digits."""
    module = widget / "turnout_widget.py"
    check_ = (
        "\nfrom marshmallow import ValidationError, validates\n"
        "@validates('token')\n"
        "def looks_right(self, value, **_):\n"
        "    if len(value) != 8: raise ValidationError('must have 8 characters.')\n"
        "Widgets = type('Widgets', (Widgets,), {'looks_right': looks_right})\n"
        "Widget.settings = Widgets\n"
    )
    module.write_text(module.read_text(encoding="utf-8") + check_, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "turnout_widget", raising=False)
    assert add("events.jsonl", "--name", "one").exit_code == 0
    told = json.loads(Path("cases/widget/one.json").read_text(encoding="utf-8"))
    assert told["settings"]["token"] == told["event"]["properties"]["token"] == "xxx-1001"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nothing.jsonl",), "nothing.jsonl: there is no such file."),
        (("events.jsonl", "--line", "2"), "events.jsonl: there is no event in line 2. The last one is in line 4."),
        (("events.jsonl", "--line", "99"), "events.jsonl: there is no event in line 99. The last one is in line 4."),
        (("events.jsonl", "--line", "0"), "Invalid value for '--line'"),
        (("events.jsonl", "--line", "4"), "events.jsonl, line 4: The input is not JSON: "),
        (("settings.json", "-d", "widgit"), "There is no destination plugin 'widgit'. Did you mean 'widget'?"),
        (("events.jsonl", "--settings", "events.jsonl"), "events.jsonl: is not JSON"),
        (("events.jsonl", "--name", "Two Words"), "call a case in small letters, digits and _"),
        (("events.jsonl", "--name", "../one"), "'../one' is no name of a case. Name the folder with --into."),
        (("events.jsonl", "--name", "profiles"), "would be no case there"),
        (("events.jsonl", "--into", "settings.json"), "can't be written: Not a directory."),
        (("empty.jsonl",), "empty.jsonl: there is no event in it."),
    ],
)
def test_bad_input_is_one_sentence(add: Run, home: Path, args: tuple[str, ...], message: str) -> None:
    """On stderr with exit code 2, and nothing is written."""
    (home / "empty.jsonl").touch()
    before = sorted(home.rglob("*"))
    result = add(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("depth", [250, 900, 5000])
def test_an_event_that_no_case_can_hold_is_refused(add: Run, depth: int) -> None:
    """What is nested deeper than 200 levels could not be read again."""
    result = add("-", given='{"type": "track", "properties": ' + '{"a":' * depth + "1" + "}" * depth + "}")
    assert result.exit_code == 2
    assert "nested too deeply" in result.stderr
    assert not Path("cases").exists()


def test_wrong_settings_are_named(add: Run) -> None:
    """As `turnout plan` names them; nothing is written."""
    result = add("events.jsonl", plain=True)
    assert result.exit_code == 2
    assert "destination 'widget': Setting 'token' is required" in result.stderr
    assert not Path("cases").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(add: Run, home: Path) -> None:
    """One sentence."""
    (home / "cases").mkdir(mode=0o500)
    result = add("events.jsonl")
    assert result.exit_code == 2
    assert "can't be written: Permission denied." in result.stderr


# turnout case add --source


PAYLOAD: dict[str, Any] = {
    "identifier": "jane.doe@mail.example",
    "flags": [
        {"feature": {"id": 311, "name": "dark_mode"}, "enabled": True, "feature_state_value": "deep blue"},
        {"feature": {"id": 312, "name": "font_size"}, "enabled": True, "feature_state_value": 14},
    ],
    "contact": {"name": "Jane Doe", "note": "Mail jane.doe@mail.example about dark_mode"},
}


@pytest.fixture
def add_payload(home: Path) -> Run:
    """Runs `turnout case add --source` in this process."""

    def call(*args: str, given: str | None = None) -> Result:
        result = CliRunner().invoke(main, ["case", "add", *args], input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return call


def test_a_case_is_made_of_a_payload(add_payload: Run, home: Path) -> None:
    """What its events have as personal is so in it, what they show openly stays; the case passes at once."""
    (home / "payload.json").write_text(json.dumps(PAYLOAD), encoding="utf-8")
    result = add_payload("payload.json", "--source", "flagsmith", "--doc", "Two flags.")
    assert result.exit_code == 0, result.stderr
    path = home / "cases" / "flagsmith" / "identify.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert (told["doc"], told["payload"]["identifier"]) == ("Two flags.", "person-1@example.com")
    assert [one["feature"]["name"] for one in told["payload"]["flags"]] == ["dark_mode", "font_size"]
    assert told["payload"]["contact"] == {"name": "Name1 Name2", "note": "Text 2"}
    kept = (path.parent / "__snapshots__" / "identify.json").read_text(encoding="utf-8")
    (event,) = json.loads(kept)["events"]
    assert event["userId"] == "person-1@example.com"
    assert event["traits"] == {"dark_mode": "Text 1", "font_size": told["payload"]["flags"][1]["feature_state_value"]}
    written = path.read_text(encoding="utf-8") + kept
    assert not [word for word in ("jane", "Jane", "Doe", "deep blue") if word in written]
    assert "payload.json: 1 event" in result.stdout
    assert re.search(r"/identifier +email", result.stdout)
    checked = CliRunner().invoke(main, ["check"])
    assert (checked.exit_code, "1 passed" in checked.stdout) == (0, True)


def test_a_line_of_a_file_is_a_payload_too(add_payload: Run, home: Path) -> None:
    """With --line; the whole file has to be JSON without it, and the sentence says so."""
    rows = [{"event_type": f"Row {number}", "user_id": f"user-{number}", "uuid": f"uuid-{number}"} for number in (4, 5)]
    rows = [{**one, "event_time": "2026-01-02 03:04:05.123456"} for one in rows]
    (home / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = add_payload("rows.jsonl", "--source", "amplitude_export", "--line", "2")
    assert result.exit_code == 0, result.stderr
    told = json.loads((home / "cases" / "amplitude_export" / "track_row_5.json").read_text(encoding="utf-8"))
    assert (told["payload"]["event_type"], told["payload"]["user_id"]) == ("Row 5", "user-1")
    whole = add_payload("rows.jsonl", "--source", "amplitude_export")
    assert whole.exit_code == 2
    assert "name the line with --line" in whole.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Name the destination of an event with -d, or the source of a payload with --source."),
        (("-d", "widget", "--source", "flagsmith"), "Name the destination of an event with -d, or the source"),
        (("--source", "flagsmit"), "Did you mean 'flagsmith'?"),
        (("--source", "flagsmith", "--settings", "settings.json"), "token"),
    ],
)
def test_bad_input_of_a_payload_is_one_sentence(
    add_payload: Run, home: Path, args: tuple[str, ...], message: str
) -> None:
    """And nothing is written."""
    (home / "payload.json").write_text(json.dumps(PAYLOAD), encoding="utf-8")
    result = add_payload("payload.json", *args)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not (home / "cases").exists()


def test_a_payload_that_cannot_be_read_is_a_case_too(add_payload: Run, home: Path) -> None:
    """It pins how it is refused."""
    result = add_payload("-", "--source", "flagsmith", "--name", "nothing", given='{"flags": 5}')
    assert (result.exit_code, "standard input: 0 events, 1 refused" in result.stdout) == (0, True)
