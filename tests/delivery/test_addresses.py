"""One form for all ways to write an e-mail address or a phone number; what is none says nothing of who somebody is."""

from __future__ import annotations

from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.policy import Identity
from engine.delivery.addresses import KINDS, identifiers_of, normal, ways_to_write

words = st.text(st.sampled_from("abcxyz019"), min_size=1, max_size=12)
mails = st.builds(lambda a, b, c: f"{a}.{b}@{c}.example.com", words, words, words)
examples = st.sampled_from(["IT", "GB", "US", "DE", "JP", "BR"]).map(lambda r: (r, phonenumbers.example_number_for_type(r, 1)))
FORMS = (
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.RFC3966,
)


@given(mails, st.randoms())
def test_an_address_is_one_however_it_is_written(mail: str, dice: Any) -> None:
    """Capitals and blanks around it make no difference, and the form of a form is itself."""
    written = f" {''.join(dice.choice((c.upper(), c)) for c in mail)}\n"
    assert mail == normal("email", written, "") == normal("email", mail, "")


@given(examples, st.sampled_from(FORMS))
def test_a_number_with_its_country_code_needs_no_region(example: tuple[str, Any], form: int) -> None:
    """All international forms are one, with and without a region, and the form of a form is itself."""
    region, number = example
    written = phonenumbers.format_number(number, form)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert e164 == normal("phone", written, "") == normal("phone", written, region) == normal("phone", e164, "")


@given(examples)
def test_a_number_without_country_code_is_the_regions(example: tuple[str, Any]) -> None:
    """As people write it at home; where no region is said, it is nobody's."""
    region, number = example
    home = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert normal("phone", home, region) == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert normal("phone", home, "") is None


@given(st.sampled_from(KINDS), st.one_of(st.text(max_size=400), st.integers(), st.none(), st.booleans(), st.lists(st.integers())))
def test_anything_at_all_is_an_address_or_none(kind: str, written: Any) -> None:
    """No text and no other value is an error; what comes out comes out of itself again."""
    found = normal(kind, written, "IT")
    assert found is None or found == normal(kind, found, "IT")


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("email", "ada"),
        ("email", "ada@"),
        ("email", "a da@example.com"),
        ("email", "ada@example.com, bob@example.com"),
        ("email", "ada@localhost"),
        ("email", f"{'a' * 400}@example.com"),
        ("phone", "+391234"),
        ("phone", "12"),
        ("phone", "call me"),
        ("phone", "+39 06 55510001 ext. 12"),
        ("phone", True),
        ("phone", None),
    ],
)
def test_what_is_no_address(kind: str, written: Any) -> None:
    """It stays an attribute, and makes nobody somebody else."""
    assert normal(kind, written, "IT") is None


def test_other_alphabets_have_one_form_too() -> None:
    """A domain in its ASCII form is the one in its own letters."""
    assert normal("email", "Ada@xn--bcher-kva.example", "") == normal("email", "ada@bücher.example", "")


def test_policy_says_which_attributes_count() -> None:
    """Only the kinds that it names, in its region."""
    given_ = {"email": "Ada@Example.com", "phone": "06 5551 0001", "first_name": "Ada"}
    assert [("email", "ada@example.com"), ("phone", "+390655510001")] == identifiers_of(Identity(region="IT"), given_)
    assert [] == identifiers_of(Identity(identifiers=("phone",)), given_)
    assert [("email", "ada@example.com")] == ways_to_write("ADA@example.com", "IT")
