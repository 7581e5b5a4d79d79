"""The Amplitude destination beyond its case files: settings, values that no case holds, what always holds."""

from __future__ import annotations

import copy
import json
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from turnout import Dispatcher, Normaliser, SettingsError
from turnout_amplitude import Amplitude

KEY = "key-of-the-project"
OPERATORS = {"$add", "$append", "$prepend", "$set", "$setOnce", "$unset"}

# The settings table of the rule book: Segment's key, our name, the default.
TABLE: tuple[tuple[str, str, Any], ...] = (
    ("secretKey", "secret_key", ""),
    ("endpoint", "endpoint", "US"),
    ("sendToBatchEndpoint", "send_to_batch_endpoint", False),
    ("trackNamedPages", "track_named_pages", False),
    ("trackCategorizedPages", "track_categorized_pages", False),
    ("trackAllPages", "track_all_pages", False),
    ("trackAllPagesV2", "track_all_pages_v2", False),
    ("pageEventVerb", "page_event_verb", "Loaded"),
    ("preferAnonymousIdForDeviceId", "prefer_anonymous_id_for_device_id", False),
    ("useAdvertisingIdForDeviceId", "use_advertising_id_for_device_id", False),
    ("deviceIdFromUrlParam", "device_id_from_url_param", False),
    ("traitsToIncrement", "traits_to_increment", []),
    ("traitsToSetOnce", "traits_to_set_once", []),
    ("traitsToAppend", "traits_to_append", []),
    ("traitsToPrepend", "traits_to_prepend", []),
    ("useLogRevenueV2", "use_log_revenue_v2", True),
    ("trackRevenuePerProduct", "track_revenue_per_product", False),
    ("trackProductsOnce", "track_products_once", False),
    ("groupTypeTrait", "group_type_trait", ""),
    ("groupValueTrait", "group_value_trait", ""),
    ("sendAlias", "enable_alias", False),
    ("mapQueryParams", "map_query_params", {}),
    ("appendFieldsToEventProps", "append_fields_to_event_props", {}),
    ("trackUtmProperties", "track_utm_properties", True),
    ("trackReferrer", "track_referrer", True),
    ("trackGclid", "track_gclid", False),
    ("saveParamsReferrerOncePerSession", "save_params_referrer_once_per_session", True),
    ("unsetParamsReferrerOnNewSession", "unset_params_referrer_on_new_session", False),
    ("useAmplitudeReferral", "use_amplitude_referral", False),
    ("versionName", "version_name", ""),
    ("enableLocationListening", "enable_location_listening", True),
    ("useCustomAmplitudeProperties", "use_custom_amplitude_properties", False),
    ("includeRawUserAgent", "include_raw_user_agent", False),
    ("trackSessionEvents", "track_session_events", False),
    ("batchEvents", "batch_events", False),
    ("eventUploadThreshold", "event_upload_threshold", 30),
    ("eventUploadPeriodMillis", "event_upload_period_millis", 30_000),
    ("forceHttps", "force_https", False),
)
FLAGS = tuple(name for _, name, default in TABLE if isinstance(default, bool))
NAMES = tuple(name for _, name, default in TABLE if default == [])
OBJECTS = tuple(name for _, name, default in TABLE if default == {})
NUMBERS = tuple(name for _, name, default in TABLE if type(default) is int)
TEXTS = ("api_key", *(name for _, name, default in TABLE if isinstance(default, str)))

# Every setting of the table that has no S in its platforms, with a value that is not its default.
NOT_ON_THE_SERVER: dict[str, Any] = {
    "track_all_pages_v2": True,
    "use_advertising_id_for_device_id": True,
    "device_id_from_url_param": True,
    "use_log_revenue_v2": False,
    "append_fields_to_event_props": {"context.page.path": "page_path", "event": "own_name"},
    "track_referrer": False,
    "track_gclid": True,
    "save_params_referrer_once_per_session": False,
    "unset_params_referrer_on_new_session": True,
    "use_amplitude_referral": True,
    "version_name": "9.9.9",
    "enable_location_listening": False,
    "track_session_events": True,
    "batch_events": True,
    "event_upload_threshold": 1,
    "event_upload_period_millis": 1,
    "force_https": True,
}
BASE: dict[str, Any] = {
    "secret_key": "secret-of-the-project",
    "track_all_pages": True,
    "track_named_pages": True,
    "enable_alias": True,
    "group_type_trait": "kind",
    "group_value_trait": "value",
}

