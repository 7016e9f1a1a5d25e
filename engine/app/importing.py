"""A file's rows through the one door, in batches; bad rows into a report beside it. What was interrupted goes on where it was.

Progress is committed together with the rows that it is about, so a crash loses and repeats nothing. Message ids come from what a
row says, so reading a file again changes nothing either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.app.import_file import ImportFile, Row, digest_of, open_file
from engine.app.import_report import Report
from engine.app.import_rows import BadRow, Reading, source_of
from engine.authoring.layout import Known, Layout, lay_out
from engine.authoring.mapping import Kind, read_mapping
from engine.core.incoming import Accepted, Incoming
from engine.delivery.deployments import Deployments
from engine.intake.door import BATCH, Intake
from engine.settings.problems import Problem, errors
from engine.settings.project import SettingsError
from engine.store import audit, imports
from engine.store.database import Connection, Database, at_once, now, transaction

Tell = Callable[[int, int], None]
"""Hears how far it has come, and of how much."""

PEEK = 20
"""Bad rows that `Done` holds."""

STRETCH = 5_000
"""Rows after which progress is written, also where all of them are bad."""


class Busy(Exception):
    """Another process imports the same file now."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, and how. `report`: where bad rows go. `channels`: those of the project. `live`: as if it happened
    now, which enrolls. `again`: from the first row, whatever was done before."""

    kind: Kind
    path: Path
    report: Path
    channels: frozenset[str]
    actor: str
    mapping: Path | None = None
    live: bool = False
    again: bool = False


@dataclass(slots=True)
class Done:
    """What became of a file: rows that are new, were known before, or can't be taken; the first of these with why. `resumed`: how
    many rows an earlier run had read. `before`: that one had read all of them. `unheeded`: consents that don't count.
    `erased`: rows about people who were erased, of which nothing was kept."""

    layout: Layout
    columns: Sequence[str]
    warnings: list[Problem]
    taken: int = 0
    known: int = 0
    bad: int = 0
    resumed: int = 0
    before: bool = False
    unheeded: int = 0
    erased: int = 0
    first: list[tuple[int, BadRow]] = field(default_factory=list)

    def wrong(self, number: int, why: BadRow) -> None:
        """A row can't be taken."""
        self.bad += 1
        if len(self.first) < PEEK:
            self.first.append((number, why))

    def told(self) -> list[tuple[str, str]]:
        """What each column is taken for, for people: (what, the column)."""
        return self.layout.told(self.columns)


@dataclass(slots=True)
class Import:
    """A file that was looked into and laid out."""

    database: Database
    deployments: Deployments
    order: Order
    file: ImportFile
    reading: Reading
    warnings: list[Problem]

    @classmethod
    async def prepared(cls, database: Database, order: Order) -> Import:
        """Raises Unreadable, Unmapped, SettingsError (with the mapping's problems), NothingDeployed, and OSError where there is
        no such mapping."""
        document, mapping = read_mapping(order.mapping, order.kind)
        if errors(document.problems):
            raise SettingsError(document.problems)
        file = open_file(order.path, mapping.delimiter)
        deployments = Deployments()
        async with transaction(database) as c:
            deployment, moment = await deployments.current(c), await now(c)
        known = Known(file.columns, order.channels, frozenset(deployment.policy.topics), file.complete, order.live)
        layout = lay_out(document, mapping, known)
        if errors(document.problems):
            raise SettingsError(document.problems)
        source = source_of(mapping.source, order.kind)
        reading = Reading(layout, source, digest_of(order.path), deployment, moment, order.live)
        return cls(database, deployments, order, file, reading, document.problems)

    def look(self, tell: Tell) -> Done:
        """What taking it in would come to, as far as that can be told without doing it: `taken` are all rows that could be."""
        done = Done(self.reading.layout, self.file.columns, self.warnings)
        for row in self.file.rows():
            try:
                done.taken += bool(self.reading.items(row))
            except BadRow as bad:
                done.wrong(row.number, bad)
            tell(self.file.position, self.file.size)
        return done

    async def take(self, tell: Tell) -> Done:
        """Take it in. Raises Busy, Unreadable, and OSError where the report can't be written."""
        digest = digest_of(self.order.path, self.reading.source, repr(self.reading.layout), str(self.order.live))
        async with _alone(self.database, digest):
            row = await self._begun(digest)
            before = row.ended_at is not None
            counts = (row.taken, row.known, row.bad, row.rows)
            done = Done(self.reading.layout, self.file.columns, self.warnings, *counts, before, erased=row.erased)
            if done.before:
                return done
            with Report.opened(self.order.report, before=self.file.first + row.rows) as report:
                batch = _Batch(self, row.id, done, report)
                for one in self.file.rows(row.rows):
                    if batch.full():
                        await batch.take()
                        tell(self.file.position, self.file.size)
                    batch.add(one)
                await batch.take()
            async with transaction(self.database) as c:
                await imports.end(c, row.id)
                done.unheeded = await imports.unheeded(c, self.reading.source, self.reading.now)
            tell(self.file.size, self.file.size)
        return done

    async def _begun(self, digest: str) -> Any:
        """How far it is: at its first row where that was asked for, where some rows were bad (they may be good by another
        tracking.yaml), and where the report of those is no longer there."""
        order = self.order
        async with transaction(self.database) as c:
            row = await imports.begun(c, digest, order.kind, self.reading.source, order.actor)
            if order.again or (row.bad and (row.ended_at is not None or not order.report.exists())):
                row = await imports.anew(c, row.id)
            if row.ended_at is None:
                await audit.note(
                    c, order.actor, "import", [f"import/{row.id}"], {"kind": order.kind, "from": row.rows, "live": order.live}
                )
        return row


