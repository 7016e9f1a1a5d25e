"""A new sender is warmed up: so many messages on the first day, more on each later one, of all workers together. What is above
the day's number waits for the next day, as if a hold were on the channel; messages of tiers that wait for no cap or hold never
do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
            used = f"the {told.quota} messages of day {told.day + 1} are used up"
            hold = HoldFact(
                f"warm-up of {self.channel}",
                tuple(patient),
                told.begins,
                told.ends,
                channels=(self.channel,),
                why=f"{self.channel} is being warmed up, and {used}",
            )
            for draft in others[told.granted :]:
                draft.warming = hold
        return told.day, urgent + told.granted

    async def give_back(self, day: int, messages: int) -> None:
        """So many of those that had room on `day` didn't go: the gates kept them back."""
        if messages > 0:
            await senders.give_back(self.database, self.channel, self.sender, day, messages)


def patient_tiers(policy: Policy) -> list[str]:
    """The tiers whose messages wait while a sender is warmed up."""
    return [t.name for t in policy.tiers if not {"caps", "holds"} & set(t.skip)]
