"""What a provider put off and what the gates put off, side by side: whatever happens to the customer has the latter decided
again, and leaves the former until the provider's time has come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.delivery.channel import Receipt, Result
from engine.intake import operators
from engine.store.database import transaction
from tests.harness import POLICY, Running, running, write_project
from tests.letters import RECOVERY, letter

RULES = """
holds:
  - {from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [lifecycle, promotional], at_most: 30d}
  - {while_in: recovery, pause: [lifecycle, promotional], at_most: 30d}
caps: [{name: rare, limit: 1, per: 30d}]
"""

FILES = {
    "journeys/policy.yaml": POLICY + RULES,
    "journeys/letter.yaml": letter("letter"),
    "journeys/text.yaml": letter("text", "promotional", event="confirmed", channel="sms"),
    "journeys/recovery.yaml": RECOVERY,
}

COMPLAINT = ("complaint_filed", {"ticket_id": "T1"})


async def stop_recovery(run: Running) -> None:
    """What an operator does to whoever is in `recovery`."""
    inside = [r.id for r in await run.query("select id from enrollments where journey = 'recovery'")]
    async with transaction(run.worker.core.database) as c:
        assert inside == await operators.stop(c, inside, "test")


async def woken(run: Running) -> list[int]:
    """The enrollments that were told to ask the gates again, each time that they were."""
    return [r.id for r in await run.query("select enrollment_id as id from inputs where kind = 'again' order by id")]


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (COMPLAINT, ("complaint_resolved", {"ticket_id": "T1"})),
        (("pinged", {"number": 1}), ("cancelled", {})),
        (("pinged", {"number": 1}), None),
        (COMPLAINT, ("timezone", {"timezone": "Pacific/Auckland"})),
        (None, ("consent_changed", {"channel": "email", "state": "withdrawn"})),
    ],
    ids=["a resolved complaint", "an exit", "an operator's stop", "a move", "a consent"],
)
async def test_only_what_the_gates_deferred_is_decided_again(
    before: tuple[str, dict[str, Any]] | None,
    then: tuple[str, dict[str, Any]] | None,
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
) -> None:
    """The provider wants to see the letter again in an hour. A hold keeps the text back, or the slot that the letter will take.
    When the hold ends, the customer moves, or wants no letters any more, the text is woken and the letter isn't."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", phone="+390001")
        sojourn.email.answer = lambda m: Receipt(Result.LATER, retry_after=3600.0)
        (letter,) = (await sojourn.track("ada", "signed_up")).enrollments
        await sojourn.message_is("deferred")
        (put_off,) = await sojourn.messages()
        assert ("provider", 0) == (put_off.reason, len(await woken(sojourn)))
        if before is not None:
            await sojourn.track("ada", before[0], **before[1])
        (text,) = (await sojourn.track("ada", "confirmed")).enrollments
        await sojourn.message_is("deferred", 2)
        assert [] == await woken(sojourn)
        if then is None:
            await stop_recovery(sojourn)
        elif then[0] == "timezone":
            await sojourn.identify("ada", phone="+390001", **then[1])
        else:
            await sojourn.track("ada", then[0], **then[1])
        assert [text] == await woken(sojourn)
        assert [letter] == [m.enrollment_id for m in await sojourn.messages() if m.reason == "provider"]
        assert 1 == len(sojourn.email.to(ada))
