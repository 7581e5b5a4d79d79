"""Results of a check as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

if TYPE_CHECKING:
    from turnout.checking import Result

__all__ = ["junit"]

# What XML 1.0 can't hold, not even as a reference.
_IMPOSSIBLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Iterable[tuple[Result, str]]) -> bytes:
    """Return the XML of results, each with the text that is shown for it; a folder of cases is a suite."""
    root = Xml.Element("testsuites", name="turnout check")
    suites: dict[str, Xml.Element] = {}
    for result, text in results:
        folder = result.snapshot.parent.parent.as_posix()
        if folder not in suites:
            suites[folder] = Xml.SubElement(root, "testsuite", name=_clean(folder))
        _add(suites[folder], result, text)
    for suite in suites.values():
        _count(suite, suite)
    _count(root, root)
    Xml.indent(root)
    made: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _add(suite: Xml.Element, result: Result, text: str) -> None:
    about = {
        "classname": suite.attrib["name"].replace("/", "."),
        "name": _clean(result.path.stem),
        "file": _clean(result.path.as_posix()),
        "time": f"{result.seconds:.6f}",
    }
    case = Xml.SubElement(suite, "testcase", about)
    if not result.good:
        kind = "error" if result.status == "wrong" else "failure"
        summary = result.message or f"{len(result.differences)} differences"
        failed = Xml.SubElement(case, kind, type=result.status.value, message=_clean(summary))
        failed.text = _clean(text)


def _count(element: Xml.Element, below: Xml.Element) -> None:
    cases = list(below.iter("testcase"))
    seconds = sum(float(case.attrib["time"]) for case in cases)
    counts = {"tests": len(cases), **{f"{kind}s": len(list(below.iter(kind))) for kind in ("failure", "error")}}
    element.attrib.update({name: str(number) for name, number in counts.items()}, time=f"{seconds:.6f}")


def _clean(text: str) -> str:
    return _IMPOSSIBLE.sub("\ufffd", text)
