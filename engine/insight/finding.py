"""Who or what is meant: a customer by any identifier or address, an event by its name; or the nearest where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from engine.authoring.model_tracking import BUILTIN
from engine.core.moving import places
from engine.delivery.addresses import ways_to_write
from engine.delivery.deployments import Deployments
from engine.delivery.naming import region_of
from engine.delivery.statements import unknown_in
from engine.settings import problems
from engine.store import chosen, history
from engine.store import deployments as deployment_store
from engine.store.database import Connection


class UnknownCustomer(LookupError):
    """Nobody has that identifier. `nearest`: identifiers that look like it; `hint`: the same as a sentence, or ""."""

    def __init__(self, text: str, nearest: list[str]) -> None:
        self.nearest = nearest
        self.hint = f"similar: {', '.join(nearest)}" if nearest else "no identifier looks like it"
        super().__init__(f"no customer is known as {text!r}")


class Unnamed(ValueError):
    """A customer is called by nothing, as where a shell's variable is empty."""


async def find_customer(c: Connection, text: str) -> int:
    """The customer whose user id, other identifier, e-mail address or phone number is `text`. Raises UnknownCustomer, and Unnamed
    where it is empty."""
    if not text.strip():
        raise Unnamed("the customer's name is empty")
    found = await history.by_identifier(c, text, ways_to_write(text, await region_of(c, Deployments())))
    if found is None:
        raise UnknownCustomer(text, nearest(text, await history.alike(c, text)))
    return found


class SeveralCustomers(LookupError):
    """More than one customer may be meant. `hint`: what to say instead."""

    hint = "name them by their user id"


async def find_only_customer(c: Connection, text: str) -> int:
    """The one customer who can be meant by `text`, for what can't be undone. Raises UnknownCustomer or SeveralCustomers."""
    found = await find_customer(c, text)
    others = await history.also_known(c, text, ways_to_write(text, await region_of(c, Deployments())), found)
    if others:
        who = ", ".join(str(i) for i in sorted([found, *others]))
        raise SeveralCustomers(f"{text!r} may mean several customers: {who}")
    return found


class UnknownJourney(LookupError):
    """No journey of that name was ever deployed. `hint`: the nearest that was, or ""."""

    def __init__(self, name: str, hint: str) -> None:
        self.hint = hint
        super().__init__(f"no journey called {name!r} was ever deployed")


class UnknownStep(LookupError):
    """No journey, or not the one that was named, has a step of that id. `hint`: the nearest that there is, or ""."""

    def __init__(self, step: str, journey: str | None, hint: str) -> None:
        self.hint = hint
        super().__init__(f"no journey has a step {step!r}" if journey is None else f"{journey} has no step {step!r}")


async def check_journey(c: Connection, name: str) -> None:
    """Raises UnknownJourney where nothing of that name was ever deployed."""
    known = await deployment_store.journeys(c)
    if name not in known:
        raise UnknownJourney(name, problems.nearest(name, known))


async def check_step(c: Connection, step: str, journey: str | None) -> None:
    """Raises UnknownStep where no plan of `journey` (None: of any) that is deployed or that somebody is inside of has a step of
    that id, and nobody ever stood in one."""
    plans = [p for p in await Deployments().plans_needed(c) if journey in (None, p.journey)]
    known = {step for p in plans for step in places(p)}
    if step not in known and not await chosen.any_is(c, chosen.Chosen(journey=journey, step=step)):
        raise UnknownStep(step, journey, problems.nearest(step, known))


def nearest(text: str, known: list[str]) -> list[str]:
    """At most five of `known` that look like `text`, the most similar first."""
    plain = {k.lower(): k for k in known}
    close = difflib.get_close_matches(text.lower(), plain, n=5, cutoff=0.5)
    holding = [k for k in plain if text.lower() in k and k not in close]
    return [plain[k] for k in (*close, *holding)][:5]


async def unknown_event(c: Connection, name: str, properties: Mapping[str, Any] | None = None) -> str:
    """What to say of an event that neither the deployed tracking.yaml nor a journey knows, with the nearest that they do, or of
    a statement about a channel or a topic that there isn't; "" for all others."""
    deployments = Deployments()
    if odd := unknown_in(await deployments.current(c), name, properties or {}):
        return "; ".join(odd)
    built_in = {e.name for e in BUILTIN}
    known = {e.name for e in (await deployments.current(c)).tracking.events}
    known |= {n for plan in await deployments.plans_needed(c) for n in plan.events() if n not in built_in}
    if name in known or name in built_in:
        return ""
    near = problems.nearest(name, known)
    return f"no journey and no tracking.yaml knows {name}" + (f"; {near}" if near else "")
