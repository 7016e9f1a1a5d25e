"""Computed attributes and predictions as tracking.yaml writes them: what each gives, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.authoring.compile_tracking import DAYS_AHEAD
from engine.authoring.kept import why_not_kept
from engine.authoring.model_tracking import Points, Predict, Tracking, by_people
from engine.authoring.project import Compiled
from engine.core.clock import Duration
from engine.settings.problems import Problem

EVENTS = """\
events:
  order_completed: {properties: {order_id: string, total: number, category: [food, skincare], on: date}, required: [order_id]}
attributes: {country: string, limit: number}
"""

Compiling = Callable[..., Compiled]
Problems = Callable[..., list[Problem]]


def found(compiled: Compiling, more: str) -> Tracking:
    """tracking.yaml with `more` in it, compiled."""
    return compiled(tracking=EVENTS + more, segments="segments: {}\n").tracking


@pytest.mark.parametrize(
    ("written", "kind", "type_", "default"),
    [
        ("{sum: event.total, of: order_completed}", "sum", "number", 0),
        ("{sum: event.total, of: order_completed, at_least: 2}", "sum", "number?", None),
        ("{count: order_completed}", "count", "integer", 0),
        ("{count: order_completed, at_least: 3, default: -1}", "count", "integer", -1),
        ("{earliest: event.category, of: order_completed}", "earliest", "[food, skincare]?", None),
        ("{first: 3, of: order_completed, value: event.total}", "first", "[number]", []),
        ("{last: 3, of: order_completed, value: event.on}", "last", "[date]", []),
        ("{distinct: event.category, of: order_completed}", "distinct", "integer", 0),
        ("{median_gap_days: order_completed}", "median_gap_days", "number?", None),
        ("{most_frequent: event.total, of: order_completed, default: 1}", "most_frequent", "number", 1),
    ],
)
def test_each_kind_has_a_type_and_a_value_for_nothing(
    compiled: Compiling, written: str, kind: str, type_: str, default: Any
) -> None:
    """`?`: it may be missing. It survives JSON."""
    tracking = found(compiled, f"computed: {{x: {written}}}\n")
    (x,) = tracking.computed
    assert (kind, type_, default) == (x.kind, x.type.describe() + ("?" if x.type.optional else ""), x.default)
    assert tracking == Tracking.from_json(tracking.to_json())


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('where: event.category == "food"', True),
        ("where: event.total > customer.limit | default(0)", False),
        ("where: event.occurred_at > now - days(3)", False),
        ('where: event.occurred_at | date("%d") == "01"', False),
    ],
)
def test_which_are_kept_is_known_when_they_compile(compiled: Compiling, written: str, kept: bool) -> None:
    """Those whose expressions read the event alone."""
    tracking = found(compiled, f"computed: {{x: {{count: order_completed, {written}}}}}\n")
    assert kept == (why_not_kept(tracking.computed[0], tracking) == "")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("computed: {x: {distinct: event.nothing, of: order_completed}}\n", "SJ231"),
        ("computed: {x: {earliest: event.total, of: nowhere}}\n", "SJ201"),
        ("computed: {x: {count: order_completed, where: event.total > customer.unknown}}\n", "SJ231"),
        ("computed: {y: {count: order_completed}, x: {count: order_completed, where: customer.y > 1}}\n", "SJ231"),
        ("computed: {x: {first: 0, of: order_completed, value: event.total}}\n", "SJ112"),
        ("computed: {x: {score: [{of: nowhere, add: 1}]}}\n", "SJ201"),
        ("computed: {x: {score: []}}\n", "SJ112"),
        ("computed: {x: {score: [{add: 1}]}}\n", "SJ113"),
        ("computed: {x: {score: [{of: order_completed, if: customer.limit > 1, add: 1}]}}\n", "SJ114"),
        ("computed: {x: {score: [{of: order_completed, add: 1.2345}]}}\n", "SJ427"),
        ("computed: {x: {score: [{of: order_completed, add: 1}], half_life: 5m}}\n", "SJ427"),
        ("computed: {x: {score: [{of: order_completed, add: 1}], half_life: 1 month}}\n", "SJ427"),
        ("computed: {x: {score: [{of: order_completed, where: event.unknown, add: 1}]}}\n", "SJ231"),
        ("computed: {x: {score: [{if: event.total > 1, add: 1}]}}\n", "SJ232"),
        ("predict: {orders: nowhere}\n", "SJ201"),
        ("predict: {orders: order_completed, value: event.category}\n", "SJ335"),
        ("predict: {orders: order_completed, value: event.total * customer.limit}\n", "SJ426"),
        ("predict: {orders: order_completed, where: event.occurred_at > now - days(9)}\n", "SJ426"),
        ("predict: {orders: order_completed, ahead: 0d}\n", "SJ426"),
        ("predict: {orders: order_completed}\ncomputed: {churn_risk: {count: order_completed}}\n", "SJ411"),
        ("predict: {orders: order_completed, often: 3d}\n", "SJ110"),
        ("predict: {}\n", "SJ111"),
    ],
)
def test_what_is_refused(problems: Problems, more: str, code: str) -> None:
    """With a code."""
    assert code in [p.code for p in problems(tracking=EVENTS + more, segments="segments: {}\n") if p.level == "error"]


def test_a_score_has_points_of_events_and_of_what_the_customer_is(compiled: Compiling) -> None:
    """It is a number, never missing, and kept unless a `where` of an event reads more than that."""
    points = "[{of: order_completed, where: event.total > 10, add: 5}, {if: customer.limit > 3, add: -2.5}]"
    tracking = found(compiled, f"computed: {{x: {{score: {points}, half_life: 2w}}}}\n")
    (x,) = tracking.computed
    assert ("number", False, Duration(days=14)) == (x.type.describe(), x.type.optional, x.half_life)
    assert ("order_completed",) == x.events
    assert (Points(5, "order_completed", "event.total > 10"), Points(-2.5, condition="customer.limit > 3")) == x.points
    assert "" == why_not_kept(x, tracking)
    assert tracking == Tracking.from_json(tracking.to_json())
    other = found(compiled, 'computed: {x: {score: [{of: order_completed, where: customer.country == "IT", add: 1}]}}\n')
    assert "attributes of the customer" in why_not_kept(other.computed[0], other)


def test_predictions_are_attributes_like_others(compiled: Compiling, problems: Problems) -> None:
    """Conditions read them, nobody sets them; without a value nothing is said of worth."""
    more = "predict: {orders: order_completed, value: event.total, ahead: 12w}\n"
    tracking = found(compiled, more)
    assert Predict("order_completed", Duration(days=84), "event.total") == tracking.predict
    assert {"churn_risk", "expected_orders", "expected_value"} == tracking.worked_out.keys()
    assert tracking == Tracking.from_json(tracking.to_json())
    segments = "segments: {leaving: {if: customer.churn_risk > 0.7}}\n"
    assert compiled(tracking=EVENTS + more, segments=segments).segments.names() == {"leaving"}
    wrong = problems("- set: {customer.churn_risk: 1}", tracking=EVENTS + more, segments="segments: {}\n")
    assert "SJ423" in [p.code for p in wrong]
    plain = found(compiled, "predict: {orders: order_completed}\n")
    assert plain.predict is not None
    assert (DAYS_AHEAD, {"churn_risk", "expected_orders"}) == (plain.predict.ahead, set(plain.worked_out))


def test_a_deployment_of_before_is_read_back(compiled: Compiling) -> None:
    """What was stored by a version without predictions."""
    body = found(compiled, "").to_json()
    del body["predict"]
    assert Tracking.from_json(body).predict is None


@pytest.mark.parametrize(
    ("event", "where", "asked"),
    [
        ("message_clicked", None, "not event.machine"),
        (
            "message_clicked",
            "event.url == 'https://shop.example/machine'",
            "(event.url == 'https://shop.example/machine') and not event.machine",
        ),
        ("message_opened", "event.machine or event.step == 'hello'", "event.machine or event.step == 'hello'"),
        ("signed_up", None, None),
        ("signed_up", "event.plan == 'pro'", "event.plan == 'pro'"),
    ],
)
def test_only_who_asks_about_machines_hears_of_them(event: str, where: str | None, asked: str | None) -> None:
    """The word in a value is no question: what a scanner clicks stays nobody's doing."""
    assert asked == by_people(event, where)
