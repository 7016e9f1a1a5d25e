"""The pytest plugin: where sojourn is installed, `pytest journeys/tests` runs the tests of journeys, on the simulator.

It looks at journeys/tests/*.yaml of a folder that has a sojourn.yaml and at no other file, and imports what it needs only there:
pytest loads this module in every run, whatever is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from engine.app.testing.chosen import Chosen
    from engine.app.testing.playing import Result
    from engine.authoring.project import Compiled

_projects = pytest.StashKey["dict[Path, tuple[Compiled, Mapping[str, str]]]"]()
"""What was compiled already: a project's folder → the project, and where its channels send to."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> JourneyTests | None:
    """The tests of one file, where it is one of a project's."""
    inside = file_path.parent
    if file_path.suffix != ".yaml" or (inside.name, inside.parent.name) != ("tests", "journeys"):
        return None
    if not (inside.parent.parent / "sojourn.yaml").is_file():
        return None
    found: JourneyTests = JourneyTests.from_parent(parent, path=file_path)
    return found


class JourneyTests(pytest.File):
    """A file of journeys/tests."""

    def collect(self) -> Iterator[JourneyTest]:
        """An item for each test. A project that doesn't compile is an error of collecting, with every problem of it."""
        from engine.app.testing.chosen import in_file

        folder = self.path.parents[2]
        compiled, _ = self.project(folder)
        for chosen in in_file(compiled, folder, self.path.relative_to(folder).as_posix()):
            yield JourneyTest.from_parent(self, name=chosen.test.test, chosen=chosen)

    def project(self, folder: Path) -> tuple[Compiled, Mapping[str, str]]:
        """The project in `folder`, compiled once."""
        from engine.app.offline import addresses_of
        from engine.authoring.project import AuthoringError
        from engine.cli.located import compile_project, locate
        from engine.settings.project import SettingsError

        known = self.config.stash.setdefault(_projects, {})
        if folder not in known:
            try:
                located = locate(folder, lenient=True)
                known[folder] = compile_project(located), addresses_of(located.settings)
            except (AuthoringError, SettingsError) as wrong:
                raise self.CollectError("\n\n".join(p.render() for p in wrong.problems)) from None
        return known[folder]


class Unexpected(Exception):
    """A test of a journey failed."""

    def __init__(self, result: Result) -> None:
        self.result = result


class JourneyTest(pytest.Item):
    """One test."""

    def __init__(self, *, chosen: Chosen, **given: Any) -> None:
        super().__init__(**given)
        self.chosen = chosen

    def runtest(self) -> None:
        """Play it. Raises Unexpected."""
        from engine.app.testing.playing import play

        assert isinstance(self.parent, JourneyTests)
        compiled, channels = self.parent.project(self.path.parents[2])
        (result,) = play(compiled, [self.chosen], channels)
        if not result.passed:
            raise Unexpected(result)

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        """What was expected beside what happened."""
        from engine.app.testing.showing import shown, summary

        if not isinstance(excinfo.value, Unexpected):
            return super().repr_failure(excinfo, style)
        result = excinfo.value.result
        return "\n".join([summary(result), *(line for _, line in shown(result) if not result.wrong)])

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands, and its title."""
        return self.path, self.chosen.line - 1, self.chosen.test.test
