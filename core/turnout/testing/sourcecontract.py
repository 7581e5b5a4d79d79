"""The contract suite of sources: what each has to keep, as tests that its author inherits.

    from turnout.testing import SourceContract

    class TestFlags(SourceContract):
        source = "flags"                       # the name of the entry point
        settings = {"prefix": "flag: "}        # by default none
        payloads = [{"users": [{"id": "u-1", "flags": {"dark": True}}]}]

A failure says which rule of the house is broken and how to mend it. A check that doesn't fit is overridden in the
class, with the reason.
"""

from __future__ import annotations

import copy
import gzip
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from turnout._json import strict
from turnout._pointer import steps
from turnout.errors import Refusal
from turnout.normalise import Normaliser
from turnout.reasons import Code
from turnout.settings import describe
from turnout.source import Found, Payload, Source, events_of, load_source

__all__ = ["SourceContract"]

_NONSENSE: tuple[bytes, ...] = (
    b"",
    b" ",
    b"no json",
    b"{",
    b"[1e999]",
    b"\xff\xfe\x00",
    b"[" * 500,
    b"null",
    b"7",
    b'""',
    b"{}",
    b"[]",
)
_NONSENSE += (
    b"[null]",
    b"[[]]",
    b"[{}]",
    b"\x1f\x8b",
    gzip.compress(b"[{}]", mtime=0)[:-4],
    gzip.compress(b"{}", mtime=0) + b"x",
)
_ODD: tuple[Any, ...] = (None, True, 7, -1.5, "", "text", "\x00\u2028", [], {}, [[]], {"": None}, 10**40)
"""What each part of a payload is replaced by."""
_SECRET_WORDS = ("key", "secret", "token", "password")
_PLUGIN_FAULTS = (Code.PLUGIN_RAISED, Code.PLUGIN_BAD_RESULT)
_MOST = 3000
"""How many hostile payloads are tried at most for each given one."""


