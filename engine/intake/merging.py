"""Two customers become one, whole or not at all, in the transaction of whoever asks for it; and two again, from the record.

Events, the ledger, consents, suppressions, holds, tasks and enrollments go along. Attributes: the newer value. Consents: what was
withdrawn stays so. Of two live enrollments of one journey and key the older stays. Source: docs/explanation/identity.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engine.core.consent import lifted
from engine.core.facts import ConsentFact
from engine.core.incoming import Incoming
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.delivery.deployments import Deployments
from engine.delivery.facts import consent_fact
from engine.intake.joining import Join
from engine.store import customers, enrollments, merges, unmerges
from engine.store.database import Connection

MERGED = "merged"
"""The reason with which an enrollment ends whose customer turned out to be in that journey already."""

STANDING = ("restricted", "objected")
"""Of a customer: after a merge each holds if it held for either."""

NEVER: merges.Said = (datetime.min.replace(tzinfo=UTC), 0)
"""Before anything was said."""

JOINED, PARTED = "$merged", "$unmerged"
"""The events that a customer has of it."""

OBJECTED = "objected"
"""What the event says of a merge that made an objector of who stays."""


@dataclass(slots=True)
class Merged:
    """One merge that was made, or (`undone`) taken back. `ended`: enrollments that it ended, (id, journey);
    `revived`: those that go on again. `attributes`: those
    whose value it changed for somebody. `withdrawn`: what it says once more is withdrawn, (channel, topic). `moved`: table → how
    many rows went along. `events`: what the door is told of it."""

    id: int
    gone: int
    kept: int
    cause: str
    ended: list[tuple[int, str]] = field(default_factory=list)
    revived: list[tuple[int, str]] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    withdrawn: list[tuple[str, str | None]] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)
    events: list[Incoming] = field(default_factory=list)

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "merge": self.id,
            "kept": self.kept,
            "gone": self.gone,
            "cause": self.cause,
            "moved": self.moved,
            "attributes": self.attributes,
            "ended": [{"enrollment": i, "journey": j} for i, j in self.ended],
            "revived": [{"enrollment": i, "journey": j} for i, j in self.revived],
            "withdrawn": [{"channel": channel, "topic": topic} for channel, topic in self.withdrawn],
        }


async def merge(c: Connection, deployments: Deployments, joins: Sequence[Join], actor: str, now: datetime) -> list[Merged]:
    """Make `joins`, in order; the caller holds the locks of all who take part, and tells the door the events."""
    found: list[Merged] = []
    for some in _rounds(joins):
        found += await _merge(c, deployments, some, actor, now)
    return found


def _rounds(joins: Iterable[Join]) -> list[list[Join]]:
    """Together go those of whom nobody stays in one and goes in another: almost always all."""
    rounds: list[list[Join]] = []
    for join in joins:
        if not rounds or {join.gone, join.kept} & {j.gone for j in rounds[-1]} or join.gone in {j.kept for j in rounds[-1]}:
            rounds.append([])
        rounds[-1].append(join)
    return rounds


async def _merge(c: Connection, deployments: Deployments, joins: Sequence[Join], actor: str, now: datetime) -> list[Merged]:
    pairs = [(j.gone, j.kept) for j in joins]
    silent = {j.gone: j.history for j in joins}
    people = await customers.lock(c, [i for pair in pairs for i in pair])
    numbers = await merges.begin(c, pairs, [j.cause for j in joins], actor, now)
    found = {j.gone: Merged(numbers[j.gone], j.gone, j.kept, j.cause) for j in joins}
    bodies = await _attributes(c, pairs, people, found)
    numbered = await _doubles(c, deployments, pairs, found, bodies, now)
    again = await _consents(c, pairs, found, now)
    moved = await merges.carry(c, pairs, numbered)
    followers = await merges.become_one(c, pairs)
    last = await merges.last_consents(c, [kept for _, kept in pairs])
    for gone, kept in pairs:
        moved[gone].setdefault("consents", []).extend(again.get(gone, []))
        bodies[gone] |= {"moved": moved[gone], "followers": followers[gone], "last_consent": last.get(kept, 0)}
        found[gone].moved = {table: len(ids) for table, ids in sorted(moved[gone].items())}
        told: dict[str, Json] = {"merge": found[gone].id, "changed": found[gone].attributes}
        if bodies[gone]["after"]["objected"] and not bodies[gone]["kept"]["objected"]:
            told[OBJECTED] = True
        event = _event(f"merge/{found[gone].id}", JOINED, kept, told, now)
        found[gone].events.append(replace(event, history=silent[gone]))
    await merges.record(c, {found[gone].id: body for gone, body in bodies.items()})
    await enrollments.wake_deferred(c, [(kept, None) for kept in sorted({k for _, k in pairs})])
    await enrollments.tell_relay(c)
    return [found[gone] for gone, _ in pairs]


def _event(message: str, name: str, customer: int, told: dict[str, Json], now: datetime) -> Incoming:
    return Incoming("merge", "intake", message, name, told, customer=customer, occurred_at=now)


async def _attributes(
    c: Connection, pairs: Sequence[merges.Pair], people: Mapping[int, Any], found: Mapping[int, Merged]
) -> dict[int, dict[str, Any]]:
    """Newer wins, attribute by attribute: what was said last counts, also that there is none. gone → its record so far."""
    said = await merges.newest(c, sorted(people))
    now_has = {i: dict(p.attributes) for i, p in people.items()}
    standing = {i: {name: bool(getattr(p, name)) for name in STANDING} for i, p in people.items()}
    bodies: dict[int, dict[str, Any]] = {}
    for gone, kept in pairs:
        mine, theirs = now_has[kept], now_has[gone]
        merged = dict(mine)
        for name in {*theirs, *said[gone]}:
            if said[gone].get(name, NEVER) > said[kept].get(name, NEVER) or (name not in said[kept] and name not in mine):
                merged.pop(name, None)
                if name in theirs:
                    merged[name] = theirs[name]
        names = sorted(n for n in {*mine, *theirs} if mine.get(n) != merged.get(n) or theirs.get(n) != merged.get(n))
        found[gone].attributes = names
        either = {name: standing[gone][name] or standing[kept][name] for name in STANDING}
        bodies[gone] = {
            "gone": {"attributes": theirs, **standing[gone]},
            "kept": {"attributes": mine, **standing[kept]},
            "after": {"attributes": merged, **either},
        }
        now_has[kept], standing[kept] = merged, either
        said[kept] = {n: max(said[kept].get(n, NEVER), said[gone].get(n, NEVER)) for n in {*said[kept], *said[gone]}}
    await merges.write_people(
        c,
        [
            {"id": kept, "attributes": now_has[kept], **standing[kept], "merged_into": None}
            for kept in sorted({k for _, k in pairs})
        ],
    )
    return bodies


async def _doubles(
    c: Connection,
    deployments: Deployments,
    pairs: Sequence[merges.Pair],
    found: Mapping[int, Merged],
    bodies: Mapping[int, dict[str, Any]],
    now: datetime,
) -> dict[int, int]:
    """End the younger of two live enrollments of a journey and key; where the journey lets several run side by side, they all go
    on, and those who come get numbers of their own: enrollment → number. How those stood that end goes into the records."""
    leads = dict(pairs)
    groups: dict[tuple[int, str, str], list[Any]] = defaultdict(list)
    for r in await merges.inside(c, pairs):
        if r.status != "ended":
            groups[(leads.get(r.customer_id, r.customer_id), r.journey, r.key)].append(r)
    ended: list[Any] = []
    numbers: dict[int, int] = {}
    for group in groups.values():
        if len({r.customer_id for r in group}) == 1:
            continue
        plans = {r.plan: await deployments.plan(c, r.plan) for r in group}
        group.sort(key=lambda r: (r.entered_at, r.id))
        if any(side_by_side(plan) for plan in plans.values()):
            highest = max(r.number for r in group)
            comers = [r for r in group if r.customer_id in leads]
            numbers |= {r.id: highest + n for n, r in enumerate(comers, 1)}
        else:
            ended += group[1:]
    by_gone = {kept: gone for gone, kept in pairs}
    stood = await merges.standing(c, [r.id for r in ended])
    for body in bodies.values():
        body["ended"] = []
    for r in ended:
        gone = r.customer_id if r.customer_id in leads else by_gone[r.customer_id]
        found[gone].ended.append((r.id, r.journey))
        bodies[gone]["ended"].append(stood[r.id])
    await enrollments.end(c, [{"id": r.id, "reason": MERGED, "at": now} for r in ended], close_tasks=True)
    items = [{"enrollment_id": r.id, "kind": "exit", "at": now, "reason": MERGED} for r in sorted(ended, key=lambda r: r.id)]
    await enrollments.append_inputs(c, items)
    return numbers


def side_by_side(plan: Plan) -> bool:
    """Whether a journey lets several enrollments of one customer and key run at once."""
    return any(entry.while_active == "parallel" for entry in plan.entries)


async def _consents(
    c: Connection, pairs: Sequence[merges.Pair], found: Mapping[int, Merged], now: datetime
) -> dict[int, list[int]]:
    """Withdrawals of the one that a consent of the other would lift are said again: gone → the numbers of its own."""
    told: dict[int, list[ConsentFact]] = defaultdict(list)
    for r in await customers.consents(c, sorted({i for pair in pairs for i in pair})):
        told[r.customer_id].append(consent_fact(r))
    items: list[dict[str, Any]] = []
    whose: list[int] = []
    for gone, kept in pairs:
        for mine, theirs in ((gone, kept), (kept, gone)):
            for s in lifted(told[mine], told[theirs], now):
                items.append(_statement(s, kept, now))
                whose.append(mine)
                found[gone].withdrawn.append((s.channel, s.topic))
        version = max((s.version for s in (*told[gone], *told[kept])), default=0)
        again = [replace(s, at=now, version=version + n) for n, s in enumerate(lifted(told[gone], told[kept], now), 1)]
        again += [replace(s, at=now, version=version + n) for n, s in enumerate(lifted(told[kept], told[gone], now), 1)]
        told[kept] = [*told[kept], *told[gone], *again]
    numbers: dict[int, list[int]] = defaultdict(list)
    for customer, number in zip(whose, await merges.say_again(c, items), strict=True):
        numbers[customer].append(number)
    return numbers


def _statement(said: ConsentFact, customer: int, now: datetime) -> dict[str, Any]:
    return {
        "customer_id": customer,
        "channel": said.channel,
        "topic": said.topic,
        "state": said.state,
        "source": said.source,
        "wording": said.wording,
        "at": now,
        "until": said.until,
    }


async def undo(c: Connection, found: Any, actor: str, now: datetime) -> Merged:
    """Take back the merge `found` (a row of `store.unmerges.find`); the caller holds both locks. What it ended goes on."""
    body: Mapping[str, Any] = found.record
    people = await customers.lock(c, [found.gone, found.kept])
    await merges.inside(c, [(found.kept, found.gone)])  # their locks, in order
    await unmerges.give_back(c, found.gone, found.kept, body)
    withdrawn = await _cleared_too(c, found.gone, found.kept, int(body["last_consent"]), now)
    revived = await unmerges.revive(c, body["ended"])
    await enrollments.try_again(c, [i for i, status in revived if status == "live"])
    before, after, has = body["kept"], body["after"], people[found.kept]
    mine = dict(has.attributes)
    for name in {*before["attributes"], *after["attributes"]}:
        if mine.get(name) == after["attributes"].get(name):  # nobody has said anything else since
            mine.pop(name, None)
            if name in before["attributes"]:
                mine[name] = before["attributes"][name]
    kept = {"id": found.kept, "attributes": mine, **_apart(before, after, has), "merged_into": None}
    gone = {
        "id": found.gone,
        "attributes": body["gone"]["attributes"],
        **{name: bool(body["gone"].get(name)) or (getattr(has, name) and not after.get(name)) for name in STANDING},
        "merged_into": None,
    }
    await merges.write_people(c, [kept, gone])
    await unmerges.undone(c, found.id, actor, now)
    done = Merged(found.id, found.gone, found.kept, found.cause, withdrawn=withdrawn)
    done.moved = {table: len(ids) for table, ids in sorted(body["moved"].items())}
    done.revived = [(e["id"], e["journey"]) for e in body["ended"] if e["id"] in dict(revived)]
    then: dict[int, dict[str, Json]] = {found.kept: dict(has.attributes), found.gone: dict(has.attributes)}
    for person in (kept, gone):
        was, has_now = then[person["id"]], person["attributes"]
        changed = sorted(n for n in {*was, *has_now} if was.get(n) != has_now.get(n))
        told: dict[str, Json] = {"merge": found.id, "changed": changed}
        done.events.append(_event(f"unmerge/{found.id}/{person['id']}", PARTED, person["id"], told, now))
        done.attributes = sorted({*done.attributes, *changed})
    await enrollments.wake_deferred(c, [(found.kept, None), (found.gone, None)])
    await enrollments.tell_relay(c)
    return done


async def _cleared_too(c: Connection, gone: int, kept: int, last: int, now: datetime) -> list[tuple[str, str | None]]:
    """What was cleared since the statement `last`, when the two were one, takes back what who had gone agreed to before it, and
    lifts nothing that they have withdrawn: what of that is said again, (channel, topic)."""
    told: dict[int, list[ConsentFact]] = defaultdict(list)
    for r in await customers.consents(c, [gone, kept]):
        told[r.customer_id].append(consent_fact(r))
    cleared = [s for s in told[kept] if s.state == "cleared" and s.version > last]
    again = lifted(told[gone], cleared, now)
    await unmerges.say_too(c, gone, kept, last, "cleared")
    await merges.say_again(c, [_statement(s, gone, now) for s in again])
    return [(s.channel, s.topic) for s in again]


def _apart(before: Mapping[str, Any], after: Mapping[str, Any], has: Any) -> dict[str, bool]:
    """The standing of who stays, once a merge is taken back: as `before` it, but for what was said since (`after` it they had
    that of either; now they `has`)."""
    found = {}
    for name in STANDING:
        since = getattr(has, name) and not after.get(name)
        lifted_since = bool(after.get(name)) and not getattr(has, name)
        found[name] = (bool(before.get(name)) and not lifted_since) or since
    return found