RATES = ("max_requests_per_second", "max_events_per_second")


def plans(event: Any, **settings: Any) -> dict[str, Any]:
    """Return the plan of one event."""
    (plan,) = Dispatcher([Amplitude({"api_key": KEY, **settings}, id="amplitude")]).plan(event)
    return plan.to_dict()


def items(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events and identifications of a plan."""
    found: list[dict[str, Any]] = []
    for request in plan["requests"]:
        body = request["body"]
        some = body.get("events", body.get("identification", []))
        found += some if isinstance(some, list) else [some]
    return found


def track(name: str = "Thing Done", **more: Any) -> dict[str, Any]:
    """Return a track call."""
    return {
        "type": "track",
        "event": name,
        "messageId": "m-1",
        "userId": "u1234",
        "timestamp": "2026-01-02T03:04:05.006Z",
        **more,
    }


def rich(type_: str, library: str) -> dict[str, Any]:
    """Return a call of this type that has something for every setting to act on."""
    return {
        **track("Order Completed"),
        "type": type_,
        "anonymousId": "anon-1",
        "name": "Cart",
        "category": "Shop",
        "groupId": "group-1",
        "previousId": "former-1",
        "properties": {
            "revenue": 10,
            "price": 5,
            "quantity": 2,
            "referrer": "https://a.example.com/b",
            "products": [{"price": 1, "quantity": 3}],
        },
        "traits": {"kind": "Company", "value": "Acme", "logins": 3},
        "context": {
            "library": {"name": library},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "device": {"advertisingId": "adv-1", "adTrackingEnabled": False},
            "app": {"version": "1.2.3"},
            "location": {"latitude": 1.5, "longitude": 2.5},
            "campaign": {"source": "mail"},
            "page": {
                "search": "?amp_device_id=url-1&gclid=g-1&utm_source=bing",
                "path": "/cart",
                "referrer": "https://c.example.com/d/e",
            },
        },
        "integrations": {"Amplitude": {"outOfSession": True}},
    }


def refused(**settings: Any) -> SettingsError:
    """Return the error that these settings raise."""
    with pytest.raises(SettingsError) as caught:
        Amplitude({"api_key": KEY, **settings}, id="amplitude")
    return caught.value


@pytest.mark.parametrize("settings", [{}, {"api_key": ""}, {"api_key": None}, {"apiKey": ""}])
def test_an_api_key_is_required(settings: dict[str, Any]) -> None:
    """AMP-GEN-02: without an API key there is no destination, and the error names the setting."""
    with pytest.raises(SettingsError, match="'api_key' is required"):
        Amplitude(settings, id="amplitude")


def test_every_setting_has_the_default_of_the_table() -> None:
    """With nothing but its key a destination has the table's defaults, and there is no other setting."""
    config = Amplitude({"api_key": KEY}, id="amplitude").config
    assert {name: config[name] for _, name, _ in TABLE} == {name: default for _, name, default in TABLE}
    assert set(config) == {name for _, name, _ in TABLE} | {"api_key", "base_url", "connection_mode", *RATES}


def test_every_setting_is_accepted_under_segments_key() -> None:
    """Segment's own keys configure the same destination as ours."""
    ours = Amplitude({"api_key": KEY, **NOT_ON_THE_SERVER, **BASE}, id="amplitude").config
    keys = {name: key for key, name, _ in TABLE}
    theirs = {keys[name]: value for name, value in {**NOT_ON_THE_SERVER, **BASE}.items()}
    assert dict(Amplitude({"apiKey": KEY, **theirs}, id="amplitude").config) == dict(ours)


@pytest.mark.parametrize("value", ["true", "", 1, 0, [], {}, 1.0])
@pytest.mark.parametrize("name", FLAGS)
def test_a_switch_is_true_or_false(name: str, value: Any) -> None:
    """A switch takes neither text nor number; the error names it."""
    error = refused(**{name: value})
    assert set(error.errors) == {name}
    assert f"'{name}' must be true or false" in str(error)


@pytest.mark.parametrize("value", [5, True, ["x"], {"x": "y"}, 1.5])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_setting_takes_text_only(name: str, value: Any) -> None:
    """A text setting takes no number, list or object; the error names it and never shows the key."""
    error = refused(**{name: value})
    assert set(error.errors) == {name}
    assert KEY not in str(error)


@pytest.mark.parametrize("value", ["logins", {"logins": "x"}, 5, True, [5], ["logins", None], [""], [["logins"]]])
@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_traits_is_a_list_of_texts(name: str, value: Any) -> None:
    """A list of traits takes no single text and no other values; the error names it."""
    assert set(refused(**{name: value}).errors) == {name}


@pytest.mark.parametrize("value", ["?x", ["event_properties"], 5, True, {"q": 5}, {"q": None}, {"q": ["x"]}, {"": "x"}])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_setting_maps_names_to_texts(name: str, value: Any) -> None:
    """A mapping takes nothing but an object of texts; the error names it."""
    assert set(refused(**{name: value}).errors) == {name}


@pytest.mark.parametrize("value", ["30", 2.5, True, [30], 0, -1, float("nan")])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_setting_is_a_positive_whole_number(name: str, value: Any) -> None:
    """The limits of the browser's queue are positive whole numbers, although they do nothing here."""
    assert set(refused(**{name: value}).errors) == {name}


def test_a_place_for_the_query_string_is_one_of_two() -> None:
    """AMP-TRACK-04: another place than the two is an error that names the near one."""
    error = refused(map_query_params={"query": "event_property"})
    assert "'query'" in str(error)
    assert "Did you mean 'event_properties'?" in str(error)


@pytest.mark.parametrize(
    ("name", "value"), [("endpoint", "Moon"), ("page_event_verb", "Seen"), ("connection_mode", "clod")]
)
def test_a_word_that_is_no_choice_is_an_error(name: str, value: str) -> None:
    """AMP-HTTP-06, AMP-PAGE-06: a typo must not be taken for the default."""
    assert set(refused(**{name: value}).errors) == {name}


def test_an_unknown_setting_gets_the_near_one() -> None:
    """A setting that is none is an error with a suggestion."""
    assert "Did you mean 'track_named_pages'?" in str(refused(track_named_page=True))


def test_both_product_settings_are_warned_of() -> None:
    """AMP-ORDER-11: an order without revenue anywhere is allowed, and said at configuration."""
    both = {"track_products_once": True, "track_revenue_per_product": True}
    (warning,) = Amplitude({"api_key": KEY, **both}, id="amplitude").config.warnings
    assert "track_products_once" in warning
    assert "track_revenue_per_product" in warning
    for name in both:
        assert Amplitude({"api_key": KEY, name: True}, id="amplitude").config.warnings == ()


@pytest.mark.parametrize("name", sorted(NOT_ON_THE_SERVER))
def test_a_setting_of_devices_does_nothing_in_cloud_mode(name: str) -> None:
    """A setting without S in the table is accepted, and changes no call of any library and type."""
    for library in ("analytics.js", "analytics-ios", "analytics-android", "analytics-python"):
        for type_ in ("track", "page", "screen", "identify", "group", "alias", "delete"):
            event = rich(type_, library)
            plain = plans(event, **BASE)
            assert plain["outcome"] == "planned"
            assert plans(event, **BASE, **{name: NOT_ON_THE_SERVER[name]}) == plain


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("3.5"), 10**400])
def test_an_amount_that_is_no_json_number_never_fails_the_plugin(value: Any) -> None:
    """AMP-REV-01: what no double can hold is refused before the mapping, or carried; no rule raises."""
    for name in ("Thing Done", "Order Completed"):
        properties = {"revenue": value, "price": value, "products": [{"price": value, "quantity": value}]}
        plan = plans(track(name, properties=properties), track_revenue_per_product=True)
        assert plan["outcome"] in ("planned", "invalid")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "9" * 400, "1e999", -0.0])
