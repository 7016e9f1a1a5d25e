"""A plugin for pytest under mutation: Hypothesis tries the same examples each time and stops at the first that fails.

Which test failed on which mutant is written to `NOTICED`, a line each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

FOLDER = "SOJOURN_MUTANTS"
NOTICED = "noticed.txt"

settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),  # a slow mutant isn't one that was found out
)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is read: what a test says of its own settings is laid over these."""
    settings.load_profile("mutants")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that failed, or could not be set up."""
    if report.failed and (folder := os.environ.get(FOLDER)):
        with (Path(folder) / NOTICED).open("a") as noticed:
            noticed.write(f"{os.environ.get('MUTANT_UNDER_TEST', '')} {report.nodeid}\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Single cases before properties: what one of these finds out needs none of the others."""
    items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))
