"""The shape of policy.yaml to `engine.core.policy.Policy`, with what it refers to checked."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Literal, cast

from engine.authoring import shape_policy as shape
from engine.authoring.compile_limits import compile_limits
from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import BUILTIN, Tracking
from engine.authoring.scopes import Names, customer_fields, event_fields
from engine.authoring.spots import Spot
from engine.core.clock import parse_duration
from engine.core.policy import Cap, ConsentRule, Holdout, HoldRule, Policy, QuietHours, Sender, SoftOptIn, Tier


def compile_policy(
    written: shape.Policy, top: Spot, tracking: Tracking, segments: Segments, channels: Set[str], journeys: Set[str]
) -> Policy:
    """The Policy; what is wrong is reported below `top`."""
    known = _Known(top, written, tracking, channels, journeys)
    known.unique([t.name for t in written.tiers], top / "tiers", "tiers")
    known.unique([c.name for c in written.caps], top / "caps", "caps")
    known.tiers(written.uncounted, top / "uncounted")
    for part in ("unknown_timezone", "senders", "consent"):
        for channel in getattr(written, part):
            known.channel(channel, top / part / channel, key=True)
    names = Names(customer_fields(tracking, segments), segments=frozenset(segments.names()))
    return Policy(
        tiers=tuple(Tier(t.name, t.skip, t.only, t.expires) for t in written.tiers),
        timezone=written.timezone,
        uncounted=written.uncounted,
        unknown_timezone=dict(written.unknown_timezone),
        caps=tuple(_cap(c, top / "caps" / i, known) for i, c in enumerate(written.caps)),
        holds=tuple(_hold(h, top / "holds" / i, known, names) for i, h in enumerate(written.holds)),
        quiet_hours=tuple(_quiet(q, top / "quiet_hours" / i, known, names) for i, q in enumerate(written.quiet_hours)),
        consent=tuple(_consent(c, r, top / "consent" / c, known) for c, r in written.consent.items()),
        topics=written.topics,
        senders=tuple(Sender(channel, values) for channel, values in written.senders.items()),
        holdout=_holdout(written.holdout, top / "holdout", known),
        limits=compile_limits(written.limits, top / "limits", journeys),
    )


class _Known:
    """What policy.yaml may refer to."""

    def __init__(self, top: Spot, written: shape.Policy, tracking: Tracking, channels: Set[str], journeys: Set[str]) -> None:
        self.tier_names = {t.name for t in written.tiers}
        self.topic_names = set(written.topics)
        self.tracking, self.channels, self.journeys = tracking, channels, journeys

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

    def event(self, name: str, spot: Spot) -> None:
        if not self.tracking.event(name):
            spot.unknown(
                "SJ201", "event", name, {e.name for e in (*self.tracking.events, *BUILTIN)}, "declare it in tracking.yaml"
            )


def _cap(written: shape.Cap, spot: Spot, known: _Known) -> Cap:
    if written.channel and written.channels:
        (spot / "channel").report("SJ420", "channel: and channels: say the same", "keep one of them", key=True)
    if written.channel:
        known.channel(written.channel, spot / "channel")
    for i, channel in enumerate(written.channels):
        known.channel(channel, spot / "channels" / i)
    known.tiers(written.tiers, spot / "tiers")
    known.each(written.topics, spot / "topics", "SJ203", "topic", known.topic_names)
    known.each(written.journeys, spot / "journeys", "SJ206", "journey", known.journeys)
    rolling = None if written.per in ("day", "week", "month") else parse_duration(written.per)
    per = "rolling" if rolling else written.per
    return Cap(
        name=written.name,
        limit=written.limit,
        per=cast(Literal["day", "week", "month", "rolling"], per),
        rolling=rolling,
        tiers=written.tiers,
        channels=(written.channel,) if written.channel else written.channels,
        topics=written.topics,
        journeys=written.journeys,
    )


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
    if written.from_ == written.to:
        (spot / "to").report("SJ421", "quiet hours can't begin and end at the same time")
    return QuietHours(written.from_, written.to, written.channels, written.tiers, written.days, written.if_)


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