def test_a_strange_session_never_fails_the_plugin(value: Any) -> None:
    """AMP-SESS-03: a session id that no clock has shown is planned or refused; no rule raises for it."""
    options = {"Amplitude": {"session_id": value, "event_id": value, "groups": {"a": value}}}
    assert plans(track(integrations=options))["outcome"] in ("planned", "invalid")


@pytest.mark.parametrize(
    "agent", ["", " ", "Mozilla/5.0", "Edg/", "Version/ Safari/", "x" * 20_000, "Chrome/" + "9" * 900]
)
def test_any_user_agent_is_read(agent: str) -> None:
    """AMP-CTX-10: no text at all makes the user agent's parser raise, or forget the platform."""
    (item,) = items(plans(track(context={"library": {"name": "analytics.js"}, "userAgent": agent})))
    assert item["platform"] == "Web"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
amounts = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**80), 2**80),
    st.booleans(),
    st.none(),
    texts,
    st.sampled_from(["$1,250.75", "3 pieces", "free", "", "-2.5", "1e400", ".5", "9" * 320, 10**400]),
)
values = st.recursive(
    amounts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "revenue",
    "total",
    "price",
    "quantity",
    "productId",
    "product_id",
    "revenueType",
    "revenue_type",
    "products",
    "country",
    "language",
    "event_id",
    "address",
    "logins",
    "plan",
    "id",
    "$set",
    "$add",
    "groups",
]
objects = st.dictionaries(st.sampled_from(KEYS) | texts, values, max_size=6)
products = st.lists(objects | values, max_size=4)
options = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["session_id", "event_id", "groups", "unmap", "paying"], values)
)
ids = st.sampled_from(["u1234", "u12", "anon-1", 77, None, ""])
events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["track", "page", "screen", "identify", "group", "alias", "delete"]),
        "event": st.sampled_from(["Thing Done", "Order Completed", "completed_order"]),
        "messageId": st.just("m-1"),
        "userId": ids,
        "anonymousId": ids,
        "groupId": st.just("group-1"),
        "previousId": st.just("former-1"),
        "timestamp": st.just("2026-01-02T03:04:05.006Z"),
        "properties": st.builds(lambda given, some: {**given, "products": some}, objects, products),
        "traits": objects,
        "integrations": st.fixed_dictionaries({"Amplitude": options}),
        "context": st.fixed_dictionaries(
            {
                "traits": objects,
                "campaign": st.fixed_dictionaries({}, optional={"source": texts, "name": texts}),
                "page": st.fixed_dictionaries({}, optional={"search": texts}),
            }
        ),
    },
    optional={"name": texts, "category": texts},
)
settings = st.fixed_dictionaries(
    {
        "secret_key": st.just("secret-1"),
        "enable_alias": st.booleans(),
        "track_all_pages": st.booleans(),
        "track_named_pages": st.booleans(),
        "track_categorized_pages": st.booleans(),
        "track_revenue_per_product": st.booleans(),
        "track_products_once": st.booleans(),
        "track_utm_properties": st.booleans(),
        "use_custom_amplitude_properties": st.booleans(),
        "traits_to_increment": st.lists(st.sampled_from(KEYS), max_size=2),
        "traits_to_set_once": st.lists(st.sampled_from(KEYS), max_size=2),
        "traits_to_append": st.lists(st.sampled_from(KEYS), max_size=2),
        "map_query_params": st.dictionaries(
            st.sampled_from(KEYS), st.sampled_from(["event_properties", "user_properties"]), max_size=2
        ),
        "group_type_trait": st.sampled_from(["", "plan"]),
        "group_value_trait": st.sampled_from(["", "logins"]),
    }
)
often = hypothesis_settings(max_examples=300, deadline=None, derandomize=True)


