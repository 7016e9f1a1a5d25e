"""The plans that this worker process can run, by hash. Filled before polling; a workflow that needs another one says so here, and
waits a moment for it.

This is the only state that workflow code shares with the process around it. It holds JSON, not `Plan`s: under Temporal's
sandbox the workflow has classes of its own and builds its plans from them.
"""

from __future__ import annotations

import threading

from engine.core.plan import Plan, plan_to_json
from engine.core.wire import Json

PATIENCE_SECONDS = 1.0
"""How long a workflow waits for its plan. Temporal takes a workflow that holds its thread for 2 s for a deadlocked one."""


class PlanMissing(Exception):
    """A cohort's plan can't be loaded now. It fails the workflow task, which Temporal retries until the store has answered."""


class PlanShelf:
    """Plans by hash, and the hashes that were asked for and aren't here yet. Workflows run in threads of their own, beside the
    event loop that loads plans: that is why one may wait for the other."""

    def __init__(self) -> None:
        self._plans: dict[str, Json] = {}
        self._came = threading.Condition()
        self.wanted: set[str] = set()

    def add(self, plan: Plan) -> None:
        """Make `plan` available."""
        with self._came:
            self._plans[plan.hash] = plan_to_json(plan)
            self.wanted.discard(plan.hash)
            self._came.notify_all()

    def __contains__(self, plan_hash: object) -> bool:
        return plan_hash in self._plans

    def get(self, plan_hash: str) -> Json:
        """The plan's JSON. One that a deploy has just brought is waited for; raises PlanMissing where it doesn't come."""
        plan = self._plans.get(plan_hash)
        if plan is None:
            with self._came:
                self.wanted.add(plan_hash)
                self._came.wait_for(lambda: plan_hash in self._plans, PATIENCE_SECONDS)
            plan = self._plans.get(plan_hash)
        if plan is None:
            raise PlanMissing(f"plan {plan_hash} is not loaded yet")
        return plan


SHELF = PlanShelf()
