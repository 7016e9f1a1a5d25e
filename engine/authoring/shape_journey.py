"""A journey file as YAML writes it: its head, its entries, exits and goal. The steps are in `shape_steps`."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Tag
from pydantic_core import PydanticCustomError

from engine.authoring.shape_steps import Steps
from engine.authoring.shape_tracking import Condition
from engine.authoring.shapes import (
    Days,
    Expression,
    Filled,
    Id,
    Name,
    Offset,
    OneOrMore,
    Rate,
    Span,
    TimeOfDay,
    ZoneOrCustomer,
)
from engine.core.clock import parse_duration
from engine.settings.shape import FORM, MAP, TEXT, Shape, Share, YesNo, one_of


def _again(text: str) -> str:
    if text in ("never", "always"):
        return text
    found = re.match(r"after\s+(.+)\Z", text)
    try:
        if found and parse_duration(found[1]):
            return text
    except ValueError:
        pass  # the words below say what is wrong with it
    raise PydanticCustomError("again", "{shown} can't stand here: it must be never, always, or after 30d", {"shown": repr(text)})


class Entry(Shape):
    """What all entries may carry."""

    kind: ClassVar[str] = ""
    if_: Expression | None = Field(None, alias="if")
    key: Name | None = None
    again: Annotated[str, AfterValidator(_again)] | None = None
    while_active: Literal["ignore", "restart", "parallel"] = "ignore"
    once_per: Expression | None = None


class EventEntry(Entry):
    kind: ClassVar[str] = "event"
    event: Name
    where: Expression | None = None


class ApiEntry(Entry):
    kind: ClassVar[str] = "api"
    api: Literal["true"]


class SegmentEntry(Entry):
    kind: ClassVar[str] = "segment"
    segment: Name
    when: Literal["enters", "leaves"] = "enters"
    existing: Literal["enroll", "ignore"]


class Occasions(Shape):
    """`schedule: {…}`: exactly one of `at` (a time of day, with `days`; or a date and a time) and `cron`."""

    at: Filled | None = None
    days: Days = ()
    cron: Filled | None = None
    timezone: ZoneOrCustomer = "customer"


Audience = Annotated[Annotated[Expression, TEXT] | Annotated[Condition, MAP], FORM]
"""A segment's name, an expression on the customer, or a condition as in segments.yaml."""


class ScheduleEntry(Entry):
    kind: ClassVar[str] = "schedule"
    schedule: Annotated[Annotated[Filled, TEXT] | Annotated[Occasions, MAP], FORM]
    audience: Audience
    rate: Rate | None = None


class DateEntry(Entry):
    kind: ClassVar[str] = "date"
    date: Expression
    at: TimeOfDay = "09:00"
    offset: Offset | None = None
    every: Literal["year"] | None = None
    on_past: Literal["enter", "skip"] | None = None


class BroadcastEntry(Entry):
    kind: ClassVar[str] = "broadcast"
    broadcast: Name
    audience: Audience
    rate: Rate | None = None


ENTRIES: tuple[str, ...] = ("event", "segment", "schedule", "date", "broadcast", "api")


def _kind(data: Any) -> str | None:
    if isinstance(data, Entry):
        return f"<{data.kind}>"
    found = [k for k in ENTRIES if isinstance(data, dict) and k in data]
    return f"<{found[0]}>" if len(found) == 1 else None


AnyEntry = Annotated[
    Annotated[EventEntry, Tag("<event>")]
    | Annotated[ApiEntry, Tag("<api>")]
    | Annotated[SegmentEntry, Tag("<segment>")]
    | Annotated[ScheduleEntry, Tag("<schedule>")]
    | Annotated[DateEntry, Tag("<date>")]
    | Annotated[BroadcastEntry, Tag("<broadcast>")],
    one_of(_kind, ENTRIES, "an entry"),
]


class ExitRule(Shape):
    """One of `exit`: exactly one of `event` and `if`."""

    event: Name | None = None
    where: Expression | None = None
    match: Literal["any", "key"] | None = None
    if_: Expression | None = Field(None, alias="if")


class Goal(Shape):
    event: Name
    where: Expression | None = None
    match: Literal["any", "key"] | None = None
    within: Span | None = None
    value: Expression | None = None
    exit: YesNo = False


class Holdout(Shape):
    """A holdout with a salt of its own: another salt, other people."""

    share: Share
    salt: Id


class Journey(Shape):
    """One file under journeys/."""

    journey: Name
    summary: str = ""
    owner: str = ""
    status: Literal["draft", "live", "closed"] = "live"
    starts: Filled | None = None
    ends: Filled | None = None
    tier: Filled
    tags: tuple[Filled, ...] = ()
    holdout: Annotated[Annotated[Share, TEXT] | Annotated[Holdout, MAP], FORM] = 0.0
    enter: Annotated[tuple[AnyEntry, ...], OneOrMore, Field(min_length=1)]
    exit: Annotated[tuple[ExitRule, ...], OneOrMore] = ()
    goal: Goal | None = None
    steps: Annotated[Steps, Field(min_length=1)]
