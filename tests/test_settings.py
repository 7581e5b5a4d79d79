"""Settings: what is accepted, what each wrong value is told, and that secrets never show."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import PluginError, SettingsError
from turnout.settings import (
    Config,
    Section,
    Settings,
    choice,
    describe,
    flag,
    integer,
    mapping,
    names,
    number,
    redact,
    text,
    url,
)

KEY = 's3cr/et+k"ey'


class AcmeSettings(Settings):
    """One setting of each kind."""

    api_key = text("Project API key.", required=True, secret=True, platforms="SB", rules=("ACME-1",))
    region = choice("Region.", ["US", "EU"], default="US", synonyms={"europe": "EU"})
    track_named_pages = flag("Send named pages.")
    threshold = integer("How many.", default=30, minimum=1, maximum=99)
    ratio = number("How much.", default=0.5, minimum=0.0, maximum=1.0)
    traits = names("Traits.")
    query = mapping("Query strings.", choices=["event_properties", "user_properties"])
    labels = mapping("Free names.")
    enable_alias = flag("Forward alias.", key="sendAlias")
    group_type = text("Type trait.", requires="group_value")
    group_value = text("Value trait.")
    token = text("Another secret.", secret=True)

    def warnings(self, config: Config) -> Iterable[str]:
        """Warn of two things at once."""
        if config.region == "EU" and config.enable_alias:
            yield f"region EU has no alias (key {config.api_key})"


def configure(values: Any = None, **more: Any) -> Config:
    given = {"api_key": KEY, **(values or {}), **more}
    return AcmeSettings.configure(given, owner="destination 'acme'", environ={"NAME": KEY, "EMPTY": ""})


def problem(values: Mapping[str, Any], schema: type[Section] = AcmeSettings) -> str:
    with pytest.raises(SettingsError) as caught:
        schema.configure(values, owner="destination 'acme'", environ={"NAME": KEY, "EMPTY": ""})
    message = str(caught.value)
    assert message.startswith("destination 'acme': ")
    return message.removeprefix("destination 'acme': ")


def test_defaults_fill_what_is_not_given() -> None:
    """What is not given has its default, and `given` names only what was."""
    config = configure()
    assert dict(config) == {
        "base_url": "",
        "max_requests_per_second": 0.0,
        "max_events_per_second": 0.0,
        "api_key": KEY,
        "region": "US",
        "track_named_pages": False,
        "threshold": 30,
        "ratio": 0.5,
        "traits": [],
        "query": {},
        "labels": {},
        "enable_alias": False,
        "group_type": "",
        "group_value": "",
        "token": "",
    }
    assert config.given == {"api_key"}


def test_both_spellings_of_a_key_are_accepted() -> None:
    """Names and Segment's keys, also one that is not the camelCase of the name, mean the same setting."""
    config = AcmeSettings.configure({"apiKey": "k1", "trackNamedPages": True, "sendAlias": True})
    assert (config.api_key, config.track_named_pages, config.enable_alias) == ("k1", True, True)
    assert config.given == {"api_key", "track_named_pages", "enable_alias"}


def test_a_setting_under_both_spellings_is_refused() -> None:
    """Two values for one setting are an error, equal or not; a null is no value."""
    assert problem({"api_key": "kk", "trackNamedPages": True, "track_named_pages": True}) == (
        "Setting 'track_named_pages' is given twice, as 'track_named_pages' and 'trackNamedPages': keep one."
    )
    assert configure(trackNamedPages=None, track_named_pages=True).track_named_pages is True


def test_null_means_absent() -> None:
    """A null leaves the default, and doesn't satisfy a required setting."""
    config = configure(region=None, traits=None, threshold=None)
    assert (config.region, config.traits, config.threshold) == ("US", [], 30)
    assert "Setting 'api_key' is required" in problem({"api_key": None})


def test_settings_can_be_laid_over_others() -> None:
    """The upper value wins under whichever key; a null leaves the lower; nothing is checked yet."""
    below = {"apiKey": "low-key", "region": "EU", "traits": ["a"]}
    above = {"api_key": "high-key", "region": None, "sendAlias": True, "unknown": 1}
    found = AcmeSettings.overlay(below, above)
    assert found == {
        "region": "EU",
        "traits": ["a"],
        "api_key": "high-key",
        "sendAlias": True,
        "unknown": 1,
    }
    del found["unknown"]
    assert AcmeSettings.configure(found).api_key == "high-key"


