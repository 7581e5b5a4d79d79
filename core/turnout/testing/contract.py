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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from turnout.testing import _contract_schema as schema
from turnout.testing._contract_subject import Subject
from turnout.testing._contract_words import Broken, NothingToSee

__all__ = ["DestinationContract"]


class DestinationContract:
    """The base class of a destination's contract tests; pytest runs every check that it inherits."""

    destination: ClassVar[str] = ""
    """The name under which the destination is installed (its entry point)."""
    settings: ClassVar[Mapping[str, Any] | None] = None
    """Valid settings; None: they are made from the schema, required ones by type, pattern and choices."""
    cases: ClassVar[str | Path | None] = None
    """The folder of its cases, looked for beside the test file and above; None: `cases`."""

    def test_is_found_by_its_entry_point(self) -> None:
        """A destination is found by its entry point, states its plugin API version, and says what it is."""
        self._hold(schema.is_found_by_its_entry_point)

    def test_rules_are_documented(self) -> None:
        """Every rule has an id of its own and a docstring: the page of the destination is made from them."""
        self._hold(schema.rules_are_documented)

    def test_settings_are_documented(self) -> None:
        """Every setting has a sentence that says what it does, and its default is a valid value."""
        self._hold(schema.settings_are_documented)

    def test_secrets_are_marked(self) -> None:
        """A setting that holds a key, a token, a secret or a password is marked as secret."""
        self._hold(schema.secrets_are_marked)

    @classmethod
    def subject(cls) -> Subject:
        """Return what is checked; it is made once for each class."""
        made: Subject | None = cls.__dict__.get("_subject")
        if made is None:
            made = Subject(cls.destination, cls.settings, _folder(cls))
            cls._subject = made  # type: ignore[attr-defined]
        return made

    def _hold(self, check: Callable[[Subject], None]) -> None:
        """Run a check; what it finds fails the test that is called like it, in the words of that test's docstring."""
        __tracebackhide__ = True
        import pytest

        subject, failed, skipped = self.subject(), "", ""
        try:
            check(subject)
        except Broken as broken:
            failed = broken.told(_house_rule(type(self), check.__name__), subject.told)
        except NothingToSee as nothing:
            skipped = str(nothing)
        if failed:
            pytest.fail(failed, pytrace=False)
        if skipped:
            pytest.skip(skipped)


def _house_rule(cls: type[DestinationContract], name: str) -> str:
    return (inspect.getdoc(getattr(cls, f"test_{name}")) or name).split("\n\n")[0]


def _folder(cls: type[DestinationContract]) -> Path | None:
    """Return the folder of the cases: the nearest that is called so, from the test file upwards."""
    name = Path(cls.cases or "cases")
    if name.is_absolute():
        return name
    above = Path(inspect.getfile(cls)).resolve().parents
    return next((folder / name for folder in above if (folder / name).is_dir()), None)
