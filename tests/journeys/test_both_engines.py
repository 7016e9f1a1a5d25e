"""Everything that a test can say about its customer and its world, on the simulator and on the real engine: the same lines."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from engine.app.testing.chosen import choose, rounds
from engine.app.testing.expectations import Line, compared
from engine.app.testing.simulated import line, played
from engine.app.testing.timeline import timeline
from engine.authoring.project import Compiled, load_project
from tests.harness import POLICY, write_project
from tests.servers import fresh_database
from tests.simulator.played import ADDRESSES

FOLLOW_UP = """
journey: follow_up
tier: lifecycle
holdout: 50%
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - call: POST https://crm.example/people
    headers: {Authorization: "Bearer {{ secrets.CRM }}"}
    json: {plan: "{{ entry.plan }}"}
    into: vars.crm
    on_error: skip
  - split: tone
    arms:
      - name: warm
        weight: 1
        then:
          - send: email
            template: hello
            topic: news
      - name: dry
        weight: 1
        then:
          - send: email
            template: again
            topic: news
  - wait: 2d
    id: two_days
  - if: segment("vip") and vars.crm.score > 2
    task: service
    title: "Call {{ customer.first_name }}, {{ vars.crm.owner | default('nobody') }} knows them"
  - wait_for: confirmed
    id: sure
    timeout: 5d
    else:
      - exit: unsure
"""

REPLY = """
journey: reply
tier: lifecycle
enter: {event: confirmed, again: always, while_active: ignore}
steps:
  - send: email
    template: again
    topic: offers
"""

TESTS = """
- test: the warm arm, in a segment that is said, with an answer of the CRM
  journey: follow_up
  customer: {email: ada@example.com, first_name: Ada, timezone: Europe/Rome, segments: [vip]}
  arms: {tone: warm}
  calls: [{url: "https://crm.example/people", status: 200, json: {owner: Bo, score: 3}}]
  until: 2026-03-05 12:00
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: pro}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello, contains: Hi Ada}
    - {at: 2026-03-04 10:00, task: service, title: "Call Ada, Bo knows them"}

- test: the dry arm, out of the segment, with a CRM that is down
  journey: follow_up
  customer: {email: ben@example.com, first_name: Ben, timezone: Europe/Rome}
  arms: {tone: dry}
  calls: [{url: "https://crm.example/people", status: 500}]
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: pro}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: again}
    - {at: 2026-03-09 10:00, exit: unsure}

- test: who is held out is counted and left alone
  journey: follow_up
  customer: {email: cy@example.com, timezone: Europe/Rome}
  holdout: true
  events:
    - {at: 2026-03-02 10:00, event: signed_up}
    - {at: 2026-03-03 10:00, event: cancelled}
  expect:
    - {at: 2026-03-02 10:00, drop: email, reason: holdout}
    - {at: 2026-03-03 10:00, exit: cancelled}

- test: two journeys at once, of which one waits for its turn
  journeys: [follow_up, reply]
  customer: {email: di@example.com, timezone: Europe/Rome}
  arms: {tone: warm}
  events:
    - {at: 2026-03-02 10:00, event: signed_up}
    - {at: 2026-03-02 11:00, event: confirmed}
  expect:
    - {at: 2026-03-02 10:00, journey: follow_up, send: email, template: hello}
    - {at: 2026-03-02 11:00, journey: reply, defer: email, reason: cap, until: 2026-03-03 11:00}
    - {at: 2026-03-03 11:00, journey: reply, send: email, template: again}
    - {at: 2026-03-03 11:00, journey: reply, exit: completed}
    - {at: 2026-03-04 10:00, journey: follow_up, exit: completed}

- test: nothing that is expected here happens
  journeys: [follow_up, reply]
  customer: {email: ed@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 11:00, event: confirmed}
  expect:
    - {at: 2026-03-02 12:00, send: email, template: hello}
    - {task: service}
    - {drop: email, reason: consent}
"""

UNWANTED = """
journey: unwanted
tier: lifecycle
enter: {event: confirmed, again: always, while_active: ignore}
exit: [{event: cancelled}]
steps:
  - send: email
    id: unless_called
    template: again
    topic: offers
    window: {from: "14:00", to: "18:00"}
    if: not segment("called")
"""

COMPLAINT = """
holds:
  - {name: complaint, from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [lifecycle], at_most: 5d}
"""

GIVEN_UP = """
- test: its condition no longer holds when it is due again
  journey: unwanted
  customer: {email: ada@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 10:00, event: confirmed}
    - {at: 2026-03-02 11:00, event: pinged}
  expect:
    - {at: 2026-03-02 10:00, defer: email, until: 2026-03-02 14:00}
    - {at: 2026-03-02 14:00, drop: email, template: again, reason: condition}
    - {at: 2026-03-02 14:00, exit: completed}

