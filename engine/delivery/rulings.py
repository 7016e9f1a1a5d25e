"""What an earlier try, the gates' verdict or a channel's receipt means for a message: its row in the ledger, and the outcome for
the core. Nothing here reads, writes or calls. Source of the rules: semantics.md, "Sending once".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.core.consent import UNSAID
from engine.core.facts import Verdict
from engine.core.logical import LogicalClock
from engine.core.policy import Policy
from engine.delivery.channel import Channel, Receipt, Result
from engine.delivery.draft import Draft
from engine.delivery.facts import Known
from engine.store.ledger import UNKNOWN

SKIPPED = "skipped"
"""Reason of a message whose step an operator skipped."""

SHORT_WAIT_SECONDS = 60.0
"""A retry later than this gives its slot back and is decided anew."""

UNKNOWN_TRIES = 10
"""How often an unknown outcome is tried again on a channel that may repeat; then it counts as sent."""

UNSETTLED = ("deferred", "reserved", "parked")
"""Statuses of messages that are to be tried again."""

Row = dict[str, Any]
"""A row for `store.ledger.write` or `store.ledger.results`."""


def still_theirs(chunk: Sequence[Draft], states: Mapping[int, Any], moment: datetime) -> list[Draft]:
    """The drafts whose customer is still the one for whom they were made. A merge may have given an enrollment to another one
    since it was read, whose facts and address are others: those come again at once, and are made anew."""
    for draft in chunk:
        if draft.outcome is None and states[draft.enrollment].customer_id != draft.customer:
            draft.done("again", until=moment)
    return [draft for draft in chunk if draft.outcome is None]


def earlier_try(clock: LogicalClock, draft: Draft, row: Any, channel: Channel, moment: datetime) -> list[Row] | None:
    """What `row` (`store.ledger.by_key`) says became of the draft's key; its outcome is set then, and the rows to write are the
    answer. None where it is to be decided: for the first time, or again."""
    if row is None:
        return None
    written: list[Row] = []
    draft.tries = row.tries
    handed_over_at = row.sent_at or row.slot_at or row.decided_at  # one that was refused gave its slot back
    if row.status == "refused" and ((row.reason != "refused" and draft.has_fallback()) or draft.must_arrive()):
        draft.done("fallback", at=handed_over_at)
    elif row.status in ("sent", "unknown", "refused"):
        draft.done("next", at=handed_over_at)
        draft.was_sent = row.status != "refused"
    elif row.status == "dropped" and row.until is not None and draft.op.on_defer == "exit":
        draft.done("exit", reason="deferred")
    elif row.status == "dropped":
        draft.done("fallback" if draft.has_fallback() and elsewhere(row.reason, row.rule) else "next")
    elif row.status == "handed_over" and row.leased:
        draft.done("again", until=moment + clock.logical_span(float(row.lease_left) + 0.5))
    elif row.status == "handed_over" and channel.capabilities.on_unknown == "assume_sent":
        detail = "the process that handed it over died before the answer: counted as sent"
        draft.consent_version = row.consent_version  # it was decided then, not now
        written.append(draft.ledger_row("unknown", policy=row.policy, now=moment, slot_at=row.slot_at, detail=detail))
        draft.done("next", at=moment)
        draft.was_sent = True
    else:
        draft.slot_at = row.slot_at
        draft.reserved = row.slot_at is not None
        draft.uncertain = row.status == "handed_over" or row.reason == UNKNOWN
        return None
    draft.settled = row
    return written


def skipped(draft: Draft, state: Any, at: datetime, policy_hash: str) -> Row | None:
    """The ledger's row for a message whose step an operator skipped after it had begun; its outcome is set then. None where
    nobody did. `state`: of `ledger.journey_states`."""
    if not _skips(draft, state):
        return None
    draft.done("next", at=state.skipped_at)
    draft.was_sent = draft.uncertain
    given_up = _given_up(draft.uncertain, SKIPPED)
    return draft.ledger_row(now=at, policy=policy_hash, slot_at=draft.slot_at if draft.uncertain else None, **given_up)


def overtaken(draft: Draft, state: Any, row: Row) -> None:
    """What a channel said (`row`, of `receipt`) asks for another try, and an operator has skipped the step meanwhile, or the
    enrollment has ended: there will be none."""
    if row["status"] in UNSETTLED and (state.status == "ended" or _skips(draft, state)):
        perhaps = row["reason"] == UNKNOWN
        row |= {**_given_up(perhaps, "live" if state.status == "ended" else SKIPPED), "until": None, "keep_slot": perhaps}


def _skips(draft: Draft, state: Any) -> bool:
    return bool(state.skipped == draft.op.step and state.skipped_at > draft.command.at)


def _given_up(perhaps: bool, reason: str) -> Row:
    """`perhaps`: an earlier try may have arrived."""
    detail = "an operator skipped its step" if reason == SKIPPED else "the journey had ended"
    return {"status": "unknown" if perhaps else "dropped", "reason": UNKNOWN if perhaps else reason, "detail": detail}


def let_old_slot_go(clock: LogicalClock, draft: Draft, known: Known, comes: datetime) -> bool:
    """A slot counts for the time at which it was taken. A message that comes for it later than a short wait needs one for
    then, as any other does: else the window of then would hold one more than its limit. Whether it had to let a slot go."""
    if not draft.reserved or draft.slot_at is None or comes - draft.slot_at <= clock.logical_span(SHORT_WAIT_SECONDS):
        return False
    draft.reserved = False
    known.give_back(draft.customer, draft.slot(draft.slot_at))
    return True


def verdict(draft: Draft, given: Verdict, at: datetime, known: Known, policy: Policy, policy_hash: str) -> Row:
    """The ledger's row for what the gates said, and the outcome where nothing is to be sent."""
    told = {"reason": UNKNOWN if draft.uncertain else given.reason, "detail": given.detail}
    kept = draft.slot_at if draft.reserved or draft.uncertain else None
    if given.decision == "allow" and draft.broken:
        draft.done("park", reason=draft.broken[:180])
        why = UNKNOWN if draft.uncertain else "template"
        slot = kept if draft.uncertain else None
        return draft.ledger_row("parked", policy=policy_hash, now=at, reason=why, detail=draft.broken, slot_at=slot)
    if given.decision == "allow":
        slot = (kept if draft.reserved else None) or at
        if not draft.reserved and draft.op.tier not in policy.uncounted:
            known.take(draft.customer, draft.slot(at))
        return draft.ledger_row("handed_over", policy=policy_hash, now=at, slot_at=slot)
    if given.decision == "defer" and (draft.op.on_defer == "wait" or given.reason == "journey"):
        draft.done("again", until=given.until)
        return draft.ledger_row("deferred", policy=policy_hash, now=at, until=given.until, slot_at=kept, **told)
    if draft.uncertain:  # an earlier try may have arrived: it counts as sent, and its slot stays taken
        draft.done("next", at=at)
        draft.was_sent = True
        return draft.ledger_row("unknown", policy=policy_hash, now=at, slot_at=kept, **told)
    if given.decision == "defer":
        draft.done("exit", reason="deferred") if draft.op.on_defer == "exit" else draft.done("next")
        return draft.ledger_row("dropped", policy=policy_hash, now=at, until=given.until, **told)
    draft.done("fallback" if draft.has_fallback() and elsewhere(given.reason, given.rule) else "next")
    return draft.ledger_row("dropped", policy=policy_hash, now=at, **told)


