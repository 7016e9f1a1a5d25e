"""Which tests are meant: by file, by folder, by journey, by a part of their title; and the project as each of them sees it.

NoSuchTest            what was named isn't there; says what is
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.app.testing.passages import begins
from engine.authoring.model_segments import Every, Segment, Segments
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test
from engine.core.plan import Act, Plan
from engine.delivery.deployment import Deployment
from engine.intake.awaiting import by_time
from engine.settings.problems import nearest
from engine.settings.yaml import read_file
from engine.simulator.recalling import Recall

BY_CALENDAR = ("schedule", "date", "broadcast")
"""Entries that bring in whoever is known."""


class NoSuchTest(Exception):
    """No test is where one was looked for. `hint`: what is there, or ""."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A test and where it stands. `file`: in the project, with `/` · `line`: of its title, from 1 · `number`: in its file, from
    1."""

    file: str
    line: int
    number: int
    test: Test

    @property
    def journeys(self) -> tuple[str, ...]:
        """Those that it runs, by name."""
        return tuple(sorted(self.test.journeys or (self.test.journey or "",)))

    def project(self, compiled: Compiled) -> Compiled:
        """The project with the test's journeys and no others, and its customer in the segments that it names."""
        plans = {name: compiled.plans[name] for name in self.journeys}
        return replace(compiled, plans=plans, segments=_forced(compiled.segments, self.test.customer.segments))

    def plans(self, compiled: Compiled) -> list[Plan]:
        """The plans of its journeys."""
        return [compiled.plans[name] for name in self.journeys]


def _forced(segments: Segments, names: Sequence[str]) -> Segments:
    """Everybody is in the segments called `names`; the others are as they are defined."""
    return replace(segments, segments=tuple(Segment(s.name, Every(())) if s.name in names else s for s in segments.segments))


def choose(compiled: Compiled, folder: Path, names: Sequence[str] = (), text: str = "") -> list[Chosen]:
    """The tests of the project in `folder` that `names` name (files, folders, journeys; without any: all) and whose title has
    `text` in it, in any case; in the order of files. Raises NoSuchTest."""
    every = [c for file in sorted(compiled.tests) for c in in_file(compiled, folder, file)]
    if not every:
        raise NoSuchTest("this project has no tests", "write journeys/tests/NAME.yaml: docs/how-to/test-a-journey.md shows how")
    wanted = [c for c in every if not names or any(_means(name, c, folder) for name in names)]
    for name in names:
        if not any(_means(name, c, folder) for c in every):
            raise _nothing(name, compiled)
    found = [c for c in wanted if text.lower() in c.test.test.lower()]
    if not found:
        raise NoSuchTest(f"none of {len(wanted)} titles has {text!r} in it")
    return found


def in_file(compiled: Compiled, folder: Path, file: str) -> list[Chosen]:
    """The tests of one file, in order."""
    document = read_file(folder / file, file)
    return [
        Chosen(file, node.line if (node := document.at((i, "test"))) is not None else 1, i + 1, test)
        for i, test in enumerate(compiled.tests[file].root)
    ]


def _means(name: str, chosen: Chosen, folder: Path) -> bool:
    if name in chosen.journeys or name == chosen.file:
        return True
    path, file = Path(name).resolve(), (folder / chosen.file).resolve()
    return path == file or path in file.parents


def _nothing(name: str, compiled: Compiled) -> NoSuchTest:
    if name in compiled.plans:
        where = f"write one into journeys/tests/{name}.yaml: docs/how-to/test-a-journey.md shows how"
        return NoSuchTest(f"the journey {name!r} has no test", where)
    known = {*compiled.plans, *compiled.tests}
    return NoSuchTest(f"there is no test file and no journey {name!r}", nearest(name, known))


def rounds(compiled: Compiled, chosen: Sequence[Chosen]) -> list[list[Chosen]]:
    """Tests that may be played together: of the same journeys and segments, because only the journeys that a test names may
    enroll its customer. Where a journey looks beyond one customer, or what comes again for ever brings people in or moves them,
    who would be there too early or too long in another one's time, each has a round of its own; where one begins with a segment,
    in which somebody may be from the first, those have one that begin at the same time."""
    found: dict[tuple[object, ...], list[Chosen]] = {}
    for c in chosen:
        plans = c.plans(compiled)
        apart: tuple[object, ...] = ()
        if any(_looks_beyond(p) for p in plans) or asks_the_time(_deployed(compiled, c)):
            apart = (c.file, c.number)
        elif any(e.kind == "segment" for p in plans for e in p.entries):
            apart = (begins(c.test, compiled.policy),)
        found.setdefault((c.journeys, tuple(sorted(c.test.customer.segments)), apart), []).append(c)
    return list(found.values())


def _deployed(compiled: Compiled, chosen: Chosen) -> Deployment:
    project = chosen.project(compiled)
    return Deployment.of(project, project.plans)


def asks_the_time(deployment: Deployment) -> bool:
    """Whether a segment by which somebody is moved, or what a journey waits for, may change at any hour, with nothing happening
    and nothing having been too long ago."""
    waits = [w for plan in deployment.plans.values() for those in by_time(deployment, plan).values() for w in those]
    return Recall.of(deployment).hourly or any(w.segment is None for w in waits)


def _looks_beyond(plan: Plan) -> bool:
    acts = [op for op in plan.ops if isinstance(op, Act)]
    calendar = any(e.kind in BY_CALENDAR for e in plan.entries)
    return calendar or any(e.once_per for e in plan.entries) or any((op.fields or {}).get("once_per") for op in acts)
