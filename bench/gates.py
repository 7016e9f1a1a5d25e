"""What the gates cost: `decide` by itself, and a batch of 500 decided and reserved in one transaction on PostgreSQL, beside the
bare statements without any rule; for 500 customers and for one; and how that grows with the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import bare, project
from bench.stack import WrongResult
from channels.noop import Noop
from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.core.clock import Duration
from engine.core.enrollment import Begin, Command, State
from engine.core.facts import ConsentFact, Facts, HoldFact, Message, SlotFact
from engine.core.governance import decide
from engine.core.incoming import Incoming
from engine.core.interpreter import advance
from engine.core.plan import Plan
from engine.core.policy import Cap, Policy, QuietHours, Tier
from engine.delivery.deliver import Delivery
from engine.delivery.deployments import Deployments
from engine.delivery.draft import Draft
from engine.delivery.links import load_links
from engine.intake.door import Intake
from engine.store import clock as clock_store
from engine.store import customers, ledger
from engine.store.database import Database, connect, fetch, run, transaction

BATCH = 500
"""Messages of one transaction."""

JOURNEY = project.letter("welcome", "lifecycle", "event: signed_up, key: order_id, again: always", "topic: news")

TRACKING = project.TRACKING.replace("{plan: string}", "{plan: string, order_id: string}")

FILL = """
insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, topic, tier, status,
    planned_at, decided_at, slot_at, sent_at, policy)
select 'old/' || n, -n, 1 + n % :people, 'welcome', '', 'first', 0, 'first', 'email', 'news', 'lifecycle', 'sent',
    at, at, at, at, ''
from (select n, sojourn_now() - make_interval(days => 10, secs => n % 7776000) as at
    from generate_series(cast(:first as bigint), cast(:last as bigint)) as n) as s
