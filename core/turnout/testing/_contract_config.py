"""Checks of how a destination is configured: values refused and taken, conditions, addresses, and pickling."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from turnout.destination import check_destination, declared_rules
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, PluginError, SettingsError
from turnout.settings import Config, Section, describe
from turnout.testing._contract_settings import main_variants, single_variants, valid_settings
from turnout.testing._contract_subject import Entry, Subject, rules_of, seen
from turnout.testing._contract_words import Broken, NothingToSee, difference, shown

__all__ = [
    "base_url_moves_every_endpoint",
    "can_be_configured",
    "conditions_name_settings",
    "survives_pickling",
    "wrong_settings_are_refused",
]

_KINDS: tuple[Any, ...] = (True, 12, "text", [{"no": "setting"}], {"no": ["setting"]})
_BASE = "http://127.0.0.1:9/a/prefix"


def can_be_configured(subject: Subject) -> None:
    """Configure the destination with the settings, and with each setting at each of its values."""
    kind = subject.kind
    try:
        settings = valid_settings(kind, subject.given)
    except NothingToSee as nothing:
        mend = "Give valid ones in the test class: settings = {…}."
        raise Broken(str(nothing), mend, where="attribute 'settings'") from None
    for words, varied in [*main_variants(kind, settings), *single_variants(kind, settings)]:
        try:
            kind(varied, id=subject.name)
        except PluginError as error:
            mend = (
                "configured() and conditions must hold for all settings that the schema takes; else refuse them there."
            )
            raise Broken(str(error), mend, where=words) from None
        except SettingsError:
            continue  # some settings exclude each other


def wrong_settings_are_refused(subject: Subject) -> None:
    """Give an unknown setting, and for every setting values of all kinds."""
    schema, valid = subject.kind.settings, subject.settings
    _check_unknown(schema, valid)
    for name, field in schema().load_fields.items():
        refused = [value for value in _KINDS if _refused(schema, valid, name, value)]
        if not refused:
            mend = "Take a field of turnout.settings (text, flag, choice, integer, …), or give the field a validator."
            found = f"the setting '{name}' takes anything: true, 12, 'text', a list and an object"
            raise Broken(found, mend, where=f"setting '{name}'")
        if field.required and _accepts(
            schema, {key: value for key, value in valid.items() if _named(schema, key) != name}
        ):
            mend = "Leave its default out: a required setting has none."
            raise Broken(f"the required setting '{name}' may be missing", mend, where=f"setting '{name}'")


def _check_unknown(schema: type[Section], valid: Mapping[str, Any]) -> None:
    if _accepts(schema, {**valid, "an_unknown_setting": 1}):
        mend = "Leave configure() and the schema's `unknown` as they are inherited."
        raise Broken("a setting that doesn't exist is taken in silence", mend, where="an_unknown_setting")


def _refused(schema: type[Section], valid: Mapping[str, Any], name: str, value: Any) -> bool:
    """Return whether a value is refused, with a sentence that names the setting."""
    try:
        schema.configure(schema.overlay(valid, {name: value}))
    except SettingsError as error:
        if name not in str(error):
            mend = "Raise marshmallow's ValidationError with a sentence; the setting is put in front."
            found = f"{shown(value)} for '{name}' is refused without naming the setting: {error}"
            raise Broken(found, mend, where=f"setting '{name}'") from None
        return True
    except PluginError as error:
        mend = "Raise marshmallow's ValidationError in a validator, and expect any JSON value there."
        raise Broken(f"{shown(value)} for '{name}': {error}", mend, where=f"setting '{name}'") from None
    return False


def _accepts(schema: type[Section], settings: Mapping[str, Any]) -> bool:
    try:
        schema.configure(settings)
    except ConfigError:
        return False
    return True


def _named(schema: type[Section], key: str) -> str:
    return next((one.name for one in describe(schema) if key in (one.name, one.key)), key)


def conditions_name_settings(subject: Subject) -> None:
    """Resolve the condition of every rule with every value of every setting."""
    if problem := check_destination(subject.kind):
        raise Broken(problem, "Name a setting of the schema in `when`.", where="@rule(…, when=…)")
    conditional = [one for one in declared_rules(subject.kind) if one.when is not None]
    if not conditional:
        raise NothingToSee("No rule has a condition.")
    for words, config in _configs(subject):
        for one in conditional:
            try:
                one.active(config)
            except Exception as error:
                found = f"the condition of the rule '{one.id}' raised {type(error).__name__}: {error}"
                mend = "Ask only for settings of the schema, whatever their values are."
                raise Broken(found, mend, where=f"rule '{one.id}', with {words}") from None


def _configs(subject: Subject) -> Iterator[tuple[str, Config]]:
    """Yield the settings in every form that they may have, without configuring a destination."""
    kind, settings = subject.kind, subject.settings
    for words, varied in [*main_variants(kind, settings), *single_variants(kind, settings)]:
        try:
            yield words, kind.settings.configure(varied)
        except ConfigError:
            continue


def base_url_moves_every_endpoint(subject: Subject) -> None:
    """Configure with and without `base_url`, and compare where requests go."""
    plain = subject.configured(subject.settings).endpoints
    if not plain:
        raise NothingToSee("The destination has no endpoint.")
    try:
        moved = subject.kind(subject.kind.settings.overlay(subject.settings, {"base_url": _BASE}), id=subject.name)
    except ConfigError as error:
        mend = "Leave the setting base_url as it is inherited from turnout.Settings."
        raise Broken(f"base_url is refused: {error}", mend, where="setting 'base_url'") from None
    for name, endpoint in moved.endpoints.items():
        if not endpoint.target.startswith(f"{_BASE}/") or endpoint.target == plain[name].target:
            found = f"with base_url = {_BASE} it still sends to {endpoint.masked.target}"
            mend = "Let Endpoint make the address: it puts base_url in place of scheme and host."
            raise Broken(found, mend, where=f"endpoint '{name}'")


def survives_pickling(subject: Subject) -> None:
    """Pickle every destination that has mapped an event, and its dispatcher, and compare what they plan afterwards."""
    copies: dict[int, Dispatcher] = {}
    for entry, plan in subject.planned:
        if id(entry.dispatcher) not in copies:
            copies[id(entry.dispatcher)] = _pickled(entry)
        again = msgspec.structs.replace(entry, dispatcher=copies[id(entry.dispatcher)])
        if changed := difference(seen(plan), seen(again.plan())):
            found = f"after pickling it gives another answer, {changed}"
            raise Broken(found, _PICKLED, where=rules_of(plan), event=entry.event)


_PICKLED = "Keep nothing that can't be pickled in the settings, and make all else in configured(), not in __init__."


def _pickled(entry: Entry) -> Dispatcher:
    try:
        pickle.loads(pickle.dumps(entry.destination))  # noqa: S301 - it was made on the line before
        made: Dispatcher = pickle.loads(pickle.dumps(entry.dispatcher))  # noqa: S301
    except Exception as error:
        found = f"the destination can't be pickled: {type(error).__name__}: {error}"
        raise Broken(found, _PICKLED, where=entry.words) from None
    return made
