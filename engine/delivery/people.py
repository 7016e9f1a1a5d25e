"""What conditions may know of customers beyond their attributes: segments, stages and computed attributes, answered from the
store.

For the customers of one batch: computed attributes as they are kept, in one query whatever the batch's size; what isn't kept is
worked out from the events that its definition names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not
from engine.core.clock import Duration
from engine.core.clock import zone as zone_named
from engine.delivery.computing import Definition, Emptied, counted, holds, reaches, read, since, worked_out
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.tallies import Tally, micros, unpack
from engine.store import computed as computed_store
from engine.store import customers, events
from engine.store.database import Connection

NOTHING = Needs()
"""Of a customer beyond plain attributes."""

Occurred = tuple[datetime, Mapping[str, Any], int]
"""An event: when, its properties, its number."""

Kept = tuple[Tally | None, Any]
"""What is kept for an attribute of a customer: a state to be read, or (None) the value."""


@dataclass(slots=True)
class People:
    """The customers of one batch. `happened`: (customer, event name) → the events, oldest first. `kept`: (customer, computed
    attribute) → what is kept for it. `entry`: what conditions on them may know of the event that would enroll them. `objectors`:
    those of them who object to profiling, for whom computed attributes have their defaults, and who are in no segment and no
    stage."""

    deployment: Deployment
    needs: Needs
    now: datetime
    happened: dict[tuple[int, str], list[Occurred]] = field(default_factory=dict)
    kept: dict[tuple[int, str], Kept] = field(default_factory=dict)
    attributes: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _cache: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = field(default_factory=dict)
    entry: Mapping[str, Any] | None = None
    objectors: frozenset[int] = frozenset()

    @classmethod
    async def load(
        cls, c: Connection, deployment: Deployment, ids: Sequence[int], needs: Needs, now: datetime, also: Iterable[str] = ()
    ) -> People:
        """Read what is kept for the computed attributes of `needs`, and the events that its segments and its other computed
        attributes look at, with those called as in `also`, for these customers."""
        people = cls(deployment, needs, now)
        names = deployment.event_names(needs, kept=False).union(also)
        wanted = sorted(set(ids))
        if not wanted:
            return people
        if needs != NOTHING:
            people.objectors = await customers.objectors(c, wanted)
        await people._read_events(c, wanted, names)
        definitions = [d for d in deployment.definitions.kept if d.name in needs.computed]
        if definitions or not needs.computed.isdisjoint(deployment.definitions.predicted):
            missing = await people._read_kept(c, wanted, definitions)
            await people._read_events(c, sorted(missing), {e for those in missing.values() for e in those} - names)
        return people

    async def _read_events(self, c: Connection, ids: Sequence[int], names: Set[str]) -> None:
        if ids and names:
            for r in await events.of_names(c, ids, sorted(names)):
                self.happened.setdefault((r.customer_id, r.name), []).append(
                    (r.occurred_at, Emptied(r.properties) if r.emptied else r.properties, r.id)
                )

    async def _read_kept(self, c: Connection, ids: Sequence[int], definitions: Sequence[Definition]) -> dict[int, frozenset[str]]:
        """What is kept, and what was predicted; by customer the events from which the rest has to be worked out."""
        by_name = {d.name: d for d in definitions}
        predicted = {n: h for n, h in self.deployment.definitions.predicted.items() if n in self.needs.computed}
        timed = [d.name for d in definitions if d.timed]
        for r in await computed_store.of(c, ids, [*by_name, *predicted], timed):
            d = by_name.get(r.name)
            if r.definition != (d.hash if d is not None else predicted[r.name]):
                continue
            if d is None or r.state is None or reaches(d, r.state, self.now):
                self.kept[(r.customer_id, r.name)] = (r.state, None if r.state is not None else unpack(r.value))
        missing = {i: [d for d in definitions if (i, d.name) not in self.kept] for i in ids}
        return {i: frozenset(e for d in those for e in d.computed.events) for i, those in missing.items() if those}

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
        objects = customer in self.objectors
        for name, definition in self.deployment.definitions.all.items():
            if name in self.needs.computed:
                values[name] = definition.computed.default if objects else self._compute(definition, customer, zone)
        for name in self.deployment.definitions.predicted:
            if name in self.needs.computed:
                values[name] = None if objects else self.kept.get((customer, name), (None, None))[1]
        if self.needs.stage and objects:
            values["stage"] = None
        elif self.needs.stage:
            inside = self.segments(customer)
            stages = self.deployment.segments.stages
            values["stage"] = next(
                (s.name for s in stages if s.condition is None or self._holds(s.condition, customer, inside)), None
            )
        return values

    def segments(self, customer: int) -> Callable[[str], bool]:
        """Whether this customer is in a segment. Call `customer` for it first."""

        def inside(name: str) -> bool:
            segment = self.deployment.segments.get(name) if customer not in self.objectors else None
            return segment is not None and self._holds(segment.condition, customer, inside)

        return inside

    def includes(self, condition: Condition, customer: int) -> bool:
        """Whether `condition` holds for this customer. Call `customer` for it first."""
        return self._holds(condition, customer, self.segments(customer))

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
                return holds(self.deployment.expression(expression), self._plain_context(customer))

    def _plain_context(self, customer: int) -> Context:
        attributes = self.attributes.get(customer, {})
        cached = self._cache.get(customer)
        values = cached[1] if cached is not None else self.deployment.attribute_values(attributes)
        return Context(
            customer=values,
            now=self.now,
            entry=self.entry,
            segments=self.segments(customer),
            zone=self.zone(customer, attributes),
        )

    def _events(self, customer: int, name: str, within: Duration | None, where: str | None) -> Sequence[Occurred]:
        """The customer's events of that name that count: young enough, and satisfying `where`."""
        found = self._young(customer, name, within)
        if where is not None:
            condition = self.deployment.expression(where)
            base = self._plain_context(customer)
            found = [e for e in found if holds(condition, self._of_event(base, name, e))]
        return found

    def _young(self, customer: int, name: str, within: Duration | None) -> Sequence[Occurred]:
        found: Sequence[Occurred] = self.happened.get((customer, name), ())
        if within is not None:
            begin = since(within, self.now, self.zone(customer, self.attributes.get(customer, {})))
            found = [e for e in found if micros(e[0]) > begin]
        return found

    def _of_event(self, base: Context, name: str, event: Occurred) -> Context:
        values = self.deployment.event_values(name, event[1], event[0])
        if isinstance(event[1], Emptied):
            values = Emptied(values)
        return Context(
            customer=base.customer, now=base.now, entry=base.entry, event=values, segments=base.segments, zone=base.zone
        )

    def _compute(self, definition: Definition, customer: int, zone: str) -> object:
        """The computed attribute's value: as it is kept, else from the events."""
        value = self._of_events(definition, customer, zone)
        if not definition.computed.points:
            return value
        base = self._plain_context(customer)
        more = [p.add for p in definition.computed.points if p.condition and holds(self.deployment.expression(p.condition), base)]
        return round(value + sum(more), 2)

    def _of_events(self, definition: Definition, customer: int, zone: str) -> Any:
        """What its events come to."""
        kept = self.kept.get((customer, definition.name))
        if kept is not None:
            return kept[1] if kept[0] is None else read(definition, kept[0], self.now, zone)
        computed = definition.computed
        base = self._plain_context(customer)
        found = [
            one
            for name in computed.events
            for one in counted(
                computed,
                [(e[2], self._of_event(base, name, e)) for e in self._young(customer, name, computed.within)],
            )
        ]
        return worked_out(computed, found, self.now, zone)
