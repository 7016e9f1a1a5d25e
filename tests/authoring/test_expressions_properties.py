"""What holds for every expression and every customer: evaluation ends, and raises nothing but ExpressionError."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.authoring.expressions import Context, ExpressionError, compile_expression, compile_value
from engine.authoring.filters import FILTERS, TESTS

NAMES = st.sampled_from(["a", "b", "items", "__class__", "plan"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
    | st.sampled_from(["2026-03-29", "2026-03-29T02:30:00", "0001-01-01", "9999-12-31"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
ZONES = st.sampled_from(["UTC", "Europe/Rome", "America/Santiago", "Pacific/Apia", "Nowhere/None"])

LEAVES = st.sampled_from(
    [
        "customer.a",
        "customer.b.items",
        "event.plan",
        "entry.a",
        "vars.b",
        "now",
        "none",
        "true",
        "3",
        "-2.5",
        '"x"',
        '"2026-03-29"',
        "customer",
        "[1, none]",
        '{"a": 1}',
        'segment("vip")',
        "10 ** 20",
        "customer.a[0]",
        "customer.b[1:2]",
    ]
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions made of smaller ones."""
    signs = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"])
    return (
        st.builds("({} {} {})".format, inner, signs, inner)
        | st.builds("({} | {})".format, inner, st.sampled_from(sorted(set(FILTERS) - {"replace", "map"})))
        | st.builds(
            "({} | {}({}))".format,
            inner,
            st.sampled_from(["default", "join", "round", "map", "date", "money", "sum", "truncate"]),
            inner,
        )
        | st.builds("({} | replace({}, {}))".format, inner, inner, inner)
        | st.builds("({} is {})".format, inner, st.sampled_from(sorted(TESTS)))
        | st.builds("(not {})".format, inner)
        | st.builds("(-{})".format, inner)
        | st.builds("days({})".format, inner)
        | st.builds("hours({})".format, inner)
        | st.builds('any_item({}, "a", {})'.format, inner, inner)
        | st.builds("({}).items".format, inner)
        | st.builds("({})[{}]".format, inner, inner)
        | st.builds("({} if {} else {})".format, inner, inner, inner)
    )


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=6)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=4)
CONTEXTS = st.builds(
    Context,
    customer=RECORDS,
    now=st.datetimes(timezones=st.just(UTC)),
    entry=st.none() | RECORDS,
    event=st.none() | RECORDS,
    vars=RECORDS,
    zone=ZONES,
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, CONTEXTS)
def test_evaluation_raises_nothing_else(source: str, context: Context) -> None:
    """Whatever the expression and the data: a value, a truth and a moment, or an ExpressionError."""
    with contextlib.suppress(ExpressionError):
        expression = compile_expression(source)
        expression.evaluate(context)
        assert isinstance(expression.test(context), bool)
        moment = expression.moment(context)
        assert moment is None or moment.tzinfo is UTC


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, CONTEXTS)
def test_values_are_json(source: str, context: Context) -> None:
    """What a `{{ }}` gives can be written as JSON."""
    with contextlib.suppress(ExpressionError):
        value = compile_value(["{{ " + source + " }}", "text {{ " + source + " }}"]).evaluate(context)
        assert value == json.loads(json.dumps(value, allow_nan=False))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abcustomer.()[]{}|\"'=<>!+-*/%~, 0123456789_\\\n", max_size=40))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    """Any text at all is an expression or an ExpressionError whose offset lies inside it."""
    found: ExpressionError | None = None
    try:
        assert source == compile_expression(source).source
    except ExpressionError as error:
        found = error
    assert found is None or 0 <= found.offset <= len(source)


EMPTY = Context(customer={}, now=datetime(2026, 1, 1, tzinfo=UTC))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["<", "<=", ">", ">="]),
    st.sampled_from(["3", '"x"', "now", "customer.other", "days(1)", "true"]),
    st.booleans(),
)
def test_order_with_a_missing_value_is_false(sign: str, other: str, first: bool) -> None:
    """An ordered comparison with a missing value is false on either side."""
    pair = ("customer.missing", other) if first else (other, "customer.missing")
    assert False is compile_expression(f"{pair[0]} {sign} {pair[1]}").test(EMPTY)


@given(st.dates(date(1900, 1, 2), date(2100, 1, 1)), st.integers(-1000, 1000), ZONES)
def test_days_keep_the_date(day: date, n: int, zone: str) -> None:
    """A date plus days is a date, and back again the same one."""
    context = Context(customer={"day": day, "n": n}, now=EMPTY.now, zone=zone)
    assert day == compile_expression("customer.day + days(customer.n) - days(customer.n)").evaluate(context)
