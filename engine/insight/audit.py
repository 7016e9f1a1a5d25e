"""The audit: every recorded decision is made again from what it looked at, by the policy that it names, and compared. Reads only.

What is found is a `Tally`; a difference means that the row was changed, or that this version decides or words it differently.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.core.governance import decide
from engine.core.policy import Policy, policy_from_json
from engine.core.recording import recall
from engine.core.wire import Json, digest
from engine.delivery.draft import gates_json
from engine.store import deployments, recorded
from engine.store.database import Database, transaction
from engine.store.recorded import Chosen

BATCH = 500
KEPT = 1_000
"""Differences that are kept: a version that words something differently has one in every decision. All are counted."""

NO_FACTS = "no facts were recorded with it"
NO_POLICY = "its policy isn't there"


@dataclass(frozen=True, slots=True)
class Differing:
    """One field of a decision that didn't come out again: as recorded, and as it comes out."""

    field: str
    recorded: str
    again: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that didn't come out again. `only_words`: its sentences alone differ."""

    decision: int
    key: str
    customer: int
    at: datetime
    policy: str
    differing: tuple[Differing, ...]

    @property
    def only_words(self) -> bool:
        """Whether nothing but sentences differs."""
        return all(d.field.endswith("detail") for d in self.differing)

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "decision": self.decision,
            "key": self.key,
            "customer": self.customer,
            "at": self.at.isoformat(),
            "policy": self.policy,
            "only_words": self.only_words,
            "differing": [{"field": d.field, "recorded": d.recorded, "again": d.again} for d in self.differing],
        }


@dataclass(slots=True)
class Tally:
    """Decisions looked at, those that came out again, the first of those that didn't, and why others can't be checked (reason →
    how many). `different`: how many didn't; `only_words`: of these, those whose sentences alone differ."""

    looked_at: int = 0
    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    different: int = 0
    only_words: int = 0

    def differs(self, found: Difference) -> None:
        """One more that didn't come out again."""
        self.different += 1
        self.only_words += found.only_words
        self._keep([found])

    def add(self, other: Tally) -> None:
        """Take another part's figures in."""
        self.looked_at += other.looked_at
        self.same += other.same
        self.unchecked += other.unchecked
        self.different += other.different
        self.only_words += other.only_words
        self._keep(other.differences)

    def _keep(self, found: Sequence[Difference]) -> None:
        self.differences += found[: KEPT - len(self.differences)]

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "checked": self.same + self.different,
            "same": self.same,
            "different": self.different,
            "only_words": self.only_words,
            "not_checkable": dict(self.unchecked),
            "differences": [d.to_json() for d in self.differences],
        }


async def audit(database: Database, chosen: Chosen, sample: int | None = None) -> AsyncIterator[tuple[int, Tally]]:
    """Make the chosen decisions again (of a `sample`, so many of them by chance), in batches: how many there are in all, and each
    batch's tally. A transaction to a batch; decisions made meanwhile are left to the next audit."""
    policies: dict[str, Policy | None] = {}
    async with transaction(database) as c:
        total, newest = await recorded.extent(c, chosen)
        ids = None if sample is None else await recorded.some(c, chosen, sample)
    total = total if ids is None else len(ids)
    done, last = 0, 0
    while done < total:
        async with transaction(database) as c:
            if ids is None:
                rows = await recorded.following(c, chosen, last, newest, BATCH)
            else:
                rows = await recorded.by_id(c, ids[done : done + BATCH])
            wanted = sorted({r.policy for r in rows if r.policy not in policies})
            for policy_hash, body in (await deployments.documents(c, wanted)).items():
                policies[policy_hash] = policy_from_json(body) if digest(body) == policy_hash else None
        if not rows:
            return
        done, last = done + len(rows), rows[-1].id
        yield total, _checked(rows, policies)


def _checked(rows: Sequence[Any], policies: Mapping[str, Policy | None]) -> Tally:
    """`policies`: by hash; None for one whose content isn't what its hash says."""
    tally = Tally(looked_at=len(rows))
    for row in rows:
        if row.facts is None or row.policy not in policies:
            tally.unchecked[NO_FACTS if row.facts is None else NO_POLICY] += 1
            continue
        policy = policies[row.policy]
        if policy is None:
            differing: tuple[Differing, ...] = (Differing("policy", row.policy, "what is stored under this hash was changed"),)
        else:
            differing = _differing(row, policy)
        if differing:
            tally.differs(Difference(row.id, row.key, row.customer_id, row.at, row.policy, differing))
        else:
            tally.same += 1
    return tally


def _differing(row: Any, policy: Policy) -> tuple[Differing, ...]:
    try:
        facts, message = recall(json.loads(row.facts))
        verdict = decide(policy, facts, message, row.at)
    except (ValueError, TypeError, OverflowError) as unreadable:
        return (Differing("facts", "unreadable", str(unreadable)),)
    again: dict[str, Any] = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "rule": verdict.rule,
        "until": verdict.until,
        "earliest": verdict.earliest,
        "detail": verdict.detail,
        "consent_version": max((s.version for s in facts.consents), default=0),
    }
    found = [_field(name, getattr(row, name), value) for name, value in again.items() if getattr(row, name) != value]
    return (*found, *_gates(row.gates, gates_json(verdict)))


def _field(name: str, before: Any, after: Any) -> Differing:
    return Differing(name, _told(before), _told(after))


def _told(value: Any) -> str:
    return "none" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)


def _gates(before: Any, after: list[list[Json]]) -> list[Differing]:
    """What gates said differently, part by part."""
    if before == after:
        return []
    if not isinstance(before, list) or [g[:1] if isinstance(g, list) else g for g in before] != [g[:1] for g in after]:
        return [Differing("gates", "other gates", ", ".join(g[0] for g in after))]
    parts = ("gate", "answer", "rule", "detail", "until")
    return [
        _field(f"{one[0]} {name}", was, now)
        for one, other in zip(before, after, strict=True)
        for name, was, now in zip(parts, [*one, *[None] * len(parts)], other, strict=False)
        if was != now
    ]
