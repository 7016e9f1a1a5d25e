"""One YAML test on its way: its customer, what they send in and when, and what became of them.

Customers come in through the door like any others; only their ids are chosen, so that they fall into the holdouts and arms that
their tests name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from engine.app.testing.expectations import moment
from engine.authoring.shape_tests import Enroll, Test
from engine.core.clock import zone as zone_named
from engine.core.holdouts import by_journey, by_policy
from engine.core.incoming import Incoming
from engine.core.plan import Plan, Split
from engine.core.policy import Policy
from engine.core.wire import Json, share
from engine.intake.entering import CantEnroll, way_in, with_key

SOURCE = "journey-test"

BEFORE = timedelta(days=1)
"""Customers are known, and their consents given, this long before the first event."""

WITHIN = 20_000
"""So many numbers are tried for one that falls into the holdouts and arms that a test names."""


NOWHEN = datetime(2026, 1, 1, tzinfo=UTC)
"""When a test begins that names no moment at all."""


class NotTaken(Exception):
    """What a test sends in doesn't fit `tracking.yaml`, or is no event; the words are the door's."""


class NobodyFits(Exception):
    """No customer falls into the holdouts and arms that a test names."""


def begins(test: Test, policy: Policy) -> datetime:
    """The first moment at which something comes in; where nothing does, when the test's clock ends."""
    zone = _zone(test, policy)
    return min([moment(h.at, zone) for h in test.events] or [moment(test.until, zone) if test.until else NOWHEN])


def _zone(test: Test, policy: Policy) -> ZoneInfo:
    return zone_named((test.customer.model_extra or {}).get("timezone", policy.timezone))


@dataclass(slots=True)
class Passage:
    """`coming`: the events that haven't come yet, in order. `until`: when the test's clock ends, None where it doesn't.
    `asked`: how often its journeys called each URL."""

    test: Test
    user: str
    zone: ZoneInfo
    until: datetime | None = None
    customer: int = 0
    coming: list[tuple[datetime, Incoming]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, test: Test, policy: Policy, plans: Mapping[str, Plan]) -> Passage:
        """The test as it is written, before anything has happened. `plans`: by their journeys' names. Raises NotTaken."""
        zone = _zone(test, policy)
        passage = cls(test, f"customer-{number}", zone, moment(test.until, zone) if test.until else None)
        for i, happening in enumerate(test.events):
            at = moment(happening.at, zone)
            if isinstance(happening, Enroll):
                item = passage.enroll(f"event/{i}", happening, plans, at)
            else:
                item = passage.track(f"event/{i}", happening.event, happening.properties, at)
            passage.coming.append((at, item))
        passage.coming.sort(key=lambda c: c[0])
        return passage

    def answer(self, url: str) -> tuple[int, Json]:
        """What a call to `url` gets: status and JSON. The first answer that the test has for it, each but the last once; a URL
        that it doesn't name isn't found."""
        meant = [a for a in self.test.calls if a.url == url]
        if not meant:
            return 404, None
        self.asked[url] = self.asked.get(url, 0) + 1
        found = meant[min(self.asked[url], len(meant)) - 1]
        return int(found.status), found.json_

    def track(self, name: str, event: str, properties: dict[str, Json], at: datetime | None = None) -> Incoming:
        """An event of this customer, with a message id of its own."""
        who = {"user_id": self.user}
        return Incoming("track", SOURCE, f"{self.user}/{name}", event, properties, identifiers=who, occurred_at=at)

    def enroll(self, name: str, call: Enroll, plans: Mapping[str, Plan], at: datetime) -> Incoming:
        """A call that enrolls this customer, as the API's route makes it. Raises NotTaken."""
        try:
            _, entry = way_in(plans, call.enroll)
            properties, _ = with_key(entry, call.key, call.properties)
        except CantEnroll as cant:
            raise NotTaken(f"enroll isn't taken: {cant}{f': {cant.hint}' if cant.hint else ''}") from None
        who = {"user_id": self.user}
        return Incoming(
            "enroll",
            SOURCE,
            f"{self.user}/{name}",
            properties=properties,
            identifiers=who,
            occurred_at=at,
            journey=call.enroll,
        )

    def watched(self, at: datetime) -> bool:
        """Whether the test's clock still runs at `at`."""
        return self.until is None or at <= self.until

    def falls(self, policy: Policy, plans: Sequence[Plan], after: int) -> int:
        """The first number of a customer after `after` that falls into the holdouts and arms that the test names. Raises
        NobodyFits."""
        for customer in range(after + 1, after + 1 + WITHIN):
            if _falls_right(customer, self.test, policy, plans):
                self.customer = customer
                return customer
        arms = {op.name: [a.name for a in op.arms] for p in plans for op in p.ops if isinstance(op, Split)}
        for name, arm in self.test.arms.items():
            if arm not in arms.get(name, ()):
                there = (
                    f"its arms are {', '.join(arms[name])}" if name in arms else "the journeys of this test have no such split"
                )
                raise NobodyFits(f"arms: nobody gets into {arm!r} of the split {name!r}: {there}")
        if self.test.holdout and policy.holdout is None and not any(p.holdout for p in plans):
            raise NobodyFits("holdout: true, and neither the journeys of this test nor policy.yaml have a holdout")
        raise NobodyFits(f"none of {WITHIN:,} customers falls into this holdout and these arms at once")

    def introduction(self) -> list[Incoming]:
        """What makes the customer known and records the consents."""
        who = {"user_id": self.user}
        traits = self.test.customer.model_extra or {}
        said = [(c, topic, state) for c, topics in self.test.customer.consents.items() for topic, state in topics.items()]
        return [
            Incoming("identify", SOURCE, f"{self.user}/identify", traits=traits, identifiers=who),
            *(
                self.track(f"consent/{c}/{topic}", "consent_changed", {"channel": c, "topic": topic, "state": state})
                for c, topic, state in said
            ),
        ]


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
