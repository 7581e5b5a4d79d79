"""Secrets go through every way that fails, and are then looked for in every byte that was written: none is there.

They stand in settings of a destination that puts them wherever one can stand (path, query, headers, Basic
authentication, body), in the write keys and tokens of senders, and come back in the words of a vendor that repeats what
it was sent. Logs are written at debug level.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
import zstandard
from served import LIMIT, PLAIN, Served, configured, reached, served, settled, track

from turnout.testing import Answer, Call, Simulator

SECRETS = {
    "write_key": "wk/Q4z+8vJ=tn",
    "bearer_token": "bt~W7k/2xNp+c",
    "api_key": "ak<Y5r&9'mLd=",
    "secret_key": "sk+B3h/6wTfVé",
    "token": "to/G8s+1qRj&k",
    "password": "pw%C2y:7zKd/x",
    "hook_secret": "hs-M6u.4pXbHt",
}
"""None has anything in common with another, and each is written otherwise in JSON, HTML, URLs or base64."""

PLUGIN = '''
import os

from turnout import ITEMS, Batch, Destination, Drop, Endpoint, Refusal, Settings, basic, json_body, rule, setting
from turnout.settings import text


class LeakySettings(Settings):
    user = text("The user.", default="us-91")
    password = text("The password.", required=True, secret=True)
    token = text("The token.", required=True, secret=True)


def read_leaky(answer, count):
    """Fails at whatever it doesn't know, and repeats it."""
    if answer.status == 418:
        raise ValueError(answer.body.decode() + str(dict(answer.headers)))
    from turnout.answer import read_status

    return read_status(answer, count)


class Leaky(Destination):
    """A vendor that wants its secrets everywhere."""

    name = "Leaky"
    settings = LeakySettings
    events = Endpoint("POST", "https://leaky.example/v1/{token}/in?key={token}", batch=Batch(items=1),
                      auth=basic("user", "password"), headers={"X-Key": setting("token")}, read=read_leaky,
                      body=json_body({"t": setting("token"), "p": setting("password"), "all": ITEMS}))

    @rule("track")
    def tracked(self, event):
        """Fails in every way, and tells its settings each time."""
        told, do = f"{self.config.token} {self.config.password!r} {dict(self.config)}", event.properties.get("do")
        if do == "raise":
            raise LookupError(told)
        if do == "refuse":
            raise Refusal("value_invalid", told, "/properties/do")
        if do == "drop":
            raise Drop("filtered", told)
        if do == "result":
            return told
        if do == "wrong":
            return self.events.item({told})
        if do == "exit":
            raise SystemExit(told)
        if do == "die":
            os._exit(3)
        return self.events.item({"id": event.message_id, "do": do})
