"""Gate 6: has the customer agreed to messages on this channel, about this topic? Rules: `semantics.md`, "Consent".

A statement has a breadth: every channel or one, every topic or one. Where a case is in doubt, nothing is sent.
One that is `cleared` ends a withdrawal of exactly its breadth, and takes back every consent that was said before it, so far as it
is about the same; narrower withdrawals and snoozes stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.core.case import Case
from engine.core.facts import ConsentFact, GateAnswer
from engine.core.policy import ConsentRule
from engine.core.telling import tell_moment

UNSAID = ("none", "pending", "ended")
"""The rules of a drop where nobody said no."""

_SKIPPED = GateAnswer("consent", "skip", detail="The tier needs no consent.")


def consent(case: Case, now: datetime) -> GateAnswer:
    """Gate 6. Never defers."""
    if "consent" in case.tier.skip:
        return _SKIPPED
    channel, topic = case.message.channel, case.message.topic
    about = channel if topic is None else f"{channel} about {topic}"
    said = [s for s in case.facts.consents if s.channel in (channel, "*") and s.topic in (topic, None)]
    if len(said) == 1 and said[0].state == "granted" and _lasts(said[0], now):
        return _given(case, said[0], about)
    told = _current(said)
    breadths = {(s.channel, s.topic) for s in told}
    withdrawn = [w for b in breadths if (w := _withdrawal(_of(told, b), now))]
    cleared = max((_order(s) for s in said if s.state == "cleared"), default=None)
    granted = [g for b in breadths if (g := _grant(_of(told, b), now)) and (cleared is None or _order(g) > cleared)]
    for statement in sorted(withdrawn, key=lambda s: (s.until is not None, _order(s))):
        whole = statement.channel == "*" or statement.topic is None
        if whole or not any(_order(g) > _order(statement) for g in granted):
            return _silent(case, statement)
    if granted:
        return _given(case, max(granted, key=_order), about)
    return _unsaid(case, [s for s in told if cleared is None or _order(s) > cleared], about, now)


def agreed(told: Sequence[ConsentFact], channel: str, topic: str | None, now: datetime) -> bool:
    """Whether the latest of these statements about exactly `channel` and `topic` is a consent that lasts, and nothing of it was
    taken back since."""
    grant = _grant(_of(told, (channel, topic)), now)
    return grant is not None and not taken_back(told, grant, channel, now)


def refusal(told: Sequence[ConsentFact], channel: str, topic: str | None, now: datetime) -> ConsentFact | None:
    """The withdrawal for good of exactly this breadth that stands; None where none does. Snoozes are left aside."""
    return _withdrawal([s for s in _of(_uncleared(told), (channel, topic)) if s.until is None or s.state != "withdrawn"], now)


def snooze(told: Sequence[ConsentFact], channel: str, topic: str | None, now: datetime) -> ConsentFact | None:
    """The snooze of exactly this breadth that lasts longest; None where none does."""
    mine = [s for s in _of(_current(told), (channel, topic)) if s.state == "withdrawn" and s.until is not None and _lasts(s, now)]
    return max(mine, key=lambda s: s.until or now, default=None)


def awaiting(told: Sequence[ConsentFact], channel: str, topic: str | None, now: datetime) -> list[ConsentFact]:
    """The statements that await their confirmation on `channel` (those about every channel too), about `topic` (None: whatever
    they are about), oldest first. A snooze that is over counts as if it hadn't been said."""
    breadths = {(s.channel, s.topic) for s in told if s.channel in (channel, "*") and topic in (None, s.topic)}
    latest = [_standing(_of(told, b), now) for b in breadths]
    return sorted((s for s in latest if s is not None and s.state == "pending"), key=lambda s: s.version)


