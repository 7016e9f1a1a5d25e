"""The plan of a release: what would be in force, and what it would do to everyone inside. The same function looks and acts.

A strategy says it journey by journey: `pin` (those inside finish on their plan), `migrate` (they go on with the new one), `drain`
(they finish, and nobody enters). A canary gives a share of new entries to the new plan. Source: semantics.md, "Versions".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from engine.authoring.plan_diff import StepChange, head_changed, steps_changed
from engine.authoring.project import Compiled
from engine.core.moving import crossings, places
from engine.core.plan import Plan, plan_to_json
from engine.core.policy import policy_to_json
from engine.core.wire import Json, digest
from engine.delivery.deployments import Deployments
from engine.settings.problems import nearest
from engine.store import deployments as store
from engine.store import pauses
from engine.store.database import Connection

Strategy = Literal["pin", "migrate", "drain"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
KINDS = ("policy", "tracking", "segments", "templates")
"""The documents that journeys share."""


class Refused(Exception):
    """A release that can't be as it is wished for; nothing of it takes effect. `hint`: what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a release is to be made. `strategy`: of journeys that `journeys` doesn't name. `named`: (journey or "", old step, new
    step). `canary`: the share in (0, 1) of new entries that goes to changed plans, of `canaries` only where there are any."""

    strategy: str = "pin"
    journeys: Mapping[str, str] = field(default_factory=dict)
    named: tuple[tuple[str, str, str], ...] = ()
    canary: float | None = None
    canaries: tuple[str, ...] = ()

    def of(self, journey: str, *, concerned: bool) -> str:
        """The strategy of a journey: one that nobody has named goes on as it was, unless it is `concerned`: changed, or on trial
        until now."""
        return self.journeys.get(journey, self.strategy if concerned else "pin")


@dataclass(frozen=True, slots=True)
class Release:
    """What is to be put in force. `documents`: hash by kind (`KINDS`), `bodies` those that may be new, as (hash, kind, body).
    `rollout`: journeys that take nobody, as `store.deployments.deploy` keeps them. `act`: what it is called. `told`: which
    deployment of the past it is, in a line; `untried`: journeys that were on trial then, and aren't again."""

    documents: Mapping[str, str]
    plans: Mapping[str, Plan]
    bodies: tuple[tuple[str, str, Json], ...] = ()
    rollout: Mapping[str, Json] = field(default_factory=dict)
    act: str = "deploy"
    told: str = ""
    untried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of `count` people who stand at `step` ("" at the beginning) of `plan`: it `stays`, or `moves` to the step `to`
    ("": to the first one that they come to), or they would be `stranded`, because it is gone. `first`: the lowest number."""

    step: str
    plan: str
    count: int
    becomes: Literal["stays", "moves", "stranded"]
    to: str = ""
    first: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What a release does to one journey: `new`, `changed`, `same` or `gone` (enrolls nobody any more); how many are inside, by
    step, and what becomes of them. `steps`, `head`: what the new plan has otherwise. `canary`: the share of new entries that goes
    to it, None: all. `was_canary`: that of the plan on trial before, whose hash is `tried`. `paused`: it is, and stays so."""

    journey: str
    kind: str
    old: str | None
    new: str | None
    inside: tuple[tuple[str, int], ...] = ()
    strategy: str = "pin"
    fates: tuple[Fate, ...] = ()
    steps: tuple[StepChange, ...] = ()
    head: tuple[str, ...] = ()
    canary: float | None = None
    was_canary: float | None = None
    was_drained: bool = False
    tried: str | None = None
    paused: bool = False

    def moves(self) -> int:
        """How many go on with the new plan."""
        return sum(f.count for f in self.fates if f.becomes == "moves")

    def nothing(self) -> bool:
        """Whether all goes on as before, for those inside too; a trial as well."""
        if self.canary is not None:
            return self.canary == self.was_canary and self.tried == self.new and not self.moves()
        as_before = self.kind == "same" and self.was_canary is None and self.was_drained == (self.strategy == "drain")
        return as_before and all(f.becomes == "stays" for f in self.fates)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a release does. `shared`: what journeys have in common and is other than before, by name with `new`, `changed` or
    `gone`: policy.yaml, segments.yaml, tracking.yaml, templates. It holds at once, for those inside too. `since`: the deployment
    that it was compared with. `named`: journey → old step → new step."""

    journeys: tuple[Change, ...]
    shared: tuple[tuple[str, str], ...] = ()
    since: int | None = None
    named: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def nothing(self) -> bool:
        """Whether all is as in the deployment that it was compared with, and goes on so, for those inside too."""
        return self.since is not None and not self.shared and all(one.nothing() for one in self.journeys)

    def stranded(self) -> list[tuple[str, Fate]]:
        """(journey, who) of those for whom there is no step to go on with."""
        return [(c.journey, f) for c in self.journeys for f in c.fates if f.becomes == "stranded"]

    def rollout(self) -> dict[str, Json]:
        """Journeys that take nobody, or on trial, as `store.deployments.deploy` keeps them."""
        drained = {c.journey: {"drained": True} for c in self.journeys if c.new is not None and c.strategy == "drain"}
        trial = {c.journey: {"canary": c.new, "share": c.canary} for c in self.journeys if c.canary is not None}
        return {**drained, **trial}

    def plans(self) -> dict[str, str]:
        """Journey → hash of the plan that new entries get, canaries apart."""
        chosen = {c.journey: c.new if c.canary is None else c.old for c in self.journeys if c.new is not None}
        return {journey: plan for journey, plan in chosen.items() if plan is not None}


def release_of(compiled: Compiled) -> Release:
    """The project, as it is in its files."""
    bodies: dict[str, Json] = {
        "policy": policy_to_json(compiled.policy),
        "tracking": compiled.tracking.to_json(),
        "segments": compiled.segments.to_json(),
        "templates": [t.to_json() for _, t in sorted(compiled.templates.items())],
    }
    documents = {kind: digest(body) for kind, body in bodies.items()}
    plans = [(p.hash, "plan", plan_to_json(p)) for p in compiled.plans.values()]
    return Release(documents, compiled.plans, (*((documents[kind], kind, body) for kind, body in bodies.items()), *plans))


async def looked_at(c: Connection, deployments: Deployments, release: Release, wishes: Wishes) -> Changes:
    """What making `release` the one in force would do now. Raises Refused where the wishes make no sense for it."""
    row = await store.newest(c)
    old: dict[str, str] = dict(row.plans) if row is not None else {}
    before: Mapping[str, Json] = row.rollout if row is not None else {}
    journeys = sorted({*old, *release.plans})
    _check_names(wishes, journeys, release)
    inside: dict[str, list[Any]] = defaultdict(list)
    for r in await store.live_counts(c):
        inside[r.journey].append(r)
    hashes = {*old.values(), *(r.plan for of in inside.values() for r in of)}
    plans = {h: await deployments.plan(c, h) for h in sorted(hashes)}
    plans |= {p.hash: p for p in release.plans.values()}
    kinds = {journey: _kind(old.get(journey), release.plans.get(journey)) for journey in journeys}
    shares = {journey: _share(wishes, journey, kind) for journey, kind in kinds.items()}
    _check_canary(wishes, kinds, shares)
    concerned = {j for j in journeys if shares[j] is None and (kinds[j] == "changed" or "canary" in before.get(j, {}))}
    strategies = {j: wishes.of(j, concerned=j in concerned) if shares[j] is None else "pin" for j in journeys}
    if wishes.strategy == "drain" and "drain" not in strategies.values() and "gone" not in kinds.values():
        hint = "a journey that hasn't changed is drained by its name: --strategy JOURNEY=drain"
        raise Refused("nothing was deployed: --strategy drain is for journeys that have changed, and would drain none", hint)
    strategies |= dict.fromkeys(release.rollout, "drain")
    older = {j: [plans[h] for h in sorted({r.plan for r in inside[j]} | ({old[j]} if j in old else set()))] for j in journeys}
    going = {j: release.plans[j] for j in journeys if strategies[j] == "migrate" and j in release.plans}
    named = _named(wishes.named, going, older)
    paused = await pauses.journeys(c)
    changes = []
    for journey in journeys:
        was, will = plans.get(old.get(journey, "")), release.plans.get(journey)
        changes.append(
            Change(
                journey,
                kinds[journey],
                old.get(journey),
                None if will is None else will.hash,
                _inside(inside[journey]),
                strategies[journey],
                tuple(_fates(inside[journey], plans, going.get(journey), named.get(journey, {}))),
                steps_changed(was, will) if was is not None and will is not None else (),
                head_changed(was, will) if was is not None and will is not None else (),
                shares[journey],
                before.get(journey, {}).get("share"),
                bool(before.get(journey, {}).get("drained")),
                before.get(journey, {}).get("canary"),
                journey in paused,
            )
        )
    shared = await _shared(c, row, release) if row is not None else ()
    found = Changes(tuple(changes), shared, row.id if row is not None else None, named)
    if row is not None and release.act.startswith("rollback") and found.nothing():
        told = f"deployment {release.act.split()[-1]} is as the one in force (number {row.id}): going back to it changes nothing"
        trial = "a trial isn't begun anew by going back, but by `sojourn deploy --canary`; " if release.untried else ""
        wished = ", ".join(journey for journey, how in wishes.journeys.items() if how == "migrate")
        nobody = f"nobody is inside on another plan of {wished}"
        raise Refused(
            told, trial + (nobody if wished else "--strategy JOURNEY=migrate brings those back who are inside on another plan")
        )
    return found


def _check_names(wishes: Wishes, journeys: Iterable[str], release: Release) -> None:
    for journey in (*wishes.journeys, *wishes.canaries):
        if journey not in journeys:
            raise Refused(f"there is no journey {journey!r}", nearest(journey, journeys))
    for journey in wishes.canaries:
        if journey not in release.plans or journey in wishes.journeys:
            raise Refused(f"{journey!r} can't have a canary", "a canary moves nobody, and needs a plan to be tried")


def _share(wishes: Wishes, journey: str, kind: str) -> float | None:
    """The share of new entries that a changed plan gets. Raises Refused where one is asked for that is nothing to be tried."""
    chosen = journey in wishes.canaries if wishes.canaries else kind == "changed"
    if wishes.canary is None or not chosen or journey in wishes.journeys:
        return None
    if kind != "changed":
        raise Refused(f"{journey!r} is {kind}: there is no other plan for the rest of those who enter", "leave --canary out")
    return wishes.canary


def _check_canary(wishes: Wishes, kinds: Mapping[str, str], shares: Mapping[str, float | None]) -> None:
    """Raises Refused where a canary was asked for and nothing would be tried, or a strategy beside it would act on no journey."""
    if wishes.canary is None:
        return
    changed = [journey for journey, kind in kinds.items() if kind == "changed"]
    own = [journey for journey in changed if journey in wishes.journeys]
    how = wishes.strategy
    if all(share is None for share in shares.values()):
        why = f"{', '.join(own)} changed, with a --strategy of {'its' if len(own) == 1 else 'their'} own" if own else ""
        raise Refused(
            f"--canary would try nothing: {why or 'no journey has changed'}",
            "leave one of them out" if own else "leave --canary out",
        )
    if how != "pin" and all(shares[journey] is not None or journey in own for journey in changed):
        hint = f"leave one of them out; `sojourn deploy --promote --strategy {how}` is for the end of the trial"
        raise Refused(
            f"--canary and --strategy {how} contradict each other: those inside stay on their plan while one is tried", hint
        )


def _kind(was: str | None, will: Plan | None) -> str:
    if was is None:
        return "new"
    return "gone" if will is None else "same" if was == will.hash else "changed"


def _named(
    wished: Iterable[tuple[str, str, str]], going: Mapping[str, Plan], before: Mapping[str, list[Plan]]
) -> dict[str, dict[str, str]]:
    """Journey → old step → new step, for those that are `going` to another plan. Raises Refused for a name that one of the plans
    doesn't have, or that several have."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for journey, old, new in wished:
        those = [j for j in going if journey in ("", j) and any(old in places(p) for p in before[j])]
        if not those:
            steps = {s for j in going for p in before[j] for s in places(p)}
            raise Refused(f"no plan that is migrated has a step {old!r}", nearest(old, steps) or "say --strategy migrate as well")
        if len(those) > 1:
            raise Refused(f"{', '.join(those)} have a step {old!r}", f"say which: --map {those[0]}.{old}={new}")
        there = places(going[those[0]])
        if new not in there:
            raise Refused(f"the new plan of {those[0]} has no step {new!r}", nearest(new, there))
        found[those[0]][old] = new
    return dict(found)


