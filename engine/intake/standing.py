"""A customer's standing: `restricted` (nothing is sent) and `objected` (to profiling: computed attributes, segments and stages
are not used). What waits is decided afresh at once. Source: semantics.md, "Privacy".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.core.wire import Json
from engine.delivery.deployment import NothingDeployed
from engine.delivery.interpretation import of
from engine.intake.commanded import Who, meant
from engine.intake.door import Intake
from engine.intake.interpreting import Touch, interpret
from engine.intake.resolving import Moved
from engine.store import audit, customers, enrollments
from engine.store.database import Connection, now

ACTS = {
    ("restricted", True): "restrict",
    ("restricted", False): "lift restriction",
    ("objected", True): "object",
    ("objected", False): "lift objection",
}
"""What the audit log calls each change."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a customer stands now; `changed`: which of the two are otherwise than before."""

    customer: int
    restricted: bool
    objected: bool
    changed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "customer": self.customer,
            "restricted": self.restricted,
            "objected": self.objected,
            "changed": list(self.changed),
        }


async def stand(intake: Intake, who: Who, wanted: Mapping[str, bool], actor: str) -> Standing:
    """Set what `wanted` names (`restricted`, `objected`) of `who`, or of whom they were merged into. LookupError where there
    is none."""

    async def do(c: Connection) -> Standing:
        survivor = await meant(c, who)
        person = (await customers.lock(c, [survivor])).get(survivor)
        if person is None:
            raise LookupError(f"there is no customer {survivor}")
        if await meant(c, who) != survivor:
            raise Moved
        before = {"restricted": person.restricted, "objected": person.objected}
        changed = tuple(sorted(name for name, value in wanted.items() if before[name] != value))
        after = {**before, **wanted}
        if changed:
            await enrollments.lock_all(c, [survivor])
            await customers.write_standing(c, survivor, restricted=after["restricted"], objected=after["objected"])
            for name in changed:
                await audit.note(c, actor, ACTS[(name, after[name])], [f"customer/{survivor}"], {})
            if "objected" in changed:
                await _interpret(c, intake, survivor)
            await enrollments.wake_deferred(c, [(survivor, None)])
            await enrollments.tell_relay(c)
        return Standing(survivor, after["restricted"], after["objected"], changed)

    return await intake.collision_free(do)


async def _interpret(c: Connection, intake: Intake, customer: int) -> None:
    """Who objects to profiling leaves all segments, and comes back when they object no more: in silence, as neither is anything
    that they did."""
    try:
        deployment = await intake.deployments.current(c)
    except NothingDeployed:
        return
    touch = Touch(told=False)
    await interpret(c, deployment, {customer: dict.fromkeys(of(deployment).names, touch)}, await now(c))
