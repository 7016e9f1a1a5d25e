"""One enrollment from its beginning to where it stands, line by line: inputs, what its steps asked for, every verdict, messages
and what became of them, its next waking. From what `why` tells and what is recorded beside it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from engine.core.wire import Json
from engine.insight.story import Message, Moment, Passage, plain
from engine.insight.why import why
from engine.store import history
from engine.store.database import Connection


@dataclass(frozen=True, slots=True)
class Line:
    """What happened at a moment (aware UTC): a word for it, the step that it is about ("": none), and a sentence."""

    at: datetime
    kind: str
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """`passage` has every decision with every gate. `zone`: in which the customer's times are told · `cohort`: the workflow that
    carries it, None before one does · `pending`: inputs that it hasn't been told yet · `kept_back`: what it asks for next waits
    because of a pause · `state`: as last recorded, `core.compact` · `lines` in order of time, what is to come at the end."""

    enrollment: int
    customer: int
    user: str
    journey: str
    plan: str
    zone: str
    cohort: int | None
    pending: int
    kept_back: bool
    parked_at: datetime | None
    state: Json
    passage: Passage
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Json]:
        """For machines: the same fields, moments as ISO text."""
        return {k: plain(v) for k, v in asdict(self).items()}


class UnknownEnrollment(LookupError):
    """There is no enrollment of that number."""


async def timeline(c: Connection, enrollment: int) -> Timeline:
    """What happened to one enrollment. Raises UnknownEnrollment."""
    row = await history.one(c, enrollment)
    if row is None:
        raise UnknownEnrollment(f"there is no enrollment {enrollment}")
    told = await why(c, row.customer_id, row.journey)
    passage = next(p for p in told.passages if p.enrollment == enrollment)
    lines = [line for m in passage.moments if m.kind != "parked" for line in _of_moment(m)]
    for p in passage.parkings:
        lines.append(Line(p.at, "parked", p.step or "", f"{p.told}."))
    for act in await history.acts(c, row.customer_id, enrollment):
        lines.append(Line(act.at, "act", _step(act.key), f"It brought in {act.name} ({act.key})."))
    lines.sort(key=lambda line: line.at)
    if passage.wake_at is not None:
        lines.append(Line(passage.wake_at, "wakes", passage.step or "", "It wakes, unless something comes before."))
    return Timeline(
        enrollment=enrollment,
        customer=told.customer,
        user=next((value for _, value in told.identifiers), ""),
        journey=row.journey,
        plan=row.plan,
        zone=told.zone,
        cohort=row.cohort_id,
        pending=row.pending,
        kept_back=row.kept_back,
        parked_at=row.parked_at,
        state=row.state,
        passage=passage,
        lines=tuple(lines),
    )


def _step(key: str) -> str:
    """The step that a key `enrollment/step/visit/attempt` names."""
    return key.partition("/")[2].rsplit("/", 2)[0]


def _of_moment(m: Moment) -> Iterable[Line]:
    return [Line(m.at, m.kind, "", m.text)] if m.message is None else _of_message(m.message, m.at)


def _of_message(m: Message, came: datetime) -> Iterator[Line]:
    """Every verdict, the handover or what became of it instead (when that `came`), and what was told of it afterwards."""
    about = f"{m.channel} {m.template}"
    for d in m.decisions:
        yield Line(d.at, d.decision, m.step, f"{about}: {d.detail}")
    if m.sent_at is not None:
        often = f", after {m.tries} tries" if m.tries > 1 else ""
        yield Line(m.sent_at, m.status, m.step, f"{about} ({m.key}) was handed over{often}.")
    elif m.status not in ("deferred", "dropped") or not m.decisions or m.detail != m.decisions[-1].detail:
        why_so = (m.detail or m.words or m.reason).rstrip(".")
        yield Line(came, m.status, m.step, f"{about} ({m.key}){f': {why_so}' if why_so else ''}.")
    for b in m.became:
        machine = " by a machine" if b.machine else ""
        yield Line(b.at, b.event.removeprefix("message_"), m.step, f"{about}{machine}{f': {b.words}' if b.words else ''}.")
