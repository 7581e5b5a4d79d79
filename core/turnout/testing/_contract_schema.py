"""Checks of what a destination states about itself: entry point, settings, rules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from marshmallow import ValidationError

from turnout.destination import declared_endpoints, declared_rules
from turnout.endpoint import Endpoint
from turnout.errors import PluginError
from turnout.plugins import DESTINATIONS, load
from turnout.settings import SettingDoc, Settings, describe
from turnout.testing._contract_subject import Subject
from turnout.testing._contract_words import Broken, NothingToSee, shown

__all__ = [
    "is_found_by_its_entry_point",
    "rules_are_documented",
    "secrets_are_marked",
    "settings_are_documented",
    "ships_its_types",
]

_SECRETIVE = {"credential", "credentials", "key", "passphrase", "passwd", "password", "pwd", "secret", "token"}
_ENTRY_POINT = '[project.entry-points."turnout.destinations"]'


def is_found_by_its_entry_point(subject: Subject) -> None:
    """Load the destination as a user's turnout would, and look at what it says of itself."""
    if not subject.name:
        mend = 'Name it in the class, as in pyproject.toml: destination = "acme".'
        raise Broken("the test class names no destination", mend, where="attribute 'destination'")
    try:
        kind = load(DESTINATIONS, subject.name)
    except PluginError as error:
        mend = "Do what the message says, and install once more."
        if not subject.plugins:
            mend = (
                f'State it in pyproject.toml, {_ENTRY_POINT}: {subject.name} = "module:Class", and install once more.'
            )
        raise Broken(str(error), mend, where=f"entry point '{subject.name}'") from None
    if not (kind.__doc__ or "").strip():
        mend = 'Begin the class with """Acme Analytics, through its Events API.""": it is the head of its page.'
        raise Broken(f"the class {kind.__name__} has no docstring", mend, where=f"class {kind.__name__}")


def ships_its_types(subject: Subject) -> None:
    """Look for `py.typed` beside the code of a package whose rules are annotated."""
    kind = subject.kind
    package = sys.modules[kind.__module__.partition(".")[0]]
    if not any(getattr(getattr(kind, one.id, None), "__annotations__", None) for one in declared_rules(kind)):
        raise NothingToSee("No rule is annotated: there are no types to ship.")
    if not hasattr(package, "__path__"):
        raise NothingToSee(f"{package.__name__} is a single module, which can't ship types: only a package can.")
    if not any((Path(folder) / "py.typed").is_file() for folder in package.__path__):
        mend = f"Put an empty file py.typed into the package {package.__name__}, and see that the wheel has it."
        found = "the rules are annotated, and no type checker reads that: py.typed is missing"
        raise Broken(found, mend, where=f"package {package.__name__}")


def rules_are_documented(subject: Subject) -> None:
    """Look for rules without a docstring, for ids that two rules share, and for rules that nobody finds by their id."""
    mend = "Name each rule's function as its attribute, one function for each."
    ids: set[str] = set()
    for one in declared_rules(subject.kind):
        if one.id in ids:
            raise Broken(f"two rules have the id '{one.id}'", mend, where=f"rule '{one.id}'")
        if not hasattr(subject.kind, one.id):
            name = next(name for name in dir(subject.kind) if _mark(subject, name) is one)
            raise Broken(f"the rule '{name}' has the id '{one.id}'", mend, where=f"rule '{name}'")
        ids.add(one.id)
        if not one.doc.strip():
            say = "Say in its docstring what becomes what: 'A page call with a name becomes `Viewed <name> Page`.'"
            raise Broken(f"the rule '{one.id}' has no docstring", say, where=f"rule '{one.id}'")


def _mark(subject: Subject, name: str) -> object:
    return getattr(getattr(subject.kind, name), "__turnout_rule__", None)


def settings_are_documented(subject: Subject) -> None:
    """Look at each setting's sentence, and give each default as a value."""
    own = own_settings(subject)
    for one in own:
        if not one.doc.strip():
            mend = f'Give it one: {one.name} = text("The project\'s API key.", …), or metadata={{"doc": …}}.'
            raise Broken(f"the setting '{one.name}' has no documentation", mend, where=f"setting '{one.name}'")
        _check_default(subject, one)


def _check_default(subject: Subject, one: SettingDoc) -> None:
    if one.required or one.default is None:
        return
    try:
        subject.kind.settings().load_fields[one.name].deserialize(one.default)
    except ValidationError as error:
        mend = "Choose a default that is valid, or make the setting required."
        found = f"its own default {shown(one.default)} is refused: it {error.messages[0]}"
        raise Broken(found, mend, where=f"setting '{one.name}'") from None


def secrets_are_marked(subject: Subject) -> None:
    """Look for settings whose name or use says that they are secret, and that aren't marked so."""
    own = own_settings(subject)
    fields = subject.kind.settings().load_fields
    used = _authenticating(subject)
    for one in own:
        told = fields[one.name].metadata.get("secret")
        place = used.get(one.name)
        if place and not one.secret:
            mend = f"Mark it: {one.name} = text(…, secret=True)."
            raise Broken(f"'{one.name}' authenticates {place}, and is not secret", mend, where=f"setting '{one.name}'")
        if told is None and _holds_text(one) and _SECRETIVE & set(_words(one.name)):
            mend = f"Mark it: {one.name} = text(…, secret=True); if it is none, say so: secret=False."
            raise Broken(f"'{one.name}' sounds secret and isn't marked", mend, where=f"setting '{one.name}'")


def _words(name: str) -> list[str]:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().split("_")


def _holds_text(one: SettingDoc) -> bool:
    return not one.choices and not isinstance(one.default, bool | int | float)


def _authenticating(subject: Subject) -> dict[str, str]:
    """Return the settings that stand in `authorization` as its secret part, each with its endpoint."""
    found = {}
    for endpoint in declared_endpoints(subject.kind):
        if isinstance(endpoint, Endpoint) and endpoint.auth and endpoint.auth.names:
            found[endpoint.auth.names[-1]] = f"the endpoint '{endpoint.name}'"
    return found


def own_settings(subject: Subject) -> list[SettingDoc]:
    """Return the destination's settings without core's; raises `NothingToSee` when it has none."""
    core = Settings().load_fields
    own = [one for one in describe(subject.kind.settings) if one.name not in core]
    if not own:
        raise NothingToSee("The destination has no settings of its own.")
    return own
