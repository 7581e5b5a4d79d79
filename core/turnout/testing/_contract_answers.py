"""Checks of delivery: whatever a vendor answers leads to an outcome, over a local server that gives such answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from turnout.answer import Answer as Read
from turnout.answer import Fate, Verdict
from turnout.config import SendSettings
from turnout.destination import Destination
from turnout.dispatcher import Dispatcher
from turnout.endpoint import BoundEndpoint
from turnout.plan import Settled
from turnout.plugins import SIMULATORS, installed, load
from turnout.reasons import Code, Outcome
from turnout.testing._call import Answer, Call
from turnout.testing._contract_subject import Entry, Subject
from turnout.testing._contract_words import Broken, NothingToSee
from turnout.testing._simulator import Simulator

__all__ = ["answers_become_outcomes", "success_is_delivered", "trouble_is_tried_again"]

_HTML = "<html><body><center><h1>Bad Gateway</h1></center></body></html>"
_JSON = {"error": "a reason of the vendor's", "code": 0}
_ODD: tuple[tuple[str, Any], ...] = (
    ("a JSON object", _JSON),
    ("an empty body", b""),
    ("an HTML page", _HTML),
    ("half of a JSON text", b'{"error": "half'),
    ("a JSON list", [1]),
    ("a JSON text", "words"),
    ("JSON's null", b"null"),
    ("bytes that are no UTF-8", b"\xff\xfe\x00"),
    ("an object of wrong types", {name: [None, {"a": -1}, 10**9] for name in ("error", "code", "errors", "status")}),
)
_STATUSES = (200, 202, 204, 207, 301, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503)
_READ = (200, 207, 400, 429, 500)
"""Those whose bodies readers look into."""
_TROUBLE = (429, 500, 502, 503)
_WAITS: tuple[dict[str, str], ...] = ({}, {"retry-after": "7"}, {"retry-after": "soon"})
_OURS = {Code.PLUGIN_RAISED, Code.PLUGIN_BAD_RESULT, Code.PLUGIN_TOO_SLOW}
_ACCEPTED: tuple[Any, ...] = (
    *({}, b"", {"status": "ok"}, {"success": True}, {"ok": True}, {"code": 200}, {"result": "success"}),
    *("ok", "OK", "success", "1", {"status": 1}, {"status": "success"}, {"accepted": 1}, []),
)
_COPIES = 2
_PATIENT, _IMPATIENT = 60.0, 0.2
_NO_ANSWER = {"cut": "a connection that is cut", "silent": "no answer at all"}


class _Vendor(Simulator):
    """Answers by the first part of the path: `/3/…` gets the answer number 3; one without number is cut or silent."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        super().__init__()
        self.fail(drop_connection=True, times=None, path="/cut/*")
        self.fail(hang=True, times=None, path="/silent/*")

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return the answer that the path asks for."""
        return self.answers[call.path.split("/")[1]]


def _answers() -> dict[str, tuple[str, Answer]]:
    """Return the answers to try by number, each with its words."""
    made = []
    for status in _STATUSES:
        bodies = _ODD if status in _READ else _ODD[:1] if status in (204, 301) else (_ODD[0], _ODD[2])
        for words, body in bodies:
            headers = {"location": "/elsewhere"} if status == 301 else {}
            made.append((f"HTTP {status} with {words}", Answer(status, b"" if status == 204 else body, headers)))
    made += [("HTTP 429 with Retry-After", Answer(429, _JSON, wait)) for wait in _WAITS[1:]]
    made.append(("HTTP 200 that is not the gzip it says", Answer(200, b"no gzip", {"content-encoding": "gzip"})))
    return {str(number): one for number, one in enumerate(made)}


def answers_become_outcomes(subject: Subject) -> None:
    """Send events to a server that gives every kind of answer, cuts connections and stays silent.

    Endpoints with one and the same reader are not told apart: the first of them gets the answers.
    """
    answers = _answers()
    vendor = _Vendor({number: answer for number, (_, answer) in answers.items()})
    words = {number: told for number, (told, _) in answers.items()} | _NO_ANSWER
    with vendor.serve() as url:
        for entries in _by_settings(_readers(subject)):
            for numbers, seconds in ((answers, _PATIENT), (_NO_ANSWER, _IMPATIENT)):
                addresses = {number: f"{url}/{number}" for number in numbers}
                for entry, number, settled in _sent(subject, entries, addresses, seconds):
                    status = answers[number][1].status if number in answers else 0
                    _check_outcome(entry, words[number], status, settled)


def _check_outcome(entry: Entry, words: str, status: int, settled: Settled) -> None:
    place = f"answer: {words}; endpoints: {', '.join(_endpoints(entry))}"
    reason = settled.reason
    if reason is not None and reason.code in _OURS:
        mend = "In the reader ask what answer.json() is before you use it, and give one Verdict for each item."
        raise Broken(f"reading an answer fails: {reason.message}", mend, where=place, event=entry.event)
    if settled.outcome not in (Outcome.DELIVERED, Outcome.DEAD):
        mend = "Let the reader give verdicts alone."
        raise Broken(f"the outcome is {settled.outcome}", mend, where=place, event=entry.event)
    if settled.outcome is Outcome.DELIVERED and not 200 <= status < 300:
        mend = "Give Fate.DELIVERED only for an answer that says that the vendor has the item."
        raise Broken("what the vendor did not take counts as delivered", mend, where=place, event=entry.event)


def _sent(
    subject: Subject, entries: list[Entry], addresses: Mapping[str, str], seconds: float
) -> Iterator[tuple[Entry, str, Settled]]:
    """Yield the outcome of each entry at each address, all sent in one go."""
    targets = {name: subject.configured(entries[0].settings, base_url=url) for name, url in addresses.items()}
    if not all(_is_moved(target, addresses[name]) for name, target in targets.items()):
        raise NothingToSee("base_url does not move every endpoint: events of a test might get to the vendor.")
    settings = SendSettings.configure({"attempts": 1, "timeout_seconds": seconds}, owner="[send]")
    sources = {f"{place}-{copy}": entry for place, entry in enumerate(entries) for copy in range(_COPIES)}
    sent = [_renamed(entry.event, name) for name, entry in sources.items()]
    try:
        outcomes = Dispatcher(targets, send=settings, transport=_transport).send(sent)
    except Exception as error:
        mend = "Let nothing but verdicts come out of a reader."
        raise Broken(f"sending raised {type(error).__name__}: {error}", mend) from error
    for settled in outcomes:
        yield sources[str(settled.message_id)], settled.destination, settled


def _is_moved(target: Destination, address: str) -> bool:
    return all(endpoint.target.startswith(f"{address}/") for endpoint in target.endpoints.values())


def _transport() -> httpx.AsyncBaseTransport:
    # Nothing is encrypted here; reading the list of authorities would take longer than all the rest.
    return httpx.AsyncHTTPTransport(verify=False)


def _renamed(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**event, "messageId": name}


def _readers(subject: Subject) -> list[Entry]:
    """Return an entry for each reader of an endpoint that can be reached."""
    found: dict[Any, Entry] = {}
    for name, entry in subject.covering.items():
        found.setdefault(entry.destination.endpoints[name].read, entry)
    return list(found.values())


def _by_settings(entries: Collection[Entry]) -> list[list[Entry]]:
    """Return the entries, those with the same settings together."""
    groups: dict[bytes, dict[int, Entry]] = {}
    if not entries:
        raise NothingToSee("No event becomes an item of a declared endpoint: there is nothing to send.")
    for entry in entries:
        groups.setdefault(msgspec.json.encode(entry.settings), {})[id(entry)] = entry
    return [list(group.values()) for group in groups.values()]


def _endpoints(entry: Entry) -> list[str]:
    return list(dict.fromkeys(item.endpoint.name for item in entry.plan().items))


def success_is_delivered(subject: Subject) -> None:
    """Send events to the destination's simulator, or to a server that answers as the vendor does when all is well."""
    reached: dict[str, Settled] = {}
    with _taking(subject) as (words, addresses):
        for entries in _by_settings(subject.covering.values()):
            for entry, _, settled in _sent(subject, entries, addresses, _PATIENT):
                for name in _endpoints(entry):
                    if name not in reached or settled.outcome is Outcome.DELIVERED:
                        reached[name] = settled
    for name, settled in reached.items():
        if settled.outcome is not Outcome.DELIVERED:
            why = settled.reason.message if settled.reason else "no reason"
            refused = settled.reason is not None and settled.reason.code is Code.CREDENTIALS_REFUSED
            mend = _KNOWN_KEY if refused else _GOOD_ANSWER
            raise Broken(f"a good answer is not delivered: {why}", mend, where=f"endpoint '{name}', {words}")


