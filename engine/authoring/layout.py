"""What the columns of one file that is imported come to: by its mapping, and where that says nothing, by their names.

A name is taken only where there is no doubt; where there is, the error says what to write into a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from engine.authoring.mapping import Consent, CustomerColumns, EventColumns, Kind
from engine.settings.document import Document
from engine.settings.problems import nearest

CALLED: Mapping[str, tuple[str, ...]] = {
    "user_id": ("userid", "customerid", "externalid"),
    "anonymous_id": ("anonymousid",),
    "email": ("email", "emailaddress"),
    "phone": ("phone", "phonenumber"),
    "message_id": ("messageid", "eventid"),
    "timestamp": ("timestamp", "occurredat", "datetime", "time", "date"),
    "changed": ("timestamp", "occurredat"),
    "event": ("event", "eventname"),
}
"""What columns are called that need no mapping, in small letters and without what stands between words; the first that is there
counts. `changed`: the moment of a row of customers, where a `date` may be anything."""

CONSENT = re.compile(r"consent[_:. -]([^_:. -]+)(?:[_:. -](.+))?", re.IGNORECASE)
"""`consent_CHANNEL` and `consent_CHANNEL_TOPIC`."""

WHOLE = ("properties", "traits")
"""A column of this name that holds an object has all values, as Segment's calls have them; others count only where named."""

SHOWN = 20
"""Columns that an error lists."""


class Unmapped(Exception):
    """The columns don't say enough. `hint`: what to write into a mapping."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of one file mean. `who`: kinds of identifiers with their columns. `event`: what every row is, else
    `event_column` says it. `named`: (attribute or property, column). `used`: columns that don't come in under their own name;
    the others do where `rest` says so."""

    kind: Kind
    zone: str
    who: tuple[tuple[str, str], ...]
    message_id: str | None
    timestamp: str | None
    named: tuple[tuple[str, str], ...]
    used: tuple[str, ...]
    rest: bool
    event: str | None = None
    event_column: str | None = None
    consents: tuple[Consent, ...] = ()

    def told(self, columns: Sequence[str]) -> list[tuple[str, str]]:
        """For people: (what, the column it is taken from), with every one of the file's `columns`."""
        fields = (("message id", self.message_id), ("moment", self.timestamp), ("event", self.event_column))
        what = "attribute" if self.kind == "customers" else "property"
        found = [*self.who, *((name, column) for name, column in fields if column is not None)]
        found += [(f"{what} {name}", column) for name, column in self.named]
        for said in self.consents:
            consent = f"consent to {said.channel}" + (f" about {said.topic}" if said.topic else "")
            found.append((consent, said.column))
            found += [(f"moment of the {consent}", said.at)] if said.at is not None else []
        for column in columns:
            if column in WHOLE and column not in self.used:
                found.append((f"{what} {column}, or all of them where it holds an object", column))
            elif self.rest and column not in self.used:
                found.append((f"{what} {column}", column))
        taken = {column for _, column in found}
        return found + [("left out", column) for column in columns if column not in taken]


@dataclass(frozen=True, slots=True)
class Known:
    """What a file is laid out against: its columns, the project's channels and topics. `complete`: no row has other columns.
    `live`: what has no moment happens now."""

    columns: Sequence[str]
    channels: Set[str] = frozenset()
    topics: Set[str] = frozenset()
    complete: bool = True
    live: bool = False


def lay_out(document: Document, mapping: CustomerColumns | EventColumns, known: Known) -> Layout:
    """What the columns mean; what is wrong in the mapping is added to the document's problems. Raises Unmapped."""
    for path, column in mapping.named():
        if column not in known.columns:
            hint = nearest(column, known.columns)
            problem = document.problem("SJ260", document.at(path), f"the file has no column {column!r}", hint)
            document.problems.append(problem if known.complete else replace(problem, level="warning"))
    return _customers(document, mapping, known) if isinstance(mapping, CustomerColumns) else _events(mapping, known)


def _customers(document: Document, mapping: CustomerColumns, known: Known) -> Layout:
    found = {f: getattr(mapping, f) or _called(f, known, mapping.ignore) for f in ("user_id", "anonymous_id", "email", "phone")}
    who = tuple((f, c) for f, c in found.items() if c is not None)
    if not who:
        raise _nobody(known)
    message_id = mapping.message_id or _called("message_id", known, mapping.ignore)
    timestamp = mapping.timestamp or _called("changed", known, mapping.ignore)
    named = {**{f: c for f, c in who if f in ("email", "phone")}, **mapping.attributes}
    consents = _consents(document, mapping, known)
    used = {*(c for _, c in who), message_id, timestamp, *named.values(), *mapping.ignore}
    used |= {c for said in consents for c in (said.column, said.at)}
    return Layout(
        "customers",
        mapping.timezone,
        who,
        message_id,
        timestamp,
        tuple(named.items()),
        tuple(sorted(c for c in used if c is not None)),
        mapping.rest == "keep",
        consents=consents,
    )


