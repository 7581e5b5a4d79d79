"""Endpoints: URL, headers, body and authentication made of settings, and shown without secrets."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    ITEM,
    ITEMS,
    Batch,
    Config,
    ConfigError,
    Destination,
    Dispatcher,
    Endpoint,
    Event,
    Item,
    PluginError,
    Refusal,
    Request,
    Settings,
    basic,
    bearer,
    form_body,
    json_body,
    rule,
    setting,
    share,
)
from turnout.settings import choice, text


class Keys(Settings):
    """Settings with two secrets."""

    key = text("The key.", secret=True, default="k/1 é")
    word = text("The password.", secret=True, default="p:w")
    region = choice("The region.", ["us", "eu"], default="us")


def config(**given: Any) -> Config:
    return Keys.configure(given, environ={})


def bound(body: Any = None, url: Any = "https://{region}.example/in", **options: Any) -> Any:
    given = options.pop("given", {})
    endpoint = Endpoint("POST", url, body=body or json_body(ITEMS), **options)
    endpoint.name = "events"
    return endpoint.bind(config(**given))


def request(endpoint: Any, *values: Any) -> Request:
    return Request(endpoint, tuple(endpoint.item(value) for value in values))


def test_settings_fill_the_url_quoted() -> None:
    """`{name}` stands for a setting, quoted so that it can't leave its place in the URL."""
    endpoint = bound(url="https://{region}.example/{key}/in?w={word}", given={"region": "eu", "key": "a/b?c#d"})
    assert endpoint.target == "https://eu.example/a%2Fb%3Fc%23d/in?w=p%3Aw"


def test_a_secret_in_the_url_is_masked_where_it_stands() -> None:
    """The URL that is shown has `***` in the place of the secret, the one that is sent has the secret."""
    endpoint = bound(url="https://{region}.example/{key}/in?w={word}", given={"key": "secret-1"})
    assert endpoint.masked.target == "https://us.example/***/in?w=***"
    assert endpoint.target == "https://us.example/secret-1/in?w=p%3Aw"


def test_a_url_may_be_a_function_of_the_settings() -> None:
    """It is called once for the request and once for its masked twin."""
    endpoint = bound(url=lambda config: f"https://{config.region}.example/{config.key}", given={"key": "secret-1"})
    assert (endpoint.target, endpoint.masked.target) == (
        "https://us.example/secret-1",
        "https://us.example/***",
    )


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/v1/in?a=1"),
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765/v1/in?a=1"),
        ("https://proxy.example/turn", "https://proxy.example/turn/v1/in?a=1"),
    ],
)
def test_base_url_replaces_scheme_and_host_only(base: str, expected: str) -> None:
    """Path and query stay, a prefix of the base comes first."""
    assert bound(url="https://{region}.example/v1/in?a=1", given={"base_url": base}).target == expected


def test_headers_have_lower_case_names_and_settings_in_them() -> None:
    """A header may hold the value of a setting; a secret is masked there."""
    endpoint = bound(headers={"X-Key": setting("key"), "X-Region": setting("region")}, given={"key": "secret-1"})
    assert endpoint.sent_headers == {
        "content-type": "application/json",
        "x-key": "secret-1",
        "x-region": "us",
    }
    assert endpoint.masked.sent_headers["x-key"] == "***"


def test_basic_and_bearer_make_the_authorization_header() -> None:
    """Basic is base64 of UTF-8 with a colon between; shown is only the scheme."""
    endpoint = bound(auth=basic("key", "word"))
    scheme, _, token = endpoint.sent_headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(token).decode()) == ("Basic", "k/1 é:p:w")
    assert endpoint.masked.sent_headers["authorization"] == "Basic ***"
    assert bound(auth=bearer("key"), given={"key": "secret-1"}).sent_headers["authorization"] == "Bearer secret-1"


def test_basic_authentication_without_a_password() -> None:
    """The colon stays: that is how vendors take a key alone."""
    (name, value) = bound(auth=basic("key")).sent_headers["authorization"].split(" ")
    assert (name, base64.b64decode(value).decode()) == ("Basic", "k/1 é:")
    assert bound(auth=basic("key")).masked.sent_headers["authorization"] == "Basic ***"


