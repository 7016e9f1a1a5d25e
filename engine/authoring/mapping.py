"""A mapping: the YAML that says what the columns of a file that is imported mean. What it doesn't say is told by the columns'
names: see `layout`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from engine.core.clock import is_zone
from engine.settings.document import Document
from engine.settings.shape import Shape, YesNo, validate
from engine.settings.yaml import read_file

Kind = Literal["customers", "events"]

WHO = ("user_id", "anonymous_id", "email", "phone")
"""Fields that name the person."""


def _zone(written: str) -> str:
    if not is_zone(written):
        raise PydanticCustomError("zone", "{shown} is not an IANA time zone", {"shown": repr(written), "hint": "Europe/Rome"})
    return written


def _letter(written: str) -> str:
    found = {"tab": "\t", "\\t": "\t"}.get(written, written)
    if len(found) != 1 or found in '"\r\n':
        raise PydanticCustomError("delimiter", 'this must be one character, such as ";", or the word tab')
    return found


def _name(written: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,60}", written):
        raise PydanticCustomError("source", "this must be a name of letters, digits, '.', '_' and '-'")
    return written


class Consent(Shape):
    """A column that says what somebody agreed to. `at`: the column of when. `confirmed`: they have confirmed it already."""

    column: str
    channel: str
    topic: str | None = None
    wording: str | None = None
    at: str | None = None
    confirmed: YesNo = False


class Columns(Shape):
    """What both kinds of files have: fields, each with the name of its column. `rest`: what becomes of columns that aren't
    named. `timezone`: of moments that have no offset from UTC."""

    source: Annotated[str, AfterValidator(_name)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    delimiter: Annotated[str, AfterValidator(_letter)] | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    phone: str | None = None
    message_id: str | None = None
    timestamp: str | None = None
    rest: Literal["keep", "ignore"] = "keep"
    ignore: list[str] = Field(default_factory=list)

    def named(self) -> Iterator[tuple[list[str | int], str]]:
        """Every column that the mapping names, with where it does."""
        for field in (*WHO, "message_id", "timestamp", "event_column"):
            if (column := getattr(self, field, None)) is not None:
                yield [field], column
        for block in ("attributes", "properties"):
            for name, column in getattr(self, block, {}).items():
                yield [block, name], column
        for i, said in enumerate(getattr(self, "consents", ())):
            yield ["consents", i, "column"], said.column
            if said.at is not None:
                yield ["consents", i, "at"], said.at
        for i, column in enumerate(self.ignore):
            yield ["ignore", i], column


class CustomerColumns(Columns):
    """The mapping of a file of customers. `attributes`: attribute → column."""

    attributes: dict[str, str] = Field(default_factory=dict)
    consents: list[Consent] = Field(default_factory=list)


class EventColumns(Columns):
    """The mapping of a file of events. Every row is the event `event`, or the column `event_column` names it. `properties`:
    property → column."""

    event: str | None = None
    event_column: str | None = None
    properties: dict[str, str] = Field(default_factory=dict)


def read_mapping(path: Path | None, kind: Kind) -> tuple[Document, CustomerColumns | EventColumns]:
    """The mapping in a file (None: an empty one). What is wrong is in the document's `problems`; then the mapping is an empty
    one. Raises OSError where it can't be read."""
    empty = CustomerColumns() if kind == "customers" else EventColumns()
    if path is None:
        return Document(""), empty
    document = read_file(path)
    found = validate(document, type(empty)) or empty
    if isinstance(found, EventColumns) and found.event is not None and found.event_column is not None:
        hint = "`event` is for a file whose rows are all one event: remove one of the two"
        document.problems.append(
            document.problem("SJ112", document.key_at(["event_column"]), "event and event_column can't both be given", hint)
        )
    return document, found