'''
DEBUG = "import logging\nlogging.basicConfig(level=logging.DEBUG, format='%(name)s %(levelname)s %(message)s')\n"
EMBEDDED = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from turnout import Dispatcher
dispatcher = Dispatcher.from_config(sys.argv[1])
for line in open(sys.argv[2], "rb"):
    for settled in dispatcher.send([line]):
        print(settled, repr(settled))
    print(dispatcher, dispatcher.destinations, dispatcher.plan(line))
"""


def installed(folder: Path) -> Path:
    """Return a folder for PYTHONPATH with the plugin, and logs at debug level for every process."""
    site = folder / "site"
    about = site / "turnout_leaky-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "turnout_leaky.py").write_text(PLUGIN, encoding="utf-8")
    (site / "sitecustomize.py").write_text(DEBUG, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: turnout-leaky\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[turnout.destinations]\nleaky = turnout_leaky:Leaky\n", encoding="utf-8")
    return site


class Echo(Simulator):
    """A vendor that fails in many ways, and each time repeats everything that it was sent."""

    statuses = (400, 401, 403, 404, 413, 418, 422, 500, 302, 200)

    def reset(self) -> None:
        super().reset()
        self.asked = 0

    def not_found(self, call: Call, allowed: list[str]) -> Answer:
        """Return the next status, with everything in the next form."""
        self.asked += 1
        status, form = self.statuses[self.asked % len(self.statuses)], self.asked // len(self.statuses) % 5
        everything = f"{call.path}?{call.query} {call.headers} {call.body.decode()}"
        bodies = (
            {"code": status, "error": everything, "path": call.path, "headers": call.headers},
            f"<html>{html.escape(everything)}</html>",
            everything,
            base64.b64encode(everything.encode()).decode(),
            quote(everything),
        )
        headers = {"retry-after": "0", "location": f"{call.path}?{call.query}", "x-echo": quote(SECRETS["token"])}
        return Answer(status, bodies[form], headers)


def forms(secret: str) -> Iterator[bytes]:
    """Yield what a secret looks like: plain, escaped, quoted, in hexadecimal, and inside any base64."""
    yield from (one.encode() for one in (secret, html.escape(secret), quote(secret), quote(secret, safe="")))
    yield from (one.encode() for one in (quote_plus(secret), quote(secret, safe="").lower(), repr(secret)[1:-1]))
    yield from (json.dumps(secret, ensure_ascii=ascii_only)[1:-1].encode() for ascii_only in (True, False))
    yield secret.encode().hex().encode()
    for before in range(3):
        # Three letters stand for four; those at the ends also hold a part of what is around it.
        whole = base64.b64encode(b"\0" * before + secret.encode())
        core = whole[4 if before else 0 : (before + len(secret.encode())) // 3 * 4]
        yield from (core, core.translate(bytes.maketrans(b"+/", b"-_")))


def unpacked(log: Path) -> Iterator[bytes]:
    """Yield every value in a log, and what it holds when it is packed; and the bytes of its files."""
    for path in log.parent.glob(f"{log.name}*"):
        yield path.read_bytes()
    with closing(sqlite3.connect(log)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}").fetchall():
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield data
                    with suppress(zstandard.ZstdError):
                        yield zstandard.ZstdDecompressor().decompressobj().decompress(data)


def hits(places: Mapping[str, bytes]) -> list[tuple[str, str, bytes]]:
    """Return where which secret stands, with what is around it."""
    found = []
    for place, data in places.items():
        for name, secret in SECRETS.items():
            for form in set(forms(secret)):
                if (at := data.find(form)) >= 0:
                    found.append((place, name, data[max(0, at - 80) : at + 80]))
    return found


def test_the_search_finds_what_it_is_for() -> None:
    """Each secret in each form; and none of them in another."""
    for name, secret in SECRETS.items():
        basic = base64.b64encode(f"{secret}:".encode())
        for shown in (secret.encode(), basic, quote(secret).encode(), json.dumps({"k": secret}).encode(), basic * 3):
            assert [(place, found) for place, found, _ in hits({"here": b"<" + shown + b">"})][:1] == [("here", name)]


def everything(folder: Path, url: str) -> Path:
    """Write a configuration that has every secret."""
    secret = SECRETS.__getitem__
    return configured(
        folder,
        gateway={"max_body_bytes": 20_000},
        deliver={"max_age_hours": 0.0, "min_attempts": 2, "setup_wait_seconds": 0.05, "timeout_seconds": 5.0},
        send={"attempts": 2},
        sources={
            "web": {"write_key": secret("write_key")},
            "back": {"write_key": "wk-open-92", "bearer_token": secret("bearer_token")},
        },
        destinations={
            "amplitude": {
                "plugin": "amplitude",
                "api_key": secret("api_key"),
                "secret_key": secret("secret_key"),
                "base_url": url,
            },
            "leaky": {"plugin": "leaky", "token": secret("token"), "password": secret("password"), "base_url": url},
        },
    )


def told(answer: httpx.Response) -> bytes:
    """Return an answer as it came."""
    headers = b"".join(name + b": " + value + b"\n" for name, value in answer.headers.raw)
    return b"%d\n%b\n%b" % (answer.status_code, headers, answer.content)


def calls(one: Served) -> list[bytes]:
    """Send good calls and bad ones, with every secret that a sender has, and return the answers."""
    key, token = SECRETS["write_key"], SECRETS["bearer_token"]
    basic = {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    bearer = {"authorization": f"Bearer {token}"}
    ways = ("raise", "refuse", "drop", "result", "wrong", "exit", "die", *map(str, range(40)))
    events = [track(do, properties={"do": do}) for do in ways]
    identify = {"type": "identify", "userId": "u-93", "messageId": "m-93", "traits": {"tier": "gold"}}
    keyed = [{**event, "writeKey": key, "messageId": f"k-{event['messageId']}"} for event in events[:6]]
    sent: list[tuple[str, Any, dict[str, str]]] = [
        ("/v1/batch", {"batch": events}, basic),
        ("/v1/batch", {"batch": [*keyed, identify], "writeKey": key}, {}),
        ("/v1/track", {**track("own"), "writeKey": key}, {}),
        ("/v1/track", {**track("bearer"), "writeKey": "wk-open-92"}, bearer),
        ("/v1/track", {**track("other"), "writeKey": "wk-open-92"}, {"authorization": f"Bearer x{token}"}),
        ("/v1/track", {**track("other"), "writeKey": "wk-open-92"}, basic),
        ("/v1/track", {**track("other"), "writeKey": key + "x"}, {}),
        ("/v1/track", {**track("other"), "event": 7, "writeKey": key}, {}),
        ("/v1/track", {**track("other"), "userId": {"writeKey": key}}, basic),
        ("/v1/track", {**track("other"), "timestamp": "never"}, basic),
        ("/v1/track", {"writeKey": key}, {}),
        ("/v1/track", {"writeKey": [key]}, basic),
        ("/v1/batch", {"writeKey": key}, {}),
        ("/v1/batch", {"writeKey": key, "batch": key}, {}),
        ("/v1/batch", {"writeKey": key, "batch": [key, {"writeKey": key}]}, {}),
        ("/v1/batch", {"writeKey": key, "batch": [{}], "context": key}, {}),
        ("/v1/delete", {"userId": "u-94", "writeKey": key}, {}),
        ("/v1/track", b'{"writeKey":"%b' % key.encode(), {}),
        ("/v1/track", b'{"writeKey":"%b","a":NaN}' % key.encode(), basic),
        ("/v1/track", gzip.compress(key.encode() * 10)[:-4], {**basic, "content-encoding": "gzip"}),
        ("/v1/track", key.encode() * 5000, basic),
        ("/v1/track", key.encode(), {**basic, "content-encoding": key.encode().hex()[:10]}),
        ("/v1/track", b"{}", {"authorization": f"Basic {key}"}),
        ("/v1/track", b"{}", {"authorization": f"Digest {quote(key)}"}),
        (f"/v1/nothing/{quote(key, safe='')}?writeKey={quote(key, safe='')}", b"{}", basic),
        (f"/v1/projects/{quote(key, safe='')}x/settings", b"{}", basic),
        ("/v1/m", {"writeKey": key}, basic),
    ]
    with httpx.Client(base_url=one.url, **PLAIN) as client:
        answers = [
            client.post(path, content=body if isinstance(body, bytes) else json.dumps(body), headers=headers)
            for path, body, headers in sent
        ]
        answers += [client.get(path, headers=headers) for path, _, headers in sent[-3:]]
        answers.append(client.request("OPTIONS", "/v1/track", headers={"origin": f"https://{quote(key, safe='')}"}))
    assert {answer.status_code for answer in answers} >= {200, 204, 400, 401, 404, 405, 413, 415}
    return [told(answer) for answer in answers]


def run(site: Path, *command: object, status: int | None = None) -> bytes:
    """Return what a command writes, to either stream."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert status is None or done.returncode == status, done.stdout.decode()
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="it sends signals")
def test_no_secret_is_in_any_byte_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the gateway, delivery, dead letters, plans and figures; and with a host that logs everything."""
    site = installed(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    places: dict[str, bytes] = {}
    echo = Echo()
    with echo.serve() as url:
        config = everything(tmp_path, url)
        with served(config) as one:
            places |= {f"answer {number}": answer for number, answer in enumerate(calls(one))}
            reached(lambda: settled(tmp_path, "amplitude", "leaky"), "the end of delivery")
            places |= {path: told(one.health(path)) for path in ("/livez", "/readyz", "/metrics", "/nothing")}
            one.terminate()
            assert one.wait() == 0
        places["serve"] = one.path.read_bytes()
        places |= commands(site, tmp_path, config)
    places |= {f"log {number}": data for number, data in enumerate(unpacked(tmp_path / "turnout.log"))}
    assert echo.asked > 5 * len(echo.statuses)
    assert b"DEBUG" in places["serve"]
    assert b"x-key': '***'" in b"".join(places.values())
    assert hits(places) == []


def commands(site: Path, folder: Path, config: Path) -> dict[str, bytes]:
    """Return what each command writes, and the files that they make."""
    events = folder / "events.jsonl"
    lines = [
        json.dumps(track(do, properties={"do": do})) for do in ("raise", "refuse", "drop", "result", "exit", "1", "2")
    ]
    events.write_text("\n".join(lines) + "\n", encoding="utf-8")
    turnout = ("-m", "turnout")
    ids = re.findall(rb'"id": ?(\d+)', run(site, *turnout, "dlq", "list", "--config", config, "--json"))
    assert len(ids) > 40
    given: dict[str, tuple[object, ...]] = {
        "dlq list": ("dlq", "list", "--config", config),
        "dlq list --json": ("dlq", "list", "--config", config, "--json"),
        "dlq list --log": ("dlq", "list", "--log", folder / "turnout.log", "--json"),
        "dlq export": ("dlq", "export", "--config", config),
        "dlq export --log": ("dlq", "export", "--log", folder / "turnout.log"),
        "dlq export -o": ("dlq", "export", "--config", config, "-o", folder / "letters.jsonl", "--id", ids[0].decode()),
        "dlq replay": ("dlq", "replay", "--config", config),
        "log status": ("log", "status", "--config", config, "--json"),
        "plan amplitude": ("plan", "-d", "amplitude", "--config", config, events),
        "plan leaky": ("plan", "-d", "leaky", "--config", config, events),
        "send": ("send", "--config", config, "--each", events),
        "send --json": ("send", "--config", config, "--json", events),
        "explain": ("explain", "-d", "leaky", "--config", config, events),
        "docs": ("docs", "leaky"),
        "plugins": ("plugins",),
        **{f"dlq show {one.decode()}": ("dlq", "show", one.decode(), "--config", config) for one in ids[::16]},
        **{
            f"dlq show --json {one.decode()}": ("dlq", "show", one.decode(), "--config", config, "--json")
            for one in ids[3::16]
        },
    }
    with ThreadPoolExecutor(4) as pool:
        outputs = pool.map(lambda words: run(site, *turnout, *words), given.values())
        found = dict(zip(given, outputs, strict=True))
    assert [name for name, output in found.items() if not output] == ["dlq export -o"]
    found["letters"] = (folder / "letters.jsonl").read_bytes()
    found["embedded"] = run(site, "-c", EMBEDDED, config, events, status=0)
    return found


MISTAKES = {
    "a key where its table should be": "[sources]\nweb = KEY\n",
    "a key where a section should be": "sources = KEY\n",
    "a setting with another name": "[sources.web]\nwritekey = KEY\n",
    "a list": "[sources.web]\nwrite_key = [KEY]\n",
    "a line end in it": "[sources.web]\nwrite_key = KEY_AND_LINE_END\n",
    "the same key twice": "[sources.web]\nwrite_key = KEY\n[sources.app]\nwrite_key = KEY\n",
    "a section that is no section": "[keys]\nweb = KEY\n",
    "a text without an end": "[sources.web]\nwrite_key = KEY_WITHOUT_END\n",
    "twice in a table": "[sources.web]\nwrite_key = KEY\nwrite_key = KEY\n",
    "in an address": '[destinations.leaky]\nplugin = "amplitude"\napi_key = "key-96"\nbase_url = "http://u:SECRET@vendor"\n',
    "in an environment variable": "[sources.web]\nwrite_key = '${CANARY}'\nbearer_token = ['${CANARY}']\n",
    "as the name of a variable": "[sources.web]\nwrite_key = '${NO_SUCH_VARIABLE}'\n",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_configuration_is_told_without_the_secret(tmp_path: Path, name: str) -> None:
    """A key in the wrong place, of the wrong kind, twice: the sentence names the place, not what stands there."""
    secret = "wk-canary-95"
    text = MISTAKES[name].replace("KEY_AND_LINE_END", f'"{secret}\\n"').replace("KEY_WITHOUT_END", f'"{secret}')
    config = tmp_path / "turnout.toml"
    text = text.replace("KEY", f'"{secret}"').replace("SECRET", secret)
    config.write_text(f'{text}[log]\npath = "{tmp_path.as_posix()}/turnout.log"\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "turnout", "serve", "--config", str(config)], capture_output=True, text=True,
        env={**os.environ, "CANARY": secret}, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "canary" not in done.stderr
