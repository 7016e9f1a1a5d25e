"""What follows where somebody enters or leaves a segment: journeys, waits and holds."""

from __future__ import annotations

from pathlib import Path

from tests.intake.members import VIP, WAITS, inside, later, people, swept


async def test_entering_a_segment_enters_a_journey_and_ends_a_wait(tmp_path: Path, database_url: str) -> None:
    """By an event; each once; a segment that the entry doesn't name opens nothing."""
    async with people(tmp_path, database_url, vip=VIP, waits=WAITS) as at:
        await at.track("ada", "signed_up")
        await at.identify("ada", score=50)
        await at.track("ada", "pinged")
        assert ["waits"] == [r.journey for r in await at.query("select journey from enrollments order by id")]
        await at.track("ada", "pinged")
        found = await at.query("select journey, v.name from enrollments e join events v on v.id = e.entry_event order by e.id")
        assert [("waits", "signed_up"), ("vip", "segment_entered")] == [tuple(r) for r in found]
        matched = await at.query("select v.name from inputs i join events v on v.id = i.event_id where i.kind = 'event'")
        assert "segment_entered" in {r.name for r in matched}


async def test_leaving_by_time_enters_a_journey(tmp_path: Path, database_url: str) -> None:
    """`when: leaves`, and nothing but time passes."""
    fresh = "segments:\n  fresh: {did: pinged, within: 3d}\n"
    journey = VIP.replace("segment: keen", "segment: fresh, when: leaves")
    async with people(tmp_path, database_url, segments=fresh, vip=journey) as at:
        await at.track("ada", "pinged")
        assert [] == await at.query("select 1 from enrollments")
        await later(at, 4)
        await swept(at)
        assert ["vip"] == [r.journey for r in await at.query("select journey from enrollments")]


async def test_segments_that_chase_each_other_end(tmp_path: Path, database_url: str) -> None:
    """One whose entering makes people leave it again: the chain has an end."""
    setter = """
journey: setter
tier: lifecycle
enter:
  - {event: segment_entered, again: always, while_active: parallel}
  - {event: segment_left, again: always, while_active: parallel}
steps: [{wait: 1d, id: w}]
"""
    flips = "segments:\n  odd: {did: segment_entered, at_least: 1}\n  even: {not: {segment: odd}}\n"
    async with people(tmp_path, database_url, segments=flips, setter=setter) as at:
        ada = (await at.track("ada", "pinged")).customer
        assert {"odd"} == await inside(at, ada)
        depths = [r.depth for r in await at.query("select depth from events order by id")]
        assert max(depths) <= 10


async def test_entering_opens_a_hold_and_leaving_closes_it(tmp_path: Path, database_url: str) -> None:
    """As any event may; another segment's event opens nothing."""
    hold = '{from: segment_entered, where: event.segment == "fresh", until: segment_left, pause: [promotional], at_most: 30d}'
    segments = "segments:\n  fresh: {did: pinged, within: 3d}\n  scored: {if: customer.score >= 10}\n"
    async with people(
        tmp_path, database_url, segments=segments, rules=f"holds: [{hold}]\n", vip=VIP.replace("keen", "fresh")
    ) as at:
        await at.identify("ada", score=10)
        assert [] == await at.query("select 1 from holds")
        await at.track("ada", "pinged")
        assert [(None,)] == [tuple(r) for r in await at.query("select closed_at from holds")]
        await later(at, 4)
        await swept(at)
        assert [] == await at.query("select 1 from holds where closed_at is null")
