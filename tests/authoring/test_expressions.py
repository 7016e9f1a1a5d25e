"""What expressions mean: operators, missing values, dates, filters, values with holes, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from engine.authoring.expressions import Context, ExpressionError, PlacedError, Uses, compile_expression, compile_value
from engine.core.clock import Duration

NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
CONTEXT = Context(
    customer={
        "plan": "pro",
        "orders": 3,
        "birthday": date(1990, 3, 29),
        "gap": 30,
        "zero": 0,
        "tags": ["a", "b"],
        "nothing": None,
    },
    now=NOW,
    entry={"occurred_at": NOW, "order_id": "A1", "day": "2026-03-28", "items": "the property"},
    event={
        "rating": 4,
        "total": 40.0,
        "items": [{"sku": "x", "price": 2.5}, {"sku": "y", "price": 1}],
        "keys": {"deep": {"er": 1}},
    },
    vars={"last_send": {"status": "sent"}},
    segments=lambda name: name == "vip",
    zone="Europe/Rome",
    secrets={"KEY": "s3cret"},
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('customer.plan == "pro"', True),
        ('customer.plan in ["pro", "team"]', True),
        ('customer.plan not in ["free"]', True),
        ("event.rating >= 4 and not (event.total > 100)", True),
        ("1 < event.rating < 5", True),
        ('segment("vip") and not segment("lapsing")', True),
        ("event.items | length", 2),
        ("entry.items", "the property"),
        ("event.keys.deep.er", 1),
        ('event["rating"]', 4),
        ("event.items[1].sku", "y"),
        ("event.items[-1].sku", "y"),
        ("event.items[9].sku", None),
        ("customer.tags[:1]", ["a"]),
        ('any_item(event.items, "sku", "y")', True),
        ('any_item(event.items, "sku", "z")', False),
        ("vars.last_send.status", "sent"),
        ("secrets.KEY", "s3cret"),
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 2 + 2 ** 3", 12),
        ("-customer.orders", -3),
        ('"a" ~ 1 ~ true ~ none ~ 40.0', "a1true40"),
        ('"b" if customer.orders > 5 else "c"', "c"),
        ('"b" if customer.orders > 5', None),
        ('"x" in "axb"', True),
        ("[1, event.rating]", [1, 4]),
        ('{"a": event.rating}', {"a": 4}),
        ('customer.tags + ["c"]', ["a", "b", "c"]),
    ],
)
def test_operators(source: str, expected: object) -> None:
    """Operators mean what they mean in Jinja, and dots read properties, whatever a property is called."""
    assert expected == compile_expression(source).evaluate(CONTEXT)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("customer.unknown", None),
        ("customer.unknown.deeper.still", None),
        ("customer.plan.of_a_text", None),
        ("customer.nothing is none", True),
        ("customer.unknown is none", True),
        ("customer.unknown is defined", False),
        ("customer.zero is defined", True),
        ("customer.unknown == none", True),
        ("customer.unknown == customer.missing_too", True),
        ('customer.unknown == ""', False),
        ("customer.unknown == 0", False),
        ("customer.unknown != 0", True),
        ("customer.unknown > 3", False),
        ("customer.unknown <= 3", False),
        ("not customer.unknown > 3", True),
        ("customer.plan > 3", False),
        ("customer.unknown + 1", None),
        ("customer.unknown * 2 > 1", False),
        ("-customer.unknown", None),
        ("now + days(customer.unknown)", None),
        ("customer.unknown in [1]", False),
        ("1 in customer.unknown", False),
        ("1 not in customer.unknown", True),
        ("customer.unknown | default(7)", 7),
        ("customer.zero | default(7)", 0),
        ("customer.unknown | upper", None),
        ("customer.unknown | length", None),
        ("customer.unknown or 5", 5),
        ("1 / customer.zero", None),
        ("1 % 0", None),
        ("(0 - 8) ** 0.5", None),
        ('"ab" * 3', None),
        ("any_item(customer.unknown, 'a', 1)", False),
    ],
)
def test_missing(source: str, expected: object) -> None:
    """A missing value is none, spreads through arithmetic, makes ordered comparisons false, and is never an exception."""
    assert expected == compile_expression(source).evaluate(CONTEXT)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Rome leaves winter time on 29 March 2026 at 02:00: this day has 23 hours.
        ("now + days(1)", datetime(2026, 3, 29, 11, 0, tzinfo=UTC)),
        ("now + hours(24)", datetime(2026, 3, 29, 12, 0, tzinfo=UTC)),
        ("entry.occurred_at - days(1)", datetime(2026, 3, 27, 12, 0, tzinfo=UTC)),
        ("days(1) + now", datetime(2026, 3, 29, 11, 0, tzinfo=UTC)),
        ("now + days(customer.gap)", datetime(2026, 4, 27, 11, 0, tzinfo=UTC)),
        ("customer.birthday + days(3)", date(1990, 4, 1)),
        ("entry.day", datetime(2026, 3, 27, 23, 0, tzinfo=UTC)),
        ('"2026-03-29"', datetime(2026, 3, 28, 23, 0, tzinfo=UTC)),
        ('"2026-03-29T10:00:00+02:00"', datetime(2026, 3, 29, 8, 0, tzinfo=UTC)),
        ('"2026-03-29T10:00"', datetime(2026, 3, 29, 8, 0, tzinfo=UTC)),
        ('"soon"', None),
        ("customer.unknown", None),
        ("customer.orders", None),
    ],
)
def test_moments(source: str, expected: object) -> None:
    """A date is its local midnight, a day keeps the wall-clock time over a DST change, and text is read as ISO."""
    expression = compile_expression(source)
    value = expression.evaluate(CONTEXT) if type(expected) is date else expression.moment(CONTEXT)
    assert expected == value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("customer.birthday < now", True),
        ("now > customer.birthday", True),
        ('entry.occurred_at > "2026-03-28"', True),
        ('entry.occurred_at < "2026-03-29"', True),
        ('now < "whenever"', False),
        ("now == entry.occurred_at", True),
        ('customer.birthday == "1990-03-29"', True),
        ("now - entry.occurred_at < days(1)", True),
        ("now - customer.birthday > days(10000)", True),
        ("days(2) > hours(47)", True),
        ('now | date("%-d %B %Y, %H:%M")', "28 March 2026, 13:00"),
        ('customer.birthday | date("%a %d/%m/%y")', "Thu 29/03/90"),
        ('now | date("%99999999d")', "%99999999d"),
        ("now | time", "13:00"),
        ('event.total | money("€")', "€40.00"),
        ('1234567.5 | money("EUR")', "1,234,567.50 EUR"),
        ('-2 | money("$")', "-$2.00"),
        ("2.5 | round", 2),
        ("2.345 | round(2)", 2.35),
        ('"12" | int + 1', 13),
        ('"x" | int', None),
        ('"x" | int(0)', 0),
        ('"1.5" | float', 1.5),
        ("event.items | map(attribute='sku') | join(', ')", "x, y"),
        ("event.items | sum('price')", 3.5),
        ("[3, 1, 2] | sort | first", 1),
        ("[3, 1, 2] | max", 3),
        ("[1, 1, 2] | unique", [1, 2]),
        ('" a " | trim | upper', "A"),
        ('"a-b" | replace("-", "+")', "a+b"),
        ('"a long sentence" | truncate(7)', "a long…"),
        ('"a b&c" | urlencode', "a%20b%26c"),
        ("days(1.5)", Duration(days=1, seconds=43_200)),
    ],
)
def test_dates_and_filters(source: str, expected: object) -> None:
    """Dates compare with moments and ISO texts; filters give what their name says, in the customer's zone."""
    assert expected == compile_expression(source).evaluate(CONTEXT)


