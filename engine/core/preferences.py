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
    state: Literal["granted", "withdrawn"]


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

    A withdrawal of all channels, of a whole channel, or of a topic on all of them gives way only to a consent as wide: then that
    is said, and whatever else it would bring is withdrawn one by one; on `others`, channels that were not shown, and on those of
    which nothing is wanted, as a whole: topics that policy will have one day too. On channels that are `unproven` what is wanted
    is then agreed to by itself, so that it can be asked to be confirmed."""
    changes = {choice: on for choice, on in wanted.items() if is_on(policy, facts, choice, now) != on}
    widths = _in_the_way(facts.consents, [choice for choice, on in changes.items() if on], now)
    brought = {choice for choice in wanted if any(_covers(w, choice) for w in widths)}
    kept = {c for c in brought if wanted[c] and c.channel not in unproven}
    left = {c.channel for c in wanted} - {c.channel for c, on in wanted.items() if on} if ("*", None) in widths else set()
    found = [Said(*width, "granted") for width in widths]
    found += [Said(other, w.topic, "withdrawn") for w in widths if w.channel == "*" for other in sorted(others)]
    found += [Said(channel, None, "withdrawn") for channel in sorted(left)]
    off = [c for c, on in wanted.items() if c.channel not in left and (c in brought - kept or (c in changes and not on))]
    found += [Said(*c, "withdrawn") for c in off]
    return [*found, *(Said(*c, "granted") for c, on in changes.items() if on and c not in widths)]


def _in_the_way(told: Sequence[ConsentFact], wanted: Sequence[Choice], now: datetime) -> list[Choice]:
    """The breadths of wide withdrawals that keep any of `wanted` off, the widest first."""
    wide = [w for c in wanted for w in (Choice("*", None), Choice("*", c.topic), Choice(c.channel, None))]
    order = {w: (w.channel != "*", w.topic is not None) for w in wide}
    return [w for w in sorted(order, key=lambda w: (order[w], w.channel, w.topic or "")) if refusal(told, *w, now) is not None]


def _covers(wide: Choice, choice: Choice) -> bool:
    return wide.channel in ("*", choice.channel) and wide.topic in (None, choice.topic)
