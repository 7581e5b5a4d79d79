"""An environment with other versions of packages, built by venv and pip for a comparison, and kept when it can be."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from turnout.errors import ConfigError

__all__ = ["environment", "kept", "kept_in"]

_PINNED = re.compile(r"\s*(?P<name>[A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*==\s*(?P<version>[^*,;@\s]+)\s*")


@contextlib.contextmanager
def environment(requirements: Sequence[str]) -> Iterator[str]:
    """Yield the interpreter of an environment in which pip has installed `requirements`; raises `ConfigError`.

    Where each of them names one version (`turnout-acme==1.2`), the environment is kept in the user's cache and found
    again; otherwise it is built anew, and deleted in the end. Indexes and proxies are those of pip's own configuration.
    """
    for requirement in requirements:
        if requirement.startswith("-") or not requirement.strip():
            raise ConfigError(f"'{requirement}' is no package. Name one as for pip, such as 'turnout-acme==1.2'.")
    place = _kept_place(requirements)
    if place is None:
        with tempfile.TemporaryDirectory(prefix="turnout-") as folder:
            yield str(_built(Path(folder, "environment"), requirements))
        return
    if not _python(place).exists():
        _build_aside(place, requirements)
    yield str(_python(place))


def kept(requirements: Sequence[str]) -> bool:
    """Return whether the environment for these requirements is there already."""
    place = _kept_place(requirements)
    return place is not None and _python(place).exists()


def kept_in() -> Path:
    """Return the folder in which environments are kept; deleting it is safe."""
    home = Path.home()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "turnout" / "environments"


def _kept_place(requirements: Sequence[str]) -> Path | None:
    """Return the folder for these versions and this interpreter, None when a version is left open."""
    pinned = [_PINNED.fullmatch(one) for one in requirements]
    words = [f"{one['name']}-{one['version']}" for one in pinned if one]
    if len(words) < len(requirements):
        return None
    of = "\n".join([sys.base_prefix, sys.version, *sorted(requirements)])
    return kept_in() / f"{words[0]}-{hashlib.sha256(of.encode()).hexdigest()[:12]}"


def _build_aside(place: Path, requirements: Sequence[str]) -> None:
    """Build an environment beside its place and move it there, so that nobody finds a half of one."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        message = f"{place.parent}: an environment can't be kept there: {error.strerror}"
        raise ConfigError(f"{message}. Set XDG_CACHE_HOME, or build one and name it with --against-python.") from None
    try:
        _built(aside, requirements)
        if not _python(place).exists():  # one whose own interpreter has gone away
            shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process has been quicker
            aside.rename(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _built(place: Path, requirements: Sequence[str]) -> Path:
    shown = ", ".join(requirements)
    _run([sys.executable, "-m", "venv", "--clear", str(place)], f"An environment for {shown} can't be made")
    python = _python(place)
    _run([str(python), "-m", "pip", "install", "--quiet", "--", *requirements], f"{shown} can't be installed")
    return python


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _run(command: Sequence[str], failure: str) -> None:
    """Run a command; raises `ConfigError` with the last thing that it has said."""
    done = subprocess.run(  # noqa: S603 - this interpreter, or one that it has made
        command, capture_output=True, check=False, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        told = (errors or lines or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(f"{failure}: {told.removeprefix('ERROR:').strip()}")