def test_a_midnight_that_does_not_exist() -> None:
    """A date whose local midnight DST skips is the first moment after the gap."""
    context = Context(customer={}, now=NOW, zone="America/Santiago")
    assert datetime(2026, 9, 6, 4, 0, tzinfo=UTC) == compile_expression('"2026-09-06"').moment(context)


def test_uses() -> None:
    """An expression says which attributes, segments and records it reads; a whole object counts as `*`."""
    uses = compile_expression('segment("vip") and customer.plan == event["x"].y and vars.a and now > entry.at').uses
    assert (
        Uses(
            customer=frozenset({"plan"}),
            entry_properties=frozenset({"at"}),
            event_properties=frozenset({"x"}),
            variables=frozenset({"a"}),
            segments=frozenset({"vip"}),
            now=True,
        )
        == uses
    )
    assert frozenset({"*"}) == compile_expression("customer | tojson").uses.customer


def test_values() -> None:
    """In JSON a lone `{{ }}` keeps its type, one inside text becomes text, and all that comes out is JSON."""
    value = compile_value(
        {"n": "{{ event.total }}", "text": "{{ customer.plan }}: {{ event.total }} {{ customer.x }}!", "at": ["{{ now }}"]}
    )
    assert {"n": 40.0, "text": "pro: 40 !", "at": ["2026-03-28T12:00:00+00:00"]} == value.evaluate(CONTEXT)
    assert [("n",), ("text",), ("text",), ("text",), ("at", 0)] == [path for path, _ in value.expressions]
    assert frozenset({"plan", "x"}) == value.uses.customer


