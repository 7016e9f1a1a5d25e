"""A new sender is warmed up: so many messages on the first day, more on each later one, of all workers together. What is above
the day's number waits for the next day, as if a hold were on the channel; messages of tiers that wait for no cap or hold never
do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.core.facts import HoldFact
from engine.core.policy import Policy
from engine.delivery.draft import Draft
from engine.store import senders
from engine.store.database import Database


@dataclass(frozen=True, slots=True)
class Warmup:
    """`start` messages on the first day, twice as many every `double` days, until there would be `full` (None: for ever). Another
    `sender` begins anew."""

    database: Database
    channel: str
    start: int
    double: int
    full: int | None = None
    sender: str = ""

    async def take(self, policy: Policy, chunk: Sequence[Draft]) -> tuple[int, int]:
        """Have those of `chunk` (the first to go first) wait for whom there is no room today: which day it is (from 0), and how
        many have room."""
        patient = set(patient_tiers(policy))
        others = [d for d in chunk if d.op.tier in patient]
        urgent = len(chunk) - len(others)
        told = await senders.take_warm(
            self.database,
            self.channel,
            self.sender,
            urgent=urgent,
            others=len(others),
            start=self.start,
            double=self.double,
            full=self.full,
        )
        if told.granted < len(others):
            hold = put_off(self.channel, sorted(patient), told.day, told.quota, told.begins, told.ends)
            for draft in others[told.granted :]:
                draft.warming = hold
        return told.day, urgent + told.granted

    async def give_back(self, day: int, messages: int) -> None:
        """So many of those that had room on `day` didn't go: the gates kept them back."""
        if messages > 0:
            await senders.give_back(self.database, self.channel, self.sender, day, messages)


def quota(start: int, double: int, day: int) -> int:
    """Messages of a day (from 0): `start`, twice as many every `double` days. `store.senders.take_warm` has the same formula."""
    return int(start * 2.0 ** min(day / double, 40))


def put_off(channel: str, tiers: Sequence[str], day: int, messages: int, begins: datetime, ends: datetime) -> HoldFact:
    """What keeps messages of these tiers back once the day's `messages` are used up, until it `ends`."""
    used = f"the {messages} messages of day {day + 1} are used up"
    why = f"{channel} is being warmed up, and {used}"
    return HoldFact(f"warm-up of {channel}", tuple(tiers), begins, ends, channels=(channel,), why=why)


def patient_tiers(policy: Policy) -> list[str]:
    """The tiers whose messages wait while a sender is warmed up."""
    return [t.name for t in policy.tiers if not {"caps", "holds"} & set(t.skip)]