@pytest.mark.parametrize(
    ("written", "kept"), [("US", "US"), ("eu", "EU"), ("Europe", "EU"), ("EUROPE", "EU"), ("us", "US")]
)
def test_a_choice_is_kept_in_its_own_spelling(written: str, kept: str) -> None:
    """Any case and every synonym come to the spelling of the list."""
    assert configure(region=written).region == kept


def test_values_of_each_type_are_kept() -> None:
    """Good values are carried as they are."""
    config = configure(
        threshold=99,
        ratio=1,
        traits=("plan", "Größe"),
        query={"q": "USER_properties"},
        labels={"a": "b"},
        base_url="http://127.0.0.1:8080/prefix/",
    )
    assert (config.threshold, config.ratio, config.traits) == (99, 1, ["plan", "Größe"])
    assert (config.query, config.labels) == ({"q": "user_properties"}, {"a": "b"})
    assert config.base_url == "http://127.0.0.1:8080/prefix"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"region": "UK"}, "Setting 'region' must be one of 'US', 'EU', not 'UK'."),
    ({"region": ""}, "Setting 'region' must be one of 'US', 'EU', not ''."),
    ({"region": 1}, "Setting 'region' must be one of 'US', 'EU', not 1."),
    ({"track_named_pages": "true"}, "Setting 'track_named_pages' must be true or false, not 'true'."),
    ({"track_named_pages": 1}, "Setting 'track_named_pages' must be true or false, not 1."),
    ({"track_named_pages": "${NAME}"}, "Setting 'track_named_pages' must be true or false, not '${NAME}'."),
    ({"threshold": True}, "Setting 'threshold' must be a whole number from 1 to 99, not true."),
    ({"threshold": "3"}, "Setting 'threshold' must be a whole number from 1 to 99, not '3'."),
    ({"threshold": 3.0}, "Setting 'threshold' must be a whole number from 1 to 99, not 3.0."),
    ({"threshold": 0}, "Setting 'threshold' must be a whole number from 1 to 99, not 0."),
    (
        {"threshold": 10**5000},
        "Setting 'threshold' must be a whole number from 1 to 99, not a number of more than 20 digits.",
    ),
    ({"ratio": float("nan")}, "Setting 'ratio' must be a number from 0.0 to 1.0, not nan."),
    ({"ratio": float("inf")}, "Setting 'ratio' must be a number from 0.0 to 1.0, not inf."),
    ({"ratio": False}, "Setting 'ratio' must be a number from 0.0 to 1.0, not false."),
    ({"traits": "plan"}, "Setting 'traits' must be a list of texts, not 'plan'."),
    ({"traits": ["a", 5]}, "Setting 'traits' must be a list of texts; item 1 is 5."),
    ({"traits": [None]}, "Setting 'traits' must be a list of texts; item 0 is null."),
    ({"traits": [""]}, "Setting 'traits' must be a list of texts; item 0 is empty."),
    ({"labels": []}, "Setting 'labels' must be an object of name and text, not a list."),
    ({"labels": {"a": 1}}, "Setting 'labels' must be an object of name and text; the entry 'a' is 1."),
    ({"labels": {1: "a"}}, "Setting 'labels' must be an object of name and text; 1 can't be a name."),
    ({"labels": {"": "a"}}, "Setting 'labels' must be an object of name and text; '' can't be a name."),
    ({"group_type": 7}, "Setting 'group_type' must be text, not 7."),
    ({"group_type": {}}, "Setting 'group_type' must be text, not an object."),
    ({"group_type": "\ud800"}, "Setting 'group_type' must be text that can be written as UTF-8."),
    (
        {"group_type": "t"},
        "Setting 'group_type' needs setting 'group_value' as well: set it, or leave both out.",
    ),
    ({"token": 5}, "Setting 'token' must be text, not a number."),
    (
        {"token": "abc\n"},
        "Setting 'token' must not have control characters, such as a line end after the key.",
    ),
    ({"regoin": "US"}, "'regoin' is not a setting. Did you mean 'region'?"),
    ({"trackNamedPage": True}, "'trackNamedPage' is not a setting. Did you mean 'trackNamedPages'?"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG, ids=[f"{next(iter(w))}-{i}" for i, (w, _) in enumerate(WRONG)])
def test_a_wrong_value_gets_one_sentence(values: dict[str, Any], sentence: str) -> None:
    """Each wrong value is told the setting, what was expected and what was given."""
    assert problem({"api_key": KEY, **values}) == sentence


def test_an_entry_near_a_choice_gets_a_suggestion() -> None:
    """A misspelt choice in an object is told the nearest one."""
    sentence = problem({"api_key": KEY, "query": {"utm": "event_propertys"}})
    assert sentence.endswith("the entry 'utm' is 'event_propertys'. Did you mean 'event_properties'?")


