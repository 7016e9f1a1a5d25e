"""People who don't exist reach every way of a journey, and what a play tells is counted as it was told."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.app.forecast import Figures, days_between, period_of, quantile, span_words
from engine.app.forecast_page import page
from engine.app.simulating import Part, figures_of, play_synthetic
from engine.app.synthetic import Synthetic
from engine.authoring.model_tracking import BUILTIN
from engine.authoring.project import Compiled, load_project
from engine.core.clock import zone
from engine.delivery.deployment import Deployment
from engine.simulator.told import Told
from tests.harness import POLICY, write_project

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)

SHOP = {
    "journeys/policy.yaml": POLICY
    + "caps: [{name: daily, tiers: [promotional], limit: 1, per: day}]\n"
    + "quiet_hours: [{from: '21:00', to: '08:00'}]\n"
    + "holds: [{from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [promotional], at_most: 14d}]\n",
    "journeys/tracking.yaml": """
        events:
          ordered: {properties: {order_id: string, total: number, kind: [food, wine]}, required: [order_id, total]}
          reviewed: {properties: {order_id: string, stars: integer}, required: [order_id, stars]}
          complaint_filed: {properties: {ticket_id: string}}
          complaint_resolved: {properties: {ticket_id: string}}
        attributes: {email: string, first_name: string, timezone: string, country: string, points: integer}
    """,
    "journeys/care.yaml": """
        journey: care
        tier: promotional
        enter: {event: ordered, key: order_id, where: event.total >= 500}
        steps:
          - branch:
              - if: customer.points > 777
                then: [{send: email, id: loyal, template: hello, topic: news}]
              - if: entry.kind == "wine"
                then: [{send: email, id: cellar, template: hello, topic: news}]
              - else: [{send: email, id: plain, template: hello, topic: news}]
            id: which
          - wait_for: reviewed
            id: review
            timeout: 3d
            then:
              - branch:
                  - if: event.stars == 4
                    then: [{task: service, id: ask, title: "{{ event.stars }}"}]
                  - else: [{send: email, id: thanks, template: again, topic: news}]
                id: stars
          - wait_for: message_clicked
            id: click
            timeout: 2d
    """,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A journey whose ways depend on attributes, properties, answers, events and clicks."""
    return load_project(write_project(tmp_path_factory.mktemp("shop"), SHOP), {"email", "sms"})


def forecast(compiled: Compiled, customers: int = 120, seed: int = 0) -> tuple[Figures, list[Told], Any]:
    """Figures of so many people over 20 days, what was told, and the span."""
    figures, heard = figures_of(compiled, None), list[Told]()

    def tell(told: Told) -> None:
        heard.append(told)
        figures.tell(told)

    people = Synthetic(compiled, customers, 20, MONDAY, "Europe/Rome", seed)
    return figures, heard, play_synthetic(people, Part(compiled, None, tell), lambda done, of: None)


def test_every_way_is_reached_and_counted(shop: Compiled) -> None:
    """Thresholds that chance would never meet are met from both sides; the figures are those of what was told."""
    figures, heard, span = forecast(shop)
    assert {} == span.refused
    found = figures.to_json()
    ways = {(w["step"], w["way"]) for w in found["branches"]}
    which = {("which", "customer.points > 777"), ("which", 'entry.kind == "wine"'), ("which", "else")}
    answers = {("review", "reviewed"), ("review", "timeout"), ("stars", "event.stars == 4"), ("stars", "else")}
    assert which | answers | {("click", "message_clicked"), ("click", "timeout")} == ways
    kinds = Counter(told.kind for told in heard)
    assert kinds["send"] == sum(m["sent"] for m in found["messages"]) == sum(s["sent"] for s in found["steps"]) > 30
    assert (kinds["defer"], kinds["drop"]) == tuple(sum(r["messages"] for r in found[k]) for k in ("defers", "drops"))
    assert {"cap", "quiet_hours", "hold"} <= {row["reason"] for row in found["defers"]}
    (care,) = found["journeys"]
    assert (care["entered"], kinds["exit"]) == (kinds["enter"], sum(care["exits"].values()))
    assert care["entered"] - kinds["exit"] == care["inside"] == sum(s["inside"] for s in found["steps"])
    assert kinds["task"] == found["tasks"]["service"] > 0
    (cap,) = found["caps"]
    stopped = {t.customer for t in heard if t.rule == "daily"}
    asked = {t.customer for t in heard if t.kind in ("send", "defer", "drop")}
    assert (cap["people"], cap["share"]) == (len(stopped), round(len(stopped) / len(asked), 4))
    once, again, other = (forecast(shop, 15, n)[0].to_json() for n in (0, 0, 1))
    assert once == again != other


