"""The guides are run: each in an empty folder, in an environment of its own, from the first block to the last.

A block after a line that is only "`name`:" is a file and is written. A block in `console` is run: lines after `$ `
are commands, what follows is their output. In an output `…` stands for any text, alone on a line for any lines.
A command that ends in `&` is ready when it has written its first line; `kill %1`, also with more of them, ends all.
`cd` holds for what follows. No other block is allowed.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted(path.name for path in (DOCS / "guides").glob("*.md"))
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])

PORTS = ("8765", "8766", "8080", "9090")
"""The ports of the guides, each of which becomes a free one."""
_BLOCK = re.compile(r"(?:^`(?P<name>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What would change what a command writes.
_SETS = ("CI", "BUILD_NUMBER", "PIP", "PYTEST", "TURNOUT", "AMPLITUDE")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)[^)]*\)")


class Block(NamedTuple):
    """A fenced block of a page: its language, the name of the file that it is (or empty), and its text."""

    kind: str
    name: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [Block(found["kind"], found["name"] or "", found["text"]) for found in _BLOCK.finditer(page)]


def steps(console: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that is shown for it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command, output


def same(shown: str, real: str) -> bool:
    """Return whether an output is the one that is shown; blanks at the ends of lines don't count."""
    lines = [line.rstrip() for line in shown.strip().splitlines()]
    parts = (r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    text = "".join(f"{line.rstrip()}\n" for line in real.strip().splitlines())
    return re.fullmatch("".join(parts), text) is not None


class Shell:
    """A folder and an environment in which `python`, `pip`, `pytest` and `turnout` are those of a fresh install."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._background: list[subprocess.Popen[str]] = []
        binaries = _environment(folder / "env")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETS)}
        self._environ = kept | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of "build isolation"
        }

    def write(self, name: str, text: str) -> None:
        """Write a file of the guide."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, command: str) -> str:
        """Return what a command writes, to either stream."""
        if command.startswith("kill %1"):
            return self.stop()
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return ""
        if command.endswith(" &"):
            return self._start(command.removesuffix(" &"))
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=self._environ, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def _start(self, command: str) -> str:
        program = self.run(f"command -v {shlex.quote(shlex.split(command)[0])}").strip()
        started = subprocess.Popen(
            [program, *shlex.split(command)[1:]], cwd=self.folder, env=self._environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._background.append(started)
        assert started.stdout is not None
        return started.stdout.readline()

    def stop(self) -> str:
        """End what was started in the background."""
        for started in self._background:
            started.terminate()
            started.communicate()
        self._background.clear()
        return ""


def _environment(folder: Path) -> Path:
    """Make a virtual environment that has everything this one has, and return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    binaries = folder / "bin"
    ours = sysconfig.get_path("purelib")
    theirs = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(theirs, "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
    for name, code in {
        "pip": "from pip._internal.cli.main import main",
        "pytest": "from pytest import main",
        "turnout": "from turnout.cli import main",
    }.items():
        script = binaries / name
        guarded = f"import sys\n{code}\nif __name__ == '__main__':\n    sys.exit(main())\n"
        script.write_text(f"#!{binaries / 'python'}\n{guarded}", encoding="utf-8")
        script.chmod(0o755)
    return binaries


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A fresh folder and environment."""
    made = Shell(tmp_path)
    yield made
    made.stop()


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_works_as_it_is_written(shell: Shell, name: str) -> None:
    """Every file of a guide is written, every command run, and every output is the one that is shown."""
    page = (DOCS / "guides" / name).read_text(encoding="utf-8")
    for port in PORTS:
        page = page.replace(port, str(free_port()))
    for block in blocks(page):
        if block.name:
            shell.write(block.name, block.text)
            continue
        assert block.kind == "console", f"neither a named file nor a console block:\n{block.text}"
        for command, shown in steps(block.text):
            real = shell.run(command)
            assert same(shown, real), f"$ {command}\n{real}\n--- but the guide shows:\n{shown}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    """Every relative link of a page leads to a file of the project."""
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_contents_name_every_page() -> None:
    """docs/index.md links to every other page below docs/, once."""
    index = DOCS / "index.md"
    linked = [DOCS / link for link in _LINK.findall(index.read_text(encoding="utf-8"))]
    assert sorted(linked) == sorted(path for path in DOCS.rglob("*.md") if path != index)


@pytest.mark.parametrize(
    ("shown", "real", "equal"),
    [
        ("a … c\n", "a b c\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
        ("", "a\n", False),
        ("", "", True),
        ("a\n", "a  \n\n", True),
    ],
)
def test_outputs_are_compared_line_by_line(shown: str, real: str, equal: bool) -> None:
    """Only `…` stands for other text: an output that is not shown, or is shown otherwise, is a difference."""
    assert same(shown, real) is equal