def test_an_unknown_key_far_from_all_lists_the_settings() -> None:
    """Without a near word, the message says which there are; a key that is no text is shown too."""
    assert (
        "'zzz' is not a setting. There are: base_url, max_requests_per_second, max_events_per_second, api_key,"
        in problem({"api_key": KEY, "zzz": 1})
    )
    assert "5 is not a setting. There are:" in problem({"api_key": KEY, 5: 1})  # type: ignore[dict-item]


def test_a_missing_secret_is_told_how_to_give_it() -> None:
    """A required setting that is missing or empty is an error that says what to do."""
    assert problem({}) == (
        "Setting 'api_key' is required: give it, for example as \"${API_KEY}\" from the environment."
    )
    assert problem({"api_key": ""}) == "Setting 'api_key' is required and must not be empty."
    assert problem({"api_key": "${EMPTY}"}) == (
        "Setting 'api_key' is required and must not be empty: the environment variable EMPTY is."
    )


def test_all_problems_come_in_one_error() -> None:
    """One error holds a sentence for each problem, and `errors` holds them by setting."""
    with pytest.raises(SettingsError) as caught:
        AcmeSettings.configure({"regio": "US", "threshold": 0, "token": "${MISSING}"}, environ={})
    assert set(caught.value.errors) == {"regio", "threshold", "token", "api_key"}
    for sentences in caught.value.errors.values():
        for sentence in sentences:
            assert sentence in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "text", 5, True])
def test_settings_must_be_an_object(values: Any) -> None:
    """Anything but an object is refused as a whole."""
    assert problem(values).startswith("the settings must be an object, not ")


def test_a_variable_is_read_from_the_environment() -> None:
    """`${NAME}` as the whole value becomes the variable's text, as plain text."""
    config = configure(api_key="${NAME}", group_value="${NAME}")
    assert config.api_key == config.group_value == KEY
    assert type(config.api_key) is str


def test_an_unset_variable_is_named_with_its_setting() -> None:
    """An unset variable is an error that names both, once."""
    assert problem({"api_key": "${ACME_KEY}"}) == (
        "Setting 'api_key' reads the environment variable ACME_KEY, which is not set: set it."
    )


def test_what_a_variable_held_is_never_shown() -> None:
    """A wrong value from the environment is named by its variable only."""
    for name in ("region", "base_url"):
        sentence = problem({"api_key": "other", name: "${NAME}"})
        assert "not the value of the environment variable NAME." in sentence
        assert KEY not in sentence


@pytest.mark.parametrize("text", ["Bearer ${NAME}", "${API-KEY}", "${API KEY}", "${1}", "${}"])
def test_a_variable_inside_a_secret_is_refused(text: str) -> None:
    """It would be sent as it stands, as would a misspelt one; in a text that is not secret it may be meant."""
    assert problem({"api_key": text}) == (
        "Setting 'api_key' must be \"${NAME}\" alone, without other text, to be read from the environment; "
        "a name has letters (A to Z), digits and '_'."
    )
    assert configure(group_value="a ${NAME}").group_value == "a ${NAME}"


BAD_ADDRESSES = [
    "ftp://host",
    "host",
    "//host",
    "http://",
    "http:///x",
    "https://host:",
    "https://host:99999",
    "https://ho st",
    "http://host\n",
    "https://host?x=1",
    "https://host#x",
    "https://hö.example",
    "https://${HOST}",
    "http://host\\x",
    "http://[::1",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_base_url_must_be_an_address(address: str) -> None:
    """What has no scheme, host or sane port, or has more than a path, is refused."""
    assert "Setting 'base_url' must be an address as in https://host:port/prefix" in problem(
        {"api_key": KEY, "base_url": address}
    )


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    """An address with a user and a password is refused without being repeated."""
    sentence = problem({"api_key": KEY, "base_url": "https://joe:hunter2@host"})
    assert "without a user and password" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("address", ["http://h", "HTTPS://H:1/", "https://[::1]:80/a/b", "http://127.0.0.1:8080"])
def test_good_addresses_pass(address: str) -> None:
    """Scheme and host are enough; a closing slash is taken off."""
    assert configure(base_url=address).base_url == address.rstrip("/")


def test_secrets_never_show_in_a_config() -> None:
    """repr, str, format and masked() have `***`; only asking for the setting gives the secret."""
    config = configure(token="t0ken")
    for shown in (repr(config), str(config), f"{config}", repr(config.masked()), repr([config])):
        assert KEY not in shown
        assert "t0ken" not in shown
    assert config.masked().api_key == config.masked()["token"] == "***"
    assert configure().masked().token == ""
    assert config.secret_names == {"api_key", "token"}
    assert config.secret_values == {KEY, "t0ken"}
    assert configure().secret_values == {KEY}


def test_a_config_can_be_copied_and_pickled() -> None:
    """Copies and pickles are equal, secrets and all, and keep what belongs to them."""
    config = configure(traits=["a"])
    for other in (pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)):
        assert other == config
        assert (other.given, other.secret_names, other.warnings) == (
            config.given,
            config.secret_names,
            config.warnings,
        )