class Example(NamedTuple):
    """An event, settings, and what it is planned as with them."""

    event: dict[str, Any]
    settings: dict[str, Any]
    plan: dict[str, Any]


@cache
def examples() -> list[Example]:
    """Return many of them; making one takes far longer than looking at it, so the tests have them in common."""
    found: list[Example] = []

    @hypothesis_settings(often, max_examples=600)
    @given(events, settings)
    def keep(event: dict[str, Any], given_settings: dict[str, Any]) -> None:
        found.append(Example(event, given_settings, plans(copy.deepcopy(event), **given_settings)))

    keep()
    return found


def test_there_are_examples_of_every_outcome() -> None:
    """Of those that the next tests look at, many are planned, and some are dropped or invalid."""
    told = Counter(one.plan["outcome"] for one in examples())
    assert told["planned"] > 200
    assert set(told) == {"planned", "dropped", "invalid"}


def test_no_event_makes_a_rule_raise() -> None:
    """Whatever an event holds, it is planned, dropped or invalid, with a reason unless it is planned."""
    for _, _, plan in examples():
        assert plan["outcome"] in ("planned", "dropped", "invalid")
        assert (plan["reason"] is None) == (plan["outcome"] == "planned") == bool(plan["requests"])


def test_operators_are_never_mixed_with_keys() -> None:
    """AMP-IDENT-11: user properties are all operators or none, and no trait stands under two of them."""
    for _, _, plan in examples():
        for item in items(plan):
            properties = item.get("user_properties", {})
            used = OPERATORS & properties.keys()
            assert not used or used == properties.keys()
            inner = [key for operator in used for key in properties[operator]]
            assert len(inner) == len(set(inner))


