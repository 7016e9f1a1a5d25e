"""What stood in the way of a message, rule by rule and fact by fact, and which one of them would have been enough to change.

Nothing here knows what a gate looks at: each rule and fact is taken away and `decide` is asked again. That takes some dozen
decisions, so it belongs to `why` and never to a delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from engine.core.facts import ConsentFact, Facts, Message
from engine.core.governance import decide
from engine.core.holds import concerns
from engine.core.policy import Policy, QuietHours

Asked = tuple[Policy, Facts, Message]
Lift = Callable[[Policy, Facts, Message], Asked]

NO_TIER = ("",)
"""The tiers of a rule that concerns nothing. It stays in its place: facts have flags for rules by their place."""

UNKNOWN_ZONE = "unknown_timezone"
ZONE_RULES = (UNKNOWN_ZONE, "invalid_timezone")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A rule of policy, or a fact, that a gate names. `without` says how it would be if it weren't there ("without the cap
    daily", "with an address on sms"); `lift` takes it away."""

    gate: str
    rule: str
    without: str
    lift: Lift = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Obstacles:
    """`alone`: each of these by itself would have been enough. Where there is none, `together`: what would all have had to go; ()
    where there are several ways."""

    alone: tuple[Obstacle, ...] = ()
    together: tuple[Obstacle, ...] = ()


def in_the_way(policy: Policy, facts: Facts, message: Message, now: datetime) -> Obstacles | None:
    """What kept `message` from being allowed at `now`; nothing where it was allowed; None where a gate stands in the way of which
    nothing here says what it looks at.

    A rule that weren't there would have let other messages go earlier too: where they would then have gone first, taking it
    away is not enough."""
    asked = (policy, facts, message)
    found = _blocking(asked, now)
    if not _allowed(asked, found, now):
        return None
    alone = tuple(o for o in found if _allowed(asked, [o], now))
    if alone or not found:
        return Obstacles(alone)
    needed = [o for o in found if not _allowed(asked, [other for other in found if other is not o], now)]
    return Obstacles((), tuple(needed) if _allowed(asked, needed, now) else ())


def _blocking(asked: Asked, now: datetime) -> list[Obstacle]:
    """Everything that gates which stand in the way look at; also of gates that stand in the way only when others are gone."""
    found: list[Obstacle] = []
    while True:
        answers = decide(*_without(asked, found), now).gates
        closed = {a.gate: a.rule for a in answers if a.answer in ("defer", "drop")}
        fresh = [o for o in _all(*asked, closed) if o not in found]
        if not fresh:
            return found
        found += fresh


def _without(asked: Asked, obstacles: Iterable[Obstacle]) -> Asked:
    for each in obstacles:
        asked = each.lift(*asked)
    return asked


def _allowed(asked: Asked, obstacles: Sequence[Obstacle], now: datetime) -> bool:
    return decide(*_without(asked, obstacles), now).decision == "allow"


def _all(policy: Policy, facts: Facts, message: Message, closed: dict[str, str]) -> Iterator[Obstacle]:
    """What the gates of `closed` (gate → the rule that it names) look at, in the order of the gates."""
    for gate, rule in closed.items():
        match gate:
            case "live":
                yield Obstacle(gate, rule, "were the enrollment still live", _fact(live=True, ended_reason=None))
            case "customer":
                yield from _of_customer(facts)
            case "journey":
                yield Obstacle(gate, rule, f"were {message.journey} not paused", _fact(pauses=()))
            case "expires":
                yield Obstacle(gate, rule, "were it worth sending for longer", _lasting)
            case "reachable":
                yield Obstacle(gate, rule, f"with an address on {message.channel}", _fact(address=""))
            case "suppression":
                yield Obstacle(gate, rule, "were the address not suppressed", _fact(suppressed=None))
            case "consent":
                about = message.channel if message.topic is None else f"{message.channel} about {message.topic}"
                yield Obstacle(gate, rule, f"with consent to {about}", _consented)
            case "holdout":
                yield Obstacle(gate, rule, f"outside the holdout {rule}", _fact(holdout=None))
            case "hold":
                names = dict.fromkeys(h.name for h in facts.holds if concerns(h, message))
                yield from (Obstacle(gate, n, f"without the hold {n}", _hold(n)) for n in names)
            case "quiet_hours":
                yield from _of_hours(policy, message, rule)
            case "cap":
                names = dict.fromkeys(c.name for c in policy.caps)
                yield from (Obstacle(gate, n, f"without the cap {n}", _cap(n)) for n in names)


