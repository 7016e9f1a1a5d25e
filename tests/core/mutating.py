"""Changes the clock and the gates in every small way that mutmut knows, and sees which changes no test notices.

`python -m tests.core.mutating` prints what came of it, with a diff of each survivor; `mutants.md` explains those that stay. With
names of modules behind it (`caps queue`) it changes these, whichever of the core: so a part can be looked at alone.
mutmut runs in a folder of its own: the code, its pure tests and `pyproject.toml`, which says what is changed and what is run.
No server starts there, because `tests/conftest.py` stays behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.core import unshrunk

ROOT = Path(__file__).parents[2]

_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
MODULES = tuple(Path(path).stem for path in _SETTINGS["only_mutate"])
"""The modules of the core of which the nightly test demands it."""

_CHOSEN = re.compile(r"^only_mutate = \[.*?\]$", re.MULTILINE | re.DOTALL)
_CACHED = re.compile(r"^@lru_cache\(.*\)$", re.MULTILINE)
_RESULT = re.compile(r"^ *engine\.core\.(\w+)\.(\S+): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all mutants: for each module how many ended in which way, and the diffs of those that nobody noticed."""

    counts: dict[str, Counter[str]]
    survivors: tuple[str, ...]

    def killed(self, module: str) -> float:
        """The part of `module`'s mutants that a test found out. One that never ends is found out too."""
        ways = self.counts[module]
        return (ways["killed"] + ways["timeout"]) / ways.total()

    def __str__(self) -> str:
        lines = [
            f"{module}: {self.killed(module):.1%} of {ways.total()} killed ({', '.join(f'{n} {way}' for way, n in ways.items())})"
            for module, ways in self.counts.items()
        ]
        return "\n\n".join(["\n".join(lines), *self.survivors])


def run(modules: Sequence[str] = MODULES) -> Outcome:
    """Make every mutant of these modules and run the tests on it, one after the other: minutes.

    mutmut calls killed whatever pytest doesn't end well on; here a test must have failed."""
    with tempfile.TemporaryDirectory(prefix="sojourn-mutants-") as name:
        folder = Path(name)
        _lay_out(folder, modules)
        _mutmut(folder, "run", "--max-children", "1")
        noticed = {line.split()[0] for line in (folder / unshrunk.NOTICED).read_text().splitlines()}
        found = [
            (module, mutant, "broken" if way == "killed" and f"engine.core.{module}.{mutant}" not in noticed else way)
            for module, mutant, way in _RESULT.findall(_mutmut(folder, "results", "--all", "true"))
        ]
        counts: dict[str, Counter[str]] = {}
        for module, _, way in found:
            counts.setdefault(module, Counter())[way] += 1
        left = [(module, mutant) for module, mutant, way in found if way not in ("killed", "timeout")]
        return Outcome(counts, tuple(_difference(folder, module, mutant) for module, mutant in left))


def explained() -> list[str]:
    """The diffs that `mutants.md` explains, as `Outcome.survivors` shows them."""
    return re.findall(r"^```diff\n(.*?)\n```$", Path(__file__).with_name("mutants.md").read_text(), re.MULTILINE | re.DOTALL)


def _lay_out(folder: Path, modules: Sequence[str]) -> None:
    chosen = f"only_mutate = {json.dumps([f'engine/core/{module}.py' for module in modules])}"
    (folder / "pyproject.toml").write_text(_CHOSEN.sub(chosen, (ROOT / "pyproject.toml").read_text()))
    for part in ("engine", "tests/core"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (folder / "engine" / "core").glob("*.py"):
        # mutmut leaves decorated functions alone, and a cache would answer with what an earlier test worked out.
        file.write_text(_CACHED.sub("# not cached here", file.read_text()))


def _mutmut(folder: Path, *arguments: str) -> str:
    # Nothing of the shell's and of the outer test run's: the code in `folder` is meant, and the same zone everywhere.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTEST_", "SOJOURN_"))}
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | {"TZ": "UTC", unshrunk.FOLDER: str(folder)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"mutmut {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _difference(folder: Path, module: str, mutant: str) -> str:
    # Names of mutants are numbers that shift; the lines that change say the same until the code changes.
    shown = _mutmut(folder, "show", f"engine.core.{module}.{mutant}").splitlines()
    changed = [line for line in shown if re.match(r"[-+](?!--|\+\+)", line)]
    function = mutant.rpartition("__mutmut_")[0].removeprefix("x_")
    return "\n".join([f"{module}.{function}", *(line[0] + " " + line[1:].strip() for line in changed)])


if __name__ == "__main__":
    outcome, known = run(sys.argv[1:] or MODULES), explained()
    print(outcome)
    number = sum(survivor in known for survivor in outcome.survivors)
    print(f"\n{number} of {len(outcome.survivors)} survivors are explained in mutants.md")
