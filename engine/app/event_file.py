"""A file of Segment's calls, one to a line, to be played: in order of occurrence, or refused with the lines that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.api.calls import Arrival, reread
from engine.api.errors import Refusal
from engine.app.import_file import Unreadable, open_file
from engine.app.past import nameless
from engine.core.incoming import Incoming

_TOLD = 5
"""Bad lines that are named."""


def read_file(path: Path) -> list[Incoming]:
    """The calls of a JSONL file, in order of occurrence. Raises Unreadable, naming the first lines that are wrong."""
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise Unreadable(f"{path.name} is no JSONL file", "its name ends in .jsonl: one Segment call to a line")
    found: list[Incoming] = []
    wrong: list[str] = []
    arrival = Arrival("file", datetime.now(UTC))
    for row in open_file(path).rows():
        try:
            if row.wrong:
                raise Refusal(400, "malformed_json", row.wrong, row.mend)
            if row.cells:
                found.append(_call(row.cells, row.number, arrival))
        except Refusal as refusal:
            wrong.append(f"line {row.number}: {refusal.message}{f' ({refusal.hint})' if refusal.hint else ''}")
    if wrong:
        more = f"\n… and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise Unreadable(
            f"{path.name} has {len(wrong)} bad line{'s' if len(wrong) > 1 else ''}:\n" + "\n".join(wrong[:_TOLD]) + more,
            "nothing was played",
        )
    if not found:
        raise Unreadable(f"{path.name} holds no calls", 'write one to a line: {"type": "track", "userId": …, "timestamp": …}')
    return sorted(found, key=_when)


def _call(call: Mapping[str, Any], number: int, arrival: Arrival) -> Incoming:
    """Raises Refusal."""
    whole = {"messageId": f"line-{number}", **{name: value for name, value in call.items() if name != "sentAt"}}
    incoming = reread(whole, arrival)
    if incoming.occurred_at is None:
        raise Refusal(400, "bad_timestamp", "timestamp is missing", "write when it happened: 2026-03-02T10:00:00Z")
    return nameless(incoming)


def _when(incoming: Incoming) -> datetime:
    assert incoming.occurred_at is not None
    return incoming.occurred_at
