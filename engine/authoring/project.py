"""A project's folder, loaded: every file read, checked and compiled, all problems of all files raised once.

The composition of this floor: nothing else here opens files. Raises

    AuthoringError        the author's fault: `problems` says where, what and how to mend it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from engine.authoring import shape_policy, shape_tests, shape_tracking
from engine.authoring.check_tests import check_test
from engine.authoring.compile_calendar import Calendar, Calendars
from engine.authoring.compile_journey import compile_journey
from engine.authoring.compile_policy import compile_policy
from engine.authoring.compile_tracking import compile_segments, compile_tracking
from engine.authoring.conflicts import report_conflicts
from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import Tracking
from engine.authoring.page_templates import check_pages
from engine.authoring.passages import Placed
from engine.authoring.salvage import tell_names
from engine.authoring.shape_journey import Journey
from engine.authoring.spots import Spot
from engine.authoring.templates import Template, load_templates, loose_files
from engine.authoring.unsent import check_unsent, tell_unsent
from engine.authoring.world import World
from engine.core.plan import Plan
from engine.core.policy import Policy, Tier
from engine.core.wire import Json
from engine.settings.problems import Problem, errors, in_order
from engine.settings.shape import validate
from engine.settings.yaml import Document, Map, Text, read_file

SHARED = ("policy", "segments", "tracking")
"""The files under journeys/ that aren't journeys."""


class AuthoringError(Exception):
    """The project doesn't compile. `problems`: errors and warnings, in order of file and place."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(p.render() for p in problems))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A project that compiles. `plans` by journey, sealed · `templates` by (channel, name) · `problems`: warnings ·
    `tests`: the shapes of journeys/tests by file · `notes`: what each event of an exit, goal or wait matches."""

    plans: Mapping[str, Plan]
    policy: Policy
    tracking: Tracking
    segments: Segments
    templates: Mapping[tuple[str, str], Template]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tests: Mapping[str, shape_tests.Tests] = field(default_factory=dict)


def schemas() -> dict[str, Json]:
    """JSON Schemas by name, for editors: journey, policy, calendar, segments, tracking, tests."""
    shapes: dict[str, type[BaseModel]] = {
        "journey": Journey,
        "policy": shape_policy.Policy,
        "calendar": Calendar,
        "segments": shape_tracking.Segments,
        "tracking": shape_tracking.Tracking,
        "tests": shape_tests.Tests,
    }
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {name: {"$schema": draft, **shape.model_json_schema(mode="validation")} for name, shape in shapes.items()}


def load_project(folder: Path, channels: Iterable[str]) -> Compiled:
    """Everything under `folder`/journeys and `folder`/templates, compiled. `channels`: the names that sojourn.yaml declares.

    Raises AuthoringError with every problem of every file."""
    channels = frozenset(channels)
    journeys_folder = folder / "journeys"
    if not journeys_folder.is_dir():
        hint = "`sojourn init DIR` makes a project with one, in another folder"
        raise AuthoringError([Problem("journeys", 0, 0, "SJ109", 0, f"there is no folder journeys/ in {folder}", hint)])
    documents: list[Document] = []
    shared = {name: _read(journeys_folder, f"{name}.yaml", folder, documents) for name in SHARED}
    refused: list[Document] = []
    written = _journeys(journeys_folder, folder, documents, refused)
    templates, problems = load_templates(folder / "templates")
    problems += check_pages(templates)
    names = set(written) | set(_named(documents))

    tracking = _tracking(shared["tracking"])
    segments = _segments(shared["segments"], tracking)
    calendars = _calendars(journeys_folder, folder, documents)
    policy = _policy(shared["policy"], tracking, segments, channels, names, calendars, problems)
    world = World(
        tracking, segments, policy, templates, channels, {name: j for name, (j, _) in written.items()}, names - set(written)
    )
    placed: dict[str, Placed] = {}
    notes: list[str] = []
    for name, (journey, document) in written.items():
        placed[name], said = compile_journey(journey, document, world)
        notes += said
    for document in refused:
        tell_names(document, world)
    problems += check_unsent(world, loose_files(folder / "templates", templates))
    if shared["policy"] and not errors(shared["policy"].problems):
        sound = {name: p for name, p in placed.items() if not errors(written[name][1].problems)}
        report_conflicts(sound, policy, Spot(shared["policy"]))
    tests = _tests(journeys_folder / "tests", folder, documents, world)
    hushed = {code for name, codes in _FOLLOWS.items() if _broken(shared[name]) for code in codes}
    if any(d.root is None for d in documents):
        hushed.add("SJ206")  # a journey whose file isn't YAML has a name that nobody knows
    found = in_order(_causes(p for p in [*problems, *(p for d in documents for p in d.problems)] if p.code not in hushed))
    if errors(found):  # a journey that can't be read may send anything
        raise AuthoringError(found)
    found = in_order([*found, *tell_unsent(world)])
    plans = {name: p.plan for name, p in placed.items()}
    return Compiled(plans, policy, tracking, segments, templates, found, notes, tests)