def test_a_json_body_has_the_items_in_their_place() -> None:
    """The template's other fields keep their order and values; settings are filled in."""
    endpoint = bound(json_body({"k": setting("key"), "in": {"list": ITEMS}, "n": [1, None, setting("region")]}))
    body = request(endpoint, {"a": 1}, {"b": [2]}).body
    assert json.loads(body) == {"k": "k/1 é", "in": {"list": [{"a": 1}, {"b": [2]}]}, "n": [1, None, "us"]}


def test_a_body_may_be_the_list_of_the_items() -> None:
    """`json_body(ITEMS)` sends the list alone."""
    assert json.loads(request(bound(json_body(ITEMS)), 1, "two", None).body) == [1, "two", None]


def test_a_form_sends_one_item_alone_and_several_as_a_list() -> None:
    """The field of the items is JSON; other fields that are not text are JSON as well."""
    endpoint = bound(form_body({"key": setting("key"), "all": ITEMS, "options": {"a": 1}}))
    fields = dict(parse_qsl(request(endpoint, {"x": "ü&="}).body.decode()))
    assert fields == {"key": "k/1 é", "all": '{"x":"ü&="}', "options": '{"a":1}'}
    assert dict(parse_qsl(request(endpoint, 1, 2).body.decode()))["all"] == "[1,2]"
    assert request(endpoint, 1, 2).to_dict()["body"] == {"key": "***", "all": [1, 2], "options": {"a": 1}}


def test_a_form_may_have_the_fields_of_one_item() -> None:
    """Texts stay as they are, null is left out, the rest is JSON digit by digit; settings stand beside, masked."""
    endpoint = bound(
        form_body(ITEM, {"key": setting("key"), "v": 2}), "https://{region}.example/{item.list}", batch=Batch(items=9)
    )
    fields = {"list": "l 1", "word": "ü&=", "on": True, "many": 10**40, "none": None, "deep": {"a": [1]}, "text": "[x"}
    made = request(endpoint, fields)
    assert made.url == "https://us.example/l%201"
    assert made.body.decode().startswith("key=k%2F1+%C3%A9&v=2&word=%C3%BC%26%3D&on=true&many=1")
    texts = dict(parse_qsl(made.body.decode()))
    assert texts == {
        "key": "k/1 é",
        "v": "2",
        "word": "ü&=",
        "on": "true",
        "many": str(10**40),
        "deep": '{"a":[1]}',
        "text": "[x",
    }
    assert made.to_dict()["body"] == texts | {"key": "***", "v": 2, "deep": {"a": [1]}}
    assert endpoint.batch.items == 1


def test_one_item_in_a_field_of_a_form_takes_a_request_of_its_own() -> None:
    """`ITEM` means the same in a form as in JSON, also for one field of it."""
    assert bound(form_body({"member": ITEM}), batch=Batch(items=5)).batch.items == 1
    endpoint = bound(form_body({"email": ITEM["email"]}))
    assert request(endpoint, {"email": "a@b.example", "n": 1}).to_dict()["body"] == {"email": "a@b.example"}


def test_a_form_of_an_items_fields_needs_an_object() -> None:
    """A text has no fields: the author is told, with the endpoint."""
    with pytest.raises(PluginError, match=r"endpoint 'events' must be an object"):
        bound(form_body(ITEM)).item("word")


def test_no_item_has_a_field_that_stands_beside_those_of_its_form() -> None:
    """A vendor would take one of the two, nobody knows which: perhaps not our key. One for the URL is not in it."""
    body = form_body(ITEM, {"token": "t-1", "version": 2})
    for name in ("token", "version"):
        with pytest.raises(PluginError, match=rf"endpoint 'events' has the field '{name}', which stands beside it"):
            bound(body).item({"by": "u-1", name: "word"})
    endpoint = bound(body, "https://acme.example/{item.version}")
    shown = request(endpoint, {"by": "u-1", "version": 3}).to_dict()
    assert shown["url"] == "https://acme.example/3"
    assert shown["body"] == {"token": "t-1", "version": 2, "by": "u-1"}