@dataclass(slots=True)
class _Batch:
    """Rows that go through the door together. `items`: (the row's number, what it says). `before`: rows read earlier."""

    whole: Import
    id: int
    done: Done
    report: Report
    items: list[tuple[int, Incoming]] = field(default_factory=list)
    bad: list[tuple[int, BadRow]] = field(default_factory=list)
    rows: int = 0
    before: int = 0
    longest: int = 1
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(self.whole.database, self.whole.deployments)
        self.before = self.done.resumed
        self.longest = 1 + len(self.whole.reading.layout.consents)

    def full(self) -> bool:
        return len(self.items) + self.longest > BATCH or self.rows >= STRETCH

    def add(self, row: Row) -> None:
        self.rows += 1
        try:
            self.items += [(row.number, incoming) for incoming in self.whole.reading.items(row)]
        except BadRow as bad:
            self.bad.append((row.number, bad))

    async def take(self) -> None:
        """Through the door, with the progress, in one transaction."""
        if not self.rows:
            return
        made: dict[str, Any] = {}

        async def also(c: Connection, answers: Sequence[Accepted]) -> None:
            taken, known, erased, aside = self._counted(answers)
            made["counts"], made["bad"] = (taken, known, erased), sorted([*self.bad, *aside], key=lambda found: found[0])
            moved = {"rows": self.rows, "taken": taken, "known": known, "bad": len(made["bad"]), "erased": erased}
            if not await imports.advance(c, self.id, before=self.before, **moved):
                raise Busy  # the lock's connection was lost, and another run has begun
            # Before the commit: after a crash in between the next run takes out of the report what it reads again.
            self.report.write(made["bad"])

        await self.intake.accept_with([incoming for _, incoming in self.items], also)
        self.report.keep()
        self.done.taken += made["counts"][0]
        self.done.known += made["counts"][1]
        self.done.erased += made["counts"][2]
        for number, bad in made["bad"]:
            self.done.wrong(number, bad)
        self.before += self.rows
        self.items, self.bad, self.rows = [], [], 0

    def _counted(self, answers: Sequence[Accepted]) -> tuple[int, int, int, list[tuple[int, BadRow]]]:
        """How many rows are new, known, and about people who were erased; and those that the door put aside."""
        new: dict[int, bool] = {}
        aside: dict[int, str] = {}
        erased: set[int] = set()
        for (number, _), answer in zip(self.items, answers, strict=True):
            new[number] = new.get(number, False) or not (answer.duplicate or answer.quarantined)
            if answer.erased:
                erased.add(number)
            elif answer.quarantined:
                aside[number] = answer.quarantined
        erased -= aside.keys()
        taken = sum(fresh and number not in aside and number not in erased for number, fresh in new.items())
        mend = f"`sojourn quarantine list --source {self.whole.reading.source}` has it"
        known = len(new) - taken - len(aside) - len(erased)
        return taken, known, len(erased), [(n, BadRow("", why, mend)) for n, why in aside.items()]


@asynccontextmanager
async def _alone(database: Database, digest: str) -> AsyncIterator[None]:
    """Raises Busy where another process has it; a lock that its process's end frees, however it ends."""
    async with at_once(database) as c:
        if not await imports.alone(c, digest):
            raise Busy
        try:
            yield
        finally:
            await imports.let_go(c, digest)
