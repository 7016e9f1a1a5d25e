"""Holdouts on the real engine: who is in one passes through a journey like anybody else, without what is measured."""

from __future__ import annotations

from pathlib import Path

from engine.core.wire import share
from tests.asking import ask, drawn
from tests.harness import POLICY, running, write_project

ONE = """
journey: one
tier: lifecycle
holdout: {share: 50%, salt: spring}
enter: {event: signed_up, again: always}
goal: {event: confirmed}
steps:
  - set: {customer.country: IT}
  - send: email
    id: only
    template: hello
    topic: news
  - task: service
    title: "Look"
  - emit: confirmed
  - wait: 30d
    id: long
"""
HEARD = """
journey: heard
tier: service
enter: {event: confirmed, again: always}
steps:
  - send: sms
    id: text
    template: hello
"""
WHOLE = POLICY + "holdout: {name: everywhere, share: 50%, tiers: [lifecycle], salt: y2025}\n"


async def test_members_pass_through_without_messages_and_are_recorded(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The journey's holdout gets no messages and no tasks, policy's no messages of its tiers; steps that write and tell run for
    all. Enrollments say who was in which under the salts written; goals count; `why` says it."""
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/heard.yaml": HEARD, "journeys/policy.yaml": WHOLE})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        people = [await sojourn.identify(f"user{i}", phone=f"+3900{i}") for i in range(16)]
        mine = {p for p in people if share("journey/one/spring", str(p)) < 0.5}
        whole = {p for p in people if share("holdout/everywhere/y2025", str(p)) < 0.5}
        assert all((mine & whole, mine - whole, whole - mine, set(people) - mine - whole))
        for i in range(16):
            await sojourn.track(f"user{i}", "signed_up")
        await sojourn.waiting_in("long", 16)

        async def heard() -> bool:
            return len(sojourn.sms.seen) == 16

        await sojourn.until(heard, 60)
        rows = await sojourn.query("select customer_id, holdout, global_holdout, goal_at from enrollments where journey = 'one'")
        assert {p: (p in mine, "everywhere" if p in whole else None) for p in people} == {r[0]: (r[1], r[2]) for r in rows}
        assert all(r.goal_at is not None for r in rows)
        assert set(people) - mine - whole == {int(m.customer) for m in sojourn.email.seen}
        assert set(people) - mine == {r.customer_id for r in await sojourn.query("select customer_id from tasks")}
        countries = await sojourn.query("select count(*) from customers where attributes->>'country' = 'IT'")
        assert 16 == countries[0][0]
        rules = await sojourn.query(
            "select d.customer_id, d.rule from decisions d join messages m using (key) where m.status = 'dropped'"
        )
        assert {p: "one" if p in mine else "everywhere" for p in mine | whole} == {r.customer_id: r.rule for r in rules}
        shown = drawn(await ask(sojourn, min(mine & whole), "one"))
        assert "In the journey's holdout: counted, but sent nothing and given no tasks." in shown
        assert "In the holdout everywhere: counted, but sent nothing of the tiers that it names." in shown
        others = drawn(await ask(sojourn, min(set(people) - mine - whole), "one"))
        assert "holdout" not in others.replace("✓ holdout", "").replace("The customer is in no holdout.", "")