def test_a_config_is_frozen() -> None:
    """Neither a setting nor anything else can be set or deleted."""
    config = configure()
    with pytest.raises(AttributeError, match="can't be changed"):
        config.region = "EU"
    with pytest.raises(AttributeError, match="can't be changed"):
        del config.region
    with pytest.raises(AttributeError, match="can't be changed"):
        config.given = frozenset()
    assert config.region == "US"


def test_defaults_and_inputs_are_not_shared() -> None:
    """A list that is given, or a default, is nobody else's."""
    mine = ["a"]
    config = configure(traits=mine)
    mine.append("b")
    configure().traits.append("c")
    assert config.traits == ["a"]
    assert configure().traits == []


def test_an_unknown_attribute_gets_a_suggestion() -> None:
    """A misspelt setting in a plugin's code is told the nearest; it is an AttributeError as usual."""
    with pytest.raises(AttributeError, match=r"There is no setting 'regoin'\. Did you mean 'region'\?"):
        _ = configure().regoin
    assert not hasattr(configure(), "nothing_like_it")
    with pytest.raises(KeyError):
        configure()["regoin"]


def test_warnings_of_a_schema_are_kept_without_secrets() -> None:
    """What a schema warns of is kept with the config; a secret in it is masked."""
    assert configure(region="EU", sendAlias=True).warnings == ("region EU has no alias (key ***)",)
    assert configure().warnings == ()


def test_describe_says_all_for_docs_and_forms() -> None:
    """One entry per setting, in the order of the class, core's own last."""
    described = {entry.name: entry for entry in describe(AcmeSettings)}
    assert next(iter(described)) == "api_key"
    assert list(described)[-3:] == ["base_url", "max_requests_per_second", "max_events_per_second"]
    key, region, alias = described["api_key"], described["region"], described["enable_alias"]
    assert (key.required, key.secret, key.key, key.platforms, key.rules) == (
        True,
        True,
        "apiKey",
        "SB",
        ("ACME-1",),
    )
    assert (region.choices, region.default, region.type) == (("US", "EU"), "US", "one of 'US', 'EU'")
    assert (alias.key, alias.default, alias.type, alias.doc) == (
        "sendAlias",
        False,
        "true or false",
        "Forward alias.",
    )
    assert described["group_type"].requires == "group_value"
    assert described["traits"].default == []


