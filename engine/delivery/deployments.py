"""The newest deployment and every plan that a process has met, read from the store.

`Deployments.current` notices a newer one inside the caller's transaction, so that every process decides by the same rules from
the moment a deploy is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import Tracking
from engine.authoring.templates import template_from_json
from engine.core.plan import Plan, plan_from_json, plan_to_json
from engine.core.policy import Policy, policy_from_json
from engine.core.wire import canonical, load
from engine.delivery.deployment import Deployment, NothingDeployed
from engine.delivery.render import Renderer
from engine.store import deployments as store
from engine.store.database import Connection, fetch


def reads_last_send(plan: Plan) -> bool:
    """Whether the plan's text mentions `last_send`."""
    return b"last_send" in canonical(plan_to_json(plan))


class Deployments:
    """The newest deployment and every plan that was asked for, for one process."""

    def __init__(self) -> None:
        self._current: Deployment | None = None
        self._plans: dict[str, Plan] = {}
        self._policies: dict[str, Policy] = {}
        self._last_send: dict[str, bool] = {}
        self._watched: tuple[int, frozenset[str]] = (0, frozenset())

    async def current(self, c: Connection) -> Deployment:
        """The deployment in force as this transaction sees it, and with it every plan that somebody is inside of: once for each
        deployment, because whoever enters later enters a plan of it. Raises NothingDeployed."""
        found = await fetch(c, "select max(id) from deployments")
        newest = found[0][0]
        if newest is None:
            raise NothingDeployed("nothing is deployed yet: run `sojourn deploy`")
        if self._current is None or self._current.id != newest:
            self._current = await self._load(c)
        return self._current

    async def plan(self, c: Connection, plan_hash: str) -> Plan:
        """A plan by hash. KeyError where none such was ever deployed."""
        if plan_hash not in self._plans:
            await self._load_plans(c, [plan_hash])
        return self._plans[plan_hash]

    async def policies(self, c: Connection, hashes: Iterable[str]) -> Mapping[str, Policy]:
        """Every policy so far asked for, with these, by hash; those that were never deployed are missing."""
        wanted = sorted({h for h in hashes if h not in self._policies})
        for policy_hash, body in (await store.documents(c, wanted) if wanted else {}).items():
            self._policies[policy_hash] = policy_from_json(body)
        return self._policies

    def known_plan(self, plan_hash: str) -> Plan | None:
        """A plan by hash where this process has it already: plans never change, so nobody has to ask the store."""
        return self._plans.get(plan_hash)

    async def plans_needed(self, c: Connection) -> list[Plan]:
        """Every plan that is deployed or that somebody is still inside of."""
        wanted = await store.plans_inside(c)
        await self._load_plans(c, [h for h in wanted if h not in self._plans])
        return [self._plans[h] for h in wanted if h in self._plans]

    def cares(self, event: str) -> bool:
        """Whether any plan looks at `event`: a deployed one, or an older one that somebody is inside of (see `current`)."""
        if self._watched[0] != len(self._plans):
            names = frozenset(n for p in self._plans.values() for n in p.events())
            self._watched = (len(self._plans), names)
        return event in self._watched[1]

    def reads_last_send(self, plan: Plan) -> bool:
        """`reads_last_send`, found once."""
        if plan.hash not in self._last_send:
            self._last_send[plan.hash] = reads_last_send(plan)
        return self._last_send[plan.hash]

    async def _load_plans(self, c: Connection, hashes: list[str]) -> None:
        for plan_hash, body in (await store.documents(c, hashes)).items():
            self._plans[plan_hash] = plan_from_json(body)

    async def _load(self, c: Connection) -> Deployment:
        row = await store.newest(c)
        assert row is not None
        bodies = await store.documents(c, [row.policy, row.tracking, row.segments, row.templates])
        trials = {name: of for name, of in row.rollout.items() if "canary" in of}
        needed = {*row.plans.values(), *(of["canary"] for of in trials.values()), *await store.needed_plans(c)}
        await self._load_plans(c, sorted(h for h in needed if h not in self._plans))
        templates = {(b["channel"], b["name"]): template_from_json(b) for b in bodies[row.templates]}
        return Deployment(
            id=row.id,
            policy=policy_from_json(bodies[row.policy]),
            policy_hash=row.policy,
            tracking=load(Tracking, bodies[row.tracking]),
            segments=load(Segments, bodies[row.segments]),
            renderer=Renderer(templates),
            templates={(b["channel"], b["name"]): canonical(b).decode() for b in bodies[row.templates]},
            plans={name: self._plans[h] for name, h in row.plans.items()},
            trials={name: (self._plans[of["canary"]], float(of["share"])) for name, of in trials.items()},
            drained=frozenset(name for name, of in row.rollout.items() if of.get("drained")),
        )
