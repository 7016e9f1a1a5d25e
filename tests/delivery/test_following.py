"""Links of messages led through the API: only those that were in the message, nothing else of it changed."""

from __future__ import annotations

import logging
import re
from html import unescape
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.policy import Followed, Policy, Tier, policy_from_json, policy_hash, policy_to_json
from engine.delivery import following
from engine.delivery.channel import Content
from engine.delivery.following import Following, with_parameters
from engine.delivery.guard import inside
from engine.delivery.links import BadLink, Links

LINKS = Links({1: b"one"}, "https://m.test.example")
ABOUT = {"journey": "welcome", "step": "hello"}
UTM = (("utm_source", "letter"), ("utm_campaign", "{journey} {step}{nothing}"))


def follow(html: str | None = None, text: str | None = None, **rule: object) -> tuple[Content, Following]:
    """The content as it goes out, with how it was followed."""
    made = Following(LINKS, Followed("email", **rule), "7/hello/0/0", 7, ABOUT)  # type: ignore[arg-type]
    return made.compose(Content({"subject": "s"}, text, html, None, "h")), made


def clicked(url: str) -> str:
    return LINKS.clicked("7/hello/0/0", 7, url)


def test_links_of_a_letter_are_signed_and_the_rest_stays() -> None:
    """Entities, both kinds of quotes and every case; mail addresses, anchors, pictures, our own links and links inside stay."""
    kept = (
        '<a href="https://m.test.example/u/1.x.y">out</a><a href="mailto:a@b.example">m</a><a href="#top">t</a><a name="x">n</a>'
        '<a href="http://localhost:3000/">dev</a><a href="http://10.0.0.7/x">in</a><a href="https://u:p@x.example/">odd</a>'
        '<a href="">none</a><img src="https://shop.example/a.png"><link href="https://fonts.example/f.css"><a href=bare>b</a>'
        '<a href="https://[broken">b</a><a href="ftp://x.example/">f</a><A HREF="https://m.test.example">h</A>'
    )
    html = f"<p>{kept}<a class='x' href='https://shop.example/a?b=1&amp;c=2#d'>A</a><AREA HREF=\"HTTPS://Shop.example/\"></p>"
    got, _ = follow(html, "See https://shop.example/a", clicks=True)
    first, second = clicked("https://shop.example/a?b=1&c=2#d"), clicked("HTTPS://Shop.example/")
    assert got.html == f'<p>{kept}<a class=\'x\' href="{first}">A</a><AREA HREF="{second}"></p>'
    assert got.text == "See https://shop.example/a", "the text part of a letter stays readable"
    assert LINKS.read(urlsplit(first).path.removeprefix("/r/")) == ["click", "7/hello/0/0", 7, "https://shop.example/a?b=1&c=2#d"]


def test_the_link_is_what_href_says() -> None:
    """And no other attribute, whatever stands in those before it."""
    got, _ = follow(
        '<a data-href="https://a.example" href="https://b.example/"><a title="a > b" href="https://c.example/">', clicks=True
    )
    b, c = clicked("https://b.example/"), clicked("https://c.example/")
    assert got.html == f'<a data-href="https://a.example" href="{b}"><a title="a > b" href="{c}">'


def test_a_picture_tells_of_opens() -> None:
    """Before the end of the body where there is one, once; a text has none."""
    pixel = f'<img src="{LINKS.opened("7/hello/0/0", 7)}" width="1" height="1" alt="">'
    assert follow("<body>hi</body></html>", opens=True)[0].html == f"<body>hi{pixel}</body></html>"
    assert follow("<p>hi", opens=True)[0].html == f"<p>hi{pixel}"
    assert follow(None, "hi", opens=True)[0] == Content({"subject": "s"}, "hi", None, None, "h")


def test_links_of_a_text_are_short() -> None:
    """Without the full stop behind them; each link has one code, the same whenever the message is composed anew."""
    said = "Sale: https://shop.example/a?b=c(d). And (https://shop.example/x), http://127.0.0.1/ https://shop.example/x!"
    got, made = follow(None, said, clicks=True)
    one, two = (LINKS.short(LINKS.code("7/hello/0/0", u, 8)) for u in ("https://shop.example/a?b=c(d)", "https://shop.example/x"))
    assert got.text == f"Sale: {one}. And ({two}), http://127.0.0.1/ {two}!"
    assert sorted(made.codes.values()) == ["https://shop.example/a?b=c(d)", "https://shop.example/x"]
    assert made.compose(Content(text=said)).text == got.text
    assert re.fullmatch(r"https://m.test.example/l/[0-9a-zA-Z]{8}", one)


