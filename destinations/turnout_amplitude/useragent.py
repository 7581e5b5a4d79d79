"""Browser and operating system out of a user agent (AMP-CTX-10).

A short table instead of a parser library: it names the browsers and systems that a person would look for in a chart.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

__all__ = ["Agent", "parse"]


class Agent(msgspec.Struct, frozen=True):
    """`browser` and its `major` version, and the family of the operating `system`; None where it can't be told."""

    browser: str | None = None
    major: str | None = None
    system: str | None = None


# The order matters: every browser also claims to be those that come after it.
_BROWSERS = (
    ("Edge", re.compile(r"(?:Edg|EdgA|EdgiOS|Edge)/(\d+)")),
    ("Opera", re.compile(r"(?:OPR|OPT|Opera)/(\d+)")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:Chrome|CriOS|Chromium)/(\d+)")),
    ("IE", re.compile(r"(?:MSIE |Trident/.*rv:)(\d+)")),
    ("Safari", re.compile(r"Version/(\d+).*Safari/")),
)
_SYSTEMS = (
    ("Windows", re.compile(r"Windows")),
    ("iOS", re.compile(r"iPhone|iPad|iPod")),
    ("Android", re.compile(r"Android")),
    ("Chrome OS", re.compile(r"\bCrOS\b")),
    ("Mac", re.compile(r"Macintosh|Mac OS X")),
    ("Linux", re.compile(r"Linux|X11")),
)
_LONGEST = 1024


@lru_cache(maxsize=4096)
def parse(user_agent: str) -> Agent:
    """Return what a user agent says of browser and system."""
    text = user_agent[:_LONGEST]
    browser, major = next(
        ((name, found[1] or None) for name, form in _BROWSERS if (found := form.search(text))), (None, None)
    )
    system = next((name for name, form in _SYSTEMS if form.search(text)), None)
    return Agent(browser, major, system)
