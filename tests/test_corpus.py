"""A corpus: files one after the other, plain or packed, with places that name file and line."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from turnout import ConfigError
from turnout.corpus import Corpus

LINES = b'{"a":1}\n\n{"b":2}\n'


def zstd(data: bytes) -> bytes:
    """Return data packed as one frame."""
    return zstandard.ZstdCompressor().compress(data)


def read(*files: Path | str) -> list[tuple[str, bytes]]:
    """Return place and text of each record."""
    return [(one.place, one.raw) for one in Corpus([str(file) for file in files])]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.zst"])
def test_a_file_is_unpacked_for_what_it_is(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    """Its first bytes decide, not its name; places count the lines of the text."""
    path = tmp_path / name
    path.write_bytes(pack(LINES))
    assert read(path) == [(f"{path}:1", b'{"a":1}'), (f"{path}:3", b'{"b":2}')]


def test_several_files_are_read_in_their_order(tmp_path: Path) -> None:
    """Lines and arrays may be mixed, and a file may be given twice."""
    lines, array = tmp_path / "one.jsonl", tmp_path / "two.json.gz"
    lines.write_bytes(b"1\n")
    array.write_bytes(gzip.compress(b"[2,\n3]"))
    assert read(lines, array, lines) == [
        (f"{lines}:1", b"1"),
        (f"{array}, element 1", b"2"),
        (f"{array}, element 2", b"3"),
        (f"{lines}:1", b"1"),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_parts_that_were_put_together_are_read_through(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """As `cat one.gz two.gz` makes them, and larger than any buffer."""
    path = tmp_path / "in"
    text = b'"' + os.urandom(200_000).hex().encode() + b'"\n'
    path.write_bytes(pack(text) + pack(text) + pack(b"3\n"))
    assert [raw for _, raw in read(path)] == [text.strip(), text.strip(), b"3"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("harm", ["cut", "spoilt", "rest"])
def test_broken_packed_data_are_an_error_that_names_the_place(
    tmp_path: Path, pack: Callable[[bytes], bytes], harm: str
) -> None:
    """What was cut off must not look like the end of the corpus."""
    path = tmp_path / "in"
    packed = pack(b"1\n2\n" + os.urandom(5_000).hex().encode() + b"\n")
    middle = len(packed) // 2
    path.write_bytes(
        {
            "cut": packed[:middle],
            "spoilt": packed[:middle] + bytes(200) + packed[middle + 200 :],
            "rest": packed + b"what is this?",
        }[harm]
    )
    with pytest.raises(ConfigError, match=r"in: the packed data are broken after .*Unpack what can be saved"):
        read(path)


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    """Nor has an empty packed one."""
    plain, packed, frame = (tmp_path / name for name in ("plain", "packed", "frame"))
    plain.write_bytes(b"")
    packed.write_bytes(gzip.compress(b""))
    frame.write_bytes(zstd(b""))
    assert read(plain, packed, frame) == []


def test_files_that_are_not_there_are_named_before_anything_is_read(tmp_path: Path) -> None:
    """A mistake in the last name shows at once."""
    good = tmp_path / "good.jsonl"
    good.write_bytes(LINES)
    for bad, told in ((tmp_path / "nothing.jsonl", "there is no such file"), (tmp_path, "can't be read")):
        with pytest.raises(ConfigError, match=told):
            Corpus([str(good), str(bad)])


def test_a_pipe_is_not_opened_to_look_whether_it_is_there(tmp_path: Path) -> None:
    """Opening and closing it would end the process that writes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    corpus = Corpus([str(pipe)])
    assert corpus.size is None
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(LINES),))
    writer.start()
    assert [one.raw for one in corpus] == [b'{"a":1}', b'{"b":2}']
    writer.join()


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """Packed or not; and it stays open."""
    given = io.BytesIO(gzip.compress(LINES) if packed else LINES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    assert read("-") == [("-:1", b'{"a":1}'), ("-:3", b'{"b":2}')]
    assert not given.closed


def test_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a daemon."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="Standard input is closed"):
        read("-")


def test_the_position_grows_to_the_size(tmp_path: Path) -> None:
    """So that a bar can show how far it is, also through packed files."""
    path, packed = tmp_path / "in.jsonl", tmp_path / "in.gz"
    path.write_bytes(LINES)
    packed.write_bytes(gzip.compress(LINES))
    corpus = Corpus([str(path), str(packed)])
    assert (corpus.position, corpus.size) == (0, path.stat().st_size + packed.stat().st_size)
    assert len(list(corpus)) == 4
    assert corpus.position == corpus.size
    assert Corpus([str(path), "-"]).size is None
