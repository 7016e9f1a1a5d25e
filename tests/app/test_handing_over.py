"""Who has been asked to move is handed over, on a real database without Temporal: nothing is lost and nothing doubled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.app.deploying import Wishes
from engine.app.reliving import read_past
from engine.core.compact import decode_state
from engine.core.enrollment import Input, State
from engine.delivery.deployments import Deployments
from engine.delivery.moving import hand_over
from engine.insight.lived import read_lives
from engine.insight.retracing import retrace
from engine.intake.moving import OnItsWay, ask_next, reset
from engine.intake.operators import retry, skip
from engine.store.database import transaction
from tests.app.releases import OTHER, STAY, Desk
from tests.core.passage import NOON
from tests.people import People, opened

TEXT = STAY.replace("wait: 30d\n    id: month", "send: CHANNEL\n    id: text\n    template: hello\n    topic: news")


async def let_go(people: People, state: State, to: int = 0) -> tuple[str, State]:
    """The one enrollment, whose cohort has let it go in `state` for operation `to`, handed over; its plan and state then."""
    await people.query(
        "with k as (insert into cohorts (plan, owner, open) select plan, 'test', false from enrollments returning id) "
        "update enrollments set cohort_id = k.id from k returning 1"
    )
    (r,) = await people.query("select id, plan, cohort_id, last_seq from enrollments")
    known = Deployments()
    (m,) = await people.query("select seq, at, reason from inputs where kind = 'move' order by seq desc limit 1")
    left = replace(state, seq=r.last_seq, left=True, held=(Input(m.seq, m.at, "move", ((state.op, to),), m.reason),))
    async with transaction(people.core.database) as c:
        await hand_over(c, known, await known.plan(c, r.plan), r.cohort_id, {r.id: left})
    (r,) = await people.query("select plan, state from enrollments")
    return r.plan, decode_state(r.state)


async def test_a_rollback_recalls_who_was_asked_and_has_not_gone_yet(tmp_path: Path, database_url: str) -> None:
    """They go on as they stood, on the plan that they are on; until then a reset would take the place of their move."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        before = (await desk.enter("u"))["u"]
        await desk.put(desk.compiled(once=OTHER), Wishes("migrate", named=(("", "month", "weeks"),)))
        async with transaction(people.core.database) as c:
            assert 1 == await ask_next(c, Deployments())
            with pytest.raises(OnItsWay, match="enrollment 1 "):
                await reset(c, Deployments(), [1], "month", "test")
        await desk.put(desk.compiled(once=STAY))
        state = State("waiting", 0, NOON, NOON)
        plan, there = await let_go(people, state)
        assert (before, state) == (plan, replace(there, seq=0))


@pytest.mark.parametrize("then", ["", "back", "gone"])
async def test_a_reset_is_not_lost_to_a_migration_that_is_asked_after_it(tmp_path: Path, database_url: str, then: str) -> None:
    """Before the cohort has let go: they come to the step anew on the new plan, in one hand-over. Where the new plan was taken
    back, or doesn't know the step, the reset alone is done, and the move is kept."""
    first = STAY + "  - {send: email, id: text, template: hello, topic: news}\n"
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": first}) as people:
        desk = Desk(tmp_path, people)
        before = (await desk.enter("u"))["u"]
        async with transaction(people.core.database) as c:
            assert 1 == len(await reset(c, Deployments(), [1], "text", "test"))
        other = first.replace("30d", "20d") if then != "gone" else STAY.replace("30d", "20d")
        new = (await desk.put(desk.compiled(once=other), Wishes("migrate"))).plans()["once"]
        for asked in (1, 0, None):
            async with transaction(people.core.database) as c:
                assert asked == await ask_next(c, Deployments())
        if then == "back":
            await desk.put(desk.compiled(once=first))
        plan, there = await let_go(people, State("waiting", 0, NOON, NOON))
        assert (before if then else new, "parked", 1, 1) == (plan, there.status, there.op, there.visit)
        (row,) = await people.query("select status, step from enrollments")
        assert ("live", "text") == tuple(row)
        rows = await people.query("select kind, note = 'done' as done from inputs where seq > 1 order by seq")
        assert [("move", True), ("move", None if then else True), ("retry", None)] == [tuple(r) for r in rows]
        async with transaction(people.core.database) as c:
            past = await read_past(c, (await people.query("select customer_id from enrollments"))[0].customer_id)
        where = ["to another step", *([] if then else [f"to plan {new}"])]
        assert [f"enrollment 1 in once was moved {there}" for there in where] == [
            words.rpartition(" on ")[0] for _, words in past.moves
        ]
        if not then:
            return
        plan, there = await let_go(people, replace(there, status="parked"))
        assert (before, "parked", 1, 1) == (plan, there.status, there.op, there.visit), "it goes on as it stood"
        assert ["live"] == [r.status for r in await people.query("select status from enrollments")]


