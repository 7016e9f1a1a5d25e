"""Message templates: files to values and back, what they include, and what is found wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.authoring.findings import Scope
from engine.authoring.template_checks import check_template, reads
from engine.authoring.templates import Template, load_templates, template_from_json
from engine.authoring.types import Type, parse_type
from engine.settings.problems import Problem

SCOPE = Scope(
    {
        "customer": parse_type({"first_name": "string", "plan": ["free", "pro"]}),
        "event": parse_type({"items": [{"sku": "string"}]}),
        "percent": Type("integer", optional=False),
    }
)
LETTER = """---
subject: "{{ percent }}% for you"
preheader: Look inside
---
{% extends "layouts/letter.html" %}
{% block body %}<p>Hello {{ customer.first_name }}</p>{% endblock %}
"""
LAYOUT = """<body>{% block body %}{% endblock %}
{% include "partials/foot.html" %}</body>
"""
FOOT = '<a href="{{ unsubscribe_url }}">Unsubscribe</a> {{ postal_address }}'


def write(folder: Path, files: dict[str, str]) -> Path:
    """A templates folder with these files."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def only(folder: Path, files: dict[str, str]) -> Template:
    """The one message among these files, which have no problems of their own."""
    templates, problems = load_templates(write(folder, files))
    assert [] == problems
    (template,) = templates.values()
    return template


def problems_of(folder: Path, text: str, *, path: str = "sms/a.txt", marketing: bool = False) -> list[Problem]:
    """What the checks say about one file."""
    return check_template(only(folder, {path: text}), SCOPE, marketing=marketing)


def test_a_message_is_its_parts_and_its_front_matter(tmp_path: Path) -> None:
    """Parts are files side by side, fields stand in the front matter, names may have folders."""
    template = only(tmp_path, {"email/a/b.html": "---\nsubject: Hi\n---\n<p>x</p>\n", "email/a/b.txt": "x\n"})
    assert ("email", "a/b") == (template.channel, template.name)
    assert {"subject": "Hi"} == {k: s.text for k, s in template.fields.items()}
    assert {"html": "<p>x</p>\n", "txt": "x\n"} == {k: s.text for k, s in template.parts.items()}
    assert (2, 4) == (template.fields["subject"].line, template.parts["html"].line)


def test_json_carries_all_that_it_includes(tmp_path: Path) -> None:
    """The JSON form holds layouts and partials, however deep, and reads back as the same template."""
    template = only(tmp_path, {"email/a.html": LETTER, "layouts/letter.html": LAYOUT, "partials/foot.html": FOOT})
    assert {"layouts/letter.html", "partials/foot.html"} == set(template.sources)
    assert template == template_from_json(template.to_json())
    assert {"customer", "percent", "unsubscribe_url", "postal_address"} == set(reads(template))


def test_the_hash_follows_the_texts(tmp_path: Path) -> None:
    """A changed layout changes the hash of what extends it, and of nothing else."""
    files = {"email/a.html": LETTER, "email/b.txt": "b", "layouts/letter.html": LAYOUT, "partials/foot.html": FOOT}
    before, _ = load_templates(write(tmp_path, files))
    after, _ = load_templates(write(tmp_path, {"partials/foot.html": FOOT + "!"}))
    assert before[("email", "a")].hash != after[("email", "a")].hash
    assert before[("email", "b")].hash == after[("email", "b")].hash


def test_nothing_outside_the_folder_is_reached(tmp_path: Path) -> None:
    """Neither a path with `..`, nor an absolute one, nor a link leads out of the templates folder."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = write(
        tmp_path / "templates",
        {"sms/a.txt": '{% include "../secret.txt" %}', "sms/b.txt": f'{{% include "{tmp_path}/secret.txt" %}}'},
    )
    (folder / "sms" / "link.txt").symlink_to(tmp_path / "secret.txt")
    templates, _ = load_templates(folder)
    assert {("sms", "a"), ("sms", "b")} == set(templates)
    for template in templates.values():
        assert {} == template.sources
        assert ["SJ120"] == [p.code for p in check_template(template, SCOPE, marketing=False)]


@pytest.mark.parametrize(
    ("path", "text", "code", "line"),
    [
        ("email/a.html", "---\nsubject: x\n<p>", "SJ122", 1),
        ("email/a.html", "---\n- a list\n---\n", "SJ122", 2),
        ("email/a.html", "---\nsubject:\n  a: b\n---\n", "SJ122", 2),
        ("email/a.html", '---\nok: "1"\nsubject: a: b\n---\n', "SJ101", 3),
        ("email/a.md", "# x", "SJ123", 0),
    ],
)
def test_broken_files(tmp_path: Path, path: str, text: str, code: str, line: int) -> None:
    """A file that can't be read as a template is a problem at its line."""
    _, problems = load_templates(write(tmp_path, {path: text}))
    assert [(f"templates/{path}", code, line)] == [(p.file, p.code, p.line) for p in problems]


