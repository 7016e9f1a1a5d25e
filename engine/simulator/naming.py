"""Who something is about, in a simulation: the rules of `intake.joining` on the names in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engine.core.consent import lifted
from engine.core.incoming import INTAKE, Incoming
from engine.intake.joining import USER, Decided, Join, Known, Named, decide, naming
from engine.intake.merging import JOINED, MERGED, side_by_side
from engine.simulator import answering
from engine.simulator.memory import Customer
from engine.simulator.stage import Stage


def who(stage: Stage, incoming: Incoming, *, sound: bool) -> tuple[Customer | None, str]:
    """The customer, who comes into being where nobody is known by these names; and why it can't be taken ("" if it can)."""
    memory, given = stage.memory, incoming.identifiers
    if incoming.customer is not None:
        found = memory.customers.get(incoming.customer)
        return found, "" if found is not None else f"there is no customer {incoming.customer}"
    if incoming.kind == "track" and len(given) == 1 and USER in given:  # almost all that ever comes
        number = memory.names.get((USER, str(given[USER])))
        if number is not None:
            return memory.customers[number], ""
    identity = stage.deployment.policy.identity
    named = naming(identity, incoming, sound=sound)
    decided = _decide(stage, named)
    made: frozenset[int] = frozenset()
    for pairs in decided.strangers:
        stranger = memory.customer(memory.highest + 1)
        memory.name(stranger.id, pairs)
        made |= {stranger.id}
    if made:
        decided = _decide(stage, named, made)
    for kind, value, number in decided.links:
        memory.name(number, [(kind, value)])
    for join in decided.joins:
        merge(stage, join)
    number = decided.owners[0]
    why = next((why for _, why in decided.refused), "")
    return (None, why or "nothing in it names a person") if number is None else (memory.customers[number], why)


def _decide(stage: Stage, named: Named, made: frozenset[int] = frozenset()) -> Decided:
    found = stage.memory.known(named.pairs())
    people: Mapping[int, Known] = {}
    return decide(stage.deployment.policy.identity, [named], found, people, made=made)


def merge(stage: Stage, join: Join) -> None:
    """Customer `gone` becomes part of `kept`. Attributes that both have stay as they are: which is newer isn't known here."""
    memory = stage.memory
    gone, kept = memory.customers.pop(join.gone), memory.customers[join.kept]
    memory.name(kept.id, gone.names)
    changed = sorted({n for n, value in gone.attributes.items() if n not in kept.attributes and value is not None})
    kept.attributes.update({n: gone.attributes[n] for n in changed})
    _consents(stage, gone, kept)
    kept.unwanted = {**gone.unwanted, **kept.unwanted}
    kept.slots = sorted([*gone.slots, *kept.slots], key=lambda slot: slot.at)
    kept.over += gone.over
    kept.holds += gone.holds
    kept.entered += gone.entered
    kept.soft = {name: max(at for one in (gone, kept) if (at := one.soft.get(name))) for name in {*gone.soft, *kept.soft}}
    for name, keep in stage.recall.events.items():
        for one in memory.happened.pop((gone.id, name), ()):
            memory.remember((kept.id, name), one, keep)
    for name in {d.name for those in stage.recall.kept.values() for d in those}:
        if (gone.id, name) in memory.kept:
            memory.kept.setdefault((kept.id, name), memory.kept.pop((gone.id, name)))
    for (_, journey, key), last in gone.before.items():
        kept.before[(kept.id, journey, key)] = max(last, kept.before.get((kept.id, journey, key), last))
    _enrollments(stage, gone, kept)
    told = {"merge": next(stage.numbers), "changed": changed}
    event = Incoming("merge", INTAKE, f"merge/{told['merge']}", JOINED, told, customer=kept.id, occurred_at=stage.now)
    stage.accept(replace(event, history=join.history))
    stage.wake_deferred(kept, None)


def _consents(stage: Stage, gone: Customer, kept: Customer) -> None:
    """What either withdrew stays withdrawn, where a consent of the other would lift it."""
    again = [*lifted(gone.consents, kept.consents, stage.now), *lifted(kept.consents, gone.consents, stage.now)]
    for said, via in [
        *((s, gone.told_by[s.version - 1]) for s in gone.consents),
        *((replace(s, at=stage.now), "merge") for s in again),
    ]:
        row = {name: getattr(said, name) for name in ("channel", "topic", "state", "at", "source", "wording", "until")}
        kept.say({**row, "via": via})


def _enrollments(stage: Stage, gone: Customer, kept: Customer) -> None:
    """Those of the one who is gone go along. Of two of one journey and key the younger ends, unless they may run side by side."""
    coming = sorted(gone.stays.values(), key=lambda e: e.id)
    for enrollment in coming:
        enrollment.customer = kept
        kept.stays[enrollment.id] = enrollment
        kept.enrollments.append(enrollment.known)
    kept.planned |= gone.planned
    live = sorted((e for e in kept.stays.values() if e.status != "ended"), key=lambda e: (e.entered_at, e.id))
    first: dict[tuple[str, str], int] = {}
    for enrollment in live:
        older = first.setdefault((enrollment.journey, enrollment.key), enrollment.id)
        if (
            older != enrollment.id
            and not side_by_side(enrollment.plan)
            and (enrollment in coming) != (kept.stays[older] in coming)
        ):
            answering.end(stage, enrollment, MERGED, stage.now)
