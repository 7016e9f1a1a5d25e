"""A broadcast as a workflow: carries it page by page. It only asks and waits.

What was done, and who is still to be reached, stands in the store; so it may be lost and started again at any time.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

CARRY = "sojourn.broadcast"
"""The workflow's type; no journey can have such a name."""

HISTORY_LIMIT = 1_000
"""History events after which a broadcast continues as new."""

RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30))


@workflow.defn(name=CARRY)
class Broadcast:
    """Carries one turn of a broadcast until there is nothing to do. Its argument: the broadcast, its turn, heartbeat seconds."""

    @workflow.run
    async def run(self, setup: dict[str, int]) -> None:
        """Ask for pages; between them wait as the rate says."""
        while True:
            over, wait = await workflow.execute_activity(
                "carry",
                [setup["broadcast"], setup["turn"]],
                start_to_close_timeout=timedelta(seconds=60),
                heartbeat_timeout=timedelta(seconds=setup["heartbeat"]),
                retry_policy=RETRY,
                result_type=list,
            )
            if over:
                return
            if wait > 0:
                await workflow.sleep(timedelta(seconds=wait))
            if workflow.info().get_current_history_length() >= HISTORY_LIMIT:
                workflow.continue_as_new(setup)