def test_parts_that_contradict_each_other(tmp_path: Path) -> None:
    """A field that two parts give differently is a conflict."""
    _, problems = load_templates(
        write(tmp_path, {"email/a.html": "---\nsubject: A\n---\n", "email/a.txt": "---\nsubject: B\n---\n"})
    )
    assert ["SJ401"] == [p.code for p in problems]


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "hint"),
    [
        ("Hello\n{{ customer.frist_name }}", "SJ231", 2, 13, "first_name"),
        ("{{ percnt }}", "SJ230", 1, 4, "percent"),
        ('---\ntitle: "x"\n---\nHello\n{{ customr }}', "SJ230", 5, 4, "customer"),
        ('---\ntitle: "Hi {{ customr }}"\n---\nHello', "SJ230", 2, 15, "customer"),
        ("a\nb {{ customer.first_name", "SJ120", 2, 15, ""),
        ("{% if percent %}", "SJ120", 1, 15, ""),
        ("a\n{{ percent | nosuch }}", "SJ233", 2, 14, ""),
        ("{% for x in event.items %}{{ x.sk }}{% endfor %}", "SJ231", 1, 32, "sku"),
        ("{% for x in event.items %}{{ x.sku }}{% endfor %}{{ x }}", "SJ230", 1, 53, ""),
        ('{% if customer.plan == "gold" %}{% endif %}', "SJ330", 1, 24, "free, pro"),
        ("{% macro a(x) %}{{ y }}{% endmacro %}", "SJ230", 1, 20, ""),
        ("{% macro a(x) %}{{ x }}{% endmacro %}{{ a(1, 2) }}", "SJ120", 1, 42, ""),
        ("{% macro a(x) %}{{ a(x) }}{% endmacro %}", "SJ233", 1, 20, ""),
        ('{% from "partials/none.txt" import a %}', "SJ120", 1, 9, ""),
        ('{% import "x" as y %}', "SJ120", 1, 4, "use if"),
        ('{% include "partials/none.txt" %}', "SJ120", 1, 12, ""),
    ],
)
def test_mistakes_in_a_text(tmp_path: Path, text: str, code: str, line: int, column: int, hint: str) -> None:
    """A mistake is reported once, at its line and column in the file, with the mend."""
    found = problems_of(tmp_path, text)
    assert [(code, line, column)] == [(p.code, p.line, p.column) for p in found]
    assert hint in found[0].hint


@pytest.mark.parametrize(
    "text",
    [
        "{% for x in event.items %}{{ loop.index }} {{ x.sku }}{% else %}none{% endfor %}",
        "{% set a = percent * 2 %}{{ a }}",
        "{% with a = percent %}{{ a }}{% endwith %}",
        "{% set a %}text{% endset %}{{ a }}",
        "{% for a, b in customer | items %}{{ a }}{{ b }}{% endfor %}",
        "{{ message.journey }} {{ now | date }} {{ sender.from }} {{ customer.first_name | default('you') }}",
        "{% if customer.first_name and percent %}{{ percent }}{% endif %}",
        "{% macro a(x, y=percent) %}{{ x }}{{ y }}{% endmacro %}{{ a(1, y=2) }}{{ a(1) | upper }}",
        "{{ now | date('long', locale='it') }} {{ percent | number }} {{ locale }}",
    ],
)
def test_sound_texts(tmp_path: Path, text: str) -> None:
    """Names that a template makes for itself are known to it, and emptiness is everyday there."""
    assert [] == problems_of(tmp_path, text)


def test_a_mistake_in_a_layout_is_reported_there(tmp_path: Path) -> None:
    """The problem names the layout's file and line, not those of the message that extends it."""
    template = only(tmp_path, {"email/a.html": LETTER, "layouts/letter.html": "<b>\n{{ nosuch }}{% block body %}{% endblock %}"})
    found = check_template(template, SCOPE, marketing=False)
    assert [("templates/layouts/letter.html", 2, "SJ230")] == [(p.file, p.line, p.code) for p in found]


