"""One customer's recorded events through other plans, on the simulator: what would have happened to them. Reads only.

What the engine itself brought about is left out: the other plans bring it about again, or don't. So are moves: the whole life is
played on the given plans, from its beginning to now.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.app.offline import stand_ins
from engine.app.past import OWN, recorded
from engine.authoring.project import Compiled, load_project
from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.insight.inputs import begun
from engine.simulator.play import Play
from engine.simulator.told import Told
from engine.store import history, lived
from engine.store.database import Connection, now

PLACE = tuple[str, str]
"""A journey and a step."""

STEP = "to another step"
"""Where a reset moves somebody."""


class NoPlan(Exception):
    """What `--with` names holds no journeys. `hint`: what to name."""

    hint = "name a project's folder, or a file that begins with `journey: NAME`"


@dataclass(frozen=True, slots=True)
class Past:
    """What is recorded of a customer: `user` stands for them, `sent` counts their messages by journey and step, `moves`: the
    journey, and in words how somebody was moved there, `missing` says what is gone."""

    customer: int
    user: str
    incoming: tuple[Incoming, ...]
    sent: Counter[PLACE]
    now: datetime
    missing: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Relived:
    """What would have happened. `added` and `gone`: messages by journey and step that the record hasn't, or has more of.
    `moves`: what was done to them and isn't done here, in words."""

    told: tuple[Told, ...]
    same: int
    added: tuple[tuple[PLACE, int], ...]
    gone: tuple[tuple[PLACE, int], ...]
    refused: tuple[str, ...]
    missing: tuple[str, ...]
    moves: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "steps": [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(t).items()} for t in self.told],
            "messages": {"same": self.same, "added": _plain(self.added), "gone": _plain(self.gone)},
            "refused": list(self.refused),
            "missing": list(self.missing),
            "moves": list(self.moves),
        }


def _plain(places: Iterable[tuple[PLACE, int]]) -> list[Json]:
    return [{"journey": journey, "step": step, "messages": n} for (journey, step), n in places]


def compiled_with(project: Path, path: Path, channels: Iterable[str]) -> Compiled:
    """The project in the folder `path`; or for a journey's file, this project with that journey in the place of its own. Raises
    NoPlan and AuthoringError."""
    if path.is_dir():
        return load_project(path, channels)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise NoPlan(f"{path} can't be read: {wrong}") from None
    name = _journey(text)
    if name is None:
        raise NoPlan(f"{path} is no journey")
    with tempfile.TemporaryDirectory(prefix="sojourn-") as made:
        folder = Path(made)
        for part in ("journeys", "templates"):
            if (project / part).is_dir():
                shutil.copytree(project / part, folder / part)
        for other in (folder / "journeys").glob("*.y*ml"):
            if other.is_file() and _journey(other.read_text(encoding="utf-8", errors="replace")) == name:
                other.unlink()
        (folder / "journeys" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return load_project(folder, channels)


def _journey(text: str) -> str | None:
    found = re.search(r"^journey:\s*[\"']?(\w+)", text, re.MULTILINE)
    return found[1] if found else None


async def read_past(c: Connection, customer: int) -> Past:
    """What is recorded of a customer."""
    user = await lived.name_of(c, customer) or f"customer/{customer}"
    rows = await lived.events(c, customer, OWN)
    journeys = {r.id: r.journey for r in await history.passages(c, customer, None)}
    messages = await history.messages(c, list(journeys))
    sent = Counter((journeys[m.enrollment_id], m.step) for m in messages if m.status in ("sent", "unknown"))
    emptied = sum(r.emptied for r in rows)
    missing = (f"the properties of {emptied} of {len(rows)} events are gone",) if emptied else ()
    incoming = tuple(one for r in rows if (one := recorded(r, user)) is not None)
    return Past(customer, user, incoming, sent, await now(c), missing, tuple(await _moves(c, journeys)))


async def _moves(c: Connection, journeys: Mapping[int, str]) -> list[tuple[str, str]]:
    """The journey and the words of each move of these enrollments (number → journey); a reset that came before a migration in one
    hand-over is one of its own."""
    ids = list(journeys)
    known = {(r.enrollment_id, r.seq): r for r in await lived.moved(c, ids)}
    inputs: dict[int, list[Any]] = defaultdict(list)
    for i in await lived.inputs(c, ids):
        inputs[i.enrollment_id].append(i)
    found = []
    for enrollment, own in inputs.items():
        for seq, (*before, move) in begun(own).items():
            row = known.get((enrollment, seq))
            if row is None or row.followed:
                journey = journeys[enrollment]
                where = f"to plan {move.reason}" if row is None or row.old_plan != row.new_plan else STEP
                resets = [(one, STEP) for one in before if row is not None and one.seq == row.first]
                for one, there in (*resets, (move, where)):
                    found.append((journey, f"enrollment {enrollment} in {journey} was moved {there} on {one.at:%Y-%m-%d %H:%M}"))
    return found


def relive(compiled: Compiled, past: Past, journey: str | None, addresses: Mapping[str, str]) -> Relived:
    """`past` through these plans, up to now. All journeys are played, because they share caps; `journey`: tell of this one.
    `addresses`: where channels find people (`offline.addresses_of`)."""
    told: list[Told] = []
    moves = tuple(words for where, words in past.moves if journey in (None, where))
    if not past.incoming or past.incoming[0].occurred_at is None:
        return Relived((), 0, (), (), (), past.missing, moves)
    with stand_ins(compiled.plans.values()):
        play = Play(compiled, start=past.incoming[0].occurred_at, tell=told.append, addresses=addresses)
        play.known(past.user, past.customer)
        play.take(past.incoming)
        play.run(past.now)
    mine = [t for t in told if t.customer == past.customer and journey in (None, t.journey)]
    sends = Counter((t.journey, t.step) for t in mine if t.kind == "send")
    before = Counter({place: n for place, n in past.sent.items() if journey in (None, place[0])})
    refused = tuple(f"{one.name or one.kind}: {reason}" for one, reason in play.refused)
    same = sum((sends & before).values())
    return Relived(tuple(mine), same, _ordered(sends - before), _ordered(before - sends), refused, past.missing, moves)


def _ordered(counted: Counter[PLACE]) -> tuple[tuple[PLACE, int], ...]:
    return tuple(sorted(counted.items()))


def sentence(told: Told) -> str:
    """One thing that would have happened, in words."""
    where = f"{told.journey}{f' {told.step}' if told.step else ''}"
    until = f" until {told.until:%Y-%m-%d %H:%M}" if told.until is not None else ""
    words = " · ".join(w for w in (told.channel, told.template, told.title, told.choice, told.reason) if w)
    return f"{where}: {told.kind} {words}".rstrip() + until