_KNOWN_KEY = "Give settings with a key that the simulator knows: settings = {…} in the test class."
_GOOD_ANSWER = (
    "Let the reader give Fate.DELIVERED for the vendor's good answer. Say what that is: offer a simulator under the "
    "destination's name (turnout.simulators), or `accepted = {…}` in the test class."
)


@contextmanager
def _taking(subject: Subject) -> Iterator[tuple[str, dict[str, str]]]:
    """Serve a vendor that takes everything; give the words for it, and the addresses of what it may answer."""
    if any(plugin.name == subject.name for plugin in installed(SIMULATORS)):
        with _simulator(subject.name).serve() as url:
            yield f"simulator '{subject.name}'", {"simulator": url}
        return
    bodies = _ACCEPTED if subject.accepted is None else (subject.accepted,)
    answers = {str(number): _good(body) for number, body in enumerate(bodies)}
    with _Vendor(answers).serve() as url:
        told = f"HTTP {answers['0'].status}" + ("" if subject.accepted is None else " with what `accepted` says")
        yield told, {number: f"{url}/{number}" for number in answers}


def _good(accepted: Any) -> Answer:
    return accepted if isinstance(accepted, Answer) else Answer(200, accepted)


def _simulator(name: str) -> Simulator:
    try:
        made: Simulator = load(SIMULATORS, name)()
    except Exception as error:
        mend = "A simulator can be made without arguments, as `turnout simulate` makes it."
        raise Broken(f"the simulator can't be used: {error}", mend, where=f"simulator '{name}'") from None
    return made


