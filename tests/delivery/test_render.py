"""Rendering: what templates mean, what HTML escapes, and what no template can reach or exhaust."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.authoring.plain_text import text_from_html
from engine.authoring.templates import Template, template_from_json, with_versions
from engine.delivery.render import Renderer, RenderError, render
from tests.delivery.rendering import CONTEXT, message, text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Hi {{ customer.first_name }}, {{ percent }}%", "Hi <Ada> & co, 10%"),
        ("{{ customer.items }}", "a property"),
        ("[{{ nosuch.deeper }}]", "[]"),
        ("{{ now | date('%-d %B, %H:%M') }}", "28 March, 13:00"),
        ("{% for i in event.items %}{{ loop.index }}.{{ i.name }}{{ ', ' if not loop.last }}{% endfor %}", "1.Serum, 2.Soap"),
        ("{% for i in event.items if i.price > 10 %}{{ i.name }} of {{ loop.length }}{% endfor %}", "Serum of 1"),
        ("{% for i in event.empty %}x{% else %}nothing{% endfor %}", "nothing"),
        ("{% for i in nosuch %}x{% endfor %}.", "."),
        ("{% for k, v in event.items[0] | items %}{{ k }}={{ v }} {% endfor %}.", "name=Serum price=20 ."),
        ("{% if percent > 50 %}a{% elif percent > 5 %}b{% else %}c{% endif %}", "b"),
        ("{% set x = percent * 2 %}{{ x }}", "20"),
        ("{% set x %}in {{ percent }}{% endset %}{{ x | upper }}", "IN 10"),
        ("{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}[{{ x }}]", "12[]"),
        ("{% for i in [1] %}{% set x = i %}{% endfor %}[{{ x }}]", "[]"),
        ("a\n{% if true %}\nb\n{% endif %}\nc", "a\nb\nc"),
        ("{# a remark #}{% raw %}{{ raw }}{% endraw %}", "{{ raw }}"),
        ("{{ event.items | sum('price') | money('€') }}", "€25.00"),
        ("{% macro m(a, b='!') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(2, b='?') }}{{ m('x') | upper }}", "1!2?X!"),
        ("{% macro m(percent) %}{{ percent }}{% endmacro %}{{ m(1) }}{{ percent }}", "110"),
        ("{{ [1, 2, 1, 'a', {'x': 1}, {'x': 1}] | unique }}", '[1, 2, "a", {"x": 1}]'),
    ],
)
def test_statements(source: str, expected: str) -> None:
    """Statements mean what they mean in Jinja, expressions what they mean in conditions."""
    assert expected == text(source)


def test_layouts_blocks_and_includes() -> None:
    """A block replaces the layout's, `super()` gives that one, a layout sees what the message sets, an include leaks nothing."""
    sources = {
        "layouts/base.txt": "<{% block a %}base{% endblock %}|{% block b %}b{% endblock %}|{{ title }}>",
        "layouts/mid.txt": '{% extends "layouts/base.txt" %}{% block a %}mid+{{ super() }}{% endblock %}',
        "partials/p.txt": "{% set title = 'leaked' %}p{{ percent }}",
    }
    source = """{% extends "layouts/mid.txt" %}
{% set title = "T" %} not shown
{% block a %}top+{{ super() }}{% include "partials/p.txt" %}{% endblock %}"""
    assert "<top+mid+basep10|b|T>" == text(source, sources)


def test_html_escapes_and_text_does_not() -> None:
    """Values are escaped in HTML, in includes too; fields and text parts hold them as they are."""
    template = message(
        '<p title="{{ customer.first_name }}">{{ "<b>" | safe }}{% include "partials/p.html" %}</p>',
        "html",
        {"partials/p.html": "<i>{{ customer.first_name }}</i>"},
        subject="For {{ customer.first_name }}",
    )
    content = render(template, CONTEXT)
    assert '<p title="&lt;Ada&gt; &amp; co"><b><i>&lt;Ada&gt; &amp; co</i></p>' == content.html
    assert {"subject": "For <Ada> & co"} == content.fields
    assert template.hash == content.template_hash


