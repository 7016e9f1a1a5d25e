"""policy.yaml as YAML writes it. What its names refer to is checked where it is compiled, in `compile_policy`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from engine.authoring.shapes import Days, Expression, Filled, Id, Name, Span, TimeOfDay, Value, ZoneName
from engine.core.clock import Duration, parse_duration
from engine.settings.shape import Shape, Share, Whole, YesNo


def _per(text: str) -> str:
    if text in ("day", "week", "month"):
        return text
    try:
        lasts = parse_duration(text) > Duration()
    except ValueError:
        lasts = False
    if not lasts:
        hint = "write day, week or month for the calendar, or a length such as 24h or 7d that rolls"
        raise PydanticCustomError("per", "{shown} can't stand here", {"shown": repr(text), "hint": hint})
    return text


def _lasting(length: Duration) -> Duration:
    if length <= Duration():
        raise PydanticCustomError("gap", "a gap must last longer than nothing", {"hint": "write for example 4h"})
    return length


class Tier(Shape):
    name: Id
    skip: tuple[Literal["consent", "caps", "quiet_hours", "holds"], ...] = ()
    only: tuple[Filled, ...] = ()
    expires: Span | None = None


class Counting(Shape):
    """What all rules that count messages may be narrowed by; `channel` or `channels`, one or the other."""

    name: Id
    tiers: tuple[Filled, ...] = ()
    channel: Filled | None = None
    channels: tuple[Filled, ...] = ()
    topics: tuple[Filled, ...] = ()
    journeys: tuple[Filled, ...] = ()
    tags: tuple[Filled, ...] = ()
    segments: tuple[Filled, ...] = ()


Most = Annotated[Whole, Field(ge=0)]


class SegmentLimit(Shape):
    """One of a cap's `limits`."""

    segment: Filled
    limit: Most


class Cap(Counting):
    """At most so many messages; `limits` for members of a segment, `own_limit` for who chose one."""

    limit: Most
    per: Annotated[str, AfterValidator(_per)]
    limits: tuple[SegmentLimit, ...] = ()
    own_limit: Expression | None = None
    own_up_to: Most | None = None


class Gap(Counting):
    """The least time between two messages."""

    gap: Annotated[Span, AfterValidator(_lasting)]


class Hold(Shape):
    """`while_in` a journey, or `from` an event `until` another."""

    name: Id | None = None
    pause: Annotated[tuple[Filled, ...], Field(min_length=1)]
    at_most: Span
    while_in: Name | None = None
    from_: Name | None = Field(None, alias="from")
    until: Name | None = None
    key: Name | None = None
    where: Expression | None = None


class QuietHours(Shape):
    """`from` a time of day `to` another, the `days_off` of a calendar, or both."""

    from_: TimeOfDay | None = Field(None, alias="from")
    to: TimeOfDay | None = None
    channels: tuple[Filled, ...] = ()
    tiers: tuple[Filled, ...] = ()
    days: Days = ()
    days_off: Filled | None = None
    if_: Expression | None = Field(None, alias="if")


class Soft(Shape):
    after: Name
    topics: Annotated[tuple[Filled, ...], Field(min_length=1)]


class Consent(Shape):
    default: Literal["none", "granted"] = "none"
    soft: Soft | None = None
    double_opt_in: YesNo = False


class JourneyLimit(Shape):
    """Of `journeys` (all without), highest first: at most `at_once` at the same time, or at most `entries` `per` day."""

    name: Id
    journeys: tuple[Name, ...] = ()
    at_once: Annotated[Whole, Field(ge=1)] | None = None
    when_full: Literal["bar", "displace"] | None = None
    entries: Annotated[Whole, Field(ge=1)] | None = None
    per: Literal["day", "week", "month"] | None = None


class Holdout(Shape):
    name: Id
    share: Share
    tiers: Annotated[tuple[Filled, ...], Field(min_length=1)]
    salt: Id | None = None


def _region(text: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS  # its tables take a moment, and few policies name a region

    if text not in SUPPORTED_REGIONS:
        hint = "write two capital letters, such as IT, GB or US"
        raise PydanticCustomError(
            "region", "{shown} is not a country that has phone numbers", {"shown": repr(text), "hint": hint}
        )
    return text


Address = Literal["email", "phone"]


class Identity(Shape):
    """Which attributes say who somebody is, and what makes one of two known customers."""

    identifiers: tuple[Address, ...] = ("email", "phone")
    region: Annotated[str, AfterValidator(_region)] | None = None
    merge: tuple[Literal["alias", "email", "phone"], ...] = ()


def _topic(text: str) -> str:
    if not re.match(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", text):
        raise PydanticCustomError("topic", "{shown} can't be the name of a topic", {"shown": repr(text)})
    return text


_FILLED = ("journey", "step", "template", "topic", "tier", "channel")


def _campaign(written: dict[str, str]) -> dict[str, str]:
    for name, text in written.items():
        if not re.match(r"[A-Za-z0-9_.-]+\Z", name):
            raise PydanticCustomError("parameter", "{shown} can't be the name of a parameter", {"shown": repr(name)})
        for placed in re.findall(r"\{(\w*)\}", text):
            if placed not in _FILLED:
                hint = f"there are {', '.join(f'{{{n}}}' for n in _FILLED)}"
                raise PydanticCustomError("placed", "nothing is called {shown} here", {"shown": repr(placed), "hint": hint})
    return written


class Follow(Shape):
    """One channel under `tracking`: whether clicks and opens are noted, and what links say of where they stood."""

    clicks: YesNo = False
    opens: YesNo = False
    utm: Annotated[dict[str, str], AfterValidator(_campaign)] = Field(default_factory=dict)


class Policy(Shape):
    """policy.yaml."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    uncounted: tuple[Filled, ...] = ()
    timezone: ZoneName = "UTC"
    unknown_timezone: dict[str, Literal["drop"]] = Field(default_factory=dict)
    caps: tuple[Cap, ...] = ()
    gaps: tuple[Gap, ...] = ()
    holds: tuple[Hold, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = ()
    consent: dict[str, Consent] = Field(default_factory=dict)
    topics: tuple[Annotated[str, AfterValidator(_topic)], ...] = ()
    tags: tuple[Id, ...] = ()
    senders: dict[str, dict[str, Value]] = Field(default_factory=dict)
    holdout: Holdout | None = None
    jitter: Span | None = None
    limits: tuple[JourneyLimit, ...] = ()
    identity: Identity = Identity()
    tracking: dict[str, Follow] = Field(default_factory=dict)
