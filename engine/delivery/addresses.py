"""E-mail addresses and phone numbers as identifiers: the one form of each in which two ways to write the same are equal.

Only for telling people apart. Messages go to the address as the customer wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from engine.core.policy import Identity
from engine.core.wire import Json

KINDS = ("email", "phone")
"""Attributes that may say who somebody is, and the kinds of identifier that they make."""

LONGEST = 320
"""Characters that an address may have: 64 before the @ and 255 after it. What is longer isn't looked at."""


def normal(kind: str, written: Json, region: str) -> str | None:
    """The identifier that an address makes: an e-mail address in lower case, with its domain in Unicode; a phone number as E.164.
    None for what is no address. `region`: of phone numbers without a country code ("": those are none)."""
    text = written.strip() if isinstance(written, str) else str(written) if type(written) is int else ""
    if not text or len(text) > LONGEST:
        return None
    return _email(text) if kind == "email" else _phone(text, region)


def _email(text: str) -> str | None:
    # Hardly any provider tells Ada@ from ada@, and nobody who writes down an address does. `.test` is for whoever tries things.
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        return None


def _phone(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):  # a whole office has the number before an extension
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def identifiers_of(identity: Identity, values: Mapping[str, Json]) -> list[tuple[str, str]]:
    """The identifiers (kind, value) among attributes, as policy uses them."""
    return [(kind, value) for kind, value in addresses_in(values, identity.region) if kind in identity.identifiers]


def addresses_in(values: Mapping[str, Json], region: str) -> list[tuple[str, str]]:
    """The same of an e-mail address and a phone number, also where policy doesn't use them to tell people apart."""
    pairs = [(kind, normal(kind, values[kind], region)) for kind in KINDS if kind in values]
    return [(kind, value) for kind, value in pairs if value is not None]


def ways_to_write(text: str, region: str) -> list[tuple[str, str]]:
    """The identifiers that somebody may mean who looks for `text`."""
    found = [(kind, normal(kind, text, region)) for kind in KINDS]
    return [(kind, value) for kind, value in found if value is not None]
