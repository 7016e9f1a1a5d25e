"""Types: how they are written, and how what comes in becomes what tracking.yaml declares."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.authoring.model_tracking import convert, native
from engine.authoring.types import SIMPLE, Type, parse_type, type_from_json
from engine.core.wire import Json


@pytest.mark.parametrize(
    "written", ["string", ["free", "pro"], ["string"], [{"sku": "string", "price": "number"}], {"a": ["x", "y"]}]
)
def test_types_survive_json(written: Json) -> None:
    """A type read back is the type that was written."""
    assert parse_type(written) == type_from_json(parse_type(written).to_json())


@pytest.mark.parametrize("written", ["strin", [], {}, None, ["free", "string"], ["a", "a"], [["a b"]], ["a b"]])
def test_what_is_no_type_is_refused(written: Json) -> None:
    """The words say what to write instead."""
    with pytest.raises(ValueError, match=r"type|enum|word|object|list"):
        parse_type(written)


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("string", 118, "118"),
        ("string", True, "true"),
        ("number", "12.50", 12.5),
        ("number", "7", 7),
        ("number", "9" * 30, 1e30),
        ("integer", "9223372036854775807", 2**63 - 1),
        ("integer", 4.0, 4),
        ("boolean", "false", False),
        ("date", "2026-03-02", "2026-03-02"),
        ("date", "2026-03-02T10:00:00Z", "2026-03-02"),
        ("datetime", "2026-03-02T10:00:00+02:00", "2026-03-02T08:00:00+00:00"),
        ("datetime", "2026-03-02", "2026-03-02T00:00:00+00:00"),
        ("datetime", 1772445600, "2026-03-02T10:00:00+00:00"),
        ("datetime", 1772445600000, "2026-03-02T10:00:00+00:00"),
        (["free", "pro"], "pro", "pro"),
        (["number"], ["1", 2], [1, 2]),
        ({"a": "integer"}, {"a": "3", "b": "4"}, {"a": 3, "b": "4"}),
        ("string", None, None),
        ("object", {"x": [1]}, {"x": [1]}),
    ],
)
def test_values_become_what_is_declared(declared: Json, value: Json, expected: Json) -> None:
    """Text becomes numbers, numbers text, dates one form, inside lists and objects too."""
    assert (expected, None) == convert(parse_type(declared), value)


@pytest.mark.parametrize(
    ("declared", "value", "words"),
    [
        ("number", "many", "'many' is not a number"),
        ("number", True, "'True' is not a number"),
        ("number", "nan", "'nan' is not a number"),
        ("integer", 4.5, "'4.5' is not an integer"),
        ("integer", "9" * 30, f"'{'9' * 30}' has more than 64 bits"),
        ("integer", 1e30, "'1e+30' has more than 64 bits"),
        ("number", "9" * 400, f"'{'9' * 60}' is not a number"),
        ("boolean", "yes", "'yes' is not a boolean"),
        ("date", "02/03/2026", "'02/03/2026' is not a date"),
        ("datetime", "soon", "'soon' is not a datetime"),
        (["free", "pro"], "team", "'team' is not one of free, pro"),
        ("string", {"a": 1}, "is an object, not a string"),
        (["number"], 3, "is not a list"),
        ([{"sku": "number"}], [{"sku": "x"}], "item 0: sku: 'x' is not a number"),
    ],
)
def test_what_does_not_fit_comes_back_as_it_was(declared: Json, value: Json, words: str) -> None:
    """The value is kept, and what is wrong with it is said."""
    assert (value, words) == convert(parse_type(declared), value)


def test_native_values_are_dates() -> None:
    """Expressions get dates and moments, not text."""
    declared = Type("object", fields=(("on", Type("date")), ("at", Type("list", item=Type("datetime")))))
    found = native(declared, {"on": "2026-03-02", "at": ["2026-03-02T10:00:00+00:00"]})
    assert {"on": date(2026, 3, 2), "at": [datetime(2026, 3, 2, 10, tzinfo=UTC)]} == found


def test_what_was_stored_before_its_declaration_is_missing() -> None:
    """A text that says no moment, also inside lists and objects; everything beside it stays."""
    declared = Type("object", fields=(("on", Type("date")), ("at", Type("list", item=Type("datetime")))))
    found = native(declared, {"on": "soon", "at": ["2026-02-30T10:00:00+00:00", "2026-03-02T10:00:00+00:00"], "x": "soon"})
    assert {"on": None, "at": [None, datetime(2026, 3, 2, 10, tzinfo=UTC)], "x": "soon"} == found


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*SIMPLE, ["a", "b"], ["number"], {"x": "date"}]), _JSON)
def test_converting_never_raises_and_settles(declared: Json, value: Json) -> None:
    """Whatever comes in: a value and no problem, or the problem; what was converted converts to itself."""
    found, wrong = convert(parse_type(declared), value)
    native(parse_type(declared), value)
    if wrong is None:
        assert (found, None) == convert(parse_type(declared), found)
        native(parse_type(declared), found)
