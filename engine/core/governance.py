"""`decide(policy, facts, message, now) -> Verdict`: every gate, in order, each with its reason.

Only the order of the gates and what their answers add up to belong here; what a gate says is in `gates`, `consent`, `holds`,
`hours` and `caps`. Rules: `semantics.md`, "The gates".
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from engine.core import gates
from engine.core.caps import cap
from engine.core.case import Case, open_case
from engine.core.consent import consent
from engine.core.facts import Facts, GateAnswer, Message, Verdict
from engine.core.holds import delaying, hold
from engine.core.hours import quiet_hours
from engine.core.policy import Policy
from engine.core.queue import ahead
from engine.core.settling import settle
from engine.core.telling import tell_moment

_ORDER = (
    gates.live,
    gates.customer,
    gates.journey,
    gates.expires,
    gates.reachable,
    gates.suppression,
    consent,
    gates.holdout,
    hold,
    quiet_hours,
    cap,
)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def decide(policy: Policy, facts: Facts, message: Message, now: datetime) -> Verdict:
    """What the gates say of `message` at `now` (aware): allow, defer until `until`, or drop.

    Every gate answers, in the order of `facts.GATES`. A drop beats a defer; several defers wait for the moment at which all have
    settled. Only a deferred verdict has `until`: at the latest `expires_at`, where the message is decided a last time."""
    case = open_case(policy, facts, message)
    if policy.caps and "caps" not in case.tier.skip and not message.reserved:
        case = replace(case, book=ahead(case, now))
    answers = tuple([gate(case, now) for gate in _ORDER])
    if dropped := _first_drop(answers):
        return _expired(case, answers, now, None) if dropped.gate == "expires" else _drop(answers, dropped)
    waits = [a for a in answers if a.answer == "defer"]
    if not waits:
        return Verdict("allow", answers, detail="Every gate lets it pass.")
    earliest, certain, last = settle(case, now)
    end = message.expires_at
    if waits[0].gate == "journey":  # only an operator knows for how long, whatever else will be in the way then
        until = min(m for m in (waits[0].until, end) if m is not None)
        return Verdict("defer", answers, "journey", waits[0].rule, until, None, f"Waits until it is resumed: {waits[0].detail}")
    if certain and earliest is None and end is None:
        return _drop(answers, _in_the_way(waits))
    if certain and end is not None and (earliest is None or earliest >= end):
        return _expired(case, answers, now, earliest)
    until = min(m for m in (earliest or last, end) if m is not None)
    rule = _in_the_way(waits)
    detail = f"Waits for {_clause(rule)}. {_when(case, earliest)}"
    return Verdict("defer", answers, rule.gate, rule.rule, until, earliest, detail)


def _first_drop(answers: tuple[GateAnswer, ...]) -> GateAnswer | None:
    for answer in answers:
        if answer.answer == "drop":
            return answer
    return None


def _in_the_way(waits: list[GateAnswer]) -> GateAnswer:
    # The rule to name: the one that ends last; of equals the first gate.
    return max((a for a in waits if a.until is not None), key=lambda a: a.until or _LONG_AGO)


def _drop(answers: tuple[GateAnswer, ...], by: GateAnswer) -> Verdict:
    return Verdict("drop", answers, by.gate, by.rule, detail=f"Dropped: {_clause(by)}.")


def _expired(case: Case, answers: tuple[GateAnswer, ...], now: datetime, earliest: datetime | None) -> Verdict:
    # Waiting outlived the message, or will for certain: the cause is a pause or a hold that delayed it, else what it waits for.
    end = case.message.expires_at
    ends = f"Not worth sending after {tell_moment(end, case.zone)}" if end is not None else "Not worth sending any more"
    planned = case.message.planned_at
    for pause in case.facts.pauses:
        if (end is None or pause.paused_at < end) and (pause.resumed_at is None or pause.resumed_at > planned):
            return Verdict("drop", answers, "journey", pause.name, None, earliest, f"{ends}; {pause.name} was paused.")
    if held := [h for h in delaying(case, now) if end is None or h.opened_at < end]:
        longest = max(held, key=lambda h: (h.closed_at is None, h.closed_at or h.until))
        return Verdict("drop", answers, "hold", longest.name, None, earliest, f"{ends}; {longest.name} held it back.")
    waits = [a for a in answers if a.answer == "defer"]
    if waits:
        rule = _in_the_way(waits)
        return Verdict("drop", answers, "expired", rule.rule, None, earliest, f"{ends}; it waited for {_clause(rule)}.")
    return Verdict("drop", answers, "expired", "expires", None, earliest, f"{ends}.")


def _clause(answer: GateAnswer) -> str:
    return answer.detail.rstrip(".")


def _when(case: Case, earliest: datetime | None) -> str:
    if earliest is None:
        return "As the rules stand, no time would let it pass."
    return f"If nothing else changes it goes on {tell_moment(earliest, case.zone)}."
