"""What a customer sees and changes on the page of preferences, and what they say by it. Pure.

A choice is one box: a channel and a topic. It is on where the consent gate would let a message about it pass, snoozes left aside.
Source of the rules: docs/reference/consent.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple

from engine.core.case import open_case
from engine.core.consent import awaiting, consent, refusal, taken_back
from engine.core.facts import ConsentFact, Facts, Message
from engine.core.policy import Policy


class Choice(NamedTuple):
    """`topic` None: everything on the channel, where policy names no topics."""

    channel: str
    topic: str | None


class Said(NamedTuple):
    """A statement to be made. `channel` "*": about every channel, `topic` None: about every topic."""

    channel: str
    topic: str | None
    state: Literal["granted", "withdrawn", "cleared"]


def is_on(policy: Policy, facts: Facts, choice: Choice, now: datetime) -> bool:
    """Whether its box is ticked."""
    lasting = tuple(s for s in facts.consents if s.state != "withdrawn" or s.until is None)
    message = Message("", "", "", choice.channel, "", now, choice.topic)
    return consent(open_case(policy, replace(facts, consents=lasting), message), now).answer == "pass"


def is_pending(facts: Facts, choice: Choice, now: datetime) -> bool:
    """Whether the customer has agreed to it, and that awaits its confirmation."""
    told = facts.consents
    return any(not taken_back(told, s, choice.channel, now) for s in awaiting(told, *choice, now))


def statements(
    policy: Policy,
    facts: Facts,
    wanted: Mapping[Choice, bool],
    now: datetime,
    *,
    others: Iterable[str] = (),
    unproven: Container[str] = (),
) -> list[Said]:
    """What has to be said, in order, so that every choice of `wanted` is as it says; nothing where it is so already.

    A withdrawal of all channels, of a whole channel, or of a topic on all of them is in the way of anything narrower: it is
    cleared, which takes back what was agreed to before, and what policy then gives by itself and isn't wanted is withdrawn; on
    `others`, channels that were not shown, and on those of which nothing is wanted, as a whole: topics that policy will have one
    day too. On channels that are `unproven` what comes back is agreed to once more, so that it can be asked to be confirmed."""
    changes = {choice: on for choice, on in wanted.items() if is_on(policy, facts, choice, now) != on}
    widths = [w for w in _in_the_way(facts.consents, [choice for choice, on in changes.items() if on], now) if w not in changes]
    found = [Said(*width, "cleared") for width in widths]
    everything = Choice("*", None) in widths
    channels = sorted({c.channel for c in wanted}) if everything else []
    found += [Said(other, w.topic, "withdrawn") for w in widths if w.channel == "*" for other in sorted(others)]
    left = set(channels) - {c.channel for c, on in wanted.items() if on}
    found += [Said(channel, None, "withdrawn") for channel in sorted(left)]
    before = _after(facts, found, now)
    comes = {c for c in wanted if c.channel not in left and is_on(policy, before, c, now)}
    back = {c for c in comes if c in changes and wanted[c] and c.channel in unproven}
    found += [Said(*c, "withdrawn") for c in wanted if c in back or (c in comes and not wanted[c])]
    return [*found, *(Said(*c, "granted") for c, on in wanted.items() if on and (c in back or c not in comes))]


def _after(facts: Facts, said: Iterable[Said], now: datetime) -> Facts:
    """The customer once this has been said."""
    last = max((s.version for s in facts.consents), default=0)
    new = [ConsentFact(*s, now, version=last + n) for n, s in enumerate(said, 1)]
    return replace(facts, consents=(*facts.consents, *new))


def _in_the_way(told: Sequence[ConsentFact], wanted: Sequence[Choice], now: datetime) -> list[Choice]:
    """The breadths of wide withdrawals that keep any of `wanted` off, the widest first."""
    wide = [w for c in wanted for w in (Choice("*", None), Choice("*", c.topic), Choice(c.channel, None))]
    order = {w: (w.channel != "*", w.topic is not None) for w in wide}
    return [w for w in sorted(order, key=lambda w: (order[w], w.channel, w.topic or "")) if refusal(told, *w, now) is not None]