def taken_back(told: Iterable[ConsentFact], since: ConsentFact, channel: str, now: datetime) -> bool:
    """Whether after the statement `since` a withdrawal that lasts said no to something that it is about on `channel` ("*": on any
    of them), or something of that was cleared."""
    return any(
        (s.state == "cleared" or (s.state == "withdrawn" and _lasts(s, now)))
        and _order(s) > _order(since)
        and (s.channel in (channel, "*") or channel == "*")
        and (s.topic == since.topic or None in (s.topic, since.topic))
        for s in _unended(told)
    )


def lifted(mine: Sequence[ConsentFact], theirs: Sequence[ConsentFact], now: datetime) -> list[ConsentFact]:
    """The withdrawals among `mine` that still hold, or will again, and that a consent among `theirs`, or their end of a snooze,
    or what they have cleared, would lift if both were one person's history. Said once more at `now`, they hold in it as long as
    they did alone."""
    mine = _current(mine)
    granted = [s for s in theirs if (s.state == "granted" and _lasts(s, now)) or _ends(s) or s.state == "cleared"]
    found: dict[tuple[str, str | None, datetime | None], ConsentFact] = {}
    # A grant that something else took the place of lifts nothing.
    stands = {(s.channel, s.topic): s for s in sorted(mine, key=_order)}
    for statement in mine:
        if statement.state != "withdrawn" or not _lasts(statement, now):
            continue
        over = any(
            s.state == "granted" and s.until is None and _order(s) > _order(statement) and _lifts(s, statement)
            for s in stands.values()
        )
        if not over and any(_lifts(g, statement) and _order(g) > _order(statement) for g in granted):
            found[(statement.channel, statement.topic, statement.until)] = statement
    return sorted(found.values(), key=_order)


def _lifts(granted: ConsentFact, withdrawn: ConsentFact) -> bool:
    """Whether a consent of that breadth, said later, lifts the withdrawal: a wide one is lifted only by one as wide. The end of a
    snooze lifts snoozes as wide; clearing lifts what is as wide and no snooze."""
    if granted.state == "cleared":
        return withdrawn.until is None and (granted.channel, granted.topic) == (withdrawn.channel, withdrawn.topic)
    if _ends(granted):
        return withdrawn.until is not None and (granted.channel, granted.topic) == (withdrawn.channel, withdrawn.topic)
    if withdrawn.channel == "*" or withdrawn.topic is None:
        return (granted.channel, granted.topic) == (withdrawn.channel, withdrawn.topic)
    return granted.channel in (withdrawn.channel, "*") and granted.topic in (withdrawn.topic, None)


def _given(case: Case, statement: ConsentFact, about: str) -> GateAnswer:
    when = tell_moment(statement.at, case.zone)
    return GateAnswer("consent", "pass", "granted", f"Consent to {about} was given on {when}{_how(statement)}.")


def _silent(case: Case, statement: ConsentFact) -> GateAnswer:
    scope = "every channel" if statement.channel == "*" else statement.channel
    scope += "" if statement.topic is None else f" about {statement.topic}"
    when = tell_moment(statement.at, case.zone)
    if statement.until is not None:
        end = tell_moment(statement.until, case.zone)
        detail = f"The customer wants no messages on {scope} until {end}, as said on {when}{_how(statement)}."
        return GateAnswer("consent", "drop", "snoozed", detail)
    return GateAnswer("consent", "drop", "withdrawn", f"Consent to {scope} was withdrawn on {when}{_how(statement)}.")


def _how(statement: ConsentFact) -> str:
    how = [statement.source] if statement.source else []
    how += [f"wording {statement.wording}"] if statement.wording else []
    return f", {', '.join(how)}" if how else ""


