"""Hostile clients of a chaos run: they attack the gateway now and then, while others send what is to be kept.

    python benchmarks/chaos_hostile.py FOLDER SEED URL

Of each of `ATTACKS` there are two clients. It ends when `FOLDER/stop` is there and each attack was answered as it has
to be at least once; `FOLDER/hostile` then has a JSON object, for each attack how often which answer came (`cut off`
when there was none).
"""

from __future__ import annotations

import base64
import json
import random
import select
import socket
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

from chaos_clients import KEY

__all__ = ["ATTACKS", "CUT_OFF", "Attacker", "main"]

CUT_OFF = "cut off"
ATTACKS = {"gzip bomb": "413", "endless chunks": "413", "deep JSON": "400", "slow head": "408", "slow body": "408"}
"""The attacks, each with the status that ends it."""
_CLIENTS = 2
_SECONDS = 20.0
_PAUSE = 1.5
_DEEP = 100_000
_CHUNKED = "transfer-encoding: chunked"


def _head(*more: str) -> bytes:
    key = base64.b64encode(f"{KEY}:".encode()).decode()
    lines = ["POST /v1/batch HTTP/1.1", "host: gateway", f"authorization: Basic {key}", *more]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _packed(size: int) -> Iterator[bytes]:
    """Yield for ever what gzip makes of so many zeros, a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    while True:
        yield _chunk(packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH))


def _slowly(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(0.1)


def pieces(attack: str) -> Iterator[bytes]:
    """Yield what an attack sends, mostly for ever."""
    if attack == "gzip bomb":
        return chain([_head(_CHUNKED, "content-encoding: gzip")], _packed(10_000_000))
    if attack == "endless chunks":
        return chain([_head(_CHUNKED)], repeat(_chunk(b" " * 65_536)))
    if attack == "deep JSON":
        body = b'{"batch":' + b"[" * _DEEP + b"]" * _DEEP + b"}"
        return iter([_head(f"content-length: {len(body)}") + body])
    if attack == "slow head":
        return chain([_head()[:-2]], _slowly(b"x: y\r\n"))
    return chain([_head("content-length: 5000")], _slowly(b"["))


class Attacker:
    """Attacks a gateway in one way, again and again."""

    def __init__(self, folder: Path, seed: int, attack: str, number: int, url: str) -> None:
        self.attack = attack
        self.answers = Counter[str]()
        self._stop = folder / "stop"
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._address = host, int(port)
        self._random = random.Random(f"{seed}:{attack}:{number}")

    def run(self) -> None:
        """Attack until the run is to stop."""
        while not (self._stop.exists() and self.answers[ATTACKS[self.attack]]):
            time.sleep(self._random.random() * _PAUSE)
            with suppress(ConnectionRefusedError):
                self.answers[self._strike()] += 1

    def _strike(self) -> str:
        """Attack until something is answered, and return its status."""
        answer = b""
        with socket.create_connection(self._address, timeout=_SECONDS) as client:
            with suppress(OSError):
                for piece in pieces(self.attack):
                    if select.select([client], [], [], 0)[0]:
                        break
                    client.sendall(piece)
            with suppress(OSError):
                answer = client.recv(100)
        return answer.split(b" ", 2)[1].decode() if answer else CUT_OFF


def main(arguments: list[str]) -> None:
    """Attack until the run is to stop."""
    folder, seed, url = Path(arguments[0]), int(arguments[1]), arguments[2]
    attackers = [Attacker(folder, seed, attack, number, url) for attack in ATTACKS for number in range(_CLIENTS)]
    threads = [threading.Thread(target=attacker.run) for attacker in attackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = {attack: Counter[str]() for attack in ATTACKS}
    for attacker in attackers:
        answers[attacker.attack] += attacker.answers
    (folder / "hostile").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
