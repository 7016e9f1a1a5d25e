"""How texts are counted: the alphabets, the limits at their edges, and what holds for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.delivery.sms import BASIC, EXTENSION, Segments, cost, measure

PLAIN = st.text(st.sampled_from(sorted(BASIC | EXTENSION)), max_size=700)
ANY = st.text(max_size=700)


def test_the_alphabets() -> None:
    """GSM 03.38 has 127 characters beside the escape, and ten that take two septets; none is in both."""
    assert (len(BASIC), len(EXTENSION), BASIC & EXTENSION) == (127, 10, frozenset())
    assert {"à", "Ç", "Ω", "_", "\n"} <= BASIC
    assert not {"ç", "á", "`", "\t", "’", "–"} & (BASIC | EXTENSION)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments("GSM-7", 0, 0)),
        ("x" * 160, Segments("GSM-7", 160, 1)),
        ("x" * 161, Segments("GSM-7", 161, 2)),
        ("x" * 306, Segments("GSM-7", 306, 2)),
        ("x" * 307, Segments("GSM-7", 307, 3)),
        ("€" * 80, Segments("GSM-7", 160, 1)),
        ("€" * 81, Segments("GSM-7", 162, 2)),
        ("x" * 152 + "€" * 77, Segments("GSM-7", 306, 3)),  # the escape would stand last in the first segment
        ("ç" * 70, Segments("UCS-2", 70, 1, "ç")),
        ("ç" * 71, Segments("UCS-2", 71, 2, "ç")),
        ("ç" * 134, Segments("UCS-2", 134, 2, "ç")),
        ("ç" * 135, Segments("UCS-2", 135, 3, "ç")),
        ("🦄" * 35, Segments("UCS-2", 70, 1, "🦄")),
        ("🦄" * 67, Segments("UCS-2", 134, 3, "🦄")),  # 33 whole ones to a segment
        ("It’s a “deal”", Segments("UCS-2", 13, 1, "’“”")),
        ("\ud83e\udd84", Segments("UCS-2", 2, 1, "🦄")),
        ("\ud83e", Segments("UCS-2", 1, 1, "\ufffd")),
    ],
)
def test_edges(text: str, expected: Segments) -> None:
    """One segment holds 160 or 70 units, each of several 153 or 67, and what takes two units stays whole."""
    assert measure(text) == expected


@given(PLAIN)
def test_plain_texts(text: str) -> None:
    """The alphabet's own characters are counted in septets."""
    found = measure(text)
    assert (found.encoding, found.odd) == ("GSM-7", "")
    assert found.units == len(text) + sum(c in EXTENSION for c in text)


@given(ANY)
def test_any_text(text: str) -> None:
    """Any text is counted: every segment but the last lacks at most one unit, and one odd character makes all UCS-2."""
    found = measure(text)
    assert measure(text + "ж").encoding == "UCS-2"
    assert (found.encoding == "UCS-2") == bool(found.odd)
    if found.odd:
        assert found.units == len(text.encode("utf-16-le")) // 2
    alone, together = (160, 153) if found.encoding == "GSM-7" else (70, 67)
    if found.units > alone:
        assert found.units / together <= found.segments <= found.units / (together - 1) + 1
    else:
        assert found.segments == min(found.units, 1)


@given(ANY, st.text(max_size=5))
def test_longer_is_never_cheaper(text: str, more: str) -> None:
    """What is added to a text never takes a segment away."""
    assert measure(text).segments <= measure(text + more).segments


def test_price() -> None:
    """What a text costs is exact, in the price's own currency."""
    assert [cost(3, "0.0075 EUR"), cost(0, "0.0075 EUR"), cost(10, "0.10 USD")] == ["0.0225 EUR", "0 EUR", "1 USD"]
