"""The contract suite of sources: the source flagsmith keeps it, and each check can fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from turnout import Source, SourceSettings, decoded
from turnout.settings import text
from turnout.testing import SourceContract

_NUMBERS = itertools.count()


class TestFlagsmith(SourceContract):
    """Flagsmith keeps the contract of sources."""

    source = "flagsmith"
    settings: ClassVar[Any] = {"include_traits": True}
    payloads: ClassVar[Any] = [
        {
            "identifier": "user-71",
            "flags": [
                {
                    "id": 1,
                    "feature": {"id": 11, "name": "font_size", "type": "STANDARD", "description": None},
                    "feature_state_value": "12",
                    "environment": 3,
                    "enabled": True,
                }
            ],
            "traits": [{"id": 5, "trait_key": "plan", "trait_value": "pro"}],
        },
        [{"identifier": "user-72", "flags": [["dark_mode", False, None]]}],
    ]


class OpenSettings(SourceSettings):
    """A secret that isn't marked, and a setting without a sentence."""

    api_token = text("The token.")
    label = text("")


class Good(Source):
    """Reads a list of users."""

    name = "Good"

    def read(self, payload: Any) -> Iterator[Any]:
        told = decoded(payload)
        for row in told if isinstance(told, list) else []:
            if isinstance(row, dict) and isinstance(row.get("user"), str) and row["user"]:
                yield {"type": "identify", "userId": row["user"]}


class Nameless(Good):
    """Has no name for people."""

    name = ""


class Undocumented(Good):
    """Its settings say nothing."""

    settings = OpenSettings


class Telling(Good):
    """Sends its secret on."""

    settings = SourceSettings

    def read(self, payload: Any) -> Iterator[Any]:
        for event in super().read(payload):
            yield {**event, "traits": {"seen": self.config.hook_secret}}


class Changing(Good):
    """Gives another id each time."""

    def read(self, payload: Any) -> Iterator[Any]:
        for event in super().read(payload):
            yield {**event, "messageId": f"m-{next(_NUMBERS)}"}


class Writing(Good):
    """Changes its payload."""

    def read(self, payload: Any) -> Iterator[Any]:
        yield from super().read(payload)
        if isinstance(payload, list):
            payload.append({"user": "user-99"})


class Textless(Good):
    """Reads decoded payloads only."""

    def read(self, payload: Any) -> Iterator[Any]:
        yield from super().read(payload if isinstance(payload, list) else [])


class Twin(Good):
    """Gives every event the same id."""

    def read(self, payload: Any) -> Iterator[Any]:
        for event in super().read(payload):
            yield {**event, "messageId": "m-1"}


class Trusting(Good):
    """Believes that its payload is as it should be."""

    def read(self, payload: Any) -> Iterator[Any]:
        for row in decoded(payload):
            yield {"type": "identify", "userId": row["user"].strip()}


class Wrong(Good):
    """Gives events that turnout doesn't accept."""

    def read(self, payload: Any) -> Iterator[Any]:
        for event in super().read(payload):
            yield {"type": "track", "userId": event["userId"]}


class Holding(Good):
    """Keeps something that doesn't pickle."""

    def configured(self) -> None:
        self.kept: Callable[[], int] = lambda: 1


def suite(kind: type[Source]) -> SourceContract:
    made = SourceContract()
    made.source = kind  # type: ignore[misc]
    made.payloads = [[{"user": "user-1"}, {"user": "user-2"}]]  # type: ignore[misc]
    return made


CHECKS = [name for name in dir(SourceContract) if name.startswith("test_")]
BROKEN = {
    "test_is_found_by_its_entry_point": Nameless,
    "test_settings_are_documented": Undocumented,
    "test_secrets_are_marked": Undocumented,
    "test_its_payloads_are_read": Wrong,
    "test_reading_is_pure": Changing,
    "test_text_gzip_and_values_say_the_same": Textless,
    "test_message_ids_are_distinct": Twin,
    "test_nonsense_is_refused": Trusting,
    "test_hostile_payloads_are_survived": Trusting,
    "test_secrets_stay_inside": Telling,
    "test_can_go_to_a_worker": Holding,
}


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_passes_a_good_source_and_can_fail(name: str) -> None:
    """Every check has a broken source that it finds."""
    getattr(suite(Good), name)()
    with pytest.raises((AssertionError, AttributeError)):
        getattr(suite(BROKEN[name]), name)()


def test_a_payload_that_is_changed_is_found() -> None:
    """Reading may not write."""
    with pytest.raises(AssertionError, match=r"Reading changed payload 0|read twice"):
        suite(Writing).test_reading_is_pure()
