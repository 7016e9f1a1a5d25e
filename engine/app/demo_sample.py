"""The demo's customers: a file of Segment calls, divided into what lies in the past and what is played live.

Only reading and dividing belong here. The moments stay as the file has them: the demo turns the clock back to them instead, so
that weekdays, times of day and the change to daylight saving time are those that the customers lived through.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from engine.core.incoming import Incoming

FILE = Path("journeys/demo/households.jsonl")
SOURCE = "demo"
LIVE_FROM = datetime(2017, 3, 6, tzinfo=UTC)
"""Where history ends. American clocks change six days later, on 12 March at 02:00."""


class SampleError(Exception):
    """The sample can't be read; the message says which file, and what to do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`history` and `live` in order of time; `calls`: the Segment call behind each live item, in the same order."""

    households: int
    history: list[Incoming]
    live: list[Incoming]
    calls: list[dict[str, Any]]
    begins: datetime
    ends: datetime


def read_sample(project: Path, households: int, days: int) -> Sample:
    """The sample of the project in the folder `project`: at most `households` people, spread over all of them, and `days` days
    of live events. Raises SampleError."""
    path = project / FILE
    try:
        calls = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except FileNotFoundError:
        raise SampleError(
            f"there is no {FILE} in {project.resolve()}: the demo plays the sample that comes with Sojourn's source, so run it "
            f"there, or name that folder with --project"
        ) from None
    except (OSError, orjson.JSONDecodeError) as unreadable:
        raise SampleError(f"{path} can't be read: {unreadable}") from unreadable
    people = list(dict.fromkeys(call["userId"] for call in calls))
    wanted = min(households, len(people))
    chosen = {people[i * len(people) // wanted] for i in range(wanted)}
    ends = LIVE_FROM + timedelta(days=days)
    history, live, behind = [], [], []
    for call in calls:
        at = datetime.fromisoformat(call["timestamp"])
        if call["userId"] not in chosen or at >= ends:
            continue
        if at < LIVE_FROM:
            history.append(incoming(call, at, history=True))
        else:
            live.append(incoming(call, at))
            behind.append(call)
    return Sample(len(chosen), history, live, behind, LIVE_FROM, ends)


def incoming(call: dict[str, Any], at: datetime, *, history: bool = False) -> Incoming:
    """One Segment call as it comes through the door."""
    return Incoming(
        call["type"],
        SOURCE,
        call["messageId"],
        name=call.get("event", ""),
        properties=call.get("properties", {}),
        traits=call.get("traits", {}),
        identifiers={"user_id": call["userId"]},
        occurred_at=at,
        history=history,
    )