def test_a_value_keeps_what_looks_like_the_end_of_a_hole() -> None:
    """`}}` inside quotes doesn't end a hole, and a number, a bool or null in JSON stays itself."""
    assert {"a": "}}", "b": [1, True, None]} == compile_value({"a": '{{ "}}" }}', "b": [1, True, None]}).evaluate(CONTEXT)


def test_a_wrong_value_says_where() -> None:
    """An error inside JSON names the path to the text and the place in it."""
    with pytest.raises(PlacedError) as caught:
        compile_value({"a": [{"b": "x {{ nonsense }}"}]})
    assert (("a", 0, "b"), 5) == (caught.value.path, caught.value.offset)


@pytest.mark.parametrize(
    ("source", "offset", "hint"),
    [
        ("customer.plan = 3", 14, "=="),
        ("a && b", 2, "and"),
        ("customer.plan ==", 14, ""),
        ("cutomer.plan", 0, "customer"),
        ("pro", 0, "quotes"),
        ("event.items.append(1)", 18, "filter"),
        ("now()", 0, "now"),
        ('segmnt("vip")', 0, "segment"),
        ("segment(customer.x)", 16, "vip"),
        ("1 | uper", 4, "upper"),
        ("1 is definned", 2, "defined"),
        ("", 0, ""),
        ("1 | round(1, 2, 3)", 4, ""),
    ],
)
def test_errors_say_where_and_how(source: str, offset: int, hint: str) -> None:
    """An error points at the place and suggests the mend."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert offset == caught.value.offset
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "customer.__class__()",
        "customer.get('plan')",
        "''.format(customer)",
        "cycler(1)",
        "lipsum()",
        "self",
        "range(10)",
        "dict(a=1)",
        "namespace()",
        "[x for x in customer]",
        "customer if",
        "'%s' | format(1)",
        "customer | attr('__class__')",
        "customer | selectattr('x')",
        "event.items | map('upper')(1)",
        "any_item(*event.items)",
        "(" * 40 + "1" + ")" * 40,
        "not " * 900 + "true",
        "1" + " + 1" * 500,
        "1" * 3000,
        "x" * 5000,
        "0x" + "f" * 40,
    ],
)
def test_hostile_expressions_do_not_compile(source: str) -> None:
    """Nothing of Python's is in the language, and length, depth and numbers are bounded."""
    with pytest.raises(ExpressionError):
        compile_expression(source)


@pytest.mark.parametrize(
    "source", ["().__class__", "customer.__class__", "event.items.pop", 'now["tzinfo"]', "now.tzinfo", '""["upper"]']
)
def test_attributes_of_python_are_missing(source: str) -> None:
    """What would be an attribute or a method in Python is a property that isn't there."""
    assert compile_expression(source).evaluate(CONTEXT) is None


@pytest.mark.parametrize(
    "source",
    [
        "9 ** 9 ** 9",
        "99999999 ** 99",
        "2.0 ** 5000",
        "customer.big * customer.big * customer.big",
        "customer.text ~ customer.text",
        "customer.text + customer.text",
        'customer.text | replace("a", customer.text)',
        "customer.text | list",
    ],
)
def test_results_too_large_are_errors(source: str) -> None:
    """A result too large to be meant is an ExpressionError, and is never computed."""
    context = Context(customer={"big": 2**120, "text": "a" * 150_000}, now=NOW)
    with pytest.raises(ExpressionError):
        compile_expression(source).evaluate(context)


def test_compiled_once() -> None:
    """The same source gives the same compiled expression."""
    assert compile_expression("customer.plan") is compile_expression("customer.plan")