def trouble_is_tried_again(subject: Subject) -> None:
    """Have 429 and server errors read: the items are to be sent again, and not before the vendor wants them."""
    endpoints = subject.configured(subject.settings).endpoints
    if not endpoints:
        raise NothingToSee("The destination has no endpoint.")
    for endpoint in endpoints.values():
        for status in _TROUBLE:
            for words, body in _ODD:
                for wait in _WAITS:
                    _check_retried(endpoint, status, words, Answer(status, body, wait))


def _check_retried(endpoint: BoundEndpoint, status: int, words: str, answer: Answer) -> None:
    headers, data = answer.encoded()
    wait = answer.headers.get("retry-after", "")
    place = f"endpoint '{endpoint.name}', HTTP {status} with {words}" + (f", Retry-After: {wait}" if wait else "")
    try:
        verdicts = list(endpoint.read(Read(status, headers, data), _COPIES))
    except Exception:
        return  # another check says so
    mend = "Give Verdict(Fate.RETRY, reason, wait), as turnout.read_status does; it honours Retry-After."
    if any(one.fate in (Fate.REFUSED, Fate.SETUP, Fate.DELIVERED) for one in verdicts):
        found = f"items are given up for trouble that passes: {', '.join(dict.fromkeys(one.fate for one in verdicts))}"
        raise Broken(found, mend, where=place)
    if wait == "7" and any(_too_soon(one) for one in verdicts):
        raise Broken("the vendor asks for 7 seconds, and the items are sent sooner", mend, where=place)


def _too_soon(verdict: Verdict) -> bool:
    return verdict.fate is Fate.RETRY and (verdict.wait is None or verdict.wait < 7)