- test: its condition never held
  journey: unwanted
  customer: {email: ben@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 09:00, event: pinged}
    - {at: 2026-03-02 10:00, event: confirmed}
  expect:
    - {at: 2026-03-02 10:00, exit: completed}

- test: its journey ends meanwhile
  journey: unwanted
  customer: {email: cy@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 10:00, event: confirmed}
    - {at: 2026-03-02 11:00, event: cancelled}
  expect:
    - {at: 2026-03-02 11:00, drop: email, template: again, reason: live}
    - {at: 2026-03-02 11:00, exit: cancelled}

- test: what stood in its way is over before, and its condition no longer holds
  journey: unwanted
  customer: {email: di@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 14:30, event: complaint_filed, ticket_id: A}
    - {at: 2026-03-02 15:00, event: confirmed}
    - {at: 2026-03-02 15:30, event: pinged}
    - {at: 2026-03-02 16:00, event: complaint_resolved, ticket_id: A}
  expect:
    - {at: 2026-03-02 15:00, defer: email, reason: hold}
    - {at: 2026-03-02 16:00, drop: email, template: again, reason: condition}
    - {at: 2026-03-02 16:00, exit: completed}
"""


def project(folder: Path) -> Compiled:
    """Two journeys with their tests under a cap of one message a day."""
    files = {
        "journeys/follow_up.yaml": FOLLOW_UP,
        "journeys/reply.yaml": REPLY,
        "journeys/policy.yaml": POLICY + "caps: [{name: daily, tiers: [lifecycle, promotional], limit: 1, per: day}]\n",
        "journeys/segments.yaml": "segments: {vip: {did: pinged, at_least: 10}}\n",
        "journeys/tests/all.yaml": TESTS,
    }
    return load_project(write_project(folder, files), {"email", "sms"})


async def test_both_engines_tell_of_the_same(tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str) -> None:
    """Segments, arms, holdouts, answers to calls, several journeys, `until`: as written, on either; what fails on one fails on
    the other."""
    real, simulated, verdicts = await both(project(tmp_path), tmp_path, skipping, task_queue_prefix)
    assert real == simulated
    assert [set(), set(), set(), set(), {"different", "missing"}] == list(verdicts.values())


async def test_both_tell_what_waited_and_was_given_up(
    tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str
) -> None:
    """A message whose step's `if` no longer holds when it is due again, at its time or earlier, is dropped for that, then; one
    whose journey ends, for that, and at that moment. Nothing is told of one that was never asked for."""
    files = {
        "journeys/unwanted.yaml": UNWANTED,
        "journeys/policy.yaml": POLICY + COMPLAINT,
        "journeys/segments.yaml": "segments: {called: {did: pinged}}\n",
        "journeys/tests/all.yaml": GIVEN_UP,
    }
    compiled = load_project(write_project(tmp_path, files), {"email", "sms"})
    real, simulated, verdicts = await both(compiled, tmp_path, skipping, task_queue_prefix)
    assert real == simulated
    assert [set()] * 4 == list(verdicts.values())
    words = [x["words"] for lines in simulated.values() for x in lines if "drop" in x]
    assert ["its condition no longer held", "the journey had ended", "its condition no longer held"] == words


async def both(
    compiled: Compiled, folder: Path, skipping: WorkflowEnvironment, prefix: str
) -> tuple[dict[str, list[Line]], dict[str, list[Line]], dict[str, set[str]]]:
    """By the tests' titles, in order: what the real engine told, what the simulator told, and what was wrong with that."""
    chosen = choose(compiled, folder)
    real: dict[str, list[Line]] = {}
    simulated: dict[str, list[Line]] = {}
    verdicts: dict[str, set[str]] = {}
    for n, together in enumerate(rounds(compiled, chosen)):
        own, journeys, tests = together[0].project(compiled), together[0].journeys, [c.test for c in together]
        on_servers = partial(timeline, channels=ADDRESSES, environment=skipping, prefix=f"{prefix}-{n}")
        with fresh_database() as url:
            async with on_servers(own, journeys, tests, database_url=url) as moved:
                await moved.play()
                real |= {p.test.test: told(await moved.lines(p)) for p in moved.passages}
    for c in chosen:
        ((passage, happened),) = played(c.project(compiled), c.journeys, [c.test], ADDRESSES)
        lines = [x for x in map(line, happened) if x is not None]
        simulated[c.test.test] = told(lines)
        verdicts[c.test.test] = {row.says for row in compared(c.test.expect, lines, passage.zone) if row.wrong}
    return real, simulated, verdicts


def told(lines: list[Line]) -> list[Line]:
    """To the minute, in an order that doesn't depend on which of two things of one moment was told first."""
    rounded = [{k: f"{v:%Y-%m-%d %H:%M}" if k in ("at", "until") else v for k, v in x.items() if k != "text"} for x in lines]
    return sorted(rounded, key=lambda x: sorted((k, str(v)) for k, v in x.items()))
