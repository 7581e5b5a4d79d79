"""Settings that tell which of them were read, and destinations that share the endpoints which read other ones."""

from __future__ import annotations

from typing import Any

import pytest

from turnout import ITEMS, Config, Destination, Endpoint, Settings, basic, json_body, setting
from turnout._variants import variants
from turnout._watched import Watched
from turnout.settings import flag, text

CONFIG = Config({"region": "north", "token": "secret-1", "deep": {"one": 1}}, ["token"], ["region"], ["A warning."])


@pytest.mark.parametrize(
    ("ask", "names"),
    [
        (lambda config: config.region, {"region"}),
        (lambda config: config["token"], {"token"}),
        (lambda config: config.get("deep"), {"deep"}),
        (lambda config: "region" in config, {"region"}),
        (lambda config: config.masked().token, {"token"}),
        (lambda config: config.masked()["region"], {"region"}),
        (lambda config: config.given | config.secret_names, set()),
        (lambda config: config.secret_values, {"region", "token", "deep"}),
        (dict, {"region", "token", "deep"}),
        (vars, {"region", "token", "deep"}),
        (lambda config: getattr(config, "unknown", None), {"region", "token", "deep"}),
    ],
)
def test_what_is_read_is_told(ask: Any, names: set[str]) -> None:
    """In whichever way settings are read, with the answer that they give; all, where it is unsure."""
    read: set[str] = set()
    assert ask(Watched(CONFIG, read)) == ask(CONFIG)
    assert read == names


class PathSettings(Settings):
    """Settings of which endpoints read some."""

    path = text("Where to.", default="inbox")
    token = text("The key.", secret=True)
    zipped = flag("Compress.")
    label = text("What a rule reads.", default="plain")


class Paths(Destination):
    """Three endpoints, each with settings of its own."""

    name = "Paths"
    settings = PathSettings
    plain = Endpoint("POST", "https://paths.example/{path}", body=json_body(ITEMS))
    keyed = Endpoint("POST", "https://paths.example/keyed", body=json_body({"k": setting("token"), "all": ITEMS}))
    made = Endpoint(
        "POST",
        lambda config: "https://paths.example/small" if config.zipped else "https://paths.example/large",
        body=json_body(ITEMS),
        auth=basic("token"),
        gzip=lambda config: bool(config["zipped"]),
    )


def test_a_changed_setting_binds_those_endpoints_anew_that_read_it() -> None:
    """They are what a destination has that is configured so; the others are shared with the unchanged one."""
    base = Paths({"token": "secret-22"})
    seen = set()
    for one in variants(base):
        fresh = Paths(
            {**{name: base.config[name] for name in ("path", "token", "zipped", "label")}, one.name: one.after}
        )
        for name, bound in one.quick.endpoints.items():
            other = fresh.endpoints[name]
            assert (bound.target, bound.sent_headers, bound.envelope) == (
                other.target,
                other.sent_headers,
                other.envelope,
            )
            assert bound.masked.target == other.masked.target
            if bound is base.endpoints[name]:
                seen.add((one.name, name))
    assert seen >= {("path", "keyed"), ("path", "made"), ("token", "plain"), ("zipped", "plain"), ("label", "made")}
    assert not seen & {("path", "plain"), ("token", "keyed"), ("token", "made"), ("zipped", "made")}


class Minding(Destination):
    """Its endpoint minds what kind of settings it gets."""

    name = "Minding"
    settings = PathSettings
    out = Endpoint(
        "POST",
        lambda config: {Config: f"https://minding.example/{config.path}"}[type(config)],
        body=json_body(ITEMS),
    )


def test_an_endpoint_that_minds_being_watched_is_bound_each_time() -> None:
    """No variant is lost, and each has the URL of its settings."""
    found = {one.name: one.quick.endpoints["out"].target for one in variants(Minding({}))}
    assert found["label"] == "https://minding.example/inbox"
    assert found["path"] == "https://minding.example/"
