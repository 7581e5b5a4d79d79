"""Stand-ins for what is personal or secret in an event, so that a real event can become a case.

    >>> replaced({"type": "identify", "userId": "4711", "traits": {"email": "ada@ring.example"}}).event
    {'type': 'identify', 'userId': '1001', 'traits': {'email': 'person-1@example.com'}}

A value has one stand-in wherever it stands, two values have two, and each has the form of its original. They are
counted in the order in which the values appear, so that the same event always gives the same ones, and nothing of a
value can be found out from its stand-in. Rules decide what is personal (see `turnout._personal`): what they can't know
stays, so read what comes out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import msgspec

from turnout._forms import FORMS, identifier, patterned
from turnout._json import pointer
from turnout._personal import EMAIL, TOKEN, UUID, Path, kind_of, words_of
from turnout._redact import redact

__all__ = ["Replaced", "StandIns", "Stood", "replaced"]

_URL = re.compile(r"([a-z][a-z0-9+.-]*://)?([^/?#@]*@)?([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL | re.IGNORECASE)
_SHORTEST = 4
"""Shorter values are not looked for inside other texts: they would be found where they don't belong."""
_STRONG = {"email", "key", "phone", "ip", "id"}
_SEARCHED = {"q", "s", "search", "query", "term", "keyword", "keywords"}
_NUMERIC = {"coordinate", "phone", "postcode", "birthday"}
_PARTS = {"url", "page", "query"}
_INSIDE = ((EMAIL, "email"), (TOKEN, "key"), (UUID, "id"))

_Visit = Callable[[str, str | None, str], str]
_Number = Callable[[float, str | None, str], float]


class Stood(msgspec.Struct, frozen=True):
    """One place where a stand-in stands now: its JSON Pointer, and the kind of what it stands for."""

    path: str
    kind: str


class Replaced(msgspec.Struct, frozen=True):
    """An event with stand-ins, and where they stand, in the order of the event."""

    event: Any
    stood: tuple[Stood, ...]


def replaced(event: Any, secrets: Iterable[str] = ()) -> Replaced:
    """Return an event (or a batch body) with stand-ins for what is personal, and for `secrets` wherever they stand."""
    return StandIns(secrets).replace(event)


