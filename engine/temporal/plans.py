"""The plans that this worker process can run, by hash. Filled before polling; a workflow that needs another one says so here.

This is the only state that workflow code shares with the process around it. It holds JSON, not `Plan`s: under Temporal's
sandbox the
workflow has classes of its own and builds its plans from them.
"""

from __future__ import annotations

from engine.core.plan import Plan, plan_to_json
from engine.core.wire import Json


class PlanMissing(Exception):
    """A cohort's plan isn't loaded yet. It fails the workflow task, which Temporal retries after the worker has loaded it."""


class PlanShelf:
    """Plans by hash, and the hashes that were asked for in vain."""

    def __init__(self) -> None:
        self._plans: dict[str, Json] = {}
        self.wanted: set[str] = set()

    def add(self, plan: Plan) -> None:
        """Make `plan` available."""
        self._plans[plan.hash] = plan_to_json(plan)
        self.wanted.discard(plan.hash)

    def __contains__(self, plan_hash: object) -> bool:
        return plan_hash in self._plans

    def get(self, plan_hash: str) -> Json:
        """The plan's JSON; raises PlanMissing and remembers the wish."""
        plan = self._plans.get(plan_hash)
        if plan is None:
            self.wanted.add(plan_hash)
            raise PlanMissing(f"plan {plan_hash} is not loaded yet")
        return plan


SHELF = PlanShelf()
