"""The time-skipping server of the journeys' tests, here too."""

from tests.journeys.conftest import skipping

__all__ = ["skipping"]
