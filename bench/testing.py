"""What authors wait for: the journeys' tests on the simulator, and `validate` on many journeys. Without a server."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.stack import ROOT, WrongResult
from engine.app.testing.chosen import choose
from engine.app.testing.playing import play
from engine.authoring.project import SHARED, load_project

CHANNELS = {"email": "email", "sms": "phone", "push": "push_token"}


@dataclass(frozen=True, slots=True)
class TestingSizes:
    """`journeys`: that are validated. `rounds`: how often the shipped tests are played, and the journeys validated."""

    journeys: int = 200
    rounds: int = 3


FULL = TestingSizes()
QUICK = TestingSizes(30, 1)


def measure(folder: Path, sizes: TestingSizes) -> dict[str, float]:
    """Every figure, medians of the rounds. Raises WrongResult where a test fails or a journey has a problem."""
    return {"testing.tests_per_s": _played(sizes), f"testing.validate_seconds_at_{FULL.journeys}": _validated(folder, sizes)}


def keys() -> set[str]:
    """The keys of the figures."""
    return {"testing.tests_per_s", f"testing.validate_seconds_at_{FULL.journeys}"}


def _played(sizes: TestingSizes) -> float:
    compiled = load_project(ROOT, CHANNELS)
    chosen = choose(compiled, ROOT)
    seconds = []
    for _ in range(sizes.rounds):
        began = time.perf_counter()
        failed = [r.chosen.test.test for r in play(compiled, chosen, CHANNELS) if not r.passed]
        seconds.append(time.perf_counter() - began)
        if failed:
            raise WrongResult(f"these tests fail: {failed}")
    return len(chosen) / median(seconds)


def _validated(folder: Path, sizes: TestingSizes) -> float:
    """The journeys that ship, under so many names, with their templates and tests."""
    shutil.copytree(ROOT / "templates", folder / "templates")
    (folder / "journeys/tests").mkdir(parents=True)
    shipped = sorted((ROOT / "journeys").glob("*.yaml"))
    for path in shipped:
        if path.stem in SHARED:
            shutil.copy(path, folder / "journeys")
    own = [path for path in shipped if path.stem not in SHARED]
    for n in range(sizes.journeys):
        path, copy = own[n % len(own)], n // len(own)
        name = f"{path.stem}_{copy}" if copy else path.stem
        for inside in ("", "tests/"):
            text = (ROOT / "journeys" / f"{inside}{path.name}").read_text()
            renamed = re.sub(rf"^(\s*journey: ){path.stem}$", rf"\g<1>{name}", text, flags=re.MULTILINE)
            (folder / "journeys" / f"{inside}{name}.yaml").write_text(renamed)
    seconds = []
    for _ in range(sizes.rounds):
        began = time.perf_counter()
        compiled = load_project(folder, CHANNELS)
        seconds.append(time.perf_counter() - began)
        if len(compiled.plans) != sizes.journeys:
            raise WrongResult(f"{len(compiled.plans)} of {sizes.journeys} journeys compile")
    return median(seconds)
