"""What is done to pages is bounded before it begins: hostile ones are refused or done with soon, and reach no file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.authoring.dressing import MAX_PAGE, dressed
from engine.authoring.expression_syntax import ExpressionError

STYLE = "<style>a{b:c}</style>"
ATTRIBUTES = " ".join(f"a{i}" for i in range(30_000))
MANY = "".join(f"--a{i}:1;" for i in range(1_500))
MJML = "<mjml>{}<mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>"

HOSTILE = {
    "unclosed tags": "<a " * 60_000,
    "few unclosed tags": f"<a {'b' * 17} " * 9_000,
    "unclosed comments": "<!--" * 45_000,
    "unclosed quotes": '<a b="' * 30_000,
    "unclosed styles": f"<style>{'a' * 13}" * 9_000,
    "raw text": f"<xmp>{'<a ' * 9_000}</xmp>",
    "scripts": f"<script>{'</' * 9_000}",
    "attributes": f"{STYLE}<p {ATTRIBUTES}>",
    "nesting": f"{STYLE}{'<div>' * 9_000}",
    "tables": f"{STYLE}{'<table><tr><td>' * 3_000}",
    "reopened": f"{STYLE}<p>{''.join(f'<b id={i}>' for i in range(300))}{'</p><p>x' * 8_000}",
    "declarations": f"<style>*{{{MANY}}}</style>{'<i></i>' * 4_000}",
    "declarations for few": f"<style>*{{{MANY}}}</style>{'<i></i>' * 20}",
    "rules": f"<style>{'*{--a:1}' * 5_000}</style>{'<i></i>' * 4_000}",
    "selectors": f"<style>{'div ' * 20_000}b{{c:d}}</style>{'<div>' * 200}<b>",
    "no colon": f"<style>{'a' * 150_000}</style>",
    "no brace": f"<style>a{{{'b' * 150_000}",
    "entities": STYLE + "&" * 190_000,
    "mjml nested": f"<mjml><mj-body>{'<mj-wrapper>' * 900}{'</mj-wrapper>' * 90}</mj-body></mjml>",
    "mjml closed": f"<mjml><mj-body>{'<mj-wrapper>' * 490}{'</mj-wrapper>' * 490}</mj-body></mjml>",
    "mjml long": MJML.format("", "<mj-text>x</mj-text>" * 5_000),
    "mjml attributes": MJML.format("", "<mj-text " + 'a="1" ' * 30_000 + ">x</mj-text>"),
    "mjml for all": MJML.format(
        f'<mj-head><mj-attributes><mj-all css-class="{"a" * 150_000}" /></mj-attributes></mj-head>', "<mj-divider />" * 400
    ),
    "mjml styles": MJML.format(f'<mj-head><mj-style inline="inline">*{{{MANY}}}</mj-style></mj-head>', "<mj-divider />" * 400),
    "mjml comments": MJML.format("", "<!--" * 900),
}


@pytest.mark.parametrize("page", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pages_are_refused_or_done_with_soon(page: str) -> None:
    """However an author puts it, no page takes two seconds of a processor."""
    assert len(page) <= MAX_PAGE
    began = time.process_time()
    try:
        html, text = dressed(page, mjml=page.startswith("<mjml"))
    except ExpressionError as refused:
        html, text = "", refused.message
    assert time.process_time() - began < 2
    assert html or text
    assert len(html) < 10_000_000


def test_a_page_that_is_too_long_is_refused() -> None:
    """Before anything looks at it."""
    with pytest.raises(ExpressionError, match="more than 200,000 characters"):
        dressed("x" * (MAX_PAGE + 1), mjml=False)


def test_values_make_a_page_no_longer_than_any() -> None:
    """Ten thousand times a long value is refused, not built."""
    with pytest.raises(ExpressionError, match="longer than 1,000,000 characters"):
        dressed("\U00010a7d0\U00010a7f " * 10_000, mjml=False, held={"x" * 10_000: 0})


@pytest.mark.parametrize("path", ["{file}", "file://{file}", "../{name}"])
def test_no_file_is_read(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither stylesheets nor includes of MJML lead to what lies on this machine."""
    (tmp_path / "secret.css").write_text("p { color: secret }")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    there = path.format(file=tmp_path / "secret.css", name="secret.css")
    page = f'<html><head><link rel="stylesheet" href="{there}"><style>@import url("{there}"); b {{ c: d }}</style></head><p>x'
    assert "color: secret" not in dressed(page, mjml=False)[0]
    head = f'<mj-raw><link rel="stylesheet" href="{there}"></mj-raw><mj-style inline="inline">b {{ c: d }}</mj-style>'
    assert "color: secret" not in dressed(MJML.format(f"<mj-head>{head}</mj-head>", "<mj-text><p>x</p></mj-text>"), mjml=True)[0]
    for kind in ("", ' type="css"', ' type="css" css-inline="inline"', ' type="html"'):
        with pytest.raises(ExpressionError, match="not MJML"):
            dressed(MJML.format("", f'<mj-include path="{there}"{kind} />'), mjml=True)


def test_what_mail_programs_understand_is_kept() -> None:
    """Conditional comments, media queries, styles that say so, and links to stylesheets."""
    kept = '<style data-css-inline="keep">a:hover{color:blue}</style>'
    outlook = "<!--[if mso]><i><![endif]-->"
    page = f"<html><head><style>@media (max-width:3px){{p{{x:y}}}} p{{c:d}}</style>{kept}</head><body>{outlook}<p>x"
    html, text = dressed(page, mjml=False)
    assert "x" == text
    assert [] == [part for part in (outlook, kept, "@media", '<p style="c: d;">') if part not in html]