def test_no_two_links_of_a_text_share_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred links whose codes begin with one of 62 characters: the second of two that begin alike gets a longer one."""
    monkeypatch.setattr(following, "SHORTEST", 1)
    urls = [f"https://shop.example/{i}" for i in range(100)]
    got, made = follow(None, " ".join(urls), clicks=True)
    assert urls == [made.codes[short.rpartition("/")[2]] for short in (got.text or "").split()]
    assert 100 == len(made.codes)


def test_campaigns_stand_in_links() -> None:
    """In those of the text part too; what a link says already stays, and so does its fragment."""
    got, _ = follow('<a href="https://x.example/#f">', "https://x.example/?utm_source=mine", utm=UTM)
    more = "utm_source=letter&amp;utm_campaign=welcome%20hello%7Bnothing%7D"
    assert (got.html, got.text) == (
        f'<a href="https://x.example/?{more}#f">',
        "https://x.example/?utm_source=mine&utm_campaign=welcome%20hello%7Bnothing%7D",
    )
    assert with_parameters("https://x.example?", {"a": "ü&", "b": ""}) == "https://x.example?a=%C3%BC%26"


def test_a_letter_that_gmail_clips_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Counted with what following adds, in bytes."""
    following._said.clear()
    with caplog.at_level(logging.WARNING):
        follow("ü" * 52_000, opens=False)
        assert caplog.text == ""
        for _ in range(3):
            follow("ü" * 53_000, opens=False)
    assert caplog.text.count("Gmail shows the first 102 only") == 1


def test_a_policy_that_follows_nothing_keeps_its_hash() -> None:
    """The field is left out where it says nothing, and read back where it says something."""
    plain = Policy((Tier("lifecycle"),))
    assert "tracking" not in policy_to_json(plain)
    assert policy_from_json(policy_to_json(plain)) == plain
    told = Policy((Tier("lifecycle"),), tracking=(Followed("email", clicks=True, utm=UTM),))
    assert policy_from_json(policy_to_json(told)) == told
    assert policy_hash(told) != policy_hash(plain)


INSIDE = "127.0.0.1 127.1 2130706433 0x7f.1 0177.0.0.1 ::1 [::ffff:10.0.0.1] 10.1.2.3 169.254.169.254 168.63.129.16 0.0.0.0"
NAMES = "localhost LOCALHOST. a.localhost metadata.google.internal printer.local fd00::1 １２７.０.０.１ 64:ff9b::7f00:1"


def test_links_that_lead_inside_are_known_however_they_are_written() -> None:
    """As browsers take them."""
    assert [] == [host for host in (INSIDE + " " + NAMES).split() if not inside(host)]


def test_links_that_lead_outside_are_no_matter() -> None:
    """Names and public addresses."""
    assert not any(
        inside(host) for host in ("shop.example", "8.8.8.8", "2606:4700::1111", "local", "internal.example", "1e100.net")
    )


hosts = st.sampled_from(["shop.example", "evil.example", "127.0.0.1", "m.test.example", "u@evil.example"])
urls = st.builds(
    "{}://{}/{}".format, st.sampled_from(["http", "https", "javascript", "HTTPS"]), hosts, st.text("a<>\"'&#?=/ é()", max_size=8)
)
pieces = (
    st.sampled_from(["<a ", "href=", "href='", 'href="', '"', "'", ">", "<", "</a>", "<!--", "-->", "<area ", "&amp;", " ", "x"])
    | urls
)


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(pieces, max_size=14))
def test_nothing_is_signed_that_was_not_in_the_message(parts: list[str]) -> None:
    """Whatever the markup: each token leads to a web address that stands in it, and taken back it is the message as it was."""
    html = "".join(parts)
    got, _ = follow(html, clicks=True)
    assert got.html is not None
    back = got.html
    for token in re.findall(r"https://m\.test\.example/r/([\w.-]+)", got.html):
        try:
            kind, _, _, url = LINKS.read(token)
        except BadLink:
            continue
        assert kind == "click"
        assert str(url) in unescape(html)
        assert str(url).lower().startswith(("http://", "https://"))
        back = back.replace(f"https://m.test.example/r/{token}", str(url))
    loose = str.maketrans("", "", "\"' \t\n")
    assert unescape(back).translate(loose) == unescape(html).translate(loose)
