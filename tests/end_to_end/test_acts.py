"""What journeys do besides sending: set, task, call, emit, start, branch, split, repeat; each once, and each chain bounded."""

from __future__ import annotations

from pathlib import Path

from engine.core.enrollment import Command
from engine.core.plan import Act, Send
from engine.delivery.channel import Receipt, Result
from engine.store import tasks
from engine.store.database import transaction
from tests.harness import TRACKING, running, utc, write_project

ENTER = """
tier: lifecycle
enter: {event: signed_up, again: always}
"""

AT_PING = "tier: lifecycle\nenter: {event: pinged, again: always}"

BY_CALL = "tier: lifecycle\nenter: {api: true, again: always}"


def journey(name: str, steps: str, enter: str = ENTER) -> str:
    """A journey of these steps."""
    return f"journey: {name}\n{enter.strip()}\nsteps:\n{steps}"


async def test_set_writes_attributes_and_variables_that_later_steps_read(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """What `set` wrote is seen by the branch and the template behind it."""
    steps = """
  - set: {customer.country: IT, vars.rounds: "{{ 2 }}"}
  - branch:
      - if: customer.country == "IT" and vars.rounds == 2
        then:
          - task: italy
            title: "{{ customer.first_name }} {{ vars.rounds }}"
      - else:
          - task: elsewhere
            title: "no"
"""
    folder = write_project(tmp_path, {"journeys/set.yaml": journey("set", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [("italy", "Ada 2")] == [tuple(r) for r in await sojourn.query("select queue, title from tasks")]
        assert ["IT"] == [r.c for r in await sojourn.query("select attributes->>'country' as c from customers")]


async def test_once_per_makes_one_task_for_each_value(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Three people of one company make one task with `once_per`, and the second company another."""
    steps = '  - task: sales\n    title: "Call"\n    once_per: customer.country\n'
    folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        for i, country in enumerate(["IT", "IT", "IT", "FR"]):
            await sojourn.identify(f"user{i}", country=country)
            await sojourn.track(f"user{i}", "signed_up")
        await sojourn.settled()
        assert 2 == len(await sojourn.query("select 1 from tasks"))


async def test_emit_enrolls_elsewhere_and_start_enrolls_here(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """`emit` reaches another customer through the one door, `start` enrolls this one in another journey, each once."""
    steps = """
  - emit: pinged
    with: {number: "{{ 7 }}"}
    to: entry.order_id
  - start: noted
    with: {order_id: X}
"""
    pinged = journey("pinged", '  - task: pinged\n    title: "{{ entry.number }}"\n', AT_PING)
    noted = journey("noted", '  - task: noted\n    title: "{{ entry.order_id }}"\n', BY_CALL)
    files = {"journeys/first.yaml": journey("first", steps), "journeys/pinged.yaml": pinged, "journeys/noted.yaml": noted}
    folder = write_project(tmp_path, files)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada, bob = await sojourn.identify("ada"), await sojourn.identify("bob")
        await sojourn.track("ada", "signed_up", order_id="bob")

        async def three_over() -> bool:
            return [("ended", 3)] == [
                tuple(r) for r in await sojourn.query("select status, count(*) from enrollments group by 1")
            ]

        await sojourn.until(three_over)
        rows = await sojourn.query("select customer_id, queue, title from tasks order by queue")
        assert [(ada, "noted", "X"), (bob, "pinged", "7")] == [tuple(r) for r in rows]


async def test_a_circle_of_emits_stops_at_ten(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A journey that emits the event that enters it ends parked after ten links, and says why."""
    circle = journey("circle", "  - emit: pinged\n", AT_PING.replace("}", ", while_active: parallel}"))
    folder = write_project(tmp_path, {"journeys/circle.yaml": circle})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "pinged", number=1)

        async def parked() -> bool:
            return any(status == "parked" for _, status, _ in await sojourn.ends())

        await sojourn.until(parked)
        ends = await sojourn.ends()
        assert ["ended"] * 10 + ["parked"] == [status for _, status, _ in ends]
        assert "a chain of 10" in ends[-1][2]


async def test_repeat_runs_its_rounds_and_each_has_a_key_of_its_own(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Three rounds make three messages under three keys, a second apart."""
    steps = """
  - repeat:
      times: 3
      every: 1s
      steps:
        - send: email
          id: nudge
          template: hello
          topic: news
"""
    folder = write_project(tmp_path, {"journeys/nudge.yaml": journey("nudge", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert 3 == len(sojourn.email.to(ada)) == len({m.key for m in sojourn.email.seen})


async def test_a_repeat_until_stops_when_its_condition_holds(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """`until` is looked at before each round."""
    steps = """
  - set: {vars.rounds: "{{ 0 }}"}
  - repeat:
      times: 9
      until: vars.rounds >= 2
      every: 1s
      steps:
        - set: {vars.rounds: "{{ vars.rounds + 1 }}"}
        - task: round
          title: "{{ vars.rounds }}"
"""
    folder = write_project(tmp_path, {"journeys/rounds.yaml": journey("rounds", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert ["1", "2"] == [r.title for r in await sojourn.query("select title from tasks order by id")]


async def test_a_split_divides_people_and_everybody_goes_on(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Each person is in one arm, both arms have people, and all meet behind the split."""
    steps = """
  - split: test
    arms:
      - name: a
        weight: 1
        then:
          - task: a
            title: A
      - name: b
        weight: 1
        then:
          - task: b
            title: B
  - task: after
    title: After
"""
    folder = write_project(tmp_path, {"journeys/split.yaml": journey("split", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(f"user{i}") for i in range(20)])
        await sojourn.accept([sojourn.event(f"user{i}", "signed_up") for i in range(20)])
        await sojourn.settled()
        counts = {r.queue: r.n for r in await sojourn.query("select queue, count(*) as n from tasks group by 1")}
        assert 20 == counts["after"] == counts["a"] + counts["b"]
        assert min(counts["a"], counts["b"]) > 0


async def test_last_send_tells_what_became_of_the_message(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A branch on `vars.last_send.status` sees `dropped` for who can't be reached and `sent` for the others."""
    steps = """
  - send: email
    id: hello
    template: hello
    topic: news
  - branch:
      - if: vars.last_send.status == "sent"
        then:
          - task: sent
            title: Sent
      - else:
          - task: other
            title: "{{ vars.last_send.status }}"
"""
    folder = write_project(tmp_path, {"journeys/told.yaml": journey("told", steps), "journeys/tracking.yaml": TRACKING})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.identify("bob", email=None)
        await sojourn.accept([sojourn.event(user, "signed_up") for user in ("ada", "bob")])
        await sojourn.settled()
        rows = await sojourn.query("select customer_id, queue, title from tasks order by customer_id")
        ada, bob = sojourn.customers["ada"], sojourn.customers["bob"]
        assert [(ada, "sent", "Sent"), (bob, "other", "dropped")] == [tuple(r) for r in rows]


async def test_last_send_is_the_same_when_a_delivery_is_told_again(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A worker that dies before its answer is heard delivers once more, and what was dropped or refused is called that again."""
    steps = """
  - send: email
    id: hello
    template: hello
    topic: news
  - if: vars.last_send.status == "sent"
    task: sent
    title: Sent
  - wait: 30d
    id: month
"""
    folder = write_project(tmp_path, {"journeys/told.yaml": journey("told", steps)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        sojourn.email.answer = lambda m: Receipt(Result.REFUSED if m.to.startswith("eve") else Result.ACCEPTED)
        for user, email in (("ada", "ada@example.com"), ("bob", None), ("eve", "eve@example.com")):
            await sojourn.identify(user, email=email)
        entered = await sojourn.accept([sojourn.event(user, "signed_up") for user in ("ada", "bob", "eve")])
        await sojourn.waiting_in("month", 3)
        await sojourn.pause()
        said = "select vars->'last_send' as said from enrollments order by id"
        before = [r.said for r in await sojourn.query(said)]
        assert ["sent", "dropped", "refused"] == [s["status"] for s in before]
        delivery = sojourn.worker.workers.activities.delivery
        async with transaction(delivery.database) as c:
            plan = (await delivery.deployments.current(c)).plans["told"]
        op = next(i for i, found in enumerate(plan.ops) if isinstance(found, Send))
        command = Command("deliver", op, 0, 0, utc("2026-03-02 10:00"), channel="email")
        await delivery.deliver("email", plan, [(a.enrollments[0], command) for a in entered])
        assert before == [r.said for r in await sojourn.query(said)]


async def test_an_act_that_comes_after_the_exit_leaves_no_task_behind(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A task that is asked for when its enrollment has ended isn't made, however late the end is seen: nobody would close it."""
    enter = ENTER.strip() + "\nexit: [{event: cancelled}]"
    folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", "  - task: sales\n    title: Call\n", enter)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.pause()
        await sojourn.identify("ada")
        entered = await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "cancelled")
        acting = sojourn.worker.workers.activities.acting
        (member,) = entered.enrollments
        async with transaction(acting.database) as c:
            plan = (await acting.deployments.current(c)).plans["call"]
            made = {"key": "k", "enrollment_id": member, "customer_id": entered.customer, "queue": "sales", "title": "Call"}
            await tasks.insert(c, [{**made, "body": "", "assignee": ""}])
        op = next(i for i, found in enumerate(plan.ops) if isinstance(found, Act))
        ((_, outcome),) = await acting.act(plan, [(member, Command("act", op, 0, 0, utc("2026-03-02 10:00")))])
        assert "next" == outcome.kind
        assert [] == list(await sojourn.query("select 1 from tasks"))