def _inside(counted: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    by_step: dict[str, int] = defaultdict(int)
    for r in counted:
        by_step[r.step or "at its beginning"] += r.n
    return tuple(sorted(by_step.items()))


def _fates(counted: Iterable[Any], plans: Mapping[str, Plan], target: Plan | None, named: Mapping[str, str]) -> Iterable[Fate]:
    """What becomes of everyone inside a journey, who go on with `target`, or stay where there is none."""
    for r in counted:
        if target is None or r.plan == target.hash:
            yield Fate(r.step, r.plan, r.n, "stays", r.step, r.first)
            continue
        old = plans[r.plan]
        at = places(old).get(r.step)
        to = dict(crossings(old, target, named)).get(-1 if at is None else at)
        if to is not None:
            yield Fate(r.step, r.plan, r.n, "moves", target.step_at(to) or "", r.first)
        else:
            yield Fate(r.step, r.plan, r.n, "moves" if at is None else "stranded", "", r.first)


async def _shared(c: Connection, row: Any, release: Release) -> tuple[tuple[str, str], ...]:
    """What journeys share that is other than in the deployment `row`."""
    new = release.documents
    found = [(f"{kind}.yaml", "changed") for kind in ("policy", "segments", "tracking") if new[kind] != getattr(row, kind)]
    if new["templates"] != row.templates:
        given = {h: body for h, _, body in release.bodies}
        stored = await store.documents(c, [row.templates, new["templates"]])
        was, will = (
            {f"template {b['channel']}/{b['name']}": digest(b) for b in listed}
            for listed in (stored[row.templates], given.get(new["templates"]) or stored[new["templates"]])
        )
        for name in sorted(was.keys() | will.keys()):
            if was.get(name) != will.get(name):
                found.append((name, "new" if name not in was else "gone" if name not in will else "changed"))
    return tuple(found)
