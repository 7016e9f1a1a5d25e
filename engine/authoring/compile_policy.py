"""The shape of policy.yaml to `engine.core.policy.Policy`, with what it refers to checked."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Literal, cast

from engine.authoring import shape_policy as shape
from engine.authoring.compile_calendar import Calendars
from engine.authoring.compile_limits import compile_limits
from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import BUILTIN, Tracking
from engine.authoring.scopes import Names, customer_fields, event_fields
from engine.authoring.spots import Spot
from engine.core.clock import Duration, parse_duration
from engine.core.policy import (
    Cap,
    ConsentRule,
    Followed,
    Holdout,
    HoldRule,
    Identity,
    Policy,
    QuietHours,
    SegmentLimit,
    Sender,
    SoftOptIn,
    Tier,
)


def compile_policy(
    written: shape.Policy,
    top: Spot,
    tracking: Tracking,
    segments: Segments,
    channels: Set[str],
    journeys: Set[str],
    calendars: Calendars,
) -> Policy:
    """The Policy; what is wrong is reported below `top`."""
    known = _Known(written, tracking, channels, journeys, calendars)
    known.unique([t.name for t in written.tiers], top / "tiers", "tiers")
    known.unique([c.name for c in written.caps], top / "caps", "caps")
    for i, gap in enumerate(written.gaps):
        if gap.name in {*(c.name for c in written.caps), *(g.name for g in written.gaps[:i])}:
            hint = "caps and gaps are told apart by their names: take another"
            (top / "gaps" / i / "name").report("SJ411", f"another cap or gap is called {gap.name!r}", hint)
    known.tiers(written.uncounted, top / "uncounted")
    for part in ("unknown_timezone", "senders", "consent", "tracking"):
        for channel in getattr(written, part):
            known.channel(channel, top / part / channel, key=True)
    names = Names(customer_fields(tracking, segments), segments=frozenset(segments.names()))
    return Policy(
        tiers=tuple(Tier(t.name, t.skip, t.only, t.expires) for t in written.tiers),
        timezone=written.timezone,
        uncounted=written.uncounted,
        unknown_timezone=dict(written.unknown_timezone),
        caps=(
            *(_cap(c, top / "caps" / i, known, names) for i, c in enumerate(written.caps)),
            *(_gap(g, top / "gaps" / i, known, names) for i, g in enumerate(written.gaps)),
        ),
        holds=tuple(_hold(h, top / "holds" / i, known, names) for i, h in enumerate(written.holds)),
        quiet_hours=tuple(_quiet(q, top / "quiet_hours" / i, known, names) for i, q in enumerate(written.quiet_hours)),
        consent=tuple(_consent(c, r, top / "consent" / c, known) for c, r in written.consent.items()),
        topics=written.topics,
        tags=written.tags,
        senders=tuple(Sender(channel, values) for channel, values in written.senders.items()),
        holdout=_holdout(written.holdout, top / "holdout", known),
        jitter=written.jitter if written.jitter != Duration() else None,
        limits=compile_limits(written.limits, top / "limits", journeys),
        identity=_identity(written.identity, top / "identity"),
        tracking=tuple(Followed(c, f.clicks, f.opens, tuple(f.utm.items())) for c, f in written.tracking.items()),
    )


class _Known:
    """What policy.yaml may refer to."""

    def __init__(
        self,
        written: shape.Policy,
        tracking: Tracking,
        channels: Set[str],
        journeys: Set[str],
        calendars: Calendars,
    ) -> None:
        self.tier_names = {t.name for t in written.tiers}
        self.topic_names, self.tag_names = set(written.topics), set(written.tags)
        self.tracking, self.channels, self.journeys, self.calendars = tracking, channels, journeys, calendars

    def unique(self, names: Sequence[str], spot: Spot, what: str) -> None:
        for i, name in enumerate(names):
            if name in names[:i]:
                (spot / i / "name").report("SJ411", f"two {what} are called {name!r}", "each needs its own name")

    def tiers(self, names: Sequence[str], spot: Spot) -> None:
        self.each(names, spot, "SJ204", "tier", self.tier_names)

    def each(self, names: Sequence[str], spot: Spot, code: str, what: str, known: Set[str]) -> None:
        for i, name in enumerate(names):
            if name not in known:
                (spot / i).unknown(code, what, name, set(known))

    def channel(self, name: str, spot: Spot, key: bool = False) -> None:
        if name not in self.channels:
            hint = f"sojourn.yaml has {', '.join(sorted(self.channels)) or 'none yet'}"
            spot.report("SJ205", f"there is no channel {name!r}", hint, level="warning" if key else "error", key=key)

    def segment(self, name: str, spot: Spot, names: Names) -> None:
        if name not in names.segments:
            spot.unknown("SJ212", "segment", name, names.segments, "declare it in segments.yaml")

    def event(self, name: str, spot: Spot) -> None:
        if not self.tracking.event(name):
            spot.unknown(
                "SJ201", "event", name, {e.name for e in (*self.tracking.events, *BUILTIN)}, "declare it in tracking.yaml"
            )


def _cap(written: shape.Cap, spot: Spot, known: _Known, names: Names) -> Cap:
    _counting(written, spot, known, names)
    for i, one in enumerate(written.limits):
        known.segment(one.segment, spot / "limits" / i / "segment", names)
        if one.segment in [other.segment for other in written.limits[:i]]:
            hint = "the first one counts: remove the other"
            (spot / "limits" / i / "segment").report("SJ411", f"two limits are for {one.segment!r}", hint)
    (spot / "own_limit").expression(written.own_limit, names, "number")
    if written.own_up_to is not None and written.own_limit is None:
        hint = "write own_limit: customer.NAME, or remove it"
        (spot / "own_up_to").report("SJ420", "own_up_to: says how far own_limit: may go, and there is none", hint, key=True)
    elif written.own_up_to is not None and written.own_up_to <= written.limit:
        hint = "a customer may go down to nothing and up to the limit without it: remove it, or write a higher number"
        (spot / "own_up_to").report("SJ420", f"it allows no more than the limit of {written.limit}", hint)
    rolling = None if written.per in ("day", "week", "month") else parse_duration(written.per)
    return Cap(
        limit=written.limit,
        per="rolling" if rolling else cast(Literal["day", "week", "month"], written.per),
        rolling=rolling,
        limits=tuple(SegmentLimit(one.segment, one.limit) for one in written.limits),
        own_limit=written.own_limit,
        own_up_to=written.own_up_to,
        **_narrowed(written),
    )


def _gap(written: shape.Gap, spot: Spot, known: _Known, names: Names) -> Cap:
    """Two messages with so much time between them are one message in every window of that length."""
    _counting(written, spot, known, names)
    return Cap(limit=1, per="rolling", rolling=written.gap, gap=True, **_narrowed(written))


def _counting(written: shape.Counting, spot: Spot, known: _Known, names: Names) -> None:
    if written.channel and written.channels:
        (spot / "channel").report("SJ420", "channel: and channels: say the same", "keep one of them", key=True)
    if written.channel:
        known.channel(written.channel, spot / "channel")
    for i, channel in enumerate(written.channels):
        known.channel(channel, spot / "channels" / i)
    known.tiers(written.tiers, spot / "tiers")
    known.each(written.topics, spot / "topics", "SJ203", "topic", known.topic_names)
    known.each(written.journeys, spot / "journeys", "SJ206", "journey", known.journeys)
    known.each(written.tags, spot / "tags", "SJ207", "tag", known.tag_names)
    for i, segment in enumerate(written.segments):
        known.segment(segment, spot / "segments" / i, names)


def _narrowed(written: shape.Counting) -> dict[str, Any]:
    """What a cap and a gap have in common, as fields of a Cap."""
    return {
        "name": written.name,
        "tiers": written.tiers,
        "channels": (written.channel,) if written.channel else written.channels,
        "topics": written.topics,
        "journeys": written.journeys,
        "tags": written.tags,
        "segments": written.segments,
    }


def _hold(written: shape.Hold, spot: Spot, known: _Known, names: Names) -> HoldRule:
    known.tiers(written.pause, spot / "pause")
    by_events = [written.from_, written.until]
    if (written.while_in is None) == (None in by_events) or (written.while_in and any(by_events)):
        hint = "write while_in: JOURNEY, or from: EVENT and until: EVENT"
        spot.report("SJ420", "a hold has either while_in:, or from: and until:", hint)
    if written.while_in and written.while_in not in known.journeys:
        (spot / "while_in").unknown("SJ206", "journey", written.while_in, set(known.journeys))
    if written.while_in and (written.key or written.where):
        spot.report("SJ420", "key: and where: go with from: and until:", "remove them")
    for event, part in ((written.from_, "from"), (written.until, "until")):
        if not event:
            continue
        known.event(event, spot / part)
        found = known.tracking.event(event)
        if written.key and found and not found.property(written.key):
            (spot / "key").unknown("SJ211", f"property of {event} called", written.key, {n for n, _ in found.properties})
    opening = known.tracking.event(written.from_) if written.from_ else None
    (spot / "where").expression(written.where, names.looking_at(event_fields(opening)))
    return HoldRule(
        name=written.name or written.while_in or written.from_ or "",
        pause=written.pause,
        at_most=written.at_most,
        while_in=written.while_in,
        opens=written.from_,
        closes=written.until,
        key=written.key,
        where=written.where,
    )


def _quiet(written: shape.QuietHours, spot: Spot, known: _Known, names: Names) -> QuietHours:
    for i, channel in enumerate(written.channels):
        known.channel(channel, spot / "channels" / i)
    known.tiers(written.tiers, spot / "tiers")
    (spot / "if").expression(written.if_, names)
    start, end, calendar = written.from_ or "", written.to or "", written.days_off or ""
    if not calendar or start or end:
        for value, key in ((start, "from"), (end, "to")):
            if not value:
                hint = "quiet hours have from: and to:, or days_off: with a calendar, or both"
                spot.report("SJ111", f"{key!r} is missing here", hint)
    elif written.days:
        (spot / "days").report("SJ420", "days: goes with from: and to:", "say in the calendar which days are off", key=True)
    if start and start == end:
        (spot / "to").report("SJ421", "quiet hours can't begin and end at the same time")
    off = known.calendars.days_off(calendar, spot / "days_off") if calendar else ()
    return QuietHours(start, end, written.channels, written.tiers, written.days, written.if_, calendar, off)


def _consent(channel: str, written: shape.Consent, spot: Spot, known: _Known) -> ConsentRule:
    soft = None
    if written.double_opt_in and written.default == "granted":
        hint = "remove one: nobody has to confirm what is taken as given"
        (spot / "double_opt_in").report("SJ420", "double_opt_in: and default: granted contradict each other", hint, key=True)
    if written.soft:
        known.event(written.soft.after, spot / "soft" / "after")
        known.each(written.soft.topics, spot / "soft" / "topics", "SJ203", "topic", known.topic_names)
        soft = SoftOptIn(written.soft.after, written.soft.topics)
    return ConsentRule(channel, written.default, soft, written.double_opt_in)


def _holdout(written: shape.Holdout | None, spot: Spot, known: _Known) -> Holdout | None:
    if not written:
        return None
    known.tiers(written.tiers, spot / "tiers")
    return Holdout(written.name, written.share, written.tiers, written.salt or "")


def _identity(written: shape.Identity, spot: Spot) -> Identity:
    for key, names in (("identifiers", written.identifiers), ("merge", written.merge)):
        for i, name in enumerate(names):
            if name in names[:i]:
                (spot / key / i).report("SJ411", f"{name!r} stands here twice", "remove one")
    for i, name in enumerate(written.merge):
        if name != "alias" and name not in written.identifiers:
            hint = f"add {name} to identifiers:, or remove it here"
            (spot / "merge" / i).report("SJ420", f"{name} can't merge customers: it doesn't say who somebody is", hint)
    return Identity(written.identifiers, written.region or "", written.merge)