class PlainSettings(Settings):
    """An author's own marshmallow fields and checks."""

    host = marshmallow.fields.String(metadata={"doc": "A host.", "secret": True})
    port = marshmallow.fields.Integer(data_key="hostPort", load_default=80)
    parts = marshmallow.fields.List(marshmallow.fields.Integer())
    odd = flag("Odd ports only.")

    @marshmallow.validates_schema
    def check(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse an even port, and show the host by mistake."""
        if data["odd"] and data["port"] % 2 == 0:
            raise marshmallow.ValidationError(f"needs an odd port at {data.get('host')}", "odd")
        if data["port"] == 13:
            raise marshmallow.ValidationError(f"No port 13 at {data.get('host')}")


def test_plain_marshmallow_fields_work() -> None:
    """Fields, data keys and nested messages of an author's own are read, and described."""
    config = PlainSettings.configure({"host": "${NAME}", "hostPort": 8080}, environ={"NAME": "example"})
    assert (config.host, config.port, config.parts) == ("example", 8080, None)
    assert PlainSettings.configure({"port": 81}).port == 81
    assert problem({"port": "x"}, PlainSettings) == "Setting 'port': Not a valid integer."
    assert problem({"parts": [1, "x"]}, PlainSettings) == "Setting 'parts': /1: Not a valid integer."
    assert {entry.name: entry.key for entry in describe(PlainSettings)}["port"] == "hostPort"


def test_checks_of_a_schema_are_shown_without_secrets() -> None:
    """An author's sentence is shown at its setting or alone, with secret values masked."""
    values = {"host": "hush-hush", "odd": True}
    assert problem(values, PlainSettings) == "Setting 'odd' needs an odd port at ***."
    assert problem({"host": "hush-hush", "port": 13}, PlainSettings) == "No port 13 at ***."


def test_a_schema_that_raises_is_blamed() -> None:
    """An exception in an author's check is a fault of the plugin, without a secret in the text."""

    class Raising(Settings):
        key = text("Key.", secret=True)

        @marshmallow.validates_schema
        def check(self, data: Mapping[str, Any], **_: Any) -> None:
            raise RuntimeError(f"no {data['key']}")

    class Warning_(Settings):  # noqa: N801
        key = text("Key.", secret=True)

        def warnings(self, config: Config) -> Iterable[str]:
            raise RuntimeError(f"no {config.key}")

    for schema in (Raising, Warning_):
        with pytest.raises(PluginError, match=r"is at fault, tell its author: .*RuntimeError: no \*\*\*\.") as caught:
            schema.configure({"key": KEY})
        assert KEY not in str(caught.value)


def test_a_schema_at_fault_is_blamed() -> None:
    """A reserved name, an unknown `requires` and a key used twice are told to the author."""

    class Reserved(Settings):
        given = text("Taken.")

    class Dangling(Settings):
        one = text("One.", requires="tow")
        two = text("Two.")

    class Twice(Settings):
        one = text("One.", key="two")
        two = text("Two.")

    with pytest.raises(PluginError, match="no setting can be called 'given'"):
        Reserved.configure({})
    with pytest.raises(PluginError, match=r"'one' requires 'tow', which is no setting\. Did you mean 'two'\?"):
        Dangling.configure({})
    with pytest.raises(PluginError, match="share the key 'two'"):
        Twice.configure({})
    with pytest.raises(ValueError, match="none of the choices"):
        choice("Region.", ["US"], default="EU")


def test_a_choice_may_be_left_unset() -> None:
    """Without a default, `""` means not set and can be written."""

    class Optional(Section):
        region = choice("Region.", ["US"])
        home = url("Home.")

    assert Optional.configure({"region": "", "home": ""}).region == ""


def test_required_lists_and_objects_must_not_be_empty() -> None:
    """A required list or object that is empty is as good as missing."""

    class Required(Section):
        some = names("Some.", required=True)
        map = mapping("Map.", required=True)

    sentence = problem({"some": [], "map": {}}, Required)
    assert "Setting 'some' is required and must not be empty." in sentence
    assert "Setting 'map' is required and must not be empty." in sentence
    assert "Setting 'some' is required: give it a value." in problem({}, Required)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        json.dumps(KEY),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.b64encode(f"{KEY}:".encode()).decode(),
        base64.urlsafe_b64encode(f"ab{KEY}cd".encode()).decode(),
        repr({"k": KEY}),
    ],
)
def test_redact_finds_a_secret_in_every_form(form: str) -> None:
    """Plain, URL-quoted, JSON-escaped and base64 (a Basic pair as well) are all masked."""
    shown = redact(f"before {form} after", [KEY])
    assert form not in shown
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_redact_leaves_other_text_alone() -> None:
    """Without secrets nothing changes; a very short one is masked only where it stands alone."""
    assert redact("as it was", []) == redact("as it was", [""]) == "as it was"
    assert redact("key k, kept", ["k"]) == "key ***, kept"
    assert redact("abcdef abcd", ["abcd", "abcdef"]) == "*** ***"


@given(secret=st.text(min_size=6, max_size=30), before=st.binary(max_size=4), after=st.binary(max_size=4))
def test_redact_leaves_no_base64_of_a_secret(secret: str, before: bytes, after: bytes) -> None:
    """Whatever stands around it, base64 of a secret is masked."""
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert redact(f"[{encoded}]", [secret]) == "[***]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    values=st.dictionaries(
        st.sampled_from([*AcmeSettings._declared_fields, "apiKey", "sendAlias", "x", ""]), JSON, max_size=6
    )
)
def test_any_input_is_configured_or_refused_clearly(values: dict[str, Any]) -> None:
    """Whatever JSON is given: a Config, or a SettingsError with a sentence; never another exception."""
    try:
        config = AcmeSettings.configure(values, owner="destination 'acme'", environ={})
    except SettingsError as error:
        sentences = [sentence for found in error.errors.values() for sentence in found]
        message = str(error)
    else:
        sentences, message = [], "destination 'acme': "
        assert config.api_key == values.get("api_key", values.get("apiKey"))
    assert message == f"destination 'acme': {' '.join(sentences)}"
    assert message.encode()
