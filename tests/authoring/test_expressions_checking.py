"""What is found wrong with a condition before a deploy, and how to mend it."""

from __future__ import annotations

import pytest

from engine.authoring.checking import Expect, Scope, check_source
from engine.authoring.types import Type, parse_type

CUSTOMER = parse_type(
    {"plan": ["free", "trial", "pro"], "country": "string", "orders": "number", "birthday": "date", "vip": "boolean"}
)
EVENT = parse_type({"items": [{"sku": "string", "price": "number"}], "total": "number", "paid": "boolean"})
SCOPE = Scope(
    names={"customer": CUSTOMER, "event": EVENT, "vars": Type("object"), "now": Type("datetime", optional=False)},
    segments=["vip", "lapsing"],
    absent={"entry": "a segment has no entry"},
)


@pytest.mark.parametrize(
    ("source", "code", "underlined", "hint"),
    [
        ('customer.plan == "pro" or "team"', "SJ331", '"team"', 'customer.plan in ["pro", "team"]'),
        ('customer.plan == "por"', "SJ330", '"por"', "did you mean `pro`?"),
        ('customer.plan in ["pro", "gold"]', "SJ330", '"gold"', "free, trial, pro"),
        ('customer.plna == "pro"', "SJ231", "plna", "did you mean `plan`?"),
        ("cutomer.vip", "SJ230", "cutomer", "did you mean `customer`?"),
        ("entry.x == 3", "SJ232", "entry", ""),
        ('segment("vp")', "SJ212", '"vp"', "did you mean `vip`?"),
        ("customer.vip & event.paid", "SJ120", "&", "and"),
        ("customer.vip | uper == 1", "SJ233", "uper", "upper"),
        ("customer.country and event.paid", "SJ331", "customer.country", "is not none"),
        ("not customer.country", "SJ331", "customer.country", "is not none"),
        ("customer.orders", "SJ331", "customer.orders", "customer.orders > 0"),
        ('event.total == "40"', "SJ332", "event.total", "without quotes"),
        ("customer.country == 39", "SJ332", "customer.country", '"39"'),
        ('event.paid == "yes"', "SJ332", "event.paid", "true"),
        ('event.items.sku == "a"', "SJ231", "sku", "any_item"),
        ("now + 3 > now", "SJ334", "now", "days(3)"),
        ('now + days("x") > now', "SJ334", '"x"', ""),
        ("event.total in 40", "SJ332", "4", "=="),
        ('customer.birthday == "soon"', "SJ332", "customer.birthday", ""),
        ("any_item(event.total, 'a', 1)", "SJ334", "event.total", ""),
    ],
)
def test_mistakes(source: str, code: str, underlined: str, hint: str) -> None:
    """Each mistake is one error, at its place, with the mend."""
    found = [f for f in check_source(source, SCOPE, "condition") if f.level == "error"]
    assert [(code, underlined)] == [(f.code, source[f.offset : f.offset + f.length]) for f in found]
    assert hint in found[0].hint


@pytest.mark.parametrize(
    "source",
    [
        'customer.plan == "pro" and event.paid',
        'customer.plan in ["pro", "trial"] or segment("vip")',
        "customer.orders | default(0) > 3",
        "customer.orders is not none and customer.orders > 3",
        "event.total == 40 and event.items[0].sku == customer.country",
        'any_item(event.items, "sku", "x")',
        'customer.birthday == "1990-03-29"',
        "customer.birthday == now",
        "vars.anything.at.all == 3",
        "event.items | length > 2",
        "customer.plan | default('free') != 'pro'",
        "customer.vip | default(false)",
        "now - days(3) < now",
    ],
)
def test_sound_conditions(source: str) -> None:
    """A sound condition has no findings at all."""
    assert [] == check_source(source, SCOPE, "condition")


@pytest.mark.parametrize(
    "source", ["customer.orders > 3", "3 <= customer.orders", "customer.birthday < now", "1 < event.total < 9"]
)
def test_an_optional_value_in_an_ordered_comparison_warns(source: str) -> None:
    """Ordering something that may be missing, with no word on what then, is a warning."""
    found = check_source(source, SCOPE, "condition")
    assert [("SJ333", "warning")] == [(f.code, f.level) for f in found]
    assert "default" in found[0].hint


@pytest.mark.parametrize(
    ("source", "expect", "codes"),
    [
        ("customer.birthday", "moment", []),
        ("now + days(3)", "moment", []),
        ("customer.birthday + days(3)", "moment", []),
        ("customer.country", "moment", ["SJ335"]),
        ("event.total", "moment", ["SJ335"]),
        ("event.total", "number", []),
        ("customer.country", "number", ["SJ335"]),
        ("event.items", "text", ["SJ335"]),
        ("event.items", "any", []),
    ],
)
def test_what_a_place_needs(source: str, expect: Expect, codes: list[str]) -> None:
    """A moment, a number or a text is asked for where one is needed."""
    assert codes == [f.code for f in check_source(source, SCOPE, expect)]


def test_all_findings_come_at_once() -> None:
    """Every mistake in one expression is found in one run, in order of place."""
    found = check_source('customer.plna == "x" or segment("nope") or event.total == "1"', SCOPE, "condition")
    assert ["SJ231", "SJ212", "SJ332"] == [f.code for f in found]


def test_open_names_have_further_fields() -> None:
    """An undeclared event has any property, while those that are known keep their types."""
    scope = Scope({"event": Type("object", fields=(("at", Type("datetime")),))}, open_names=("event",))
    assert [] == check_source('event.whatever == "x"', scope)
    assert ["SJ332"] == [f.code for f in check_source("event.at == 3", scope)]
