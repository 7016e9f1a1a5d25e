"""Logging is this process's, which other tests use."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from engine.observe import logs


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """What a test configures lasts no longer than the test."""
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = list(root.handlers), root.level, ours.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)