def test_captured_html_is_not_escaped_twice() -> None:
    """What `set` captures in HTML is HTML, and values inside it are escaped once."""
    content = render(message("{% set x %}<b>{{ customer.first_name }}</b>{% endset %}{{ x }}", "html"), CONTEXT)
    assert "<b>&lt;Ada&gt; &amp; co</b>" == content.html


def test_fields_are_one_line() -> None:
    """Line breaks in a field become spaces, so that no value can add a header."""
    content = render(message("x", subject="Hi {{ name }}\n there"), {"name": "a\r\nBcc: everybody@example.com\u2028b"})
    assert {"subject": "Hi a Bcc: everybody@example.com b there"} == content.fields


def test_json_parts() -> None:
    """A `.json` part gives JSON; `tojson` makes any value safe in it."""
    source = '{"name": {{ customer.first_name | tojson }}, "n": {{ percent }}}'
    assert {"name": "<Ada> & co", "n": 10} == render(message(source, "json"), CONTEXT).json


def test_json_that_is_none_says_so() -> None:
    """A `.json` part whose text isn't JSON is an error that names the file."""
    with pytest.raises(RenderError, match="not JSON") as caught:
        render(message('{"a": {{ customer.first_name }}}', "json"), CONTEXT)
    assert "templates/email/test.json" == caught.value.file


@pytest.mark.parametrize(
    "source",
    [
        "{{ ().__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ customer.__class__ }}",
        "{{ customer['__class__'] }}",
        "{{ event.items.pop }}",
        "{{ now.tzinfo }}",
        "{{ cycler }}{{ lipsum }}{{ namespace }}{{ range }}{{ dict }}{{ joiner }}{{ self }}{{ caller }}{{ varargs }}",
        "{{ customer | map(attribute='__class__') | join }}",
        "{% for i in event.items %}{{ loop.__class__ }}{{ loop.cycle }}{% endfor %}",
        "{% set __class__ = 1 %}{{ now.__class__ }}",
    ],
)
def test_hostile_templates_read_nothing(source: str) -> None:
    """What would be an attribute or a global in Jinja is a missing value here."""
    assert "." == text(source + ".")


@pytest.mark.parametrize(
    "source",
    [
        "{{ customer.get('x') }}",
        "{{ cycler('a') }}",
        "{{ ''.format(1) }}",
        "{% import 'os' as os %}",
        "{% from 'x' import y %}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{% macro m() %}{% endmacro %}{{ m(1) }}",
        "{% macro m(a) %}{% endmacro %}{{ m(*x) }}",
        "{% macro m(a) %}{% endmacro %}{{ m(**x) }}",
        "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}",
        "{% set a, b %}x{% endset %}",
        "{% call m() %}{% endcall %}",
        "{% filter upper %}x{% endfilter %}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% extends customer.first_name %}",
        "{% include ['a', 'b'] %}",
        "{% set customer.x = 1 %}",
        "{{ customer | attr('x') }}",
        "{% autoescape false %}{% endautoescape %}",
        "{% do x %}",
        "{% include 'layouts/nosuch.txt' %}",
        "{{ super }}{{ super(1) }}",
    ],
)
def test_what_is_not_part_of_the_language(source: str) -> None:
    """Calls, imports and macros that call themselves are refused when the template is compiled."""
    with pytest.raises(RenderError):
        text(source)


