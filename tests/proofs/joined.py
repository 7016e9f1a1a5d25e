"""Random calls about who is who, said by several clients at once, and what must hold after them. `python -m` runs one client as a
process of its own."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.core.case import open_case
from engine.core.consent import consent
from engine.core.facts import ConsentFact, Facts, Message
from engine.core.incoming import Incoming
from engine.core.policy import ConsentRule, Policy, Tier
from engine.delivery.deployments import Deployments
from engine.delivery.facts import consent_fact
from engine.intake.commanded import CantMerge
from engine.intake.door import Intake
from engine.store import customers
from engine.store.database import Database, connect, fetch, transaction

USERS, VISITORS, MAILS = range(4), range(4), range(2)
TOPICS = ("news", "offers")
POLICY = Policy((Tier("lifecycle"),), consent=(ConsentRule("email", "granted"),), topics=TOPICS)

Call = tuple[str, int, int, int]
"""What is done, and three numbers that say with whom."""

FIRST = ("track", "visit", "sign_up", "grant", "withdraw", "identify")
"""Before two users can become one: whoever agrees later agrees for both."""
THEN = ("track", "visit", "sign_up", "withdraw", "identify", "identify", "mail", "alias", "alias", "merge", "unmerge")


@dataclass
class Scene:
    """People of one run, on one store. `said`: message id → the identifier that it went by; `consents`: what each user said, in
    order, as (topic, state)."""

    database: Database
    name: str
    client: str = "c"
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    consents: dict[str, list[tuple[str | None, str]]] = field(default_factory=dict)
    made: int = 0
    aside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.intake = Intake(self.database, Deployments())

    def user(self, number: int) -> str:
        return f"{self.name}-u{number}"

    def visitor(self, number: int) -> str:
        return f"{self.name}-x{number}"

    async def play(self, calls: Sequence[Call]) -> None:
        """One client, one call after the other."""
        for call in calls:
            await self.call(*call)

    async def call(self, kind: str, one: int, other: int, third: int) -> None:
        """What `kind` says. Operators' acts on people who are not there yet do nothing."""
        user, visitor = self.user(one), self.visitor(other)
        if kind in ("merge", "unmerge"):
            with suppress(CantMerge):
                await (self._merge(one, other) if kind == "merge" else self._unmerge(third))
        elif kind in ("grant", "withdraw"):
            topic, state = (*TOPICS, None)[third % 3], "granted" if kind == "grant" else "withdrawn"
            self.consents.setdefault(user, []).append((topic, state))
            await self._tell("track", {"user_id": user}, "consent_changed", channel="email", topic=topic, state=state)
        elif kind == "visit":
            await self._tell("track", {"anonymous_id": visitor}, "pinged")
        elif kind == "sign_up":
            who = {"user_id": user} if third % 2 else {"anonymous_id": visitor}
            await self._tell("track", who, "signed_up", order_id=f"o{third % 3}")
        elif kind == "alias":
            previous = visitor if third % 3 else self.user(other)
            await self._tell("alias", {"user_id": user, "previous_id": previous})
        elif kind == "mail":
            mail = f"{self.name}-m{third % len(MAILS)}@example.com"
            await self._tell("identify", {"user_id": user}, traits={"email": mail})
        elif kind == "identify":
            await self._tell("identify", {"user_id": user, "anonymous_id": visitor}, traits={"first_name": f"{one}"})
        else:
            await self._tell("track", {"user_id": user}, "pinged")

    async def _tell(self, kind: Any, who: dict[str, str], name: str = "", traits: Any = None, **properties: Any) -> None:
        self.made += 1
        message = f"{self.name}-{self.client}-{self.made}"
        incoming = Incoming(kind, "proofs", message, name, properties, traits or {}, identifiers=who)
        (answer,) = await self.intake.accept([incoming])
        if answer.quarantined:
            self.aside.append(message)
        else:
            main = "user_id" if "user_id" in who else "anonymous_id"
            self.said[message] = (main, who[main])

    async def _merge(self, one: int, other: int) -> None:
        found = await self.ask(
            "select customer_id from identifiers where value = any(:v) order by value", v=[self.user(one), self.user(other)]
        )
        if len(found) == 2:
            await self.intake.merge(found[0].customer_id, found[1].customer_id, "proofs")

    async def _unmerge(self, third: int) -> None:
        found = await self.ask(
            "select id from merges where kept in (select customer_id from identifiers where value like :n) order by id desc",
            n=f"{self.name}-%",
        )
        if found:
            await self.intake.unmerge(found[third % len(found)].id, "proofs")

    async def ask(self, statement: str, **values: Any) -> Sequence[Any]:
        """Rows straight from the store."""
        async with transaction(self.database) as c:
            return await fetch(c, statement, **values)

    async def check(self, scenes: Sequence[Scene], *, parted: bool) -> None:
        """What must hold, whatever `scenes` (clients of this run) did. `parted`: merges may have been undone."""
        said = {m: i for s in scenes for m, i in s.said.items()}
        aside = {m for s in scenes for m in s.aside}
        events = await self.ask("select message_id, customer_id from events where message_id like :n", n=f"{self.name}-%")
        assert sorted(said) == sorted(r.message_id for r in events), "an event is lost, or there twice"
        kept = await self.ask(
            "select body->>'message_id' as id from quarantine where body->>'message_id' like :n", n=f"{self.name}-%"
        )
        assert aside == {r.id for r in kept}, "what can't be taken is lost"
        identifiers = await self.ask(
            "select i.kind, i.value, i.customer_id, p.merged_into from identifiers i join customers p on p.id = i.customer_id "
            "where i.value like :n",
            n=f"{self.name}-%",
        )
        assert [] == [r for r in identifiers if r.merged_into is not None], "an identifier leads to nobody"
        leads = {(r.kind, r.value): r.customer_id for r in identifiers}
        assert set(said.values()) <= leads.keys(), "somebody is gone"
        if not parted:
            assert [] == [r.message_id for r in events if leads[said[r.message_id]] != r.customer_id], "somebody else's event"
        ours = sorted({r.customer_id for r in identifiers})
        for table in ("events", "enrollments", "messages", "consents", "holds", "tasks", "planned", "suppressions", "refusals"):
            lost = await self.ask(
                f"select t.customer_id from {table} t join customers p on p.id = t.customer_id "
                "where p.merged_into = any(cast(:ids as bigint[]))",
                ids=ours,
            )
            assert [] == list(lost), f"{table} of somebody who is merged away"
        behind = await self.ask(
            "select t.customer_id from computed t join customers p on p.id = t.customer_id where t.customer_id = any(:ids) "
            "and (p.merged_into is not null or cast(t.value as bigint) <> (select count(*) from events e "
            "where e.customer_id = t.customer_id and e.name = 'signed_up'))",
            ids=sorted({r.customer_id for r in events} | set(ours)),
        )
        assert [] == list(behind), "what is kept of somebody isn't what their events come to"
        doubles = await self.ask(
            "select customer_id, journey, key from enrollments where status <> 'ended' and journey <> 'many' "
            "and customer_id = any(cast(:ids as bigint[])) group by 1, 2, 3 having count(*) > 1",
            ids=ours,
        )
        assert [] == list(doubles), "a double enrollment"
        astray = await self.ask(
            "select m.key from messages m join enrollments e on e.id = m.enrollment_id left join decisions d on d.key = m.key "
            "where (m.customer_id <> e.customer_id or d.customer_id <> e.customer_id) "
            "and e.customer_id = any(cast(:ids as bigint[]))",
            ids=ours,
        )
        assert [] == list(astray), "a slot counts for somebody else"
        await self._consents(scenes, leads)

    async def _consents(self, scenes: Sequence[Scene], leads: dict[tuple[str, str], int]) -> None:
        async with transaction(self.database) as c:
            rows = await customers.consents(c, sorted(set(leads.values())))
        for scene in scenes:
            for user, said in scene.consents.items():
                theirs = [consent_fact(r) for r in rows if r.customer_id == leads[("user_id", user)]]
                alone = [
                    ConsentFact("email", topic, state, datetime(2026, 1, 1, n, tzinfo=UTC), version=n)  # type: ignore[arg-type]
                    for n, (topic, state) in enumerate(said)
                ]
                for topic in TOPICS:
                    assert not refuses(alone, topic) or refuses(theirs, topic), f"{user} said no to {topic}"


