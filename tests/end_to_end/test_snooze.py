"""Silence until a date, on the real engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.harness import running
from tests.letters import letter, project


async def test_who_wants_silence_gets_nothing_until_then_and_the_journey_goes_on(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A snooze that lasts drops the message, also where policy takes consent as given; one that is over doesn't; an unsubscribe
    has no end, whatever it says."""
    now = datetime.now(UTC)
    tomorrow, ago = (now + timedelta(days=1)).isoformat(), (now - timedelta(hours=1)).isoformat()
    folder = project(tmp_path, "", letter("one", after="{wait: 30d, id: long}"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        for user, event, until in (
            ("ada", "consent_changed", tomorrow),
            ("bob", "consent_changed", ago),
            ("cy", "unsubscribed", ago),
        ):
            await sojourn.identify(user)
            said = {"channel": "email", "state": "withdrawn", "until": until}
            await sojourn.track(user, event, now - timedelta(days=1), **said)
            await sojourn.track(user, "signed_up")
        await sojourn.waiting_in("long", 3)
        found = await sojourn.query("select customer_id, decision, rule from decisions order by customer_id")
        ada, bob, cy = sojourn.customers.values()
        assert [(ada, "drop", "snoozed"), (bob, "allow", ""), (cy, "drop", "withdrawn")] == [tuple(r) for r in found]
        assert [str(bob)] == [m.customer for m in sojourn.email.seen]