HUNDRED = "[" + ",".join("1" * 100) + "]"
LONG = f"{{% set n = {HUNDRED} %}}" + "{% set n = n + n %}" * 5 + "{% set t = n | join | replace('1', '0123456789') %}"
WORK = [
    "{% if [n, n] == [n, n] %}{% endif %}",
    "{% if [n] in [[n, a], [n, 2]] %}{% endif %}",
    "{{ [n] | tojson | length }}",
    "{{ n | sort(reverse=true) | first }}",
    "{{ n | map('x') | unique | length }}",
    "{{ t | urlencode | length }}",
    "{{ t | title | reverse | first }}",
    "{{ t | replace('0', '00') | length }}",
    "{{ now | date('full', locale='it') }}{{ now | time('full', locale='de') }}",
    "{{ a | money('EUR', locale='it') }}{{ a | number(6, locale='hi') }}",
    "{{ t }}",
]
BOMBS = [
    f"{{% set n = {HUNDRED} %}}" + "{% for a in n %}" * 6 + "x" + "{% endfor %}" * 6,
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x ~ x %}" * 60,
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x + x %}" * 60,
    "{% set x %}aaaaaaaaaa{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
    "{% set x = [1, 1] %}" + "{% set x = x + x %}" * 60,
    "{% set x = 'aaaaaaaaaaaaaaaaaaaa' %}" + "{% set x = x | replace('a', x) %}" * 20,
    "{% set x = [[1, 1]] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    f"{{% set n = {HUNDRED} %}}" + "{% for a in n if n | sort | join %}" * 4 + "{% endfor %}" * 4,
    "{% set x = 1 %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x == x }}",
    "{% block a %}{{ super() }}" + "{% endblock %}" + "{{ 9 ** 9 ** 9 }}",
    "{% macro m0(x) %}{{ x }}{% endmacro %}"
    + "".join(f"{{% macro m{i + 1}(x) %}}{{{{ m{i}(x) }}}}{{{{ m{i}(x) }}}}{{% endmacro %}}" for i in range(40))
    + "{{ m40(1) }}",
    "{% for a in "
    + HUNDRED
    + " %}{% for b in "
    + HUNDRED
    + " %}{% if "
    + HUNDRED
    + " | join | length %}{% endif %}{% endfor %}{% endfor %}",
    f"{{% set n = {HUNDRED} %}}{{% set n = n + n %}}{{% set n = n + n %}}"
    + "{% for a in n %}" * 2
    + "{{ n | unique | join }}"
    + "{% endfor %}" * 2,
    *(LONG + "{% for a in n %}" * 2 + work + "{% endfor %}" * 2 for work in WORK[:3]),
    "".join(f"{{% set a{i} = 1 %}}" for i in range(5_000)) + LONG + "{% for a in n %}" * 2 + "{% endfor %}" * 2,
]


@pytest.mark.nightly
@pytest.mark.parametrize("work", WORK[3:], ids=range(3, len(WORK)))
def test_dear_work_ends(work: str) -> None:
    """What is dear for each unit of work that it is counted as."""
    test_bombs_end(LONG + "{% for a in n %}" * 2 + work + "{% endfor %}" * 2)


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_bombs_end(source: str) -> None:
    """Nested loops and doubled texts end soon, in an error that says which line asked for too much."""
    began = time.process_time()
    with pytest.raises(RenderError) as caught:
        text(source)
    assert 4 == caught.value.line
    assert time.process_time() - began < 2


def test_included_bombs_end() -> None:
    """A pyramid of includes costs what it renders, and ends."""
    sources = {f"partials/{i}.txt": f'{{% include "partials/{i + 1}.txt" %}}' * 20 for i in range(8)} | {"partials/8.txt": "x"}
    with pytest.raises(RenderError, match="too long"):
        text('{% include "partials/0.txt" %}', sources)


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [("a\nb\n{{ 2 ** 9999 }}", 6, "too large"), ("a\n{{ b", 5, "unexpected"), ("\n\n\n{% endif %}", 7, "unknown tag")],
)
def test_errors_name_the_line(source: str, line: int, reason: str) -> None:
    """An error names the template, the line in its file and the reason."""
    with pytest.raises(RenderError, match=reason) as caught:
        text(source)
    assert ("email/test", "templates/email/test.txt", line) == (caught.value.template, caught.value.file, caught.value.line)


def test_errors_in_a_layout_name_the_layout() -> None:
    """An error in a layout names the layout's file and line."""
    with pytest.raises(RenderError) as caught:
        text('{% extends "layouts/l.txt" %}', {"layouts/l.txt": "a\n{{ 2 ** 9999 }}"})
    assert ("templates/layouts/l.txt", 2) == (caught.value.file, caught.value.line)


