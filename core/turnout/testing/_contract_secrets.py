"""The check that no secret is ever shown: not in plans, reasons, logs, printed text, or errors about settings."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnout.destination import Destination
from turnout.dispatcher import Dispatcher
from turnout.errors import ConfigError, SettingsError
from turnout.plan import Plan
from turnout.settings import redact
from turnout.testing._contract_settings import main_variants, single_variants, with_canaries
from turnout.testing._contract_subject import Entry, Subject, place_of
from turnout.testing._contract_words import Broken, NothingToSee

__all__ = ["shows_no_secret"]

_WRONG = {"no": ["value"]}
_ODD: tuple[Any, ...] = ([None], {"odd": {}}, "odd", -1.5)


class _Canaries:
    """Secrets whose values tell where they are found, in any form that turnout masks, and in hex."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def within(self, text: str) -> str:
        """Return the name of the secret that a text shows, empty when it shows none."""
        for name, value in self.values.items():
            if redact(text, [value]) != text or value.encode().hex() in text.lower():
                return name
        return ""


def shows_no_secret(subject: Subject) -> None:
    """Configure with telling secrets, map everything, and look for them in all that is shown and said."""
    settings, values = with_canaries(subject.kind, subject.settings)
    if not values:
        raise NothingToSee(f"{subject.kind.__name__} has no secret setting.")
    canaries = _Canaries(values)
    _check_errors(subject, settings, canaries)
    for words, varied in main_variants(subject.kind, settings):
        try:
            destination = subject.configured(varied)
        except NothingToSee:
            continue
        _check_shown(destination, canaries)
        _check_plans(subject, words, destination, varied, canaries)


def _check_errors(subject: Subject, settings: Mapping[str, Any], canaries: _Canaries) -> None:
    """Give wrong values beside the secrets, wrong secrets, and settings that exclude each other; read the errors."""
    overlay = subject.kind.settings.overlay
    tried = [overlay(settings, {name: _WRONG}) for name in subject.kind.settings().load_fields]
    for name, value in canaries.values.items():
        tried += [overlay(settings, {name: wrong}) for wrong in ([value], f"{value}\n")]
    tried += [varied for _, varied in single_variants(subject.kind, settings)]
    for given in tried:
        try:
            subject.kind.settings.configure(given)
        except ConfigError as error:
            if secret := canaries.within(f"{error} {_errors(error)}"):
                mend = "Say in a ValidationError what is expected, and never the value."
                found = f"an error about wrong settings shows the secret '{secret}'"
                raise Broken(found, mend, where=f"setting {', '.join(_errors(error))}") from None


def _errors(error: ConfigError) -> dict[str, list[str]]:
    return error.errors if isinstance(error, SettingsError) else {}


def _check_shown(destination: Destination, canaries: _Canaries) -> None:
    for what, text in (("repr", repr(destination)), ("str", str(destination)), ("config", repr(destination.config))):
        if secret := canaries.within(text):
            mend = "Leave __repr__ and __str__ as they are inherited, or say nothing of settings in them."
            raise Broken(f"the destination's {what} shows the secret '{secret}'", mend, where=f"setting '{secret}'")
    for endpoint in destination.endpoints.values():
        text = f"{endpoint.masked.target} {endpoint.masked.sent_headers}"
        if secret := canaries.within(text):
            mend = "Place secrets with {name} in the URL, setting('name') in bodies and headers, and auth=."
            found = f"the request as it is shown holds the secret '{secret}'"
            raise Broken(found, mend, where=f"endpoint '{endpoint.name}'")


def _check_plans(
    subject: Subject, words: str, destination: Destination, settings: dict[str, Any], canaries: _Canaries
) -> None:
    dispatcher = Dispatcher([destination])
    entries = [Entry(f"{name}, with {words}", settings, dispatcher, event) for name, event in subject.corpus]
    hostile = [Entry("hostile", settings, dispatcher, event) for event in _spoilt(subject)]
    for entry in [*entries, *hostile]:
        if subject.hangs(entry):
            continue
        with _listening() as said:
            plan = entry.plan()
            shown = plan.to_dict()
        _check_plan(entry, plan, shown, canaries)
        if secret := canaries.within(said.getvalue()):
            mend = "Log and print nothing of self.config; turnout logs what a rule raises, without its secrets."
            found = f"mapping writes the secret '{secret}' to a log or to the screen"
            raise Broken(found, mend, where=f"setting '{secret}'", event=entry.event)


def _check_plan(entry: Entry, plan: Plan, shown: Mapping[str, Any], canaries: _Canaries) -> None:
    texts = (json.dumps(shown, default=repr), json.dumps(shown, default=repr, ensure_ascii=False), repr(shown))
    secret = next(filter(None, map(canaries.within, texts)), "")
    if not secret:
        return
    mend = (
        "Place a secret where the framework masks it: setting('name') in the body or a header, auth=, {name} in the "
        "URL. In an item it is masked only as it is, not encoded."
    )
    found = f"the plan shows the secret '{secret}'"
    items = [item for item in plan.items if canaries.within(item.data.decode("utf-8", "replace"))]
    where = place_of(items[0]) if items else f"setting '{secret}'"
    raise Broken(found, mend, where=where, event=entry.event)


def _spoilt(subject: Subject) -> Iterable[dict[str, Any]]:
    """Yield each event with one of its properties or traits replaced by something that a rule may raise for."""
    different = {(event["type"], event.get("event")): event for _, event in subject.corpus}
    for event in different.values():
        for name in ("properties", "traits"):
            inner = event.get(name)
            if isinstance(inner, dict):
                yield from ({**event, name: dict.fromkeys(inner, odd)} for odd in _ODD)


@contextlib.contextmanager
def _listening() -> Iterator[io.StringIO]:
    """Collect what is logged and printed meanwhile, at every level, and let none of it through."""
    said = io.StringIO()
    handler, root, logger = logging.StreamHandler(said), logging.getLogger(), logging.getLogger("turnout")
    level, handlers, disabled = root.level, root.handlers, logger.disabled
    root.handlers, logger.disabled = [handler], False
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        root.handlers, logger.disabled = handlers, disabled
        root.setLevel(level)