def _events(mapping: EventColumns, known: Known) -> Layout:
    ids = {f: getattr(mapping, f) or _called(f, known, mapping.ignore) for f in ("user_id", "anonymous_id")}
    # Beside an id an address is a property like any other, unless the mapping says that it names somebody.
    alone = not any(ids.values())
    addresses = {f: getattr(mapping, f) or (_called(f, known, mapping.ignore) if alone else None) for f in ("email", "phone")}
    who = tuple((f, c) for f, c in {**ids, **addresses}.items() if c is not None)
    if not who:
        raise _nobody(known)
    event_column = mapping.event_column or (None if mapping.event else _called("event", known, mapping.ignore))
    if mapping.event is None and event_column is None:
        hint = f"write into a mapping `event: NAME`, for all rows, or `event_column: COLUMN`; the columns are {_shown(known)}"
        raise Unmapped("no column says what happened: none is called event or event_name", hint)
    message_id = mapping.message_id or _called("message_id", known, mapping.ignore)
    timestamp = mapping.timestamp or _called("timestamp", known, mapping.ignore)
    if timestamp is None and not known.live:
        hint = f"write into a mapping `timestamp: COLUMN`; the columns are {_shown(known)}"
        raise Unmapped("no column says when it happened: none is called timestamp, occurred_at, time or date", hint)
    used = {*(c for _, c in who), message_id, timestamp, event_column, *mapping.properties.values(), *mapping.ignore}
    return Layout(
        "events",
        mapping.timezone,
        who,
        message_id,
        timestamp,
        tuple(mapping.properties.items()),
        tuple(sorted(c for c in used if c is not None)),
        mapping.rest == "keep",
        mapping.event,
        event_column,
    )


def _called(field: str, known: Known, ignored: Sequence[str]) -> str | None:
    """The column that a field is by its name. Raises Unmapped where two columns have it."""
    for name in CALLED[field]:
        found = [c for c in known.columns if re.sub(r"[^a-z0-9]", "", c.lower()) == name and c not in ignored]
        if len(found) > 1:
            what = "timestamp" if field == "changed" else "event_column" if field == "event" else field
            both = " and ".join(repr(c) for c in found[:2])
            raise Unmapped(f"the columns {both} could both be the {what}", f"say in a mapping which is: `{what}: {found[0]}`")
        if found:
            return found[0]
    return None


def _nobody(known: Known) -> Unmapped:
    message = "no column names the customer: none is called user_id, anonymous_id, email or phone"
    return Unmapped(message, f"write into a mapping `user_id: COLUMN`; the columns are {_shown(known)}")


def _shown(known: Known) -> str:
    return ", ".join(known.columns[:SHOWN]) + (" …" if len(known.columns) > SHOWN else "")


def _consents(document: Document, mapping: CustomerColumns, known: Known) -> tuple[Consent, ...]:
    """The columns that say what people agreed to: those of the mapping, which are checked, and those that are called so."""
    for i, said in enumerate(mapping.consents):
        if said.channel not in {*known.channels, "*"}:
            words = f"there is no channel {said.channel!r}"
            node = document.at(["consents", i, "channel"])
            document.problems.append(document.problem("SJ205", node, words, nearest(said.channel, known.channels)))
        if said.topic is not None and said.topic not in known.topics:
            words = f"there is no topic {said.topic!r} in policy.yaml"
            node = document.at(["consents", i, "topic"])
            document.problems.append(document.problem("SJ203", node, words, nearest(said.topic, known.topics)))
    found = list(mapping.consents)
    taken = {column for _, column in mapping.named()}
    for column in known.columns:
        called = CONSENT.fullmatch(column)
        if called is not None and column not in taken:
            found.append(_consent(column, called[1].lower(), called[2], known))
    return tuple(found)


def _consent(column: str, channel: str, topic: str | None, known: Known) -> Consent:
    if channel not in known.channels:
        wrong, hint = f"channel {channel!r}", nearest(channel, known.channels)
    elif topic is not None and topic not in known.topics:
        wrong, hint = f"topic {topic!r}", nearest(topic, known.topics)
    else:
        return Consent(column=column, channel=channel, topic=topic)
    hint = f"{hint}; " if hint else ""
    message = f"the column {column!r} is called like a consent, and there is no {wrong}"
    raise Unmapped(message, f"{hint}say in a mapping what it is, under `consents`, or `ignore: [{column}]`")