@pytest.mark.parametrize(
    ("text", "marketing", "codes"),
    [
        ("---\nsubject: x\n---\n{{ unsubscribe_url }} {{ postal_address }}", True, []),
        ("---\nsubject: x\n---\n{{ unsubscribe_url }} {{ sender.postal_address }}", True, []),
        ("---\nsubject: x\n---\n{{ postal_address }}", True, ["SJ241"]),
        ("---\nsubject: x\n---\n{{ unsubscribe_url }}", True, ["SJ242"]),
        ("---\nsubject: x\n---\nreceipt", False, []),
        ("{{ unsubscribe_url }} {{ postal_address }}", True, ["SJ240"]),
        ('---\nsubject: " "\n---\nreceipt', False, ["SJ240"]),
    ],
)
def test_what_an_email_needs(tmp_path: Path, text: str, marketing: bool, codes: list[str]) -> None:
    """An e-mail needs a subject and, below `service`, an unsubscribe link and a postal address; a text message doesn't."""
    assert codes == [p.code for p in problems_of(tmp_path, text, path="email/a.txt", marketing=marketing)]
    assert [] == problems_of(tmp_path / "sms", text, path="sms/a.txt", marketing=marketing)


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    """A circle of includes is refused, not followed."""
    template = only(tmp_path, {"sms/a.txt": '{% include "partials/x.txt" %}', "partials/x.txt": '{% include "partials/x.txt" %}'})
    assert ["includes itself" in p.message for p in check_template(template, SCOPE, marketing=False)] == [True]


def letter(words: str) -> str:
    """An e-mail with these words, a way out and an address."""
    return f"---\nsubject: {words}\n---\n{words} {{{{ unsubscribe_url }}}} {{{{ postal_address }}}}\n"


def test_versions_in_other_languages(tmp_path: Path) -> None:
    """A version is a whole message; the nearest to a locale is taken, whatever way it is written; the hash covers all."""
    files = {f"email/a{tag}.txt": letter(tag) for tag in ("", ".pt", ".pt-BR", ".zh-hant")}
    template = only(tmp_path, files)
    assert {"pt", "pt-BR", "zh-Hant"} == set(template.versions)
    expected = {"pt-BR": "pt-BR", "pt_br": "pt-BR", "pt-PT": "pt", "PT": "pt", "zh-Hant-TW": "zh-Hant", "zh-TW": "", "it": ""}
    expected |= {"": "", "pt-BR.UTF-8": "pt-BR", "x" * 99: "", "../etc": "", "pt\n": "", "1": ""}
    assert expected == {locale: template.version(locale).locale for locale in expected}
    assert template == template_from_json(template.to_json())
    after = only(tmp_path, {"email/a.pt.txt": letter("changed")})
    assert template.hash != after.hash
    assert template.version("it") is template


def test_a_version_includes_what_is_written_in_its_language(tmp_path: Path) -> None:
    """`partials/foot.it.html` before `partials/foot.html`, in the Italian version alone, and through a layout too."""
    files = {f"email/a{tag}.html": LETTER for tag in ("", ".it", ".de")}
    template = only(
        tmp_path, {**files, "layouts/letter.html": LAYOUT, "partials/foot.html": FOOT, "partials/foot.it.html": "Ciao"}
    )
    shown = {locale: template.version(locale).sources["partials/foot.html"].file for locale in ("it-CH", "de", "en")}
    assert {"it-CH": "foot.it.html", "de": "foot.html", "en": "foot.html"} == {k: v.rpartition("/")[2] for k, v in shown.items()}


def test_each_version_is_checked(tmp_path: Path) -> None:
    """What is wrong with the Italian version is told of its file."""
    template = only(tmp_path, {"email/a.txt": letter("x"), "email/a.it.txt": "---\nsubject: ''\n---\n{{ nosuch }}"})
    found = check_template(template, SCOPE, marketing=True)
    assert {("SJ230", 4), ("SJ240", 1), ("SJ241", 1), ("SJ242", 1)} == {(p.code, p.line) for p in found}
    assert {"templates/email/a.it.txt"} == {p.file for p in found}


@pytest.mark.parametrize(
    ("files", "code", "hint"),
    [
        ({"email/a.it.html": "x"}, "SJ124", "write templates/email/a.html"),
        ({"email/a.html": "x", "email/a.mjml": "x"}, "SJ125", "keep one"),
    ],
)
def test_files_that_make_no_message(tmp_path: Path, files: dict[str, str], code: str, hint: str) -> None:
    """A language alone, and HTML written twice."""
    _, problems = load_templates(write(tmp_path, files))
    assert [(code, True)] == [(p.code, hint in p.hint) for p in problems]


def test_a_name_with_a_dot_is_no_language(tmp_path: Path) -> None:
    """What Babel knows as no language is part of the name."""
    templates, problems = load_templates(write(tmp_path, {"sms/v1.2.txt": "a", "sms/tip.zz.txt": "b", "sms/x/.it.txt": "c"}))
    assert {("sms", "v1.2"), ("sms", "tip.zz")} == set(templates)
    assert [] == problems


