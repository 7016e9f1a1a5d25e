"""PostgreSQL and the Python evaluator say the same of whoever is asked about, whatever the condition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.authoring.model_segments import Condition, Did, Holds, Segment, Segments
from engine.core.clock import Duration, add, zone
from engine.delivery import selecting
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.people import People
from engine.delivery.selecting import YES, Page, Selection
from engine.intake import keeping
from engine.store.database import Database, fetch, run
from tests.conditions import NOW, SPANS, TRACKING, ZONES, Store, conditions, deployed

PLAIN: tuple[Any, ...] = (0, 1, 2, -1, 1.5, 0.1, 0.2, 2.0, "a", "b", "B", "", "é", True, False, "2026-03-01", 2**53 + 1, 1e300)
ANY = st.one_of(
    st.sampled_from(PLAIN), st.just([]), st.just({}), st.just(["a", 1]), st.just({"x": 1, "a": None}), st.just([["a"]])
)
WRITTEN = st.one_of(
    st.sampled_from([0, 1]).flatmap(
        lambda m: st.sampled_from([(add(NOW, Duration(-s.months, -s.days, -s.seconds), zone("Europe/Rome"))) for s in SPANS]).map(
            lambda at: (at + timedelta(microseconds=m)).isoformat()
        )
    ),
    st.sampled_from(["2026-03-29", "2026-03-29T10:00:00+02:00", "2026-03-29T10:00:00", NOW.isoformat(), 17]),
    st.sampled_from(["soon", "2026-02-30T10:00:00+00:00", "2024-02-29T10:00:00+00:00", "2026-03-29T24:00:00+00:00"]),
)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("a", "n", "s", "flag", "o", "tags"), ANY),
        "when": WRITTEN,
        "day": st.sampled_from(["2026-03-29", "2026-03-30", "soon"]),
        "dates": st.sampled_from([["2026-03-29"], [], ["soon"]]),
        "timezone": st.sampled_from(ZONES),
    },
)


def _moments() -> list[datetime]:
    found = {NOW, NOW - timedelta(days=400)}
    for span in SPANS:
        for name in ZONES[:4]:
            at = add(NOW, Duration(-span.months, -span.days, -span.seconds), zone(str(name)))
            found |= {at, at + timedelta(microseconds=1), at - timedelta(hours=1)}
    return sorted(found)


EVENTS = st.tuples(
    st.sampled_from(("order", "order", "viewed")),
    st.sampled_from(_moments()),
    st.fixed_dictionaries({}, optional={"total": ANY, "kind": ANY, "lines": ANY, "o": ANY, "at": WRITTEN}),
)


@dataclass
class Case:
    """Some segments and conditions, some customers with events."""

    segments: list[Condition]
    asked: list[Condition]
    people: list[tuple[dict[str, Any], list[tuple[str, datetime, dict[str, Any]]]]]

    def deployment(self) -> Deployment:
        return deployed(Segments(tuple(Segment(f"s{i}", condition) for i, condition in enumerate(self.segments))))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Segments that may ask for those before them."""
    made = []
    for i in range(draw(st.integers(0, 2))):
        made.append(draw(conditions([f"s{n}" for n in range(i)])))
    asked = draw(st.lists(conditions([f"s{n}" for n in range(len(made))]), min_size=1, max_size=3))
    people = draw(st.lists(st.tuples(ATTRIBUTES, st.lists(EVENTS, max_size=5)), min_size=1, max_size=4))
    return Case(made, asked, people)


ENTRY = {"kind": "a", "total": 2, "occurred_at": NOW, "name": "order"}


LEFT = ("events", "kept", "emptied")
"""What there is to read: events, what is kept of all of them besides, and this where retention has emptied some of them."""


