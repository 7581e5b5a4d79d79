"""Webhooks at the gateway, as a vendor sees them: what each is answered, and what is in the log then."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from turnout import Refusal, Source, decoded
from turnout.accepting import Acceptor, now_ms
from turnout.config import LogSettings, load_config
from turnout.errors import ConfigError
from turnout.gateway import Gateway
from turnout.log import LogFull
from turnout.sections import GatewaySettings
from turnout.sqlite_log import SqliteLog
from turnout.webhooks import Webhooks, configured_sources
from turnout.writekeys import WriteKeys

NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
SECRET = "s3cret/ü%41"


class Rows(Source):
    """A source whose payload is a list of rows: a text becomes a track call, anything else can't be read."""

    name = "Rows"

    def read(self, payload: Any) -> Iterator[Any]:
        told = decoded(payload)
        if not isinstance(told, list):
            raise Refusal("bad_request", "The payload must be a list of rows.", "")
        for index, row in enumerate(told):
            if row == "burst":
                raise LookupError("no such row")
            if isinstance(row, str):
                yield {"type": "track", "event": row, "userId": f"user-{index}", "messageId": f"id-{row}"}
            else:
                yield Refusal("field_invalid", "A row must be a text.", f"/{index}")


class FullLog(SqliteLog):
    """A log without room."""

    def append(self, entries: Any) -> int:
        raise LogFull("there is no room")


class Bench:
    """A gateway with two sources for webhooks, one of which takes none."""

    def __init__(self, path: Path, log: type[SqliteLog] = SqliteLog, **given: Any) -> None:
        self.log = log(path / "turnout.log")
        self.acceptor = Acceptor(self.log, LogSettings.configure({}, owner="log"), now_ms)
        hooks = Webhooks({"rows": Rows({"hook_secret": SECRET}, id="rows"), "closed": Rows({}, id="closed")})
        settings = GatewaySettings.configure(given, owner="gateway")
        self.gateway = Gateway(self.acceptor, WriteKeys({}), settings, clock=lambda: NOON, hooks=hooks)

    def post(self, body: object, path: str = "/v1/hooks/rows", method: str = "POST", **given: Any) -> httpx.Response:
        """Return the answer to a webhook that has the secret in its header, unless other headers are given."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given.setdefault("headers", {b"x-turnout-secret": SECRET.encode()})

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(self.gateway)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, content=content, **given)

        return asyncio.run(main())

    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(accepted.data) for accepted in self.log.read(0)]


@contextmanager
def opened(path: Path, **given: Any) -> Iterator[Bench]:
    bench = Bench(path, **given)
    with closing(bench.log), bench.acceptor:
        yield bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as made:
        yield made


def test_a_webhook_is_kept_before_it_is_answered(bench: Bench) -> None:
    """200 comes when every event is in the log, with its source's id and the time of its arrival."""
    answer = bench.post(["Sold", "Seen"])
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert [(one["event"], one["projectId"], one["receivedAt"]) for one in bench.kept()] == [
        ("Sold", "rows", "2026-11-22T12:00:00.250Z"),
        ("Seen", "rows", "2026-11-22T12:00:00.250Z"),
    ]


def test_the_secret_may_stand_in_the_path(bench: Bench) -> None:
    """As its last part, percent-encoded where a path needs that; a slash at the end changes nothing."""
    for number, path in enumerate(("s3cret%2F%C3%BC%2541", "s3cret%2F%C3%BC%2541/")):
        assert bench.post([f"Sold {number}"], f"/v1/hooks/rows/{path}", headers={}).status_code == 200
    assert len(bench.kept()) == 2


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/hooks/rows", {}),
        ("/v1/hooks/rows", {b"x-turnout-secret": b"s3cret"}),
        ("/v1/hooks/rows", {b"x-turnout-secret": b""}),
        ("/v1/hooks/rows/wrong", {b"x-turnout-secret": SECRET.encode()}),
        ("/v1/hooks/closed", {b"x-turnout-secret": b""}),
        ("/v1/hooks/closed", {b"x-turnout-secret": b"-"}),
        ("/v1/hooks/nobody", {b"x-turnout-secret": b"-"}),
        ("/v1/hooks/", {b"x-turnout-secret": SECRET.encode()}),
    ],
)
def test_nobody_else_may_send(bench: Bench, path: str, headers: dict[bytes, bytes]) -> None:
    """A wrong secret, an unknown source and one that takes no webhooks are answered alike, and nothing is kept."""
    answer = bench.post(["Sold"], path, headers=headers)
    assert answer.status_code in (401, 404)
    assert bench.kept() == []
    assert SECRET not in answer.text
    if path != "/v1/hooks/":
        assert answer.json()["code"] == "write_key_unknown"


