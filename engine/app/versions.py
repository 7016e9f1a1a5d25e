"""Versions of a project to be compared: a folder, a revision in git, or what is deployed; and who stands where the new one has no
step."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.app.differing import steps_of
from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import Tracking
from engine.authoring.project import Compiled
from engine.authoring.templates import template_from_json
from engine.core.plan import Plan, plan_from_json
from engine.core.policy import policy_from_json
from engine.delivery.deployment import NothingDeployed
from engine.store import deployments, happened
from engine.store.database import Connection

T = TypeVar("T")

GIT = "git:"
"""What a revision's name may begin with, to tell it from a folder of the same name."""
SECONDS = 60
"""That git may take."""


class NoVersion(Exception):
    """There is no such version. `hint`: what to write."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


def of_revision(project: Path, revision: str, read: Callable[[Path], T]) -> T:
    """What `read` makes of the project as it was in git: of the same folder of the repository. Raises NoVersion."""
    hint = "name a folder, a branch, tag or commit (git:NAME), or `deployed`"
    try:
        found = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        packed = _git(project, "archive", "--format=tar", found)
    except FileNotFoundError:
        raise NoVersion("git isn't installed", "name two folders, or `deployed`") from None
    except subprocess.CalledProcessError as wrong:
        said = wrong.stderr.decode(errors="replace").strip().splitlines()
        why = f" ({said[-1]})" if said else ""
        raise NoVersion(f"{revision!r} is neither a folder nor a revision of {project}{why}", hint) from None
    except subprocess.TimeoutExpired:
        raise NoVersion(f"git took longer than {SECONDS} s", hint) from None
    with tempfile.TemporaryDirectory(prefix="sojourn-") as folder:
        Path(folder, "all.tar").write_bytes(packed)
        with tarfile.open(Path(folder, "all.tar")) as tar:
            tar.extractall(Path(folder, "it"), filter="data")
        return read(Path(folder, "it"))


def _git(project: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=project, capture_output=True, check=True, timeout=SECONDS).stdout


async def deployed(c: Connection) -> Compiled:
    """What is deployed. Raises NothingDeployed."""
    row = await deployments.newest(c)
    if row is None:
        raise NothingDeployed("nothing is deployed yet: run `sojourn deploy`")
    bodies = await deployments.documents(c, [row.policy, row.tracking, row.segments, row.templates, *row.plans.values()])
    return Compiled(
        {name: plan_from_json(bodies[hash]) for name, hash in row.plans.items()},
        policy_from_json(bodies[row.policy]),
        Tracking.from_json(bodies[row.tracking]),
        Segments.from_json(bodies[row.segments]),
        {(b["channel"], b["name"]): template_from_json(b) for b in bodies[row.templates]},
    )


@dataclass(frozen=True, slots=True)
class Stranded:
    """Those inside who would have no place. `places`: (journey, step, how many); `people`: some of them, the newest first:
    enrollment, journey, step, user."""

    places: tuple[tuple[str, str, int], ...] = ()
    people: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        places = [{"journey": j, "step": s, "enrollments": n} for j, s, n in self.places]
        return {"enrollments": sum(n for _, _, n in self.places), "places": places, "people": list(self.people)}


async def stranded(c: Connection, plans: Mapping[str, Plan], named: int) -> Stranded:
    """Who is inside a journey at a step that `plans` don't have; at most `named` of them by name."""
    steps = {name: frozenset(steps_of(plan)) for name, plan in plans.items()}
    places = tuple(_gone(await deployments.live_counts(c), steps))
    rows = await happened.standing(c, [(j, s) for j, s, _ in places], named) if places else []
    people = tuple({"enrollment": r.id, "journey": r.journey, "step": r.step, "user": r.user} for r in rows)
    return Stranded(places, people)


def _gone(rows: Iterable[Any], steps: Mapping[str, frozenset[str]]) -> Iterable[tuple[str, str, int]]:
    counted: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.step and row.step not in steps.get(row.journey, frozenset()):
            counted[row.journey, row.step] = counted.get((row.journey, row.step), 0) + row.n
    return ((journey, step, n) for (journey, step), n in sorted(counted.items()))
