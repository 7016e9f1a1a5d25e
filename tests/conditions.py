"""Random conditions on customers, and the store on which examples with them are played."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import strategies as st

from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not, Segments
from engine.authoring.model_tracking import Computed, EventType, Tracking
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.core.policy import Policy, Tier
from engine.delivery.deployment import Deployment
from engine.delivery.render import Renderer
from engine.store.database import Database, connect
from tests.servers import fresh_database

T = TypeVar("T")

TEXT, NUMBER = Type("string"), Type("number")
TRACKING = Tracking(
    events=(
        EventType("order", (("total", NUMBER), ("kind", TEXT), ("at", Type("datetime")), ("lines", Type("list", item=TEXT)))),
        EventType("viewed"),
    ),
    attributes=(
        ("n", NUMBER),
        ("s", TEXT),
        ("flag", Type("boolean")),
        ("when", Type("datetime")),
        ("day", Type("date")),
        ("tags", Type("list", item=TEXT)),
        ("dates", Type("list", item=Type("date"))),
    ),
    computed=(
        Computed("orders", "count", "order", NUMBER),
        Computed("of_late", "count", "order", NUMBER, where="event.kind == 'a'", within=Duration(days=30)),
        Computed("few", "count", "order", NUMBER, at_least=2),
        Computed("five", "count", "order", NUMBER, where="event.kind == 'a'", at_least=2, default=5),
        Computed("spent", "sum", "order", NUMBER, value="event.total"),
        Computed("spent_twice", "sum", "order", NUMBER, value="event.total", at_least=2, default=0, within=Duration(months=1)),
        Computed("last_kind", "latest", "order", TEXT, value="event.kind", where="event.total is none or event.total > 0"),
        Computed("last_at", "latest", "order", Type("datetime"), value="event.occurred_at"),
        Computed("usual", "most_frequent", "order", TEXT, value="event.kind"),
        Computed("rhythm", "median_gap_days", "order", NUMBER, default=30),
        Computed("recent", "last", "viewed", Type("list"), value="event.kind", last=2),
        Computed("late_kind", "latest", "order", TEXT, value="event.kind", default="b", within=Duration(days=30)),
        Computed("late_at", "latest", "order", Type("datetime"), value="event.occurred_at", within=Duration(days=30)),
        Computed("first_kind", "earliest", "order", TEXT, value="event.kind", where="event.total | default(0) % 2 == 0"),
        Computed("first_at", "earliest", "order", Type("datetime"), value="event.occurred_at"),
        Computed("kinds", "distinct", "order", NUMBER, value="event.kind"),
        Computed("other", "count", "order", NUMBER, where="event.kind != 'a'"),
    ),
)
NOW = datetime(2026, 3, 30, 10, 0, tzinfo=UTC)  # the clocks of Europe went forward the day before
ZONES = ("Europe/Rome", "America/New_York", "Pacific/Auckland", "UTC", "Nowhere/Land", 5)
SPANS = (Duration(days=1), Duration(days=30), Duration(months=1), Duration(seconds=7200))

CONSTANTS = ("0", "1", "2", "-1", "1.5", "2.0", "0.3", "'a'", "'b'", "'B'", "''", "'é'", "true", "false", "none", "'2026-03-01'")
LARGE = ("9007199254740993", "1e300", "0.1")
MOMENTS = ("now", "now - days(1)", "now - days(30)", "now + days(1)", "now - hours(2)", "now - days(1.5)", "now - days(99999)")
OF_CUSTOMER = (
    *("customer.a", "customer.n", "customer.s", "customer.flag", "customer.when", "customer.day", "customer.tags"),
    *("customer.dates", "customer.o.x", "customer['o']", "customer.id", "customer.orders", "customer.of_late"),
    *("customer.spent", "customer.spent_twice", "customer.last_kind", "customer.last_at", "customer.usual"),
    *("customer.few", "customer.five", "customer.few | default(3)"),
    *("customer.rhythm", "customer.recent", "customer.s | default('a')", "customer.n | default(1)", "customer.s | lower"),
    *("customer.late_kind", "customer.late_at", "customer.first_kind", "customer.first_at", "customer.kinds", "customer.other"),
    *("customer.spent | default(0)", "customer.a | default(none)", "customer.n + 1", "entry.kind", "entry.total"),
)
OF_EVENT = ("event.total", "event.kind", "event.at", "event.occurred_at", "event.name", "event.lines", "event.o.x")
TESTS = ("none", "defined", "true", "false", "boolean", "number", "string", "list", "even")


def comparisons(values: Sequence[str]) -> st.SearchStrategy[str]:
    """One comparison, test or truth of a value."""
    value, constant = st.sampled_from(values), st.sampled_from((*CONSTANTS, *LARGE, *MOMENTS))
    order = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
    either = st.one_of(constant, value)
    listed = st.lists(st.sampled_from(CONSTANTS), max_size=3).map(lambda found: f"[{', '.join(found)}]")
    return st.one_of(
        st.builds("{} {} {}".format, value, order, either),
        st.builds("{} {} {}".format, constant, order, value),
        st.builds("{} {} {}".format, value, st.sampled_from(("in", "not in")), listed),
        st.builds("{} in {}".format, st.sampled_from(CONSTANTS), value),
        st.builds("{} is {}{}".format, value, st.sampled_from(("", "not ")), st.sampled_from(TESTS)),
        st.builds("{} < {} < {}".format, constant, value, constant),
        value,
    )


def expressions(values: Sequence[str]) -> st.SearchStrategy[str]:
    """Conditions as people write them."""
    return st.recursive(
        comparisons(values),
        lambda inner: st.one_of(
            st.builds("({}) and ({})".format, inner, inner),
            st.builds("({}) or ({})".format, inner, inner),
            st.builds("not ({})".format, inner),
            st.builds("({}) if ({}) else ({})".format, inner, inner, inner),
        ),
        max_leaves=4,
    )


def conditions(segments: Sequence[str]) -> st.SearchStrategy[Condition]:
    """Conditions on customers; `segments`: those that they may ask for."""
    asked = [f'segment("{s}")' for s in segments]
    wheres = st.one_of(st.none(), expressions((*OF_EVENT, "customer.s", "customer.n", *asked)))
    dids = st.builds(
        Did, st.sampled_from(("order", "viewed")), st.integers(1, 3), st.one_of(st.none(), st.sampled_from(SPANS)), wheres
    )
    leaves = [dids, st.builds(Holds, expressions((*OF_CUSTOMER, *asked)))]
    leaves += [st.sampled_from([InSegment(s) for s in segments])] if segments else []
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(Every, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(Either, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        ),
        max_leaves=4,
    )


def deployed(segments: Segments) -> Deployment:
    """These segments over TRACKING."""
    policy = Policy((Tier("only"),), timezone="Europe/Rome")
    return Deployment(1, policy, "", TRACKING, segments, Renderer({}), {}, {})


@dataclass(frozen=True, slots=True)
class Store:
    """A store and a loop for all examples of a module, as an example is no coroutine. Each leaves the store as it was, or
    empties it."""

    database: Database
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Play one example."""
        return self.runner.run(work)


@contextmanager
def kept_store() -> Iterator[Store]:
    """One of its own."""
    with fresh_database() as url, asyncio.Runner() as runner:
        database = connect(url, pool=3)
        yield Store(database, runner)
        runner.run(database.dispose())
