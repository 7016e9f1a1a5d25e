"""A chore as a workflow: asks for the work to be done, again while there is more of it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from engine.temporal.broadcast_workflow import HISTORY_LIMIT, RETRY

CHORE = "sojourn.chore"
"""The workflow's type; no journey can have such a name."""


@workflow.defn(name=CHORE)
class ChoreRun:
    """One run of a chore. Its argument: the chore's name, heartbeat seconds."""

    @workflow.run
    async def run(self, setup: list[str | int]) -> None:
        """Until there is nothing more to do now."""
        name, heartbeat = setup
        while await workflow.execute_activity(
            "chore",
            name,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=int(heartbeat)),
            retry_policy=RETRY,
            result_type=bool,
        ):
            if workflow.info().get_current_history_length() >= HISTORY_LIMIT:
                workflow.continue_as_new(setup)