class SourceContract:
    """The base class of a source's contract tests; pytest runs every check that it inherits."""

    source: ClassVar[str | type[Source]] = ""
    """The name under which the source is installed (its entry point); its class, where it is not installed."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it can read its payloads."""
    payloads: ClassVar[Sequence[Payload]] = ()
    """Payloads as they really come, of each shape; every event of theirs must be good."""

    def test_is_found_by_its_entry_point(self) -> None:
        """A source is found by its entry point and says what it is in its docstring and its `name`."""
        kind = self._kind()
        assert kind.name, f"{kind.__name__} has no `name` for people. Give it one."
        assert kind.__dict__.get("__doc__"), (
            f"{kind.__name__} has no docstring. Its first line is the help of its command."
        )

    def test_settings_are_documented(self) -> None:
        """Every setting and every option of a pull has a sentence that says what it does."""
        kind = self._kind()
        for entry in (*describe(kind.settings), *describe(kind.options)):
            assert entry.doc.strip(), f"'{entry.name}' has no sentence. Give it one as the first argument of its field."

    def test_secrets_are_marked(self) -> None:
        """A setting that holds a key, a token, a secret or a password is marked as secret."""
        for entry in describe(self._kind().settings):
            looks = entry.type == "text" and entry.name.rpartition("_")[2] in _SECRET_WORDS
            assert entry.secret or not looks, f"'{entry.name}' looks like a secret. Give its field secret=True."

    def test_its_payloads_are_read(self) -> None:
        """The given payloads give events without a refusal, and each is one that turnout accepts."""
        assert self.payloads, "There are no `payloads`. Give one of each shape that really comes."
        for number, payload in enumerate(self.payloads):
            found = self._read(payload)
            assert found, f"Payload {number} gives no event. Give one that does."
            for one in found:
                assert not isinstance(one, Refusal), f"Payload {number} is refused in part: {one} ({one.reason.path})"
                _check_accepted(one, number)

    def test_reading_is_pure(self) -> None:
        """The same payload gives the same events, again and by another object, and stays as it was."""
        for number, payload in enumerate(self.payloads):
            before = copy.deepcopy(payload)
            told = "Take times and ids from the payload, or leave them out."
            assert _plain(self._read(payload)) == _plain(self._read(payload)), f"Payload {number}, read twice. {told}"
            assert payload == before, f"Reading changed payload {number}. Make new objects instead."

    def test_text_gzip_and_values_say_the_same(self) -> None:
        """A payload gives the same events as text, as bytes, packed with gzip, and decoded."""
        for number, payload in enumerate(self.payloads):
            if isinstance(payload, bytes | str):
                continue
            text = json.dumps(payload)
            forms = (text, text.encode(), gzip.compress(text.encode()))
            first = _plain(self._read(payload))
            for form in forms:
                advice = "Read it with `decoded`."
                assert _plain(self._read(form)) == first, f"Payload {number} says something else as text. {advice}"

    def test_message_ids_are_distinct(self) -> None:
        """Where a source gives message ids, no two events of a payload share one: the second would be dropped."""
        for number, payload in enumerate(self.payloads):
            ids = [one["messageId"] for one in self._read(payload) if isinstance(one, Mapping) and "messageId" in one]
            assert len(ids) == len(set(ids)), f"Payload {number}: two events share a message id. Make it of more parts."

    def test_nonsense_is_refused(self) -> None:
        """What is no payload at all gives refusals or nothing, never an exception."""
        for payload in _NONSENSE:
            self._survives(payload, f"the payload {payload[:20]!r}")

    def test_hostile_payloads_are_survived(self) -> None:
        """A payload with any part replaced or left out gives events and refusals, never an exception."""
        for number, payload in enumerate(self.payloads):
            told = payload if not isinstance(payload, bytes | str) else _decoded(payload)
            for count, (path, changed) in enumerate(_changed(told)):
                if told is None or count == _MOST:
                    break
                self._survives(changed, f"payload {number} with another value at '{path}'")

    def test_secrets_stay_inside(self) -> None:
        """No secret setting gets into an event or a refusal."""
        secrets = [entry.name for entry in describe(self._kind().settings) if entry.secret and entry.type == "text"]
        marked = {name: f"secret-{number}-of-this-test" for number, name in enumerate(secrets)}
        source = self._kind()({**self.settings, **marked}, id="contract")
        for payload in (*self.payloads, *_NONSENSE):
            shown = repr(_plain(list(events_of(source, payload))))
            for name, secret in marked.items():
                assert secret not in shown, f"The value of '{name}' is in what was read. Leave it out."

    def test_can_go_to_a_worker(self) -> None:
        """A configured source pickles, and reads the same afterwards."""
        source = self._made()
        again = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
        for payload in self.payloads:
            same = _plain(list(events_of(source, payload))) == _plain(list(events_of(again, payload)))
            assert same, "After pickling it reads something else. Keep nothing but settings."

    # What the checks are made of

    def _kind(self) -> type[Source]:
        assert self.source, "The class says no `source`. Give the name of its entry point."
        return load_source(self.source) if isinstance(self.source, str) else self.source

    def _made(self) -> Source:
        return self._kind()(self.settings, id="contract")

    def _read(self, payload: Payload) -> list[Found]:
        return list(events_of(self._made(), payload))

    def _survives(self, payload: Payload, what: str) -> None:
        for one in self._read(payload):
            if isinstance(one, Refusal):
                assert one.reason.code not in _PLUGIN_FAULTS, f"{what}: {one}. Raise or yield a Refusal instead."
                _check_path(one, what)


def _check_accepted(event: Mapping[str, Any], number: int) -> None:
    try:
        Normaliser().event(event)
    except Refusal as refusal:
        raise AssertionError(f"Payload {number} gives an event that is not accepted: {refusal}") from None


def _check_path(refusal: Refusal, what: str) -> None:
    path = refusal.reason.path
    good = not path or path.startswith("/")
    assert good, f"{what}: the path {path!r} is no JSON Pointer. Begin it with '/'."
    list(steps(path or ""))


def _plain(found: list[Found]) -> list[Any]:
    return [(str(one), one.reason) if isinstance(one, Refusal) else strict(one) for one in found]


def _decoded(payload: bytes | str) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _changed(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a JSON value with each part replaced in turn, and with each left out."""
    for odd in _ODD:
        yield path, odd
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}/{key}", {name: one for name, one in value.items() if name != key}
            for place, other in _changed(inner, f"{path}/{key}"):
                yield place, {**value, key: other}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for place, other in _changed(inner, f"{path}/{index}"):
                yield place, [*value[:index], other, *value[index + 1 :]]