HEAD = "<mj-head><mj-attributes><mj-button /></mj-attributes></mj-head>"
MJML = f"<mjml>{HEAD}<mj-body><mj-section><mj-column>{{}}</mj-column></mj-section></mj-body></mjml>"


@pytest.mark.parametrize(
    ("markup", "codes"),
    [
        ('<a href="https://x.example/a?b=1&amp;c=2">x</a><a href="mailto:a@b.example">x</a><a href="#top">x</a>', []),
        ('<a href="{{ unsubscribe_url }}">x</a><a href="https://{{ customer.first_name }}/x">x</a><a name="top"></a>', []),
        ('<a {% if percent %}href="https://x.example"{% endif %}>x</a><a {{ unsubscribe_url }}>x</a>', []),
        ('<a href="https://x.example/{{ customer.first_name | urlencode }}?n={{ percent }}&p={{ customer.plan }}">x</a>', []),
        ("{# <a>x</a> #}{% raw %}<b>{{</b>{% endraw %}<!-- <a>x</a> -->", []),
        ('<a href="">x</a>', ["SJ244"]),
        ("<a>x</a>", ["SJ244"]),
        ('<a href="#">x</a>', ["SJ244"]),
        ('<a href="www.x.example">x</a>', ["SJ244"]),
        ('<a href="/path">x</a>', ["SJ244"]),
        ('<a href="//x.example">x</a>', ["SJ244"]),
        ('<a href="http://">x</a>', ["SJ244"]),
        ('<a href="https:///x">x</a>', ["SJ244"]),
        ('<a href="http://localhost/x">x</a>', ["SJ244"]),
        ('<a href="http://127.0.0.1:80/x">x</a>', ["SJ244"]),
        ('<a href="https://x.example:99999/">x</a>', ["SJ244"]),
        ('<a href="https://[1/">x</a>', ["SJ244"]),
        ('<a href="https://x.example/a b">x</a>', ["SJ244"]),
        ('<a href="https://x.example/&quot;">x</a>', ["SJ244"]),
        ('<a href="javascript:alert(1)">x</a>', ["SJ244"]),
        ('<a href="mailto:">x</a>', ["SJ244"]),
        ('<a href="https://x.example/{{ customer.first_name }}">x</a>', ["SJ248"]),
        ('<a href="https://x.example/?a={{ percent }}&b={{ customer.first_name | lower }}">x</a>', ["SJ248"]),
        ('<img src="https://x.example/a.png" alt="">x', []),
        ('<img src="https://x.example/a.png">x', ["SJ245"]),
        ('<img alt="x">', ["SJ244"]),
        ("<img {{ customer.first_name }}>x", []),
        ('<img src="https://x.example/a.png" alt="">', ["SJ247"]),
        ('<div style="display:none">x</div>', ["SJ247"]),
        (f"<p>{'long ' * 21_000}</p>", ["SJ246"]),
    ],
)
def test_markup(tmp_path: Path, markup: str, codes: list[str]) -> None:
    """Links that lead nowhere, images without words, pages that are too large or say nothing."""
    text = f"---\nsubject: x\n---\n{markup}"
    found = problems_of(tmp_path, text, path="email/a.html")
    assert codes == [p.code for p in found]
    assert all((4, "<a") == (p.line, p.text[p.column - 1 :][:2]) for p in found if p.code == "SJ244" and "<img" not in markup)


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ('<mj-button href="https://x.example">x</mj-button><mj-image src="https://x.example/a.png" alt="x" />', []),
        ("{% for i in event.items %}<mj-text>{{ i.sku }}</mj-text>{% else %}<mj-text>none</mj-text>{% endfor %}", []),
        ("<mj-button>x</mj-button>", ["SJ244"]),
        ('<mj-text>x</mj-text><mj-image src="https://x.example/a.png" href="" />', ["SJ244", "SJ245"]),
        ("<mj-text>x", ["SJ126"]),
        ("{% if percent %}<mj-text>x{% endif %}", ["SJ126"]),
        ("<mj-nosuch>x</mj-nosuch>", ["SJ126"]),
        ('<mj-text>x</mj-text><mj-include path="/etc/passwd" />', ["SJ126"]),
    ],
)
def test_mjml(tmp_path: Path, body: str, codes: list[str]) -> None:
    """MJML is read when the project is compiled, with all of its branches, and looked at like HTML."""
    found = problems_of(tmp_path, f"---\nsubject: x\n---\n{MJML.format(body)}", path="email/a.mjml")
    assert codes == [p.code for p in found]
