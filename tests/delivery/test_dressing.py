"""What is done to a page before it goes: styles put into elements, MJML made HTML, the preheader. Values stay values."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.authoring.dressing import _dressed
from engine.delivery.render import RenderError, render
from tests.delivery.rendering import message

STYLED = """<html><head><style>
p { color: red; } .gone { display: none } @media (max-width: 9px) { p { color: blue } }
</style></head>
<body class="b"><p title="{{ v }}">{{ v }}</p><p class="gone">hidden</p>
<a href="https://x.example/?q={{ v | urlencode }}">{{ v }}</a></body></html>"""
IN_MJML = """<mjml><mj-body><mj-section><mj-column><mj-text><p>{{ v }}</p></mj-text>
<mj-button href="https://x.example/?q={{ v | urlencode }}">{{ v }}</mj-button></mj-column></mj-section></mj-body></mjml>"""


def test_styles_are_put_into_the_elements() -> None:
    """What a mail program may throw away stands where it can't; media queries stay; what is hidden isn't in the text."""
    content = render(message(STYLED, "html"), {"v": "you"})
    assert '<p title="you" style="color: red;">you</p>' in (content.html or "")
    assert "@media" in (content.html or "")
    assert "you\n\nyou (https://x.example/?q=you)" == content.text


def test_a_page_without_styles_stays_as_it_is() -> None:
    """Nothing is added to it."""
    assert "<p>a<br>b" == render(message("<p>a<br>b", "html"), {}).html


def test_the_preheader_is_the_first_text_and_hidden() -> None:
    """Escaped, behind the body's tag or at the very beginning, and in neither the text part nor twice."""
    content = render(message(STYLED, "html", preheader="Only <{{ v }}>"), {"v": "you"})
    shown = re.search(r'<body class="b"><div style="display:none[^"]*">Only &lt;you&gt;[^<]*</div><p', content.html or "")
    assert (True, {"preheader": "Only <you>"}) == (shown is not None, content.fields)
    assert "Only" not in (content.text or "")
    assert (render(message("<p>x", "html", preheader="Hi"), {}).html or "").startswith('<div style="display:none')
    preview = IN_MJML.replace("<mj-body>", "<mj-head><mj-preview>Hi {{ v }}</mj-preview></mj-head><mj-body>")
    assert 1 == (render(message(preview, "mjml", preheader="Hi"), {"v": "you"}).html or "").count("Hi ")


def test_mjml_is_made_html() -> None:
    """Tables for mail programs, the text for others, and nothing that is fetched from a third party."""
    content = render(message(IN_MJML, "mjml"), {"v": "Ada & <co>"})
    html = content.html or ""
    assert html.lower().startswith("<!doctype html>")
    assert "<p>Ada &amp; &lt;co&gt;</p>" in html
    assert 'href="https://x.example/?q=Ada%20%26%20%3Cco%3E"' in html
    assert [] == re.findall(r"<mj-|fonts\.googleapis|\U00010a7f", html)
    assert "Ada & <co>\n\nAda & <co> (https://x.example/?q=Ada%20%26%20%3Cco%3E)" == content.text


def test_a_mistake_in_mjml_is_an_error_of_its_file() -> None:
    """Also where it comes about with the data only."""
    with pytest.raises(RenderError, match="not MJML") as caught:
        render(message("{% if v %}<mj-text>{% endif %}" + IN_MJML, "mjml"), {"v": "x"})
    assert ("templates/email/test.mjml", 4) == (caught.value.file, caught.value.line)


class Words(HTMLParser):
    """Collects the text, the titles and the links of a page, and how many tags it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.titles, self.links, self.tags = "", [], [], 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags += 1
        self.titles += [value for name, value in attrs if name == "title"]
        self.links += [value for name, value in attrs if name == "href" and tag == "a"]

    def handle_data(self, data: str) -> None:
        self.words += data


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="<>&\"'=/ \U00010a7d\U00010a7f0123{}%", max_size=30))
def test_values_stay_values_whatever_is_done_to_the_page(value: str) -> None:
    """What is put into elements or made of MJML has as many tags as with any other value, and reads as the value. HTML knows no
    NUL, and reads a carriage return as a line's end; XML, and so MJML, knows no other controls either."""
    for source, part, unknown in (
        (STYLED, "html", "[\x00\r\ud800-\udfff]"),
        (IN_MJML, "mjml", "[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]"),
    ):
        known = re.sub(unknown, "", value) or "x"
        plain = Words(render(message(source, part), {"v": "you"}).html or "")
        content = render(message(source, part, preheader="{{ v }}"), {"v": known})
        made = Words(content.html or "")
        assert plain.tags + bool(known.split()) == made.tags
        assert plain.words.count("you") <= made.words.count(known) + (not known.strip())
        assert [known for _ in plain.titles] == made.titles
        assert [link.replace("you", quote(known, safe="")) for link in plain.links] == made.links


@pytest.mark.parametrize("value", ["\x0c", "\x0b \x1f", "\x01", "\ufffe"])
def test_no_value_keeps_a_page_in_mjml_from_being_made(value: str) -> None:
    """Also controls that XML can't hold: nobody's first name parks a journey."""
    assert "<body" in (render(message(IN_MJML, "mjml", preheader="{{ v }}"), {"v": value}).html or "")


def test_pages_that_differ_in_values_only_are_worked_on_once() -> None:
    """A customer's page costs what filling it in costs, and each gets their own values."""
    before = _dressed.cache_info().misses
    for i in range(50):
        content = render(message(f"{STYLED}<!-- once -->", "html", preheader="For {{ v }}"), {"v": f"customer {i}"})
        assert (3, 1) == ((content.html or "").count(f">customer {i}<") + (content.text or "").count(f"customer {i} ("), 1)
    assert before + 1 == _dressed.cache_info().misses