def _unsaid(case: Case, told: list[ConsentFact], about: str, now: datetime) -> GateAnswer:
    # Nobody granted or withdrew: soft opt-in, then the channel's default.
    channel, topic = case.message.channel, case.message.topic
    rule = next((r for r in case.policy.consent if r.channel == channel), ConsentRule(channel))
    soft_at = dict(case.facts.soft_opt_in_at).get(channel)
    if rule.soft and topic in rule.soft.topics and soft_at is not None:
        when = tell_moment(soft_at, case.zone)
        return GateAnswer("consent", "pass", "soft", f"Soft opt-in to {about}: {rule.soft.after} on {when}.")
    if rule.default == "granted":
        return GateAnswer("consent", "pass", "default", f"Policy takes consent to {channel} as given.")
    latest = _latest(s for s in told if s.state != "withdrawn")  # only snoozes that are over are left of those
    if latest and latest.state == "pending":
        return GateAnswer("consent", "drop", "pending", f"Consent to {about} awaits its confirmation.")
    if latest and latest.until is not None and not _lasts(latest, now):
        when = tell_moment(latest.until, case.zone)
        return GateAnswer("consent", "drop", "ended", f"Consent to {about} ended on {when}.")
    return GateAnswer("consent", "drop", "none", f"Nobody gave consent to {about}.")


def _ends(statement: ConsentFact) -> bool:
    """Whether it is the end of a snooze: one that was over when it was said."""
    return statement.state == "withdrawn" and statement.until is not None and statement.until <= statement.at


def _current(told: Iterable[ConsentFact]) -> list[ConsentFact]:
    """Without what was cleared, and without the snoozes that ended before their time."""
    return _unended(_uncleared(told))


def _uncleared(told: Iterable[ConsentFact]) -> list[ConsentFact]:
    """Without the statements, snoozes left aside, after which exactly their breadth was cleared."""
    told = list(told)
    cleared = [s for s in told if s.state == "cleared"]
    return [s for s in told if s.state != "cleared" and not any(_clears(c, s) for c in cleared)] if cleared else told


def _clears(cleared: ConsentFact, statement: ConsentFact) -> bool:
    if (statement.state == "withdrawn" and statement.until is not None) or _order(statement) > _order(cleared):
        return False
    return (statement.channel, statement.topic) == (cleared.channel, cleared.topic)


def _unended(told: Iterable[ConsentFact]) -> list[ConsentFact]:
    """Without the snoozes that ended before their time, because an end as wide was said later."""
    ends: dict[tuple[str, str | None], tuple[datetime, int]] = {}
    told = list(told)
    for s in told:
        if _ends(s):
            ends[(s.channel, s.topic)] = max(_order(s), ends.get((s.channel, s.topic), _order(s)))
    if not ends:
        return told
    since = [ends.get((s.channel, s.topic), _order(s)) if s.state == "withdrawn" and s.until else _order(s) for s in told]
    return [s for s, end in zip(told, since, strict=True) if _order(s) >= end]


def _of(told: Iterable[ConsentFact], breadth: tuple[str, str | None]) -> list[ConsentFact]:
    return [s for s in told if (s.channel, s.topic) == breadth]


def _order(statement: ConsentFact) -> tuple[datetime, int]:
    return statement.at, statement.version


def _latest(told: Iterable[ConsentFact]) -> ConsentFact | None:
    return max(told, key=_order, default=None)


def _lasts(statement: ConsentFact, now: datetime) -> bool:
    return statement.until is None or now < statement.until


def _withdrawal(told: list[ConsentFact], now: datetime) -> ConsentFact | None:
    # A grant lifts it as long as the grant lasts; one that only awaits its confirmation lifts nothing. After a snooze,
    # what was said before it holds again.
    latest = _latest(s for s in told if s.state != "pending" and _lasts(s, now))
    return latest if latest and latest.state == "withdrawn" else None


def _grant(told: list[ConsentFact], now: datetime) -> ConsentFact | None:
    latest = _standing(told, now)
    return latest if latest and latest.state == "granted" and _lasts(latest, now) else None


def _standing(told: Iterable[ConsentFact], now: datetime) -> ConsentFact | None:
    # The latest, without snoozes that are over.
    return _latest(s for s in told if s.state != "withdrawn" or _lasts(s, now))