def _of_customer(facts: Facts) -> Iterator[Obstacle]:
    if facts.erased:
        yield Obstacle("customer", "erased", "had the customer not been erased", _fact(erased=False))
    if not facts.known:
        yield Obstacle("customer", "unknown", "were the customer known", _fact(known=True))
    if facts.restricted:
        yield Obstacle("customer", "restricted", "were the customer not restricted", _fact(restricted=False))


def _of_hours(policy: Policy, message: Message, rule: str) -> Iterator[Obstacle]:
    if rule in ZONE_RULES:
        guess = rule == UNKNOWN_ZONE
        said = f"were {message.channel} allowed to guess the time zone" if guess else "with a time zone that exists"
        yield Obstacle("quiet_hours", rule, said, _guessed_zone if guess else _other_zone)
    for times in dict.fromkeys((q.start, q.end) for q in policy.quiet_hours if q.start):
        name = "-".join(times)
        yield Obstacle("quiet_hours", f"quiet_hours {name}", f"without the quiet hours {name}", _hours(*times))
    for name in dict.fromkeys(q.calendar for q in policy.quiet_hours if q.calendar):
        yield Obstacle("quiet_hours", f"days_off {name}", f"without the days off of {name}", _days_off(name))
    if message.window is not None:
        name = f"{message.window.start}-{message.window.end}"
        without = f"without the step's window {name}"
        yield Obstacle("quiet_hours", f"window {name}", without, _windowless)


def _fact(**changed: object) -> Lift:
    return lambda policy, facts, message: (policy, replace(facts, **changed), message)  # type: ignore[arg-type]  # fields of Facts


def _lasting(policy: Policy, facts: Facts, message: Message) -> Asked:
    return policy, facts, replace(message, expires_at=None)


def _windowless(policy: Policy, facts: Facts, message: Message) -> Asked:
    return policy, facts, replace(message, window=None)


def _consented(policy: Policy, facts: Facts, message: Message) -> Asked:
    """Said now, about this channel and topic, and nothing else said about them."""
    others = [s for s in facts.consents if s.channel not in (message.channel, "*") or s.topic not in (message.topic, None)]
    said = ConsentFact(message.channel, message.topic, "granted", message.planned_at)
    return policy, replace(facts, consents=(*others, said)), message


def _guessed_zone(policy: Policy, facts: Facts, message: Message) -> Asked:
    guessed = {k: v for k, v in (policy.unknown_timezone or {}).items() if k != message.channel}
    return replace(policy, unknown_timezone=guessed), _anew(facts), message


def _other_zone(policy: Policy, facts: Facts, message: Message) -> Asked:
    """Policy's zone in place of the customer's; UTC in place of policy's."""
    if facts.zone is not None:
        return policy, _anew(replace(facts, zone=policy.timezone)), message
    return replace(policy, timezone="UTC"), _anew(facts), message


def _hold(name: str) -> Lift:
    def lift(policy: Policy, facts: Facts, message: Message) -> Asked:
        rules = tuple(h for h in policy.holds if h.name != name)
        return replace(policy, holds=rules), _anew(replace(facts, holds=tuple(h for h in facts.holds if h.name != name))), message

    return lift


def _hours(start: str, end: str) -> Lift:
    return _unquiet(lambda q: replace(q, start="", end="") if (q.start, q.end) == (start, end) else q)


def _days_off(calendar: str) -> Lift:
    return _unquiet(lambda q: replace(q, calendar="", days_off=()) if q.calendar == calendar else q)


def _unquiet(change: Callable[[QuietHours], QuietHours]) -> Lift:
    """`change` each rule of quiet hours; one that has neither hours nor days off any more concerns nothing."""

    def lift(policy: Policy, facts: Facts, message: Message) -> Asked:
        rules = [q if q.start or q.calendar else replace(q, tiers=NO_TIER) for q in map(change, policy.quiet_hours)]
        return replace(policy, quiet_hours=tuple(rules)), _anew(facts), message

    return lift


def _cap(name: str) -> Lift:
    def lift(policy: Policy, facts: Facts, message: Message) -> Asked:
        rules = [replace(c, tiers=NO_TIER) if c.name == name else c for c in policy.caps]
        return replace(policy, caps=tuple(rules)), _anew(facts), message

    return lift


def _anew(facts: Facts) -> Facts:
    """With other rules the customer's queue is another, too."""
    return replace(facts, queue=None)
