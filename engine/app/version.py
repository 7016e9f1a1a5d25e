"""Which Sojourn this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from engine.observe.metrics import Values
from engine.store.schema import head


def version() -> str | None:
    """The version that is installed, None in a folder where none is."""
    try:
        return installed("sojourn")
    except PackageNotFoundError:
        return None


def build() -> Values:
    """For the gauge `sojourn_build_info`."""
    return {(version() or "unknown", head()): 1.0}
