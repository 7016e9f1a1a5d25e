"""Results as CI reads them: JUnit XML, with a suite for each test file.

There is no binding schema; the elements and attributes here are those that all readers know. Text that XML can't hold (control
characters) is blotted out rather than lost with the whole report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from engine.app.testing.playing import Result
from engine.app.testing.showing import shown, summary

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Sequence[Result], at: datetime) -> ElementTree[Element]:
    """The report. `at` (aware): when the tests were run. A test that couldn't be played at all is an error, one in which
    something else happened a failure, and both hold what `sojourn test` prints."""
    root = Element("testsuites", {"name": "sojourn", **_counts(results)})
    for file in dict.fromkeys(r.chosen.file for r in results):
        own = [r for r in results if r.chosen.file == file]
        when = at.isoformat(timespec="seconds")
        suite = SubElement(root, "testsuite", {"name": file, "timestamp": when, **_counts(own)})
        for r in own:
            names = {"name": _clean(r.chosen.test.test), "classname": ".".join(r.chosen.journeys)}
            place = {"file": file, "line": str(r.chosen.line)}
            case = SubElement(suite, "testcase", {**names, **place, "time": f"{r.seconds:.3f}"})
            if not r.passed:
                wrong = SubElement(case, "error" if r.wrong else "failure", message=_clean(summary(r)))
                wrong.text = _clean("\n".join(line for _, line in shown(r)))
    indent(root)
    return ElementTree(root)


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(not r.passed and not r.wrong for r in results)),
        "errors": str(sum(bool(r.wrong) for r in results)),
        "skipped": "0",
        "time": f"{sum(r.seconds for r in results):.3f}",
    }


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
