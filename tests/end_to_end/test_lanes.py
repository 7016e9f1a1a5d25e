"""Workers of one lane: what can't wait has processes of its own, which a broadcast never makes busy."""

from __future__ import annotations

from pathlib import Path

from engine.app.wiring import open_worker
from engine.settings.project import Settings
from engine.temporal.grouping import BULK, URGENT
from tests.harness import POLICY, Running, Sink, running, write_project

FILES = {
    "journeys/policy.yaml": POLICY.replace("{name: transactional, ", "{name: transactional, only: [hello], "),
    "journeys/offer.yaml": """
        journey: offer
        tier: promotional
        enter: {event: signed_up, again: never}
        steps:
          - send: email
            id: receipt
            tier: transactional
            template: hello
          - send: email
            id: offer
            template: again
            topic: offers
        """,
    "journeys/reset.yaml": """
        journey: reset
        tier: transactional
        enter: {event: confirmed, again: always}
        steps:
          - send: email
            id: reset
            template: hello
          - set: {vars.asked: true}
        """,
}


async def test_each_lane_is_served_by_its_own_workers(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A worker of broadcasts leaves urgent enrollments, and urgent messages of others, to one that serves these; whatever one of
    the two does, the other one doesn't, and nothing is lost while there is none."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix, lanes=[BULK]) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in ("ada", "bob")])
        await sojourn.track("ada", "signed_up")
        await sojourn.track("bob", "confirmed")

        async def at_the_receipt() -> bool:
            waiting = await sojourn.query("select 1 from inputs where relayed_at is null")
            return len(waiting) == 1 and not sojourn.email.seen

        await sojourn.until(at_the_receipt)
        channels = {name: Sink(name, address) for name, address in (("email", "email"), ("sms", "phone"))}
        async with open_worker(
            Settings(), database_url, temporal_address, prefix=task_queue_prefix, lanes=[URGENT], channels=channels
        ) as urgent:
            other = Running(folder, urgent, channels["email"], channels["sms"])
            other.resume()
            await sojourn.settled(60)
            await other.pause()
        assert ["offer"] == [m.step for m in sojourn.email.seen]
        assert ["receipt", "reset"] == sorted(m.step for m in other.email.seen)
        assert [("offer", "ended", "completed"), ("reset", "ended", "completed")] == await sojourn.ends()