def elsewhere(reason: str, rule: str) -> bool:
    """Whether a message that was dropped for `reason` may go by another channel: it can't be reached on this one, or hasn't
    agreed to it. Who said no is left alone."""
    return reason in ("reachable", "suppression") or (reason == "consent" and rule in UNSAID)


def receipt(clock: LogicalClock, draft: Draft, given: Receipt | Exception, channel: Channel, moment: datetime) -> Row:
    """The ledger's update for what the channel said, and the member's outcome."""
    if isinstance(given, Exception):
        reason = f"channel {channel.name}: {type(given).__name__}: {given}"[:180]
        draft.done("park", reason=reason)
        why = UNKNOWN if draft.uncertain else "channel"
        return {"key": draft.key, "status": "parked", "reason": why, "detail": reason, "keep_slot": draft.uncertain}
    told = {"key": draft.key, "provider_id": given.provider_id, "words": given.words}
    if given.result is Result.ACCEPTED:
        draft.done("next", at=moment)
        draft.was_sent = True
        return {**told, "status": "sent", "sent_at": moment, "keep_slot": True}
    if given.result is Result.REFUSED:
        other = (given.suppress and draft.has_fallback()) or draft.must_arrive()
        draft.done("fallback" if other else "next", at=moment)
        return {**told, "status": "refused", "reason": given.suppress or "refused", "keep_slot": False}
    may_repeat = channel.capabilities.on_unknown == "retry" and draft.tries < UNKNOWN_TRIES
    if given.result is Result.UNKNOWN and not may_repeat:
        draft.done("next", at=moment)
        draft.was_sent = True
        return {**told, "status": "unknown", "detail": "nobody knows whether it was sent: counted as sent", "keep_slot": True}
    return {**told, **_again(clock, draft, given, moment)}


def suppression(draft: Draft, given: Receipt | Exception, moment: datetime) -> Row | None:
    """The row of `store.customers.suppress` for an address that the channel said must not be used again."""
    if isinstance(given, Exception) or not given.suppress:
        return None
    channel, reason = draft.command.channel, given.suppress
    return {"customer_id": draft.customer, "channel": channel, "address": draft.address, "reason": reason, "at": moment}


def _again(clock: LogicalClock, draft: Draft, given: Receipt, moment: datetime) -> Row:
    # A retry in real time; a long one gives its slot back and is decided anew.
    wait = given.retry_after if given.retry_after is not None else min(2.0 ** min(draft.tries, 8), 300.0)
    until = moment + max(clock.logical_span(wait), timedelta(milliseconds=1))
    draft.done("again", until=until)
    if draft.uncertain or given.result is Result.UNKNOWN:
        return {"status": "reserved", "reason": UNKNOWN, "until": until, "keep_slot": True}
    if wait <= SHORT_WAIT_SECONDS:
        return {"status": "reserved", "reason": "provider", "until": until, "keep_slot": True}
    return {"status": "deferred", "reason": "provider", "until": until, "keep_slot": False}