@pytest.mark.parametrize("retried", [True, False])
async def test_a_retry_that_comes_before_the_hand_over_is_not_undone(tmp_path: Path, database_url: str, *, retried: bool) -> None:
    """Let go parked, retried, handed over: they are live, or nothing would ever be sent to them."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        await desk.enter("u")
        await people.query("update enrollments set status = 'parked', reason = 'a bug', parked_at = now() returning 1")
        await desk.put(desk.compiled(once=STAY.replace("30d", "20d")), Wishes("migrate"))
        async with transaction(people.core.database) as c:
            assert 1 == await ask_next(c, Deployments())
        if retried:
            async with transaction(people.core.database) as c:
                assert [1] == await retry(c, [1], "test")
        await let_go(people, State("parked", 0, NOON, NOON, reason="a bug"))
        (row,) = await people.query("select status, reason, parked_at is null as free from enrollments")
        assert (("live", "", True) if retried else ("parked", "a bug", False)) == tuple(row)


async def test_a_skip_that_comes_before_the_hand_over_is_for_the_same_step_after_it(tmp_path: Path, database_url: str) -> None:
    """Its cohort has let it go and never hears of it: on the new plan the step stands elsewhere."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        await desk.enter("u")
        new = STAY.replace("  - wait: 30d", "  - {wait: 1d, id: day}\n  - wait: 20d")
        await desk.put(desk.compiled(once=new), Wishes("migrate"))
        async with transaction(people.core.database) as c:
            assert 1 == await ask_next(c, Deployments())
        await people.query("update enrollments set step = 'month' returning 1")
        async with transaction(people.core.database) as c:
            assert [1] == await skip(c, [1], "test")
        _, there = await let_go(people, State("waiting", 0, NOON, NOON), 1)
        assert 1 == there.op
        assert [[[1, 0]]] == [r.matched for r in await people.query("select matched from inputs where kind = 'skip'")]


@pytest.mark.parametrize(("status", "step"), [("deferred", "text"), ("handed_over", None)])
async def test_a_channel_list_that_changes_loses_and_doubles_nothing(
    tmp_path: Path, database_url: str, status: str, step: str | None
) -> None:
    """The channel that is tried goes on in its new place under a key of its own; where it may have been used already, nothing
    is tried again."""
    async with opened(
        tmp_path, database_url, files={"journeys/once.yaml": TEXT.replace("CHANNEL", "sms\n    fallback: [email]")}
    ) as people:
        desk = Desk(tmp_path, people)
        await desk.enter("u")
        (r,) = await people.query("select id, customer_id, plan from enrollments")
        await people.query(
            "insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, "
            "status, policy, planned_at, decided_at) values (:key, :id, :customer, 'once', :plan, 'text', 1, 'hello', 'email', "
            "'lifecycle', :status, 'p', now(), now()) returning 1",
            key=f"{r.id}/text/0/1", id=r.id, customer=r.customer_id, plan=r.plan, status=status,
        )  # fmt: skip
        await desk.put(desk.compiled(once=TEXT.replace("CHANNEL", "email")), Wishes("migrate"))
        async with transaction(people.core.database) as c:
            assert 1 == await ask_next(c, Deployments())
        _, there = await let_go(people, State("waiting", 0, NOON, NOON, attempt=1, again=True))
        assert (1, 0) == (there.visit, there.attempt)
        assert (0 if step else 1) == there.op
        assert [step] == [row.step for row in await people.query("select step from enrollments")]
        async with transaction(people.core.database) as c:
            (life,) = await read_lives(c, r.customer_id, None, Deployments())
        assert [there] == [t.after for t in retrace(life).transitions if t.left is not None]