@pytest.mark.parametrize("body", [form_body(ITEMS), form_body(ITEM["a"]), form_body(ITEM, {"b": ITEM})])
def test_a_form_that_can_not_be_is_refused_with_what_can(body: Any) -> None:
    """A list has no fields either, nor has a part of an item; and the items stand in one place."""
    with pytest.raises(PluginError, match=r"A form is form_body\(ITEM\), .* or an object in which ITEMS"):
        bound(body)


def test_a_place_of_items_is_no_list() -> None:
    """Python would look for its items without end."""
    with pytest.raises(TypeError, match="not iterable"):
        list(ITEMS)  # type: ignore[call-overload]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(lambda key: key[0] != "$"))
def test_what_is_shown_is_what_is_sent(value: Any, key: str) -> None:
    """For any JSON value and any key, the decoded body that is shown equals the bytes that are sent."""
    for body in (
        json_body({"k": setting("key"), "all": ITEMS}),
        form_body({"k": setting("key"), "all": ITEMS}),
    ):
        endpoint = bound(body, given={"key": key})
        made = request(endpoint, value, value)
        assert made.to_dict(show_secrets=True)["body"] == {
            "k": endpoint_key(endpoint, made),
            "all": [value, value],
        }
        assert made.to_dict()["body"]["k"] == "***"


def endpoint_key(endpoint: Any, made: Request) -> Any:
    if endpoint.envelope.quoted:
        return dict(parse_qsl(made.body.decode(), keep_blank_values=True))["k"]
    return json.loads(made.body)["k"]


def test_integers_of_any_size_arrive_digit_by_digit() -> None:
    """2**53 + 1, 64 bits and more are neither rounded nor refused."""
    for number in (2**53 + 1, -(2**63) - 1, 2**64, 10**40):
        assert request(bound(), {"n": number}).body == b'[{"n":%d}]' % number


def test_shared_fields_are_encoded_once_and_are_part_of_each_item() -> None:
    """`share` gives bytes that several items carry behind their own fields."""
    endpoint = bound()
    shared = share({"user": "u", "deep": {"a": 1}})
    assert msgspec.json.decode(endpoint.item({"n": 1}, shared).data) == {
        "n": 1,
        "user": "u",
        "deep": {"a": 1},
    }
    assert msgspec.json.decode(endpoint.item({"n": 1}, share({})).data) == {"n": 1}


def test_an_endpoint_that_is_not_configured_makes_no_items() -> None:
    """The sentence says to go through an instance."""
    endpoint = Endpoint("POST", "https://x.example", body=json_body(ITEMS))
    endpoint.name = "events"
    with pytest.raises(ConfigError, match="'events' is not configured: use it through a destination's instance"):
        endpoint.item({})


@pytest.mark.parametrize(
    "body",
    [
        json_body({"events": []}),
        json_body({"a": ITEMS, "b": ITEMS}),
        form_body({"a": "text"}),
        form_body({"a": ITEMS, "b": ITEMS}),
    ],
)
def test_a_template_has_the_items_in_exactly_one_place(body: Any) -> None:
    """None or two are the author's mistake and are named so."""
    with pytest.raises(PluginError, match=r"ITEMS (in one place|.*one field)"):
        bound(body)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "https://x.example/{regoin}"},
        {"body": json_body({"a": setting("regoin"), "b": ITEMS})},
        {"headers": {"x": setting("regoin")}},
        {"auth": bearer("regoin")},
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest(options: dict[str, Any]) -> None:
    """In a URL, a body, a header or an authentication: the word, and what was probably meant."""
    with pytest.raises(PluginError, match=r"'regoin'.*Did you mean 'region'\?"):
        bound(**options)


@pytest.mark.parametrize("make", [lambda: json_body({"e": ITEMS}), lambda: form_body({"e": ITEMS})])
def test_an_item_too_large_for_any_request_is_refused(make: Any) -> None:
    """The limit is that of the bytes on the wire, exactly: one byte more is refused with both numbers."""
    whole = len(request(bound(make()), {"v": "a" * 1300}).body)
    fits = bound(make(), batch=Batch(items=5, bytes=whole))
    assert len(request(fits, {"v": "a" * 1300}).body) == whole
    with pytest.raises(Refusal, match=f"a request of {whole + 1:,} bytes; events takes {whole:,}") as caught:
        fits.item({"v": "a" * 1301})
    assert caught.value.reason.code == "item_too_large"