def test_the_page_needs_nothing_else_and_says_what_was_counted(shop: Compiled) -> None:
    """No address is in it, everything written is escaped, and its columns hold exactly the messages."""
    figures, _, span = forecast(shop, 25)
    whole = page(figures, span, "<b>shop</b>")
    assert re.findall(r"""(?:src|href|@import|url\()[=\s"']""", whole) == []
    assert "http" not in whole
    assert "<b>shop</b>" not in whole
    assert "&lt;b&gt;shop&lt;/b&gt;" in whole
    told = re.findall(r"<title>(\S+): (\d+) (\w+) by (\w+)</title>", whole)
    assert {(d, t, c): int(n) for d, n, t, c in told} == dict(figures.sent)
    assert "entry.kind == &#34;wine&#34;" in whole
    empty = page(figures_of(shop, None), span, "nothing")
    assert "Nobody entered any." in empty


def told(kind: Any, at: datetime, step: str = "", enrollment: int = 1, **more: Any) -> Told:
    """One thing told of customer 7 in the journey care."""
    return Told(at, kind, 7, "ada", "care", enrollment, step=step, **more)


def test_time_in_a_step_runs_from_reaching_it_to_reaching_the_next(shop: Compiled) -> None:
    """A message that waits at the gates stays in its step; who hasn't left counts as inside; the end ends the last stay."""
    figures = figures_of(shop, None)
    hour = timedelta(hours=1)
    for n in (1, 2):
        figures.tell(told("enter", MONDAY, enrollment=n))
        figures.tell(told("defer", MONDAY, "a", n, reason="cap", rule="daily", until=MONDAY + hour))
    figures.tell(told("send", MONDAY + 2 * hour, "a", channel="email", tier="promotional"))
    figures.tell(told("wait", MONDAY + 2 * hour, "b"))
    figures.tell(told("exit", MONDAY + 5 * hour, "b", reason="completed"))
    rows = {s["step"]: (s["stays"], s["median"], s["inside"], s["sent"]) for s in figures.steps()}
    assert {"a": (1, 7200.0, 1, 1), "b": (1, 10800.0, 0, 0)} == rows
    assert [{"cap": "daily", "defers": 2, "drops": 0, "people": 1, "share": 1.0}] == figures.caps()
    assert "2.0h 5m 30s 3.0d at once" == " ".join(map(span_words, (7200, 300, 30, 259200, 0.2))).replace("5.0m", "5m")
    json.dumps(figures.to_json())


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    """By its definition, over any values."""
    ranked = sorted(values)
    at_most = next(v for v in ranked if sum(w <= v for w in ranked) >= share * len(ranked))
    assert round(at_most, 1) == quantile(ranked, share)
    assert quantile([], share) is None


def test_days_are_those_of_the_zone_and_rows_grow_with_them() -> None:
    """The first and the last local day count; many days are told by week, then by month."""
    rome = zone("Europe/Rome")
    assert ["2026-03-02"] == days_between(MONDAY, MONDAY + timedelta(hours=1), rome)
    late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    assert ["2026-03-03", "2026-03-04"] == days_between(late, late + timedelta(days=2), rome)
    names = [(name, of("2026-03-04")) for name, of in (period_of(45), period_of(46), period_of(401))]
    assert [("day", "2026-03-04"), ("week", "2026-W10"), ("month", "2026-03")] == names


def test_the_people_of_the_shipped_project_fit_its_types() -> None:
    """Nothing of what they do would be put aside, it comes in order, and everything that opens a journey from outside is done."""
    compiled = load_project(Path(__file__).parents[2], {"email", "sms", "push"})
    deployment = Deployment.of(compiled, compiled.plans)
    people = Synthetic(compiled, 60, 20, MONDAY, "Europe/Rome")
    came = [incoming for _, batch in people.slices() for incoming in batch]
    assert [] == [why for incoming in came if (why := deployment.checked(incoming)[1])]
    moments = [incoming.occurred_at or MONDAY for incoming in came]
    assert moments == sorted(moments)
    assert [incoming.history for incoming in came] == [moment < MONDAY for moment in moments]
    opening = {e.event for p in compiled.plans.values() for e in p.entries if e.kind == "event"} - {b.name for b in BUILTIN}
    assert set() == opening - {incoming.name for incoming in came}
    assert people.end - timedelta(days=1) < max(moments) < people.end