def refuses(told: Sequence[ConsentFact], topic: str) -> bool:
    """Whether these statements, as one history, say no."""
    message = Message("j", "s", "t", "email", "lifecycle", datetime(2026, 1, 1, tzinfo=UTC), topic)
    case = open_case(POLICY, Facts(consents=tuple(told)), message)
    return consent(case, datetime(2999, 1, 1, tzinfo=UTC)).answer == "drop"


async def slots(scene: Scene) -> int:
    """Give each live enrollment of this run that has none a message with a slot; how many messages there are."""
    await scene.ask(
        "insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, status, "
        "planned_at, decided_at, slot_at, policy) select e.id || '/s/0/0', e.id, e.customer_id, e.journey, e.plan, 's', 0, 't', "
        "'email', 'lifecycle', 'sent', now(), now(), now(), 'p' from enrollments e join events v on v.id = e.entry_event "
        "where v.message_id like :n on conflict do nothing returning key",
        n=f"{scene.name}-%",
    )
    return await taken(scene)


async def taken(scene: Scene) -> int:
    """How many slots this run's customers have taken."""
    found = await scene.ask(
        "select count(*) as n from messages m join enrollments e on e.id = m.enrollment_id join events v on v.id = e.entry_event "
        "where v.message_id like :n and m.slot_at is not null",
        n=f"{scene.name}-%",
    )
    return int(found[0].n)


def random_calls(seed: int, kinds: Sequence[str], count: int) -> list[Call]:
    """`count` of them."""
    dice = random.Random(seed)
    return [(dice.choice(kinds), dice.choice(USERS), dice.choice(VISITORS), dice.randrange(6)) for _ in range(count)]


async def main(url: str, name: str, client: str, seed: int, count: int) -> None:
    """One client of many, in a process of its own; prints what it said."""
    database = connect(url, pool=2, name="proofs")
    scene = Scene(database, name, client)
    kinds = [k for k in THEN if k not in ("withdraw", "unmerge")]
    await scene.play(random_calls(seed, kinds, count))
    await database.dispose()
    for message, (kind, value) in scene.said.items():
        sys.stdout.write(f"{message} {kind} {value}\n")
    for message in scene.aside:
        sys.stdout.write(f"{message}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