_FOLLOWS = {
    "tracking": {"SJ201", "SJ208", "SJ211", "SJ231", "SJ302", *(f"SJ33{n}" for n in range(6))},
    "segments": {"SJ212", "SJ330"},
    "policy": {"SJ203", "SJ204", "SJ207", "SJ417", "SJ418"},
}
"""What is reported everywhere when one of the shared files can't be read: its own problems are the cause, and told alone."""


def _causes(found: Iterable[Problem]) -> list[Problem]:
    """Without what a template seems to lack because its head or its body can't be read."""
    problems = list(found)
    unread = {p.file for p in problems if p.code.startswith("SJ10") or p.code in ("SJ120", "SJ122")}
    return [p for p in problems if p.code not in ("SJ240", "SJ241", "SJ242") or p.file not in unread]


def _broken(document: Document | None) -> bool:
    """Whether the file is there and couldn't be read as what it should be."""
    return document is not None and any(p.code <= "SJ114" or p.code == "SJ310" for p in errors(document.problems))


def _read(inside: Path, name: str, folder: Path, documents: list[Document]) -> Document | None:
    path = inside / name
    if not path.is_file():
        return None
    document = read_file(path, path.relative_to(folder).as_posix())
    documents.append(document)
    return document


def journey_files(inside: Path) -> list[Path]:
    """The files of the folder `inside` that hold a journey each, in order, whether they can be read or not."""
    return sorted(p for p in [*inside.glob("*.yaml"), *inside.glob("*.yml")] if p.stem not in SHARED)


def _journeys(
    inside: Path, folder: Path, documents: list[Document], refused: list[Document]
) -> dict[str, tuple[Journey, Document]]:
    """Journeys by name; `refused` gets the documents of those whose form is wrong."""
    found: dict[str, tuple[Journey, Document]] = {}
    for path in journey_files(inside):
        document = _read(inside, path.name, folder, documents)
        journey = validate(document, Journey) if document else None
        if document and not journey:
            refused.append(document)
        if not document or not journey:
            continue
        if journey.journey in found:
            hint = f"{found[journey.journey][1].file} has it already: take another name"
            (Spot(document) / "journey").report("SJ411", f"two journeys are called {journey.journey!r}", hint)
            continue
        found[journey.journey] = (journey, document)
    return found


def _named(documents: Iterable[Document]) -> Iterable[str]:
    """The names of journeys whose files can be read as YAML: they exist, whatever else is wrong with them."""
    for document in documents:
        node = document.root.get("journey") if isinstance(document.root, Map) else None
        if isinstance(node, Text):
            yield node.value


def _tracking(document: Document | None) -> Tracking:
    written = validate(document, shape_tracking.Tracking) if document else None
    return compile_tracking(written, Spot(document)) if document and written else Tracking()


def _segments(document: Document | None, tracking: Tracking) -> Segments:
    written = validate(document, shape_tracking.Segments) if document else None
    return compile_segments(written, Spot(document), tracking) if document and written else Segments()


def _policy(
    document: Document | None,
    tracking: Tracking,
    segments: Segments,
    channels: frozenset[str],
    journeys: set[str],
    calendars: Calendars,
    problems: list[Problem],
) -> Policy:
    if not document:
        hint = "write one with at least tiers: and topics: (see docs/language.md)"
        problems.append(Problem("journeys/policy.yaml", 0, 0, "SJ109", 0, "there is no policy.yaml", hint))
        return Policy((Tier("lifecycle"),))
    written = validate(document, shape_policy.Policy)
    if not written:
        return Policy((Tier("lifecycle"),))
    return compile_policy(written, Spot(document), tracking, segments, channels, journeys, calendars)


def _calendars(inside: Path, folder: Path, documents: list[Document]) -> Calendars:
    found = sorted(p.relative_to(inside).as_posix() for p in inside.glob("*/**/*.y*ml"))
    there = tuple(name for name in found if not name.startswith("tests/"))
    return Calendars(lambda name: _read(inside, name, folder, documents), there)


def _tests(inside: Path, folder: Path, documents: list[Document], world: World) -> dict[str, shape_tests.Tests]:
    found: dict[str, shape_tests.Tests] = {}
    for path in sorted(inside.glob("*.yaml")) if inside.is_dir() else ():
        document = _read(inside, path.name, folder, documents)
        tests = validate(document, shape_tests.Tests) if document else None
        if not document or not tests:
            continue
        tests = shape_tests.with_values(tests, document)
        found[document.file] = tests
        for i, test in enumerate(tests.root):
            check_test(test, Spot(document) / i, world)
    return found