@given(st.text())
def test_no_item_that_was_accepted_exceeds_the_limit(word: str) -> None:
    """However much an encoding adds (a form may treble it), an accepted item fits into a request."""
    for body in (json_body({"e": ITEMS}), form_body({"e": ITEMS}), form_body(ITEM)):
        endpoint = bound(body, batch=Batch(items=1, bytes=60))
        try:
            sent = request(endpoint, {"v": word}).body
        except Refusal:
            continue
        assert len(sent) <= 60


def test_an_item_may_have_a_limit_of_its_own() -> None:
    """The limit is that of the item's JSON, exactly; the request's own still counts for what it has room for."""
    endpoint = bound(batch=Batch(items=5, bytes=60, item_bytes=20))
    assert len(request(endpoint, {"v": "a" * 12}).items[0].data) == 20
    with pytest.raises(Refusal, match=r"An item has 21 bytes; events takes items of up to 20\. Send less") as caught:
        endpoint.item({"v": "a" * 13})
    assert caught.value.reason.code == "item_too_large"
    with pytest.raises(Refusal, match="a request of 61 bytes"):
        bound(batch=Batch(items=5, bytes=60, item_bytes=70)).item({"v": "a" * 51})


@pytest.mark.parametrize("region", ["us", "eu"])
def test_bodies_are_compressed_where_the_endpoint_says_so(region: str) -> None:
    """On the wire they are gzip, the same bytes each time, with the header; what is shown is plain."""
    endpoint = bound(gzip=lambda settings: settings.region == "eu", given={"region": region})
    made = request(endpoint, {"n": 1}, {"n": 2})
    packed = region == "eu"
    assert made.headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(made.body) if packed else made.body) == b'[{"n":1},{"n":2}]'
    assert made.body == request(endpoint, {"n": 1}, {"n": 2}).body
    assert made.to_dict()["body"] == [{"n": 1}, {"n": 2}]
    assert made.to_dict()["headers"] == made.headers


def test_limits_count_before_compression() -> None:
    """What compresses well takes no more room than it has plain."""
    endpoint = bound(batch=Batch(items=5, bytes=1000), gzip=True)
    assert len(request(endpoint, "a" * 996).body) < 100
    with pytest.raises(Refusal, match="a request of 1,001 bytes; events takes 1,000"):
        endpoint.item("a" * 997)


def test_item_stands_alone() -> None:
    """`ITEM` makes a body of one item without a list, and one request for each item."""

    class Lone(Destination):
        name = "Lone"
        one = Endpoint("POST", "https://lone.example/x", body=json_body({"event": ITEM}), batch=Batch(items=50))

        @rule("track")
        def tracked(self, event: Event) -> list[Item]:
            return [self.one.item({"n": 1}), self.one.item({"n": 2})]

    [plan] = Dispatcher([Lone()]).plan({"type": "track", "event": "e", "userId": "u"})
    assert [request.body for request in plan.requests] == [b'{"event":{"n":1}}', b'{"event":{"n":2}}']


def test_url_that_reads_a_secret_is_hidden() -> None:
    """A URL function may take a part out of a secret; shown, such a URL is three stars."""

    class KeySettings(Settings):
        key = text("The key.", required=True, secret=True)

    class Placed(Destination):
        name = "Placed"
        settings = KeySettings
        one = Endpoint("POST", lambda config: f"https://{config.key.split('-')[1]}.example/x", body=json_body(ITEMS))

        @rule("track")
        def tracked(self, event: Event) -> Item:
            return self.one.item({"n": 1})

    [plan] = Dispatcher([Placed({"key": "secret-us21"})]).plan({"type": "track", "event": "e", "userId": "u"})
    assert plan.requests[0].url == "https://us21.example/x"
    assert plan.to_dict()["requests"][0]["url"] == "***"
