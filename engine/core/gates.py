"""Gates 0 to 5 and 7: those that look at one fact each. The others have modules of their own.

A gate is a function of a case and `now` that answers pass, skip, defer or drop with a sentence; it knows no other gate.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.core.case import Case
from engine.core.facts import GateAnswer
from engine.core.telling import tell_moment

_LIVE = GateAnswer("live", "pass", detail="The enrollment is live.")
_KNOWN = GateAnswer("customer", "pass", detail="The customer is known.")
_RUNS = GateAnswer("journey", "pass", detail="The journey runs.")
ASK_AGAIN = timedelta(days=365)
"""After which a paused message asks again, should nobody have resumed it."""
_LASTING = GateAnswer("expires", "pass", detail="The message does not expire.")
_CLEAN = GateAnswer("suppression", "pass", detail="The address is not suppressed.")
_COUNTED = GateAnswer("holdout", "pass", detail="The customer is in no holdout.")


def live(case: Case, now: datetime) -> GateAnswer:
    """Gate 0: the enrollment is live."""
    if case.facts.live:
        return _LIVE
    reason = case.facts.ended_reason or "ended"
    return GateAnswer("live", "drop", reason, f"The enrollment has ended: {reason}.")


def customer(case: Case, now: datetime) -> GateAnswer:
    """Gate 1: the customer is known, not erased, not restricted."""
    if case.facts.erased:
        return GateAnswer("customer", "drop", "erased", "The customer was erased.")
    if not case.facts.known:
        return GateAnswer("customer", "drop", "unknown", "The customer is not known.")
    if case.facts.restricted:
        return GateAnswer("customer", "drop", "restricted", "The customer is restricted: nothing may be sent.")
    return _KNOWN


def journey(case: Case, now: datetime) -> GateAnswer:
    """Gate 2: neither the journey nor the enrollment is paused. Nobody knows when it will be resumed, which wakes the message."""
    for pause in case.facts.pauses:
        if pause.resumed_at is None:
            since = tell_moment(pause.paused_at, case.zone)
            why = f" ({pause.why})" if pause.why else ""
            detail = f"{pause.name} is paused since {since}{why}."
            return GateAnswer("journey", "defer", pause.name, detail, now + ASK_AGAIN, certain=False)
    return _RUNS


def expires(case: Case, now: datetime) -> GateAnswer:
    """Gate 3: still worth sending. At `expires_at` it no longer is."""
    end = case.message.expires_at
    if end is None:
        return _LASTING
    if now >= end:
        return GateAnswer("expires", "drop", "expires", f"The message expired on {tell_moment(end, case.zone)}.")
    return GateAnswer("expires", "pass", detail=f"The message is worth sending until {tell_moment(end, case.zone)}.")


def reachable(case: Case, now: datetime) -> GateAnswer:
    """Gate 4: the channel has an address to send to."""
    channel = case.message.channel
    if case.facts.address is None:
        return GateAnswer("reachable", "drop", "no_address", f"The customer has no address on {channel}.")
    return GateAnswer("reachable", "pass", detail=f"The customer can be reached on {channel}.")


def suppression(case: Case, now: datetime) -> GateAnswer:
    """Gate 5: the address isn't suppressed. No tier skips it."""
    if case.facts.suppressed is None:
        return _CLEAN
    reason = case.facts.suppressed or "suppressed"
    return GateAnswer("suppression", "drop", reason, f"The address must not be used: {reason}.")


def holdout(case: Case, now: datetime) -> GateAnswer:
    """Gate 7: not in a holdout. Policy's own holds only the tiers that it names."""
    name, rule = case.facts.holdout, case.policy.holdout
    if name is None:
        return _COUNTED
    if rule and rule.name == name and case.message.tier not in rule.tiers:
        return GateAnswer("holdout", "pass", detail=f"Holdout {name} leaves {case.message.tier} alone.")
    return GateAnswer("holdout", "drop", name, f"The customer is in the holdout {name}.")
