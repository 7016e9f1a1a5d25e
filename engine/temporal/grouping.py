"""Which activity a command becomes: the same kind, queue and priority travel together, up to 500 to an activity.

Pure and deterministic: a workflow replays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.core.enrollment import Command
from engine.core.plan import Plan, Send
from engine.core.wire import Json

CHUNK = 500
"""Members of one activity at the most."""

URGENT, BULK = "urgent", "bulk"
"""The lanes: tiers that skip caps, and the rest. Each channel has a task queue for either; so have cohorts, where the rest's is
the main queue."""

BOTH = (URGENT, BULK)


@dataclass(frozen=True, slots=True)
class Lanes:
    """How the policy of the day ranks tiers: `urgent` ones have their own lane, `ranks` orders activities (0 first)."""

    urgent: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()

    def lane(self, tier: str) -> str:
        """The lane that messages of `tier` take."""
        return URGENT if tier in self.urgent else BULK

    def priority(self, tier: str) -> int:
        """Temporal's priority key, 1 (first) to 5."""
        rank = self.ranks.index(tier) if tier in self.ranks else len(self.ranks)
        return min(rank + 1, 5)


@dataclass(frozen=True, slots=True)
class Group:
    """One activity to be: its name, the task queue's suffix ("" for the main queue), priority and (enrollment, command) pairs."""

    activity: str
    queue: str
    priority: int
    members: tuple[tuple[int, Command], ...]


def main_queue(lane: str) -> str:
    """The suffix of the task queue on which a lane's cohorts run, and what they do beside sending."""
    return URGENT if lane == URGENT else ""


def queue_name(prefix: str, suffix: str) -> str:
    """The task queue of a suffix such as "email.bulk"; the main queue for ""."""
    return f"{prefix}.{suffix}" if suffix else prefix


def group(plan: Plan, lanes: Lanes, commands: Iterable[tuple[int, Command]], sizes: Mapping[str, int]) -> list[Group]:
    """The commands as groups, in the order in which their kinds first came. `sizes`: of a group at the most, by queue suffix,
    where that is less than CHUNK."""
    sorted_: dict[tuple[str, str, int], list[tuple[int, Command]]] = {}
    for member, command in commands:
        tier, suffix = plan.tier, ""
        op = plan.ops[command.op] if command.op < len(plan.ops) else None
        if command.kind == "deliver" and isinstance(op, Send):
            tier = op.tier
            suffix = f"{command.channel}.{lanes.lane(tier)}"
        sorted_.setdefault((command.kind, suffix, lanes.priority(tier)), []).append((member, command))
    return [
        Group(kind, suffix, priority, tuple(members[i : i + size]))
        for (kind, suffix, priority), members in sorted_.items()
        for size in [sizes.get(suffix, CHUNK)]
        for i in range(0, len(members), size)
    ]


def lanes_to_json(lanes: Lanes) -> Json:
    """For the cohort's arguments."""
    return {"urgent": list(lanes.urgent), "ranks": list(lanes.ranks)}


def lanes_from_json(body: Json) -> Lanes:
    """What `lanes_to_json` wrote."""
    return Lanes(tuple(body["urgent"]), tuple(body["ranks"]))
