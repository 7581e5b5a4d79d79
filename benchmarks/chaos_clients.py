"""The clients of a chaos run: they send over HTTP, in order, and each call again until its answer says that it is safe.

    python benchmarks/chaos_clients.py FOLDER SEED RATE URL

Each stream of events is sent by one client, call by call: single calls and batches, plain and packed. What gets no
answer, 408, 429 or 503 is sent again after a pause; now and then a client goes away without looking at the answer, or
sends once more what was accepted. A client ends when good events are refused in another way. `FOLDER/accepted` gets a
line `number -` for each event that was answered with 200, `FOLDER/answers` in the end a JSON object of how often which
answer came, and of what was refused. It ends when `FOLDER/stop` is there, each client after the call that it is at.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from chaos_events import STREAMS, line

__all__ = ["KEY", "Client", "main"]

KEY = "wk-chaos"
_HEADERS = {"authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}
_MOST = 50
_SECONDS = 5.0
_LONGEST_PAUSE = 0.5
_LATER = (408, 429, 503)


class _RefusedError(Exception):
    """The gateway has refused good events."""


class Client:
    """Sends the events of one stream."""

    def __init__(self, folder: Path, seed: int, rate: float, stream: int, url: str) -> None:
        self.answers = Counter[str]()
        self.refused = list[str]()
        self._folder, self._seed, self._rate, self._following = folder, seed, rate, stream
        self._address = url.removeprefix("http://")
        self._random = random.Random(f"{seed}:client:{stream}")
        self._connection: HTTPConnection | None = None
        self._accepted = os.open(folder / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def run(self) -> None:
        """Send until the run is to stop."""
        try:
            self._run()
        except _RefusedError as error:
            self.refused.append(str(error))
        self._hang_up()

    def _run(self) -> None:
        while not (self._folder / "stop").exists():
            count = self._random.choice((1, 1, 2, 5, 20, _MOST))
            numbers = [self._following + STREAMS * place for place in range(count)]
            self._send(numbers)
            self._note(numbers)
            if self._random.random() < 0.05:
                self._send(numbers)
            self._following = numbers[-1] + STREAMS
            time.sleep(self._random.random() * 2 * count * STREAMS / self._rate)

    def _send(self, numbers: list[int]) -> None:
        """Send some events until an answer says that they are safe."""
        path, body, headers = self._call(numbers)
        while (status := self._answer(path, body, headers)) != 200:
            if status is not None and status not in _LATER:
                raise _RefusedError(f"{path} answered {status}")
            time.sleep(self._random.random() * _LONGEST_PAUSE)

    def _call(self, numbers: list[int]) -> tuple[str, bytes, dict[str, str]]:
        events = [line(self._seed, number) for number in numbers]
        if len(events) == 1:
            return f"/v1/{json.loads(events[0])['type']}", events[0], _HEADERS
        body = b'{"batch":[' + b",".join(events) + b"]}"
        if self._random.random() < 0.5:
            return "/v1/batch", gzip.compress(body, 1), _HEADERS | {"content-encoding": "gzip"}
        return "/v1/batch", body, _HEADERS

    def _answer(self, path: str, body: bytes, headers: dict[str, str]) -> int | None:
        """Return the status of the answer to one attempt, None when there is none."""
        try:
            if self._connection is None:
                self._connection = HTTPConnection(self._address, timeout=_SECONDS)
            self._connection.request("POST", path, body, headers)
            if self._random.random() < 0.03:
                raise TimeoutError("the client goes away")
            answer = self._connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            self.answers[type(error).__name__] += 1
            self._hang_up()
            return None
        self.answers[str(answer.status)] += 1
        if "rejected" in told:
            raise _RefusedError(f"{path} refused {json.dumps(told['rejected'][:1])}")
        return answer.status

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note(self, numbers: list[int]) -> None:
        os.write(self._accepted, "".join(f"{number} -\n" for number in numbers).encode())
        os.fsync(self._accepted)


def main(arguments: list[str]) -> None:
    """Send until the run is to stop."""
    folder, seed, rate, url = Path(arguments[0]), int(arguments[1]), float(arguments[2]), arguments[3]
    clients = [Client(folder, seed, rate, stream, url) for stream in range(STREAMS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers: Counter[str] = sum((client.answers for client in clients), Counter())
    refused = [told for client in clients for told in client.refused]
    (folder / "answers").write_text(json.dumps({"answers": answers, "refused": refused}))


if __name__ == "__main__":
    main(sys.argv[1:])
