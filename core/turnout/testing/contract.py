"""The contract suite: what every destination has to keep, as tests that its author inherits.

    from turnout.testing import DestinationContract

    class TestAcme(DestinationContract):
        destination = "acme"                   # the name of the entry point
        settings = {"api_key": "k-1"}          # valid settings; by default they are made from the schema
        cases = "tests/cases"                  # by default the folder `cases` beside the test file

A failure says which rule of the house is broken, where, and how to mend it. A check that has nothing to look at
says so and is skipped. One that doesn't fit a vendor is overridden in the class, with the reason.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from turnout._hang import Hang, patrol
from turnout.errors import ConfigError
from turnout.testing import _contract_answers as answers
from turnout.testing import _contract_cases as pinned
from turnout.testing import _contract_config as config
from turnout.testing import _contract_items as items
from turnout.testing import _contract_outcomes as outcomes
from turnout.testing import _contract_purity as purity
from turnout.testing import _contract_reach as reach
from turnout.testing import _contract_schema as schema
from turnout.testing import _contract_secrets as secrets
from turnout.testing._contract_subject import Subject
from turnout.testing._contract_words import Broken, NothingToSee
from turnout.watchdog import TooLong

__all__ = ["DestinationContract"]


class DestinationContract:
    """The base class of a destination's contract tests; pytest runs every check that it inherits."""

    destination: ClassVar[str] = ""
    """The name under which the destination is installed (its entry point)."""
    settings: ClassVar[Mapping[str, Any] | None] = None
    """Valid settings; None: they are made from the schema, required ones by type, pattern and choices."""
    cases: ClassVar[str | Path | None] = None
    """The folder of its cases, looked for beside the test file and above; None: `cases`."""
    accepted: ClassVar[Any] = None
    """The vendor's answer to a good request, where no simulator is installed: the body of a 200, or an `Answer`."""
    examples: ClassVar[int] = 200
    """How many hostile events are tried."""
    seconds: ClassVar[float] = 5.0
    """How long a mapping may last before it counts as one that doesn't come back; 0: for ever."""

    def test_is_found_by_its_entry_point(self) -> None:
        """A destination is found by its entry point, states its plugin API version, and says what it is."""
        self._hold(schema.is_found_by_its_entry_point)

    def test_ships_its_types(self) -> None:
        """A package whose rules are annotated has `py.typed`, so that type checkers read them."""
        self._hold(schema.ships_its_types)

    def test_rules_are_documented(self) -> None:
        """Every rule has an id of its own and a docstring: the page of the destination is made from them."""
        self._hold(schema.rules_are_documented)

    def test_settings_are_documented(self) -> None:
        """Every setting has a sentence that says what it does, and its default is a valid value."""
        self._hold(schema.settings_are_documented)

    def test_secrets_are_marked(self) -> None:
        """A setting that holds a key, a token, a secret or a password is marked as secret."""
        self._hold(schema.secrets_are_marked)

    def test_wrong_settings_are_refused(self) -> None:
        """An unknown setting and a value of the wrong kind are refused with a sentence that names the setting."""
        self._hold(config.wrong_settings_are_refused)

    def test_can_be_configured(self) -> None:
        """Settings that the schema takes configure the destination, each at each of its values."""
        self._hold(config.can_be_configured)

    def test_conditions_name_settings(self) -> None:
        """The condition of a rule names settings of the schema, and can be asked whatever their values are."""
        self._hold(config.conditions_name_settings)

    def test_base_url_moves_every_endpoint(self) -> None:
        """The setting `base_url` takes the place of scheme and host in every endpoint, for simulators and proxies."""
        self._hold(config.base_url_moves_every_endpoint)

    def test_comes_back(self) -> None:
        """A mapping comes back, whatever its event is: no rule loops or waits for ever."""
        self._hold(outcomes.comes_back)

    def test_survives_pickling(self) -> None:
        """A destination can be handed to a worker: it pickles, and maps the same afterwards."""
        self._hold(config.survives_pickling)

    def test_every_rule_can_run(self) -> None:
        """Every rule runs for some event under some settings."""
        self._hold(reach.every_rule_can_run)

    def test_every_endpoint_is_used(self) -> None:
        """Every endpoint gets an item of some event under some settings."""
        self._hold(reach.every_endpoint_is_used)

    def test_leaves_the_event_alone(self) -> None:
        """A mapping changes nothing inside its event: `pure = True` is a promise."""
        self._hold(purity.leaves_the_event_alone)

    def test_gives_the_same_answer_twice(self) -> None:
        """The same event gives the same items, whatever was mapped before it."""
        self._hold(purity.gives_the_same_answer_twice)

    def test_reads_nothing_but_the_event(self) -> None:
        """A mapping reads no clock, no chance, no environment, no file and no network, and prints nothing."""
        self._hold(purity.reads_nothing_but_the_event)

    def test_gives_the_same_answer_elsewhere(self) -> None:
        """The same event gives the same items in any process: under another clock, time zone and hash seed."""
        self._hold(purity.gives_the_same_answer_elsewhere)

    def test_ignores_the_order_of_keys(self) -> None:
        """The order of the keys in an event's objects means nothing."""
        self._hold(purity.ignores_the_order_of_keys)

    def test_takes_null_as_absent(self) -> None:
        """null means absent for ids, names, `integrations` and mapped fields, in the event and in the items."""
        self._hold(purity.takes_null_as_absent)

    def test_makes_clean_json(self) -> None:
        """Every item is strict JSON: no NaN, no sets, no half surrogates, no key twice."""
        self._hold(items.makes_clean_json)

    def test_items_fit_their_endpoints(self) -> None:
        """Every item belongs to a declared endpoint, and a request with it keeps the endpoint's limits."""
        self._hold(items.items_fit_their_endpoints)

    def test_keys_are_stable_and_distinct(self) -> None:
        """Every item has a key made of the message id, which no other item has; or its endpoint says `keyed=False`."""
        self._hold(items.keys_are_stable_and_distinct)

    def test_survives_hostile_events(self) -> None:
        """Every event gets an outcome with a reason, whatever its values are; a rule never raises by accident."""
        self._hold(outcomes.survives_hostile_events)

    def test_says_why_nothing_is_sent(self) -> None:
        """An event that nothing is sent for has a reason: a code, a sentence, and the place if there is one."""
        self._hold(outcomes.says_why_nothing_is_sent)

    def test_honours_the_gates(self) -> None:
        """`integrations` and `_metadata.bundled` decide first whether an event goes to the destination at all."""
        self._hold(outcomes.honours_the_gates)

    def test_shows_no_secret(self) -> None:
        """No secret is ever shown: not in plans, reasons, logs and errors, and in no encoding."""
        self._hold(secrets.shows_no_secret)

    def test_answers_become_outcomes(self) -> None:
        """Whatever a vendor answers, and if it answers nothing, every item gets an outcome and no reader raises."""
        self._hold(answers.answers_become_outcomes)

    def test_success_is_delivered(self) -> None:
        """What the vendor took counts as delivered."""
        self._hold(answers.success_is_delivered)

    def test_trouble_is_tried_again(self) -> None:
        """Trouble that passes (429, 5xx) burns no item: it is sent again, and not before the vendor wants it."""
        self._hold(answers.trouble_is_tried_again)

    def test_every_rule_has_a_case(self) -> None:
        """Every rule makes an item in at least one case, so that a snapshot pins what it does."""
        self._hold(pinned.every_rule_has_a_case)

    def test_cases_match_their_snapshots(self) -> None:
        """The plan of every case is the one that its snapshot keeps."""
        self._hold(pinned.cases_match_their_snapshots)

    @classmethod
    def subject(cls) -> Subject:
        """Return what is checked; it is made once for each class."""
        made: Subject | None = cls.__dict__.get("_subject")
        if made is None:
            made = Subject(cls.destination, cls.settings, _folder(cls), cls.accepted, cls.examples)
            cls._subject = made  # type: ignore[attr-defined]
        return made

    def _hold(self, check: Callable[[Subject], None]) -> None:
        """Run a check; what it finds fails the test that is called like it, in the words of that test's docstring."""
        __tracebackhide__ = True
        import pytest

        subject, failed, skipped = self.subject(), "", ""
        known = len(subject.hung)
        try:
            with _quietly(), patrol(self.seconds):
                check(subject)
        except TooLong as error:
            subject.note(error)
            failed = self._told(outcomes.not_back(Hang.of(error)), "comes_back")
        except Broken as broken:
            failed = self._told(broken, check.__name__)
        except NothingToSee as nothing:
            skipped = subject.redacted(str(nothing))
        except (ConfigError, ModuleNotFoundError) as error:
            failed = _missing(error)
        for hang in [*subject.hung.values()][known:]:
            failed = failed or self._told(outcomes.not_back(hang), "comes_back")
        if failed:
            pytest.fail(failed, pytrace=False)
        if skipped:
            pytest.skip(skipped)

    def _told(self, broken: Broken, check: str) -> str:
        subject = self.subject()
        return subject.redacted(broken.told(_house_rule(type(self), check), subject.told))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep turnout's log silent: what mappings that are only tried make it say would bury a failure's message."""
    logger = logging.getLogger("turnout")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _missing(error: ConfigError | ModuleNotFoundError) -> str:
    """Return what to install; raises the error when it is about something else."""
    if isinstance(error, ConfigError):
        return str(error)
    if error.name != "hypothesis":
        raise error
    return "This check needs hypothesis: install it with `pip install 'turnout[testing]'`."


def _house_rule(cls: type[DestinationContract], name: str) -> str:
    return (inspect.getdoc(getattr(cls, f"test_{name}")) or name).split("\n\n")[0]


def _folder(cls: type[DestinationContract]) -> Path | None:
    """Return the folder of the cases: the nearest that is called so, from the test file upwards."""
    name = Path(cls.cases or "cases")
    places = (folder / name for folder in Path(inspect.getfile(cls)).resolve().parents)  # one from the root stays so
    return next((place for place in places if place.is_dir()), None)
