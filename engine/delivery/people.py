"""What conditions may know of customers beyond their attributes: segments, stages and computed attributes, answered from the
store.

Computed on demand for the customers of one batch, from the events that the definitions name: one query, whatever the batch's
size.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from engine.authoring.expressions import Context, Expression, ExpressionError
from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not
from engine.authoring.model_tracking import Computed
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.delivery.deployment import Deployment, Needs
from engine.store import events
from engine.store.database import Connection

Happened = Sequence[tuple[datetime, Mapping[str, Any]]]


@dataclass(slots=True)
class People:
    """The customers of one batch. `happened`: (customer, event name) → (when, properties), oldest first."""

    deployment: Deployment
    needs: Needs
    now: datetime
    happened: dict[tuple[int, str], list[tuple[datetime, Mapping[str, Any]]]] = field(default_factory=dict)
    attributes: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _cache: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    async def load(cls, c: Connection, deployment: Deployment, ids: Sequence[int], needs: Needs, now: datetime) -> People:
        """Read the events that segments and computed attributes of `needs` look at, for these customers."""
        people = cls(deployment, needs, now)
        names = deployment.event_names(needs)
        if names and ids:
            found: dict[tuple[int, str], list[tuple[datetime, Mapping[str, Any]]]] = defaultdict(list)
            for r in await events.of_names(c, sorted(set(ids)), sorted(names)):
                found[(r.customer_id, r.name)].append((r.occurred_at, r.properties))
            people.happened = found
        return people

    def zone(self, customer: int, attributes: Mapping[str, Any]) -> str:
        """The customer's IANA zone, else (also where theirs is no zone at all) policy's."""
        own = self.deployment.own_zone(attributes)
        if own is not None:
            try:
                zone_named(own)
            except ValueError:
                return self.deployment.policy.timezone
        return own or self.deployment.policy.timezone

    def customer(self, customer: int, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """`customer` as conditions and templates see it: attributes, computed ones, `stage`."""
        cached = self._cache.get(customer)
        if cached is not None and cached[0] is attributes and cached[0] == self.attributes.get(customer):
            return cached[1]
        self.attributes[customer] = dict(attributes)
        values = self.deployment.attribute_values(attributes)
        values["id"] = customer
        self._cache[customer] = (attributes, values)
        zone = self.zone(customer, attributes)
        for computed in self.deployment.tracking.computed:
            if computed.name in self.needs.computed:
                values[computed.name] = self._compute(computed, customer, zone)
        if self.needs.stage:
            inside = self.segments(customer)
            stages = self.deployment.segments.stages
            values["stage"] = next(
                (s.name for s in stages if s.condition is None or self._holds(s.condition, customer, inside)), None
            )
        return values

    def segments(self, customer: int) -> Callable[[str], bool]:
        """Whether this customer is in a segment. Call `customer` for it first."""

        def inside(name: str) -> bool:
            segment = self.deployment.segments.get(name)
            return segment is not None and self._holds(segment.condition, customer, inside)

        return inside

    def quiet_flags(self, person: Any) -> tuple[bool, ...]:
        """For each of policy's quiet hours, whether its condition holds for this customer (a row with `id` and `attributes`).

        The people were loaded with the deployment's `hours_needs`. What can't be evaluated holds: it doesn't send."""
        rules = self.deployment.policy.quiet_hours
        if not any(q.condition for q in rules):
            return (True,) * len(rules)
        context = self.about(person)
        return tuple(q.condition is None or self._quiet(q.condition, context) for q in rules)

    def about(self, person: Any) -> Context:
        """The context of what concerns a customer (a row with `id` and `attributes`) whatever the journey."""
        return Context(
            customer=self.customer(person.id, person.attributes),
            now=self.now,
            segments=self.segments(person.id),
            zone=self.zone(person.id, person.attributes),
        )

    def _quiet(self, condition: str, context: Context) -> bool:
        try:
            return self.deployment.expression(condition).test(context)
        except ExpressionError:
            return True

    def context(self, row: Any, at: datetime) -> Context:
        """The context of an enrollment's row (`store.enrollments.contexts`) at `at`."""
        d = self.deployment
        return Context(
            customer=self.customer(row.customer_id, row.attributes),
            now=at,
            entry=d.event_values(row.entry_name, row.entry, row.entry_at),
            event=None if row.event is None else d.event_values(row.event_name, row.event, row.event_at),
            vars=row.vars,
            segments=self.segments(row.customer_id),
            zone=self.zone(row.customer_id, row.attributes),
        )

    def _holds(self, condition: Condition, customer: int, inside: Callable[[str], bool]) -> bool:
        match condition:
            case Every(parts):
                return all(self._holds(p, customer, inside) for p in parts)
            case Either(parts):
                return any(self._holds(p, customer, inside) for p in parts)
            case Not(part):
                return not self._holds(part, customer, inside)
            case InSegment(name):
                return inside(name)
            case Did():
                return len(self._events(customer, condition.event, condition.within, condition.where)) >= condition.at_least
            case Holds(expression):
                return _test(self.deployment.expression(expression), self._plain_context(customer))

    def _plain_context(self, customer: int) -> Context:
        attributes = self.attributes.get(customer, {})
        cached = self._cache.get(customer)
        values = cached[1] if cached is not None else self.deployment.attribute_values(attributes)
        return Context(customer=values, now=self.now, zone=self.zone(customer, attributes))

    def _events(self, customer: int, name: str, within: Duration | None, where: str | None) -> Happened:
        """The customer's events of that name that count: young enough, and satisfying `where`."""
        found: Happened = self.happened.get((customer, name), ())
        zone = self.zone(customer, self.attributes.get(customer, {}))
        if within is not None:
            since = add(self.now, Duration(-within.months, -within.days, -within.seconds), zone_named(zone))
            found = [e for e in found if e[0] > since]
        if where is not None:
            condition = self.deployment.expression(where)
            base = self._plain_context(customer)
            found = [e for e in found if _test(condition, self._of_event(base, name, e))]
        return found

    def _of_event(self, base: Context, name: str, event: tuple[datetime, Mapping[str, Any]]) -> Context:
        values = self.deployment.event_values(name, event[1], event[0])
        return Context(customer=base.customer, now=base.now, event=values, zone=base.zone)

    def _compute(self, computed: Computed, customer: int, zone: str) -> object:
        """The computed attribute's value from the events that count; its default where there are fewer than `at_least`."""
        found = self._events(customer, computed.event, computed.within, computed.where)
        if computed.kind == "count":
            return len(found)
        if len(found) < computed.at_least:
            return computed.default
        if computed.kind == "median_gap_days":
            gaps = [(b[0] - a[0]).total_seconds() / 86400 for a, b in pairwise(found)]
            return round(median(gaps)) if gaps else computed.default
        values = self._values(computed, customer, found)
        match computed.kind:
            case "sum":
                numbers = [v for v in values if isinstance(v, (int, float))]
                return round(sum(numbers), 6)
            case "latest":
                return values[-1] if values else computed.default
            case "last":
                return values[-computed.last :]
            case "most_frequent":
                return _most_frequent(values) if values else computed.default

    def _values(self, computed: Computed, customer: int, found: Happened) -> list[Any]:
        if computed.value is None:
            return []
        expression = self.deployment.expression(computed.value)
        base = self._plain_context(customer)
        values = [_value(expression, self._of_event(base, computed.event, e)) for e in found]
        return [v for v in values if v is not None]


def _most_frequent(values: Sequence[Any]) -> Any:
    """The value that comes most often; of several, the one that came last."""
    counts = Counter(_countable(v) for v in values)
    most = max(counts.values())
    return next(v for v in reversed(values) if counts[_countable(v)] == most)


def _countable(value: Any) -> Any:
    return repr(value) if isinstance(value, (list, dict)) else value


def _test(condition: Expression, context: Context) -> bool:
    """Whether it holds; one whose result is too large to be meant doesn't."""
    try:
        return condition.test(context)
    except ExpressionError:
        return False


def _value(expression: Expression, context: Context) -> object:
    """Its value; missing where it is too large to be meant."""
    try:
        return expression.evaluate(context)
    except ExpressionError:
        return None