def test_what_cannot_be_read_is_listed_and_the_rest_kept(bench: Bench) -> None:
    """As for batches: 200, with the place of each part that was not taken; all of it is counted."""
    answer = bench.post(["Sold", 7, "Seen", {}])
    assert answer.status_code == 200
    assert [(one["index"], one["code"], one["path"]) for one in answer.json()["rejected"]] == [
        (1, "field_invalid", "/1"),
        (3, "field_invalid", "/3"),
    ]
    assert [one["event"] for one in bench.kept()] == ["Sold", "Seen"]
    counted = {labels: times for labels, times in bench.gateway.tally.events.items() if times}
    assert counted == {("rows", "accepted", ""): 2, ("rows", "refused", "field_invalid"): 2}


@pytest.mark.parametrize(
    "body", [b"", b"no json", b'{"rows": []}', b"\xff\xfe", b"[" * 300, b'["Sold"', b"\x1f\x8bno gzip"]
)
def test_a_payload_that_is_none_is_refused(bench: Bench, body: bytes) -> None:
    """400 with the reason: the same again would change nothing."""
    answer = bench.post(body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("bad_request", "nesting_too_deep")
    assert bench.kept() == []


def test_an_empty_payload_is_taken(bench: Bench) -> None:
    """A list without rows is no fault of the vendor's."""
    assert bench.post([]).status_code == 200


def test_gzip_is_unpacked_with_its_header_and_without(bench: Bench) -> None:
    """Some vendors forget `content-encoding`."""
    head = {b"x-turnout-secret": SECRET.encode()}
    assert bench.post(gzip.compress(b'["Sold"]'), headers={**head, b"content-encoding": b"gzip"}).status_code == 200
    assert bench.post(gzip.compress(b'["Seen"]')).status_code == 200
    assert bench.post(gzip.compress(b'["Cut"]')[:-9]).status_code == 400
    assert [one["event"] for one in bench.kept()] == ["Sold", "Seen"]


def test_a_long_payload_is_read_as_a_short_one(bench: Bench) -> None:
    """In a thread, with the same result."""
    rows = [f"Sold {number} {60 * 'x'}" for number in range(400)]
    assert bench.post(rows).status_code == 200
    assert [one["event"] for one in bench.kept()] == rows


def test_a_repeated_webhook_counts_once(bench: Bench) -> None:
    """The source's message ids are known: what is sent again after a lost answer is not kept again."""
    assert bench.post(["Sold"]).status_code == bench.post(["Sold"]).status_code == 200
    assert len(bench.kept()) == 1


def test_a_plugin_that_fails_is_asked_again(bench: Bench) -> None:
    """What was read before is kept; the answer is 500, so that the vendor sends it again when the plugin is mended."""
    answer = bench.post(["Sold", "burst"])
    assert (answer.status_code, answer.json()["code"]) == (500, "plugin_raised")
    assert "LookupError" in answer.json()["message"]
    assert [one["event"] for one in bench.kept()] == ["Sold"]


def test_a_full_log_sends_the_vendor_away(tmp_path: Path) -> None:
    """503, never 200, for what can't be kept."""
    with opened(tmp_path, log=FullLog) as bench:
        assert bench.post(["Sold"]).status_code == 503


def test_limits_hold_for_webhooks(tmp_path: Path) -> None:
    """A body that is too large gets 413, another method 405, and nothing is taken while the gateway stops."""
    with opened(tmp_path, max_body_bytes=1024) as bench:
        assert bench.post(["x" * 2000]).status_code == 413
        assert bench.post(b"", method="GET").status_code == 405
        bench.gateway.stopping = True
        assert bench.post(["Sold"]).status_code == 503


def test_sources_come_from_the_configuration(tmp_path: Path) -> None:
    """Those with a plugin of their own; a wrong setting is told before anything is served."""
    path = tmp_path / "turnout.toml"
    path.write_text('[sources.web]\nwrite_key = "wk"\n[sources.flags]\nplugin = "flagsmith"\nhook_secret = "hush"\n')
    assert list(configured_sources(load_config(path))) == ["flags"]
    path.write_text('[sources.flags]\nplugin = "flagsmith"\nhook_secert = "hush"\n')
    with pytest.raises(ConfigError, match="hook_secret"):
        configured_sources(load_config(path))
