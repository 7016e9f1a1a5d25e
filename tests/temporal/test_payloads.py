"""Payloads by orjson and by Temporal's own converter are the same to a reader."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.converter import DefaultPayloadConverter

from engine.temporal.payloads import Payloads

VALUES: list[Any] = [
    {"plan": "x", "members": [[1, ["deliver", 0, 1.5, None, True], None]], "größe": "ü\u2028"},
    [[1, ["next", 0]], []],
    {},
    [],
    {"big": 2**70},
    {1: "a key that isn't text"},
    "text",
    7,
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("hint", [None, dict, list])
def test_both_converters_read_what_either_writes(value: Any, hint: type | None) -> None:
    """An old history stays readable, and a worker of the version before can read a new one."""
    if hint is not None and not isinstance(value, hint):
        return
    ours, theirs = Payloads(), DefaultPayloadConverter()
    new, old = ours.to_payloads([value]), theirs.to_payloads([value])
    hints = None if hint is None else [hint]
    assert old[0].metadata == new[0].metadata
    expected = theirs.from_payloads(old, hints)
    assert [expected] * 3 == [ours.from_payloads(old, hints), ours.from_payloads(new, hints), theirs.from_payloads(new, hints)]


def test_what_only_temporals_own_converter_can_write_goes_its_way() -> None:
    """A set in a batch comes out as a list, as it always did."""
    written = [c.from_payloads(c.to_payloads([{"members": {7}}]), [dict]) for c in (Payloads(), DefaultPayloadConverter())]
    assert [[{"members": [7]}]] * 2 == written


def test_moments_are_no_json_for_either() -> None:
    """Moments travel as whole microseconds; one that slips in is not silently turned into something else by reading it back."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    texts = [c.from_payloads(c.to_payloads([{"at": at}]), [dict])[0]["at"] for c in (Payloads(), DefaultPayloadConverter())]
    assert [at.isoformat()] * 2 == texts
