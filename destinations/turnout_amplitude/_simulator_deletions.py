"""Amplitude's User Privacy API: deletion jobs, at the times that its page gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from turnout.testing import Answer, Call
from turnout_amplitude._simulator_store import Store

__all__ = ["Deletions"]

MOST_IDS = 100
RUNS_AFTER = timedelta(days=30)
FIXED_BEFORE = timedelta(days=3)
LONGEST_RANGE = timedelta(days=184)
NOTHING = {" message": "Nothing scheduled due to invalid amplitude/user ids for app 12345"}

Job = dict[str, Any]
Authorize = Callable[[Call], Answer | None]


class Deletions:
    """The jobs of one project; a job is `staging`, 3 days before its day `submitted`, then `done`."""

    def __init__(self, store: Store, authorize: Authorize, now: Callable[[], int]) -> None:
        self.jobs: list[Job] = []
        self._store = store
        self._authorize = authorize
        self._now = now

    def post(self, call: Call) -> Answer:
        """Schedule the deletion of users."""
        refused = self._authorize(call)
        if refused:
            return refused
        try:
            asked = _Asked(call.json())
        except ValueError as error:
            return wrong(400, "Bad Request", str(error))
        found, invalid = self._find(asked)
        if invalid and not asked.ignores:
            return wrong(400, "Bad Request", f"Invalid amplitude/user ids: {invalid}")
        if not found:
            return Answer(200, NOTHING, effect={"deletions": 0})
        return self._schedule(found, invalid, asked.requester)

    def get(self, call: Call) -> Answer:
        """List the jobs whose day is in a range."""
        refused = self._authorize(call)
        if refused:
            return refused
        args = call.args()
        try:
            start, end = (date.fromisoformat(args.get(name, "")) for name in ("start_day", "end_day"))
        except ValueError:
            return wrong(400, "Bad Request", "start_day and end_day have to be days such as 2018-01-31")
        if not timedelta() <= end - start <= LONGEST_RANGE:
            return wrong(400, "Bad Request", "the range has to be at most 6 months")
        self.advance()
        return Answer(200, [job for job in self.jobs if str(start) <= job["day"] <= str(end)])

    def delete(self, call: Call) -> Answer:
        """Take a user out of a job that is still `staging`."""
        refused = self._authorize(call)
        if refused:
            return refused
        self.advance()
        for job in self.jobs:
            entries = [each for each in job["amplitude_ids"] if str(each["amplitude_id"]) == call.params["id"]]
            if entries and job["day"] == call.params["day"]:
                return self._revoke(job, entries[0])
        return wrong(404, "Not Found", "There is no such deletion")

    def advance(self) -> None:
        """Bring every job to the state that it has at this time; a job that is done has deleted its users."""
        today = self._today()
        for job in self.jobs:
            day = date.fromisoformat(job["day"])
            if job["status"] != "done" and today >= day:
                job |= {"status": "done", "active_scrub_done_date": str(today)}
                for entry in job["amplitude_ids"]:
                    self._store.forget(entry["amplitude_id"])
            elif job["status"] == "staging" and today >= day - FIXED_BEFORE:
                job["status"] = "submitted"

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now() / 1000, UTC).date()

    def _find(self, asked: _Asked) -> tuple[list[dict[str, Any]], list[Any]]:
        by_id = {str(user["amplitude_id"]): user for user in self._store.users}
        found: dict[int, dict[str, Any]] = {}
        invalid: list[Any] = []
        for amplitude_id in asked.amplitude_ids:
            self._sort(by_id.get(str(amplitude_id)), amplitude_id, found, invalid)
        for user_id in asked.user_ids:
            self._sort(self._store.find(user_id=user_id), user_id, found, invalid)
            for mapped in self._mapped_to(user_id) if asked.maps else ():
                self._sort(self._store.find(user_id=mapped), mapped, found, invalid)
        return list(found.values()), invalid

    def _sort(self, user: dict[str, Any] | None, given: Any, found: dict[int, Any], invalid: list[Any]) -> None:
        if user is None:
            invalid.append(given)
        else:
            found[user["amplitude_id"]] = user

    def _mapped_to(self, user_id: str) -> list[str]:
        return [child for child, parent in self._store.mappings.items() if parent == user_id]

    def _schedule(self, users: list[dict[str, Any]], invalid: list[Any], requester: str) -> Answer:
        today = self._today()
        entries = [
            {
                "amplitude_id": user["amplitude_id"],
                "requested_on_day": str(today),
                "requester": requester,
                "user_id": user["user_id"],
            }
            for user in users
        ]
        job: Job = {"day": str(today + RUNS_AFTER), "status": "staging", "app": "12345"}
        job |= {"active_scrub_done_date": None, "amplitude_ids": entries, "invalid_ids": invalid}
        self.jobs.append(job)
        return Answer(200, [job], effect={"deletions": len(entries)})

    def _revoke(self, job: Job, entry: dict[str, Any]) -> Answer:
        if job["status"] != "staging":
            return wrong(400, "Bad Request", f"The job is {job['status']} and can't be revoked")
        job["amplitude_ids"].remove(entry)
        if not job["amplitude_ids"]:
            self.jobs.remove(job)
        return Answer(200, entry, effect={"revoked": 1})


class _Asked:
    """A checked deletion request; ValueError says what is wrong with it."""

    def __init__(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise ValueError("The body has to be a JSON object")
        self.user_ids = _ids(body, "user_ids", str)
        self.amplitude_ids = _ids(body, "amplitude_ids", (int, str))
        if not 1 <= len(self.user_ids) + len(self.amplitude_ids) <= MOST_IDS:
            raise ValueError(f"There have to be 1 to {MOST_IDS} ids")
        self.requester = body.get("requester") or ""
        if not isinstance(self.requester, str):
            raise ValueError("requester has to be a string")
        flags = [_flag(body, name) for name in ("ignore_invalid_id", "ignore_invalid_ids", "delete_from_org")]
        self.ignores = any(flags)
        self.maps = _flag(body, "include_mapped_user_ids")


def wrong(status: int, phrase: str, why: str) -> Answer:
    """Return an error in the form that this API documents for a wrong key."""
    return Answer(status, {"code": status, "message": f"HTTP {status}: {phrase} ({why})", "status": phrase})


def _ids(body: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> list[Any]:
    ids = body.get(name)
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(each, kind) and each is not True for each in ids):
        raise ValueError(f"{name} has to be a list of ids")
    return ids


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value in (None, False, "false", "False", ""):
        return False
    if value in (True, "true", "True"):
        return True
    raise ValueError(f"{name} has to be true or false")