@pytest.mark.parametrize(("found", "reason"), [({}, "no such template"), ({("email", "test"): message("{{ nosuch }}")}, "empty")])
def test_nothing_to_send(found: dict[tuple[str, str], Template], reason: str) -> None:
    """A template that doesn't exist, and a message that comes out empty, are errors."""
    with pytest.raises(RenderError, match=reason):
        Renderer(found).render("email", "test", CONTEXT)


def test_a_stored_template_renders_the_same() -> None:
    """A template that went through JSON renders as before."""
    template = message(
        '{% extends "layouts/l.txt" %}{% block a %}{{ percent }}{% endblock %}',
        sources={"layouts/l.txt": "<{% block a %}{% endblock %}>"},
    )
    assert render(template, CONTEXT) == render(template_from_json(template.to_json()), CONTEXT)


def test_rendering_does_not_change_the_context() -> None:
    """What a template sets is gone with it."""
    context = dict(CONTEXT)
    render(message("{% set percent = 99 %}{{ percent }}"), context)
    assert CONTEXT == context


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>One\n two</p><p>Three</p>", "One two\n\nThree"),
        ("<h1>Hi</h1>a<br>b", "Hi\n\na\nb"),
        ('<p><a href="https://x.example/?a=1&amp;b=2">Go <b>now</b></a>!</p>', "Go now (https://x.example/?a=1&b=2)!"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="https://x.example"><img src="x" alt="Shop"></a>', "Shop (https://x.example)"),
        ('<a href="#top">Up</a>', "Up"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<ol><li>a<li>b</ol>c", "1. a\n2. b\n\nc"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<head><title>t</title><style>p{}</style></head><body>x<script>y()</script></body>", "x"),
        ('<div style="display:none">hidden <p>too</p></div>seen', "seen"),
        ("a &lt; b &amp; c&nbsp;d", "a < b & c d"),
        ("<p>unclosed <b>tags", "unclosed tags"),
        ("</p></div>stray", "stray"),
        ("a<!-- remark -->b", "ab"),
    ],
)
def test_text_from_html(html: str, expected: str) -> None:
    """The text part says what the HTML says: paragraphs, lists, links; nothing that is hidden."""
    assert expected == text_from_html(html)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abx.customer{}%#|\"'()[]<>/= \n_if for in endif endfor set", max_size=60))
def test_any_text_renders_or_is_refused(source: str) -> None:
    """Any text at all renders, or is a RenderError."""
    try:
        content = render(message(source), CONTEXT)
    except RenderError:
        return
    assert content.text is not None


@given(st.text(max_size=60))
def test_values_cannot_break_out_of_html(value: str) -> None:
    """Whatever a value holds, no tag, attribute or template of its own comes of it."""
    html = render(message('<p title="{{ v }}">{{ v }}</p>', "html"), {"v": value}).html or ""
    inside = html.removeprefix('<p title="').removesuffix("</p>")
    assert 1 == inside.count(">") == inside.count('"')
    assert 0 == inside.count("<")


def versions() -> Template:
    """A message in two languages, and English for everybody else."""
    texts = {"": "Hello", "it": "Ciao", "de": "Hallo"}
    made = {
        tag: message(words + " {{ day | date }} {{ day | time }} {{ 1234.5 | money('EUR') }} {{ locale }}")
        for tag, words in texts.items()
    }
    return with_versions(made.pop(""), made)


@pytest.mark.parametrize(
    ("locale", "expected", "taken"),
    [
        ("", "Hello 29 March 2026 08:30 1,234.50 EUR ", ""),
        ("fr", "Hello 29 March 2026 08:30 1,234.50 EUR ", ""),
        ("it", "Ciao 29 marzo 2026 08:30 1.234,50 € it", "it"),
        ("it_ch", "Ciao 29 marzo 2026 08:30 € 1’234.50 it-CH", "it"),
        ("de-XX", "Hallo 29. März 2026 08:30 1.234,50 € de-XX", "de"),
    ],
)
def test_languages(locale: str, expected: str, taken: str) -> None:
    """The customer's version, dates and money as they are written where the customer lives."""
    template = versions()
    content = render(template, {"day": "2026-03-29T06:30:00Z"}, zone="Europe/Rome", locale=locale)
    assert (taken, template.hash) == (content.locale, content.template_hash)
    assert expected == content.text