def test_insert_ids_of_one_call_are_distinct() -> None:
    """AMP-GEN-07, AMP-ORDER-08: the message id, then `-1`, `-2`, … in the order of the events."""
    for _, _, plan in examples():
        found = [item["insert_id"] for item in items(plan) if "event_type" in item]
        assert found == ["m-1", *(f"m-1-{count}" for count in range(1, len(found)))][: len(found)]


def test_mapping_is_pure() -> None:
    """AMP-GEN-09: neither the sender's object nor the event changes, and equal events give equal plans."""
    for event, given_settings, first in examples():
        before = copy.deepcopy(event)
        assert plans(event, **given_settings) == first
        assert json.dumps(event) == json.dumps(before)
        if first["outcome"] == "planned":
            accepted = Normaliser().event(event)
            told = json.dumps(accepted.to_dict())
            parts = [accepted.properties, accepted.traits, accepted.context.traits, accepted.integrations]
            shown = json.dumps(parts)
            assert plans(accepted, **given_settings) == first
            assert json.dumps(accepted.to_dict()) == told
            assert json.dumps(parts) == shown


def test_no_mapped_field_is_null() -> None:
    """AMP-GEN-10: a field that has nothing to hold is left out."""
    for _, _, plan in examples():
        for item in items(plan):
            assert None not in item.values()


def test_native_revenue_is_whole_or_absent() -> None:
    """AMP-REV-03, AMP-REV-04, AMP-REV-07: numbers, price with quantity, and nothing without a revenue."""
    native = ("revenue", "price", "quantity", "productId", "revenueType")
    for event, _, plan in examples():
        for item in items(plan):
            found = {key: item[key] for key in native if key in item}
            assert ("price" in found) == ("quantity" in found)
            assert not found or "revenue" in found
            assert all(type(found[key]) in (int, float) for key in native[:3] if key in found)
            assert all(isinstance(found[key], str) and found[key] for key in native[3:] if key in found)
            assert not found or event["type"] == "track"


@often
@given(st.lists(objects | values, max_size=6), settings)
def test_an_order_becomes_one_event_for_each_product(some: list[Any], given_settings: dict[str, Any]) -> None:
    """AMP-ORDER-02, AMP-ORDER-03, AMP-ORDER-11: the order, then the products that are objects, unchanged."""
    plan = plans(track("Order Completed", properties={"revenue": 3, "products": some}), **given_settings)
    wanted = [one for one in some if isinstance(one, dict)]
    order, *purchased = items(plan)
    assert order["event_type"] == "Order Completed"
    if given_settings["track_products_once"]:
        assert purchased == []
        assert len(order["event_properties"]["products"]) == len(wanted)
        return
    assert {item["event_type"] for item in purchased} <= {"Product Purchased"}
    assert [item.get("event_properties", {}) for item in purchased] == wanted


@often
@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(1, 99)), max_size=5))
def test_revenue_is_counted_once(lines: list[tuple[int, int]]) -> None:
    """AMP-ORDER-04, AMP-ORDER-05: an order's revenue is on the order or on its products, never on both."""
    some = [{"price": price, "quantity": quantity} for price, quantity in lines]
    event = track("Order Completed", properties={"revenue": 50, "products": some})
    assert [item.get("revenue") for item in items(plans(event))] == [50] + [None] * len(some)
    found = [item.get("revenue") for item in items(plans(event, track_revenue_per_product=True))]
    assert found == ([None, *(price * quantity for price, quantity in lines)] if some else [50])


@given(ids, ids, st.booleans())
def test_the_device_id_is_the_first_that_is_there(device: Any, anonymous: Any, prefer: bool) -> None:
    """AMP-DEV-01, AMP-DEV-02: of two places the setting says which comes first; null and "" are no ids."""
    event = track(anonymousId=anonymous, context={"device": {"id": device}})
    (item,) = items(plans(event, prefer_anonymous_id_for_device_id=prefer))
    order = (anonymous, device) if prefer else (device, anonymous)
    wanted = next((str(one) for one in order if one not in (None, "")), None)
    assert item.get("device_id") == wanted