"""

NOON = datetime(2026, 3, 3, 11, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GateSizes:
    """`ledgers`: rows in the ledger. `batches` of each kind are measured at each of them, after one that isn't. `seconds`:
    how long `decide` alone is measured."""

    ledgers: tuple[int, int, int] = (100_000, 1_000_000, 10_000_000)
    batches: int = 8
    seconds: float = 5.0


FULL = GateSizes()
QUICK = GateSizes((10_000, 50_000, 200_000), 3, 1.0)


def decides(seconds: float) -> float:
    """Calls of `decide` a second: a customer with consents, a hold that is over and five messages, under three caps, quiet hours
    and a hold rule; four of five messages go."""
    below = ("lifecycle", "promotional")
    policy = Policy(
        tiers=(Tier("transactional", skip=("consent", "caps", "quiet_hours", "holds")), Tier("lifecycle"), Tier("promotional")),
        timezone="Europe/Rome",
        uncounted=("transactional",),
        caps=(
            Cap("weekly", 6, "rolling", Duration(days=7), tiers=below),
            Cap("daily", 2, "day", tiers=below),
            Cap("offers", 1, "rolling", Duration(days=30), tiers=("promotional",)),
        ),
        quiet_hours=(QuietHours("21:00", "08:00"),),
    )
    hold = HoldFact("complaint", below, NOON - timedelta(days=9), NOON + timedelta(days=5), NOON - timedelta(days=8))
    slots = tuple(SlotFact("lifecycle", "email", "news", "welcome", NOON - timedelta(days=n, hours=1)) for n in range(1, 6))
    consents = tuple(ConsentFact("email", t, "granted", NOON - timedelta(days=90)) for t in ("news", "offers"))
    facts = Facts(zone="Europe/Rome", address="ada@example.com", consents=consents, holds=(hold,), slots=slots)
    message = Message("welcome", "first", "first", "email", "lifecycle", NOON - timedelta(minutes=1), "news")
    messages = [message] * 4 + [replace(message, tier="promotional", topic="offers")]
    offered = replace(facts, slots=(*slots, SlotFact("promotional", "email", "offers", "care", NOON - timedelta(days=12))))
    known = [facts] * 4 + [offered]
    if [decide(policy, f, m, NOON).decision for f, m in zip(known, messages, strict=True)] != ["allow"] * 4 + ["defer"]:
        raise WrongResult("the gates don't say what they should")
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for f, m in zip(known, messages, strict=True):
            decide(policy, f, m, NOON)
        count += 5
    return count / (time.perf_counter() - begin)


@dataclass(slots=True)
class Gates:
    """The engine on a PostgreSQL of its own, as far as deciding needs it. `people`: users who are known."""

    database: Database
    delivery: Delivery
    intake: Intake
    plan: Plan
    channel: Noop
    people: int = 0
    orders: int = 0

    async def enroll(self, users: Sequence[str]) -> list[tuple[int, Command]]:
        """An enrollment for each of `users` (known or not), and the command with which it asks for its message."""
        identified = [
            Incoming("identify", "bench", f"i{u}", traits={"email": f"{u}@example.com"}, identifiers={"user_id": u})
            for u in sorted(set(users))
        ]
        await self.intake.accept(identified)
        entries = []
        for user in users:
            self.orders += 1
            values = {"plan": "pro", "order_id": f"o{self.orders}"}
            entries.append(Incoming("track", "bench", f"s{self.orders}", "signed_up", values, identifiers={"user_id": user}))
        members = []
        for accepted in await self.intake.accept(entries):
            _, commands = advance(self.plan, State(), Begin(1, NOON), NOON)
            members.append((accepted.enrollments[0], replace(commands[0], at=datetime.now(UTC))))
        return members

    async def drafts(self, users: Sequence[str]) -> list[Draft]:
        """One message for each of `users`, ready to be decided."""
        members = await self.enroll(users)
        async with transaction(self.database) as c:
            deployment = await self.delivery.deployments.current(c)
            return await self.delivery._draft(c, deployment, self.plan, members, self.channel)

    async def reserve(self, drafts: Sequence[Draft]) -> None:
        """As `deliver` does it: lock, read, ask every gate, write verdicts and messages."""
        async with transaction(self.database) as c:
            deployment = await self.delivery.deployments.current(c)
            await self.delivery._decide(c, deployment, self.channel, drafts, "bench")

    async def bare(self, drafts: Sequence[Draft]) -> None:
        """The three statements without which no cap could be kept: lock, read the slots, write the messages."""
        async with transaction(self.database) as c:
            await customers.lock(c, [d.customer for d in drafts])
            moment = NOON
            await ledger.slots(c, [d.customer for d in drafts], datetime.now(UTC) - timedelta(days=8), ["lifecycle"])
            rows = [d.ledger_row("handed_over", policy="", now=moment, slot_at=moment) for d in drafts]
            await ledger.write(c, rows, owner="bench", lease_seconds=15.0)

    async def per_second(
        self, act: Callable[[Sequence[Draft]], Awaitable[None]], batches: int, one_customer: bool = False
    ) -> float:
        """Messages a second over so many batches, the first not counted."""
        took = 0.0
        for turn in range(batches + 1):
            self.people += 1 if one_customer else BATCH
            users = [f"u{self.people}" if one_customer else f"u{self.people - n}" for n in range(BATCH)]
            drafts = await self.drafts(users)
            begin = time.perf_counter()
            await act(drafts)
            took += time.perf_counter() - begin if turn else 0.0
        return batches * BATCH / took

    async def fill(self, first: int, last: int) -> None:
        """Old messages number `first` to `last`, twenty to a customer, that no cap looks at any more."""
        async with transaction(self.database) as c:
            await run(c, FILL, first=first, last=last, people=max(last // 20, 1))
        # Without the checkpoint, what was filled in is written while something else is measured.
        await bare.maintain(self.database, "vacuum analyze messages", "checkpoint")

    async def check(self) -> None:
        """Nobody got more than the cap allows. Raises WrongResult."""
        async with transaction(self.database) as c:
            found = await fetch(
                c,
                "select max(n) from (select count(*) as n from messages where slot_at > sojourn_now() - interval '7 days' "
                "and policy <> '' group by customer_id) s",
            )
        if found[0][0] != 5:
            raise WrongResult(f"a customer got {found[0][0]} messages of at most 5")


async def _open(folder: Path, url: str) -> Gates:
    project.write(folder, sink_url=None, max_size=BATCH)
    (folder / "journeys/welcome.yaml").write_text(JOURNEY)
    (folder / "journeys/tracking.yaml").write_text(TRACKING)
    compiled = load_project(folder, {"email"})
    database = connect(url)
    await deploy(database, compiled, "bench")
    deployments = Deployments()
    intake = Intake(database, deployments)
    async with transaction(database) as c:
        clock = await clock_store.settle(c, 1.0)
        links = await load_links(c, "http://127.0.0.1")
    channel = Noop()
    channel.name = "email"
    delivery = Delivery(database, deployments, {"email": channel}, {}, links, clock, intake)
    return Gates(database, delivery, intake, compiled.plans["welcome"], channel)


async def _measure(folder: Path, url: str, sizes: GateSizes) -> dict[str, Any]:
    gates = await _open(folder, url)
    figures: dict[str, Any] = {}
    try:
        filled = 0
        for name, rows in zip(("100k", "1m", "10m"), sizes.ledgers, strict=True):
            await gates.fill(filled + 1, rows)
            filled = rows
            figures[f"gates.reserve_per_s_at_{name}"] = await gates.per_second(gates.reserve, sizes.batches)
            figures[f"gates.hot_per_s_at_{name}"] = await gates.per_second(gates.reserve, sizes.batches, one_customer=True)
            await gates.check()
            if name == "100k":
                bare = await gates.per_second(gates.bare, sizes.batches)
                figures["gates.bare_per_s"] = bare
                figures["gates.reserve_to_bare"] = figures["gates.reserve_per_s_at_100k"] / bare
    finally:
        await gates.database.dispose()
    return figures


def measure(folder: Path, sizes: GateSizes) -> dict[str, float]:
    """Every figure about the gates, on a durable PostgreSQL in the fresh folder `folder`."""
    figures = {"gates.decides_per_s": decides(sizes.seconds)}
    with bare.postgres(folder) as url:
        figures.update(asyncio.run(_measure(folder / "project", url, sizes)))
    return figures
