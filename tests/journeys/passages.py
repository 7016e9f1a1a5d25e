"""One YAML test on its way: its customer, what they send in and when, and what became of them.

Customers come in through the door like any others; only their ids are chosen, so that they fall into the holdouts and arms that
their tests name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.authoring.shape_tests import Test
from engine.core.holdouts import by_journey, by_policy
from engine.core.incoming import Incoming
from engine.core.plan import Plan, Split
from engine.core.policy import Policy
from engine.core.wire import Json, share
from engine.delivery.channel import Content
from tests.harness import Running, Sink
from tests.journeys.expectations import Line, moment

SOURCE = "journey-test"


@dataclass(slots=True)
class Passage:
    """`coming`: the events that haven't come yet, in order. `until`: when the test's clock ends, None where it doesn't."""

    test: Test
    user: str
    zone: ZoneInfo
    until: datetime | None = None
    customer: int = 0
    coming: list[tuple[datetime, Incoming]] = field(default_factory=list)

    @classmethod
    def of(cls, number: int, test: Test, policy: Policy) -> Passage:
        """The test as it is written, before anything has happened."""
        zone = ZoneInfo((test.customer.model_extra or {}).get("timezone", policy.timezone))
        passage = cls(test, f"customer-{number}", zone, moment(test.until, zone) if test.until else None)
        for i, happening in enumerate(test.events):
            at = moment(happening.at, zone)
            item = passage.track(f"event/{i}", happening.event, happening.model_extra or {}, at)
            passage.coming.append((at, item))
        passage.coming.sort(key=lambda c: c[0])
        return passage

    def track(self, name: str, event: str, properties: dict[str, Json], at: datetime | None = None) -> Incoming:
        """An event of this customer, with a message id of its own."""
        who = {"user_id": self.user}
        return Incoming("track", SOURCE, f"{self.user}/{name}", event, properties, identifiers=who, occurred_at=at)

    def watched(self, at: datetime) -> bool:
        """Whether the test's clock still runs at `at`."""
        return self.until is None or at <= self.until

    async def introduce(self, sojourn: Running, policy: Policy, plans: Sequence[Plan], after: int) -> int:
        """Make the customer known and record the consents, under the first fitting id after `after`; that id."""
        self.customer = next(i for i in range(after + 1, after + 10_000) if _falls_right(i, self.test, policy, plans))
        await sojourn.query("select setval(pg_get_serial_sequence('customers', 'id'), :id, false)", id=self.customer)
        who = {"user_id": self.user}
        known = Incoming(
            "identify", SOURCE, f"{self.user}/identify", traits=self.test.customer.model_extra or {}, identifiers=who
        )
        said = [(c, topic, state) for c, topics in self.test.customer.consents.items() for topic, state in topics.items()]
        consents = [
            self.track(f"consent/{c}/{topic}", "consent_changed", {"channel": c, "topic": topic, "state": state})
            for c, topic, state in said
        ]
        answers = await sojourn.accept([known, *consents])
        assert [(self.customer, "")] * len(answers) == [(a.customer, a.quarantined) for a in answers]
        return self.customer

    async def lines(self, sojourn: Running, sinks: Sequence[Sink], now: datetime) -> list[Line]:
        """What happened to the customer while the test's clock ran, in order of time, from the ledger and the sinks."""
        texts = {m.key: _text(m.content) for sink in sinks for m in sink.seen}
        found: list[Line] = []
        for r in await sojourn.query(MESSAGES, customer=self.customer):
            told = {"journey": r.journey, "template": r.template}
            if r.status == "sent":
                found.append({"at": r.sent_at, "send": r.channel, **told, "text": texts[r.key]})
            elif r.status == "dropped":
                found.append({"at": r.decided_at, "drop": r.channel, **told, "reason": r.reason})
        for r in await sojourn.query(DEFERRALS, customer=self.customer):
            told = {"journey": r.journey, "template": r.template, "reason": r.reason, "until": r.until}
            found.append({"at": r.at, "defer": r.channel, **told})
        for r in await sojourn.query(TASKS, customer=self.customer):
            found.append({"at": r.created_at, "task": r.queue, "journey": r.journey, "title": r.title})
        for r in await sojourn.query(ENDS, customer=self.customer):
            kind = "exit" if r.status == "ended" else "parked"
            found.append({"at": r.ended_at or now, kind: r.reason, "journey": r.journey})
        return sorted((line for line in found if self.watched(line["at"])), key=lambda line: line["at"])


MESSAGES = (
    "select key, journey, channel, template, status, reason, sent_at, decided_at from messages where customer_id = :customer"
)
DEFERRALS = (
    "select d.at, d.reason, d.until, m.journey, m.channel, m.template from decisions d join messages m on m.key = d.key "
    "where d.decision = 'defer' and d.customer_id = :customer"
)
TASKS = (
    "select t.created_at, t.queue, t.title, e.journey from tasks t join enrollments e on e.id = t.enrollment_id "
    "where t.customer_id = :customer"
)
ENDS = "select ended_at, journey, reason, status from enrollments where customer_id = :customer and status <> 'live'"


def _text(content: Content) -> str:
    """All that a message says: its single-line parts and its bodies."""
    return "\n".join([*content.fields.values(), content.text or "", content.html or ""])


def _falls_right(customer: int, test: Test, policy: Policy, plans: Sequence[Plan]) -> bool:
    """Whether this id is in a holdout as the test says, and in the arms that it names; by the engine's own salts."""
    held = any(by_journey(p, customer) for p in plans) or by_policy(policy, customer) is not None
    fallen = {op.name: _arm(customer, p, op) for p in plans for op in p.ops if isinstance(op, Split)}
    return held == test.holdout and all(fallen.get(name) == arm for name, arm in test.arms.items())


def _arm(customer: int, plan: Plan, op: Split) -> str | None:
    """The arm of `op` that this customer falls into, None for its holdout."""
    salt = f"split/{plan.journey}/{op.name}"
    if share(f"{salt}/holdout", str(customer)) < op.holdout:
        return None
    left = share(salt, str(customer)) * sum(a.weight for a in op.arms)
    for arm in op.arms:
        left -= arm.weight
        if left < 0:
            return arm.name
    return op.arms[-1].name
