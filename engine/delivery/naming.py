"""By what a person is known, for exports and erasures: identifiers, addresses, and calls in the quarantine that name them.

What is no address (a phone of "-") says nothing of whose a call is: by it other people's calls would be told, and emptied.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import phonenumbers

from engine.delivery.addresses import LONGEST, addresses_in, normal
from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.store import erasing
from engine.store.database import Connection
from engine.store.identities import Identifier

NAMING = ("userId", "anonymousId", "previousId")
"""Where a call says who it is about."""


@dataclass(frozen=True, slots=True)
class Names:
    """`identifiers`: every one that they have, and their addresses, former ones too, also where policy doesn't use
    those to tell people apart. `written`: their e-mail addresses as they wrote them. `region`: of phone numbers without a country
    code."""

    ids: tuple[int, ...]
    identifiers: tuple[Identifier, ...]
    written: tuple[str, ...]
    region: str = ""

    def addresses(self, kind: str) -> set[str]:
        """Their addresses of a kind, in their one form."""
        return {value for of, value in self.identifiers if of == kind}


@dataclass(frozen=True, slots=True)
class Aside:
    """What was seen of the quarantine before: the numbers of the calls that are about somebody of `names`, of those up to the
    number `up_to`."""

    names: Names
    calls: tuple[int, ...] = ()
    up_to: int = 0


async def names_of(c: Connection, deployments: Deployments, people: Mapping[int, Mapping[str, Any]]) -> Names:
    """Of these people together: customer → attributes."""
    ids = sorted(people)
    region = await region_of(c, deployments)
    found = set(await erasing.identifiers(c, ids))
    told = [*people.values(), *await erasing.told(c, ids)]
    found |= {pair for attributes in told for pair in addresses_in(attributes, region)}
    emails = [attributes.get("email") for attributes in told]
    written = {email.strip() for email in emails if isinstance(email, str) and normal("email", email, region) is not None}
    return Names(tuple(ids), tuple(sorted(found)), tuple(sorted(written)), region)


async def region_of(c: Connection, deployments: Deployments) -> str:
    """The region of phone numbers without a country code; "" where nothing is deployed."""
    try:
        return (await deployments.current(c)).policy.identity.region
    except NothingDeployed:
        return ""


async def put_aside(c: Connection, names: Names, before: Aside | None = None) -> list[int]:
    """The numbers of the calls in the quarantine that say that they are about somebody of these names, or that hold one of their
    addresses anywhere, whole, a phone number in any notation. Looks through all of it; where that was done `before`, only through
    what has come since, and what people have mended."""
    if not names.ids:
        return []
    texts = sorted({orjson.dumps(value).decode()[1:-1] for value in (*names.written, *(v for _, v in names.identifiers))})
    about = {value for _, value in names.identifiers}
    phones = {value: _digits(value) for value in names.addresses("phone")}
    emails = [_whole(value) for value in sorted({v.casefold() for v in (*names.written, *names.addresses("email"))})]
    asked = (texts, sorted(phones.values()), names.ids)
    looks = [erasing.put_aside(c, *asked, after=before.up_to if before else 0)]
    looks += [erasing.put_aside(c, *asked, mended=True)] if before else []
    found = set(before.calls if before else ())
    async for row in _one_by_one(looks):
        calls = [row.body, *(orjson.loads(text) for text in (row.call, row.mended) if text is not None)]
        ours = row.body.get("customer") in names.ids
        if ours or any(
            _who(call) & about or any(_holds(t, emails, phones, names.region) for t in _texts(call)) for call in calls
        ):
            found.add(row.id)
    return sorted(found)


async def _one_by_one(looks: Sequence[AsyncIterator[Any]]) -> AsyncIterator[Any]:
    for look in looks:
        async for row in look:
            yield row


def _digits(phone: str) -> str:
    """What every notation of a number (E.164) has in it, once all but digits is taken out."""
    return phonenumbers.national_significant_number(phonenumbers.parse(phone))


def _whole(email: str) -> re.Pattern[str]:
    """Finds the address, but not as the end or the beginning of another (ann@ in joann@, .co in .co.uk)."""
    return re.compile(rf"(?<![\w.+'-]){re.escape(email)}(?![\w-]|\.\w)")


def _holds(text: str, emails: Sequence[re.Pattern[str]], phones: Mapping[str, str], region: str) -> bool:
    """Whether a text is or names one of these addresses. `phones`: number → its digits."""
    if any(one.search(text.casefold()) for one in emails):
        return True
    digits = "".join(re.findall(r"\d", text))
    if not any(has in digits for has in phones.values()):
        return False
    if len(text) <= LONGEST and normal("phone", text, region) in phones:
        return True
    e164 = phonenumbers.PhoneNumberFormat.E164
    return any(
        phonenumbers.format_number(m.number, e164) in phones for m in phonenumbers.PhoneNumberMatcher(text, region or None)
    )


def _who(call: Any) -> set[str]:
    """Whom a call says that it is about. The same text elsewhere in it means nothing: a user id may be "7"."""
    if not isinstance(call, dict):
        return set()
    given = call.get("identifiers")
    named = [call.get(key) for key in NAMING] + (list(given.values()) if isinstance(given, dict) else [])
    return {str(value) for value in named if value is not None}


def _texts(value: Any) -> Iterator[str]:
    """Every text, and every whole number: a phone may be written as one."""
    if isinstance(value, str):
        yield value
    elif type(value) is int:
        yield str(value)
    elif isinstance(value, (dict, list)):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(item)
