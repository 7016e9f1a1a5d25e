"""Which enrollments a command is about: numbers, or filters, which all such commands have alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.located import Located
from engine.cli.terminal import Code, Failure

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.chosen import Chosen
    from engine.store.database import Connection

LISTED = "`sojourn enrollments` lists them"
PAUSED = "paused"
SHOWN = 20
"""Rows that a command shows before it acts on all of them."""

EnrollmentsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ENROLLMENT]…", help="Numbers, as `enrollments` lists them.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filters as they were written."""

    journey: str | None = None
    step: str | None = None
    status: str | None = None
    customer: str | None = None
    older: str | None = None
    in_step: str | None = None
    reason: str | None = None
    plan: str | None = None
    numbers: Sequence[int] | None = None

    @property
    def filters(self) -> bool:
        """Whether any of them is there, besides numbers."""
        return replace(self, numbers=None) != Wanted()

    async def read(self, c: Connection) -> Chosen:
        """What they mean. Raises Failure for what means nothing, UnknownJourney, UnknownStep and UnknownCustomer."""
        from engine.insight.finding import check_journey, check_step, find_customer
        from engine.store.chosen import STATUSES, Chosen
        from engine.store.database import now

        if self.status is not None and self.status not in (*STATUSES, PAUSED):
            raise Failure(f"there is no status {self.status!r}", f"one of: {', '.join((*STATUSES, PAUSED))}")
        if self.journey is not None:
            await check_journey(c, self.journey)
        if self.step:
            await check_step(c, self.step, self.journey)
        at = await now(c)
        return Chosen(
            journey=self.journey,
            step=self.step,
            states=None if self.status in (None, PAUSED) else (str(self.status),),
            customer=None if self.customer is None else await find_customer(c, self.customer),
            reason=self.reason,
            plan=self.plan,
            entered_before=_ago("--older", self.older, at),
            standing_before=_ago("--in-step", self.in_step, at),
            paused=self.status == PAUSED,
            ids=self.numbers,
        )


NOTHING = Wanted()

FILTERS = {
    "journey": ("NAME", "Only those in this journey."),
    "step": ("ID", "Only those recorded in this step."),
    "status": ("STATUS", "Only those that are live, parked, ended or paused."),
    "customer": ("USER", "Only this customer's: a user id, other identifier or address."),
    "older": ("TIME", "Only those who entered longer ago, as 3d."),
    "in_step": ("TIME", "Only those who have stood in their step for longer, as 3d."),
    "reason": ("TEXT", "Only those whose reason contains this."),
    "plan": ("HASH", "Only those on the plan whose hash begins like this."),
}
"""What each field of Wanted is as an option: its value's name, and its help."""


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, with an option for each of FILTERS in the place of its parameter `wanted`."""
    options = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name.replace('_', '-')}", metavar=value, help=told)],
        )
        for name, (value, told) in FILTERS.items()
    ]
    own = signature(command, eval_str=True)
    taken = [one for p in own.parameters.values() for one in (options if p.name == "wanted" else [p])]

    @wraps(command)
    def whole(**given: Any) -> None:
        wanted = Wanted(**{name: given.pop(name) for name in FILTERS})
        command(wanted=wanted, **given)

    whole.__signature__ = own.replace(parameters=taken)  # type: ignore[attr-defined]  # typer reads it
    whole.__annotations__ = {p.name: p.annotation for p in taken}
    return whole


def _ago(option: str, written: str | None, at: datetime) -> datetime | None:
    """So long before `at`. Raises Failure."""
    from engine.core.clock import add, parse_duration
    from engine.core.clock import zone as zone_named

    if written is None:
        return None
    try:
        long = parse_duration(written)
        if written.strip().startswith("-"):
            raise ValueError(f"{written!r} lies ahead")
        return add(at, replace(long, months=-long.months, days=-long.days, seconds=-long.seconds), zone_named("UTC"))
    except (ValueError, OverflowError) as wrong:
        raise Failure(f"{option}: {wrong}", "write a time such as 90m, 3d or 2w") from None


def read_numbers(written: Sequence[str] | None) -> list[int] | None:
    """Numbers of enrollments as they are written. Raises Failure that names the one that is none."""
    for text in written or ():
        if not is_number(text):
            raise Failure(f"{text!r} is not the number of an enrollment", LISTED)
        if not 0 < int(text[:20]) < 2**63:
            raise Failure(f"there is no enrollment {text}", LISTED, Code.NO)
    return [int(text) for text in written] if written else None


def is_number(text: str) -> bool:
    """Whether it is written like the number of an enrollment."""
    return text.isascii() and text.isdigit()


def find(located: Located, wanted: Wanted, states: Sequence[str], *, paused: bool = False) -> tuple[list[int], list[Row[Any]]]:
    """The numbers of those that fit and are in one of `states` (`paused`: by themselves, too), and the newest few to show. Raises
    Failure where there is no enrollment of a number, or nothing says which are meant."""
    from engine.store import chosen as store

    if (wanted.numbers is not None) == wanted.filters:
        raise Failure("say which: numbers, or filters such as --journey and --step", LISTED)

    async def ask(c: Connection) -> tuple[list[int], list[Row[Any]]]:
        chosen = await wanted.read(c)
        if missing := set(wanted.numbers or ()) - set(await store.numbers(c, chosen) if wanted.numbers else ()):
            raise Failure(f"there is no enrollment {', '.join(map(str, sorted(missing)))}", LISTED, Code.NO)
        asked = states if chosen.states is None else [s for s in chosen.states if s in states]
        chosen = replace(chosen, states=asked, by_themselves=paused)
        return await store.numbers(c, chosen), await store.listing(c, chosen, SHOWN)

    return located.in_transaction(ask)