async def _compare(database: Database, case: Case, entry: dict[str, Any] | None, left: str = "events") -> None:
    deployment = case.deployment()
    async with database.connect() as c:
        ids = [
            r.id
            for r in await fetch(
                c,
                "insert into customers (attributes, created_at, updated_at) select a, now(), now() "
                "from jsonb_array_elements(cast(:rows as jsonb)) with ordinality as w(a, n) order by n returning id",
                rows=json.dumps([a for a, _ in case.people]),
            )
        ]
        events = [
            {"customer_id": i, "name": n, "properties": p, "at": at.isoformat(), "m": f"{i}/{k}"}
            for i, (_, found) in zip(ids, case.people, strict=True)
            for k, (n, at, p) in enumerate(found)
        ]
        await run(
            c,
            "insert into events (source, message_id, customer_id, name, properties, occurred_at, accepted_at) "
            "select 't', m, customer_id, name, properties, at, at from jsonb_to_recordset(cast(:rows as jsonb)) "
            "as r(m text, customer_id bigint, name text, properties jsonb, at timestamptz)",
            rows=json.dumps(events),
        )
        if left != "events":
            await keeping.fill_in(c, deployment, ids, NOW)
        if left == "emptied":
            await run(c, "update events set properties = '{}', emptied = true where customer_id % 2 = 0 or id % 2 = 0")
        needs = Needs(frozenset(deployment.segments.names()), frozenset(x.name for x in TRACKING.computed))
        people = await People.load(c, deployment, ids, needs, NOW, ["order", "viewed"])
        people.entry = entry
        stored = {r.id: r.attributes for r in await fetch(c, "select id, attributes from customers")}
        expected: dict[int, str] = {}
        for i in ids:
            people.customer(i, stored[i])
            expected[i] = "".join("1" if people.includes(condition, i) else "0" for condition in case.asked)
        selection = Selection(deployment, case.asked, entry)
        some = {i: signs for i, signs in expected.items() if YES in signs}
        assert some == await selection.answers(c, Page(ids=ids), NOW)
        assert some == await selection.answers(c, Page(after=0, until=max(ids)), NOW)
        first = Selection(deployment, case.asked[:1], entry)
        chosen = [i for i, signs in expected.items() if signs[0] == YES]
        members, last = await first.members(c, Page(ids=ids), NOW, 100)
        assert (chosen, None) == ([i for i, _ in members], last)
        await c.rollback()


def _bare(condition: Condition, *people: dict[str, Any]) -> Case:
    return Case([], [condition], [(a, []) for a in people])


@given(cases(), st.sampled_from([None, ENTRY]), st.sampled_from(LEFT))
@example(_bare(Holds("customer.n == true"), {"n": 1}, {"n": True}, {"n": 1.0}, {"n": "1"}), None, "events")
@example(_bare(Holds("customer.s < 'a'"), {"s": "B"}, {"s": "é"}, {"s": ""}, {"s": 1}), None, "events")
@example(_bare(Holds("customer.a | default(none)"), {}, {"a": None}, {"a": 1}, {"a": 0}), None, "events")
@example(_bare(Holds("'a' in customer.a"), {"a": "cab"}, {"a": ["a"]}, {"a": {"a": None}}, {"a": [["a"]]}), None, "events")
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_sql_and_python_say_the_same(store: Store, case: Case, entry: dict[str, Any] | None, left: str) -> None:
    """Of random conditions, customers and events, one list and one page of them; missing values, mixed types, zones, DST; worked
    out from events, and read as it is kept."""
    store.run(_compare(store.database, case, entry, left))


def test_spans_end_to_the_microsecond_by_everybodys_own_clock(store: Store) -> None:
    """An event as old as the span counts no more, one a microsecond younger does; over a change of the clocks, in every zone,
    and where there is no such zone in policy's."""
    asked: list[Condition] = [Did("order", 1, span) for span in SPANS]
    asked += [Holds(f"customer.{one} >= 1") for one in ("of_late", "spent_twice")]
    asked += [Holds(f"customer.last_at {op} now - days(30)") for op in ("<", "<=", "==", ">")]
    asked += [Holds(f"customer.when {op} now - days(1)") for op in ("<", "<=", "==", ">")]
    people = []
    for at in _moments():
        for own in ZONES:
            event = ("order", at, {"total": 1, "kind": "a"})
            people.append(({"timezone": own, "when": at.isoformat()}, [event, event]))
    store.run(_compare(store.database, Case([], asked, people), None))


@pytest.mark.parametrize("left", LEFT)
def test_what_is_kept_is_read_and_what_was_emptied_counts_for_nothing_that_reads_it(store: Store, left: str) -> None:
    """Of every kind, to the edges of its window and its values."""
    values = ("usual", "last_kind", "late_kind", "first_kind")
    asked: list[Condition] = [Holds(f"customer.{n} {a}") for n in values for a in ("== 'a'", "is none", "in ['b', '']")]
    asked += [Holds(f"customer.{n} {op} now - days(1)") for n in ("last_at", "late_at", "first_at") for op in ("<", ">=")]
    numbers = ("rhythm", "kinds", "spent_twice", "of_late", "other", "spent")
    asked += [Holds(f"customer.{n} {a}") for n in numbers for a in ("== 30", "> 1", "< 2", "is none")]
    asked += [Holds("'a' in customer.recent"), Holds("customer.recent is none"), Holds("customer.recent")]
    asked += [
        Did("order", 1, None, "event.kind != 'a'"),
        Did("order", 1, Duration(days=30)),
        Did("order", 1, None, "event.total"),
    ]
    made = [("order", at, {"kind": kind, "total": n}) for n, at in enumerate(_moments()) for kind in ("a", "b", "", None)]
    made += [("viewed", at, {"kind": "a"}) for at in _moments()[::5]]
    people: list[Any] = [({"timezone": zone}, made[n :: n + 2]) for n, zone in enumerate(ZONES)]
    people += [({}, []), ({}, [("viewed", NOW, {})]), ({}, [("order", NOW, {})])]
    store.run(_compare(store.database, Case([], asked, people), None, left))


