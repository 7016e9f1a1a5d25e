"""The YAML reader: text stays text, everything knows its place, and what leads astray is a problem."""

from __future__ import annotations

import pytest

from engine.settings.yaml import Map, Text, plain, read, typed


@pytest.mark.parametrize(
    "written", ["no", "on", "~x", "21:00", "00118", "1e5", "+393331234567", "2026-03-02 10:00", "0x1F", "null", "1_000"]
)
def test_plain_text_stays_what_was_typed(written: str) -> None:
    """YAML's own guesses at types are never made."""
    assert {"a": written, "b": [written]} == plain(read(f"a: {written}\nb: [{written}]\n", "f").root)


def test_what_json_would_mean_is_read_where_it_is_asked_for() -> None:
    """Unquoted numbers, true, false and null; what only looks like them to YAML, and what is quoted, stays text."""
    meant = "[3, -0.5, 1e2, true, false, null, {a: [0]}, ]"
    assert [3, -0.5, 100.0, True, False, None, {"a": [0]}] == typed(read(f"a: {meant}", "f").root)["a"]
    texts = ["no", "~x", "007", "+3", ".5", "5.", "1_000", "0x1F", "True", "1e999", "٣", "21:00", "1" * 5000]
    assert texts == typed(read(f"[{', '.join(texts)}]", "f").root)
    assert ["3", "true", ""] == typed(read("['3', \"true\", '']", "f").root)
    assert {"a": None} == typed(read("a:", "f").root)


def test_keys_and_values_know_their_places() -> None:
    """Lines and columns count from 1, in characters, and a value's lead says where its text begins."""
    root = read('ü: {key: "wörd"}\n', "f").root
    assert isinstance(root, Map)
    inner = root.get("ü")
    assert isinstance(inner, Map)
    key, value = inner.key("key"), inner.get("key")
    assert isinstance(key, Text)
    assert isinstance(value, Text)
    assert (1, 5, 3) == (key.line, key.column, key.length)
    assert (1, 10, 6, 1) == (value.line, value.column, value.length, value.lead)


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "SJ102", 3, 1),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "SJ103", 3, 3),
        ("a: !!int 3\n", "SJ104", 1, 4),
        ("a: !custom {b: 1}\n", "SJ104", 1, 4),
        ("title: Ticket #{{ entry.id }}\n", "SJ105", 1, 8),
        ("- {title: Ticket #{{ entry.id }}}\n", "SJ105", 1, 11),
        ("title: Ticket # {{ entry.id }}\n", "SJ105", 1, 8),
        ("a: &x [*x]\n", "SJ106", 1, 8),
        ("a: *nowhere\n", "SJ106", 1, 4),
        ("[" * 100 + "]" * 100, "SJ106", 1, 62),
        ("a: {{ b }}\n", "SJ107", 1, 5),
        ("a: 1\n---\nb: 1\n", "SJ108", 2, 1),
        ("a: b: c\n", "SJ101", 1, 5),
        ("a: [1, 2\n", "SJ101", 1, 1),
        ("\ta: 1\n", "SJ101", 1, 1),
        ('if: "a" == event.b\n', "SJ101", 1, 9),
    ],
)
def test_what_leads_astray_is_a_problem(source: str, code: str, line: int, column: int) -> None:
    """Each trap of YAML has its code and points at its place; it is the only problem reported."""
    assert [(code, line, column)] == [(p.code, p.line, p.column) for p in read(source, "f").problems]


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("journey welcome\nsummary: A greeting\n", "a colon missing above"),
        ("goal: {event: a, within: 14d\nsteps: []\n", "a bracket left open"),
        ("a: 1\ntier\uff1a b\nenter: c\n", "in the line above a colon"),
        ("a: 1\ntier:\u00a0b\nenter: c\n", "in the line above a colon"),
    ],
)
def test_what_the_parser_stumbles_over_later_is_looked_for_above(source: str, hint: str) -> None:
    """YAML notices a missing colon or bracket a line too late; the hint sends people to the right one."""
    assert [("SJ101", True)] == [(p.code, hint in p.hint) for p in read(source, "f").problems]


def test_comments_are_no_cut_values() -> None:
    """A comment with a space after its # is a comment."""
    assert [] == read("a: b # a comment\nc: d   #\ne: f ## loud\ng: 'x #1' # y\n", "f").problems


def test_aliases_that_expand_without_bound_are_refused_fast() -> None:
    """Nine levels of ten aliases would be a thousand million values; reading stops at the bound."""
    levels = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    found = read("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + levels, "f")
    assert ["SJ106"] == [p.code for p in found.problems]
    assert found.root is None


def test_bytes_that_are_not_utf8_name_their_line() -> None:
    """A file in another encoding is a problem, not an exception."""
    assert [("SJ108", 2)] == [(p.code, p.line) for p in read(b"a: 1\nb: \xe9\n", "f").problems]


def test_a_problem_is_rendered_with_its_line_and_underline() -> None:
    """file:line:column, the line, the underline, and how to mend it."""
    problem = read("one: 1\none: 2\n", "journeys/j.yaml").problems[0]
    assert problem.render() == (
        "journeys/j.yaml:2:1: error SJ102: the key 'one' is given twice\n"
        "    one: 2\n"
        "    ^^^\n"
        "    it stands in line 1 already: remove one of the two"
    )
    assert {"code": "SJ102", "line": 2, "column": 1, "length": 3} == {
        k: v for k, v in problem.to_json().items() if k in ("code", "line", "column", "length")
    }