class StandIns:
    """The stand-ins of one case; `secrets` are texts that must not stand in it, of settings for example."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(dict.fromkeys(secret for secret in secrets if secret))
        self._taken = {secret.lower() for secret in self._secrets}
        self._made: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._next: dict[str, int] = {}
        for secret in self._secrets:
            self.of(secret, "key")

    def of(self, text: str, kind: str, key: str = "") -> str:
        """Return the stand-in of a text, the same at each call; `key` is what the text stands under."""
        if text not in self._made:
            self._kinds[text] = kind
            self._made[text] = self._fresh(text, kind, key)
        return self._made[text]

    def patterned(self, text: str) -> str:
        """Return a stand-in that keeps every character that is neither letter nor digit; for what needs a form."""
        self._kinds[text] = "key"
        self._made[text] = self._unused(lambda number: patterned(text, number))
        return self._made[text]

    def _fresh(self, text: str, kind: str, key: str) -> str:
        if kind == "email" and text != text.lower():
            return self.of(text.lower(), "email").title()  # the same person for a vendor that ignores the case
        if kind == "id":
            return self._unused(lambda number: identifier(text, number, key))
        return self._unused(lambda number: FORMS[kind](text, number))

    def _unused(self, make: Callable[[int], str]) -> str:
        """Return the first text that `make` makes of 1, 2, … and that stands nowhere else."""
        family = make(1).lower()
        number = self._next.get(family, 1)
        while (made := make(number)).lower() in self._taken:
            number += 1
        self._next[family] = number + 1
        self._taken.add(made.lower())
        return made

    def replace(self, event: Any) -> Replaced:
        """Return an event, or a batch body, with its stand-ins."""
        self._taken.update(text.lower() for text in _texts(event))
        _Walk(event, self._learn, self._number).value(event, ())
        walk = _Walk(event, _Replacer(self._made, self._kinds, self._secrets).visit, self._number)
        return Replaced(walk.value(event, ()), tuple(walk.stood))

    def replace_payload(self, payload: Any, events: Iterable[Any]) -> Replaced:
        """Return a payload of a source with its stand-ins; `events` are those that the source reads of it.

        What is personal in an event is so in the payload, and what an event shows openly (the name of a flag, say)
        stays. Of what no event has, its key, its place and its form decide.
        """
        known = [*events]
        for each in (payload, *known):
            self._taken.update(text.lower() for text in _texts(each))
        for event in known:
            _Walk(event, self._learn, self._number).value(event, ())
        told = {text for event in known for text in _whole(event)} - self._made.keys()
        _PayloadWalk(told, self._kinds, self._learn, self._number).value(payload, ())
        replacer = _Replacer(self._made, self._kinds, self._secrets)
        walk = _PayloadWalk(told, self._kinds, replacer.visit, self._number)
        return Replaced(walk.value(payload, ()), tuple(walk.stood))

    def _learn(self, text: str, kind: str | None, key: str) -> str:
        if kind == "name":
            for word in text.split():
                self.of(word, "name")
        elif kind not in (None, "kept"):
            self.of(text, kind or "", key)
        else:
            for pattern, inner in _INSIDE:
                for found in pattern.findall(text):
                    if found.strip("0-"):
                        self.of(found, inner)
        return text

    def _number(self, value: float, kind: str | None, _key: str) -> float:
        """Return the stand-in of a number, a number as well."""
        text = _plain_number(value)
        if kind in (None, "kept") and not (len(text) > 5 and self._kinds.get(text) == "id"):
            return value
        made = self.of(text, kind if kind in _NUMERIC else "id")
        if not _is_number(made):
            made = self.of(f"number {text}", "postcode").removeprefix("xxxxxx ")
        return int(made) if isinstance(value, int) else float(made)


class _Walk:
    """Goes through an event in its order and gives every text, number and key to functions."""

    def __init__(self, event: Any, visit: _Visit, number: _Number) -> None:
        self.stood: list[Stood] = []
        self._event = event
        self._visit = visit
        self._number = number

    def value(self, value: Any, path: Path, shown: Path = ()) -> Any:
        if isinstance(value, dict):
            return dict(self._items(value, path, shown))
        if isinstance(value, list):
            return [self.value(inner, (*path, place), (*shown, place)) for place, inner in enumerate(value)]
        if value is None or isinstance(value, bool):
            return value
        made, kind = self._leaf(value, path)
        if made != value:
            self.stood.append(Stood(pointer(shown), kind if kind not in (None, "kept") else "inside"))
        return made

    def _items(self, value: Mapping[str, Any], path: Path, shown: Path) -> Iterator[tuple[str, Any]]:
        for key, inner in value.items():
            made = self._visit(key, "kept", "")
            if made != key:
                self.stood.append(Stood(pointer((*shown, made)), "name of a key"))
            yield made, self.value(inner, (*path, key), (*shown, made))

    def _leaf(self, value: Any, path: Path) -> tuple[Any, str | None]:
        event, inside = self._event, path
        if path[:1] == ("batch",) and len(path) > 2 and isinstance(event, dict) and isinstance(event["batch"], list):
            event, inside = event["batch"][int(path[1])], path[2:]
        kind = kind_of(inside, value, event) if inside else None
        key = " ".join([part for part in inside if isinstance(part, str)][-2:])
        if not isinstance(value, str):
            return self._number(value, kind, key), kind
        if kind in _PARTS:
            return _in_parts(value, str(kind), self._visit), kind
        return self._visit(value, kind, key), kind


class _PayloadWalk(_Walk):
    """The same for a payload, which has no form of its own: `told` are texts that stay, `kinds` those of others."""

    def __init__(self, told: Collection[str], kinds: Mapping[str, str], visit: _Visit, number: _Number) -> None:
        super().__init__(None, visit, number)
        self._told = told
        self._kinds = kinds

    def _leaf(self, value: Any, path: Path) -> tuple[Any, str | None]:
        if (value if isinstance(value, str) else _plain_number(value)) in self._told:
            return (self._visit(value, "kept", ""), "kept") if isinstance(value, str) else (value, None)
        made, kind = super()._leaf(value, ("payload", *path))
        return made, kind or self._kinds.get(str(value))


class _Replacer:
    """Puts stand-ins into texts."""

    def __init__(self, made: Mapping[str, str], kinds: Mapping[str, str], secrets: tuple[str, ...]) -> None:
        self._made = made
        self._lowered = {text.lower(): stand_in for text, stand_in in made.items()}
        self._secrets = secrets
        strong = [text for text in made if _is_strong(text, kinds[text])]
        shortest = {"name": _SHORTEST - 1}
        self._strong = _pattern(strong)
        self._all = _pattern([text for text in made if len(text) >= shortest.get(kinds[text], _SHORTEST)] + strong)

    def visit(self, text: str, kind: str | None, _key: str) -> str:
        if kind == "name":
            made = re.sub(r"\S+", lambda found: self._made[found[0]], text)
        elif kind == "kept":
            made = self._inside(self._strong, text)
        elif kind is not None or (text in self._made and len(text) >= _SHORTEST - 1):
            made = self._made[text]
        else:
            made = self._inside(self._all, text)
        return redact(made, self._secrets)

    def _inside(self, pattern: re.Pattern[str] | None, text: str) -> str:
        return pattern.sub(self._found, text) if pattern else text

    def _found(self, found: re.Match[str]) -> str:
        return self._made.get(found[0]) or self._lowered.get(found[0].lower(), "***")


def _is_strong(text: str, kind: str) -> bool:
    """Return whether a text can be nothing else than what it was recognised as, wherever it stands."""
    if kind != "id":
        return kind in _STRONG and (kind != "key" or len(text) >= _SHORTEST)
    return len(text) > 5 and any(one.isdigit() for one in text)


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(set(texts), key=lambda text: (-len(text), text))
    if not longest_first:
        return None
    return re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in longest_first), re.IGNORECASE)


def _in_parts(text: str, kind: str, visit: _Visit) -> str:
    """Return an address, or the path or query of one, with what stands in its parts replaced."""
    if kind == "query":
        mark = "?" if text.startswith("?") else ""
        return mark + _query(text.removeprefix("?"), visit)
    found = _URL.fullmatch(text)
    if found is None:
        return visit(text, None, "")
    head, user, host, path, query, fragment = (part or "" for part in found.groups())
    user = visit(user[:-1], "key", "") + "@" if user else ""
    path = "/".join(_segment(part, visit) for part in path.split("/"))
    query = "?" + _query(query[1:], visit) if query else ""
    fragment = "#" + _query(fragment[1:], visit) if "=" in fragment else _segment(fragment, visit)
    return head + user + visit(host, None, "") + path + query + fragment


def _segment(part: str, visit: _Visit) -> str:
    """Return a part of a path; a parameter of it (`;jsessionid=…`) is one as behind the `?`."""
    part, sign, parameters = part.partition(";")
    told = sign + ";".join(_pair(one, visit) for one in parameters.split(";"))
    return _word(part, visit) + told


def _word(part: str, visit: _Visit) -> str:
    plain = unquote(part)
    kind = kind_of(("path",), plain, None) if plain else None
    if plain.isdigit() and len(plain) > 2:
        kind = "id"
    made = visit(plain, None if kind in _PARTS else kind, "")
    return part if made == plain else quote(made)


def _query(text: str, visit: _Visit) -> str:
    return "&".join(_pair(pair, visit) for pair in text.split("&"))


def _pair(pair: str, visit: _Visit) -> str:
    key, sign, value = pair.partition("=")
    plain = unquote_plus(value)
    if not plain:
        return pair
    kind = "text" if key.lower() in _SEARCHED else kind_of(("query", key), plain, None)
    kind = None if words_of(key)[:1] == ["utm"] else kind
    made = _in_parts(plain, kind, visit) if kind in _PARTS else visit(plain, kind, key)
    return pair if made == plain else f"{key}{sign}{quote_plus(made)}"


def _texts(value: Any) -> Iterator[str]:
    """Yield every text, word and number of an event: no stand-in may be one of them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
        yield from value.split()
    elif value is not None and not isinstance(value, bool):
        yield _plain_number(value)


def _whole(value: Any) -> Iterator[str]:
    """Yield every key, text and number of an event as it stands there."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _whole(inner)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield _plain_number(value)


def _plain_number(value: float) -> str:
    text = json.dumps(value)
    return f"{value:.0f}" if "e" in text.lower() else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
