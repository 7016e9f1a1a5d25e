"""Gate 8: no hold on the message's tier. Rules: `semantics.md`, "Holds" and the gates."""

from __future__ import annotations

from datetime import datetime

from engine.core.case import Case
from engine.core.facts import GateAnswer, HoldFact, Message
from engine.core.hours import goes_at
from engine.core.telling import tell_moment

_SKIPPED = GateAnswer("hold", "skip", detail="No hold pauses this tier: it passes them all.")
_NONE = GateAnswer("hold", "pass", detail="No hold is in the way.")


def hold(case: Case, now: datetime) -> GateAnswer:
    """Gate 8. Defers to the planned time of day at or after the hold's end; uncertain while the hold is open."""
    if "holds" in case.tier.skip:
        return _SKIPPED
    found: GateAnswer | None = None
    for each in delaying(case, now):
        end = _end(each)
        free = goes_at(case, end)
        is_open = each.closed_at is None and now < end
        if not is_open and now >= free:
            continue
        if found is None or found.until is None or free > found.until:
            found = GateAnswer("hold", "defer", each.name, _tell(case, each, end, free, is_open), free, certain=not is_open)
        if is_open and found.certain:
            found = GateAnswer("hold", "defer", found.rule, found.detail, found.until, certain=False)
    return found or _NONE


def delaying(case: Case, now: datetime) -> tuple[HoldFact, ...]:
    """The holds that delay this message or did: they pause its tier, had opened by `now` and ended after it was planned."""
    if "holds" in case.tier.skip:
        return ()
    planned = case.message.planned_at
    return tuple(
        h for h in case.facts.holds if concerns(h, case.message) and h.opened_at <= now and (_end(h) > planned or now < _end(h))
    )


def concerns(each: HoldFact, message: Message) -> bool:
    """Whether a hold pauses messages like this one."""
    return message.tier in each.pause and (not each.channels or message.channel in each.channels)


def _end(each: HoldFact) -> datetime:
    return each.until if each.closed_at is None else min(each.closed_at, each.until)


def _tell(case: Case, each: HoldFact, end: datetime, free: datetime, is_open: bool) -> str:
    goes = tell_moment(free, case.zone)
    if is_open and each.why:
        return f"{each.why}. {case.message.tier} waits on {case.message.channel}, at most until {goes}."
    if is_open:
        return f"{each.name} pauses {case.message.tier}, at most until {tell_moment(end, case.zone)}; the message goes on {goes}."
    return f"{each.name} paused {case.message.tier} until {tell_moment(end, case.zone)}; the message goes on {goes}."