def test_texts_that_say_no_moment_are_missing(store: Store) -> None:
    """Such as were stored before their name was declared, and such as only look like a moment; of customers and of events."""
    asked: list[Condition] = [Holds(f"customer.when {a}") for a in ("is none", "is not none", "== none", "< now", "> now")]
    asked += [Did("order", 1, None, "event.at is none"), Did("order", 1, None, "event.at < now"), Holds("customer.day is none")]
    people: list[Any] = []
    for at in ("soon", "2026-02-30T10:00:00+00:00", "2024-02-29T10:00:00+00:00", "2026-03-01T10:00:00+00:00", 17):
        people.append(({"when": at, "day": at}, [("order", NOW, {"at": at})]))
    store.run(_compare(store.database, Case([], asked, people), None))


def test_counts_have_their_least_and_their_default(store: Store) -> None:
    """Fewer than `at_least` are missing, or the default."""
    asked: list[Condition] = [Holds(f"customer.{n} {a}") for n in ("orders", "few", "five") for a in ("is none", "== 5", "< 3")]
    people: list[Any] = [({}, [("order", NOW, {"kind": "a"})] * n) for n in range(4)]
    store.run(_compare(store.database, Case([], asked, people), None))


def test_sums_are_of_numbers(store: Store) -> None:
    """True isn't one."""
    asked: list[Condition] = [Holds(f"customer.spent == {n}") for n in range(4)]
    people: list[Any] = [({}, [("order", NOW, {"total": v}) for v in (1, True, False, "2")])]
    store.run(_compare(store.database, Case([], asked, people), None))


def test_what_is_asked_of_events_may_be_of_the_customer_alone(store: Store) -> None:
    """Then it holds for all of them, or for none."""
    asked: list[Condition] = [Did("order", at_least=2, where=w) for w in ("customer.n == 1", "customer.n not in ['', 'x']")]
    people: list[Any] = [({"n": n}, [("order", NOW, {})] * count) for n in (1, 2) for count in range(4)]
    store.run(_compare(store.database, Case([], asked, people), None))


def test_python_judges_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of a page SQL can't say of; and of those only."""
    sizes: list[int] = []
    really = Selection.evaluator

    async def noted(self: Selection, c: Any, ids: Sequence[int], now: datetime) -> Any:
        sizes.append(len(ids))
        return await really(self, c, ids, now)

    monkeypatch.setattr(selecting, "JUDGED", 2)
    monkeypatch.setattr(Selection, "evaluator", noted)
    asked: list[Condition] = [Holds("customer.n % 2 == 1"), Holds("customer.n == 0")]
    store.run(_compare(store.database, Case([], asked, [({"n": n}, []) for n in range(5)]), None))
    assert [2, 2, 1] == sizes[:3]
    sizes.clear()
    asked = [Holds(c) for c in ("customer.rhythm > 3", "customer.usual == 'a'", "'a' in customer.recent", "customer.kinds == 1")]
    people: list[Any] = [({}, [(name, NOW - timedelta(days=9 * i), {"kind": "a"}) for i in range(n)] * 2)
                         for n in range(4) for name in ("order", "viewed")]  # fmt: skip
    store.run(_compare(store.database, Case([], asked, people), None, "kept"))
    assert [] == sizes, "of nobody, where it is kept"
    store.run(_compare(store.database, Case([], asked, people), None))
    assert [2, 2, 2] == sizes[:3], "of the six who have such events, before it is kept"


@pytest.mark.nightly
@given(cases(), st.sampled_from([None, ENTRY]), st.sampled_from(LEFT))
@settings(max_examples=20_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_sql_and_python_say_the_same_at_length(store: Store, case: Case, entry: dict[str, Any] | None, left: str) -> None:
    """The same, for hours' worth of chance."""
    store.run(_compare(store.database, case, entry, left))
