"""A row of a file to what comes through the door: who it is about, what is told of them, when. Pure; the same row of the same
file gives the same message ids every time, an event also in another file.

Values come in as the file has them; `tracking.yaml` gives them their types at the door. An empty cell says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from engine.api.calls import EARLIEST, name_of
from engine.api.errors import Refusal
from engine.api.reading import CALL_LIMIT, checked
from engine.app.import_file import Row
from engine.authoring.layout import WHOLE, Layout
from engine.authoring.mapping import Consent
from engine.core.clock import resolve_local
from engine.core.clock import zone as zone_named
from engine.core.incoming import IMPORT, Incoming
from engine.core.wire import Json
from engine.delivery.addresses import KINDS, normal
from engine.delivery.deployment import Deployment

GRANTED = frozenset({"granted", "yes", "y", "true", "1", "subscribed", "opted_in", "opt_in"})
WITHDRAWN = frozenset({"withdrawn", "no", "n", "false", "0", "unsubscribed", "opted_out", "opt_out"})
"""What a consent's cell may say, in small letters."""

CLOCKS = timedelta(days=1)
"""How far in the future a moment may lie: by more it isn't a clock that is wrong."""

_ISO = "write it as 2026-03-02T10:00:00Z, or 2026-03-02 10:00 by the clock of the mapping's `timezone`"
SINCE_1970 = (9, 10, 13)
"""How many places a text of nothing but digits has that counts seconds or milliseconds since 1970."""

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


class BadRow(Exception):
    """A row can't be taken. `column`: where, "" for the row as a whole; `mend`: what to do."""

    def __init__(self, column: str, problem: str, mend: str) -> None:
        self.column, self.problem, self.mend = column, problem, mend
        super().__init__(problem)


@dataclass(slots=True)
class Reading:
    """How rows of one file are read. `file`: its digest. `now`: the store's logical time."""

    layout: Layout
    source: str
    file: str
    deployment: Deployment
    now: datetime
    live: bool = False
    zone: ZoneInfo = field(init=False)

    def __post_init__(self) -> None:
        self.zone = zone_named(self.layout.zone)

    def items(self, row: Row) -> list[Incoming]:
        """What a row says: one event, or a customer with what they agreed to; nothing where it is empty. Raises BadRow."""
        if row.wrong:
            raise BadRow("", row.wrong, row.mend)
        if not row.cells:
            return []
        try:
            found = list(self._customer(row) if self.layout.kind == "customers" else self._event(row))
        except Refusal as refusal:
            raise BadRow("", refusal.message, refusal.hint or "mend the row") from None
        except orjson.JSONEncodeError:
            raise _no_text(row) from None
        for incoming in found:
            wrong = self.deployment.checked(incoming)[1]
            if wrong:
                raise BadRow("", wrong, "mend the value, or its type in tracking.yaml")
        return found

    def _event(self, row: Row) -> Iterator[Incoming]:
        layout = self.layout
        event = layout.event or self._name(row, layout.event_column, "event")
        if not event:
            raise BadRow(layout.event_column or "", "the event has no name", "every row names what happened")
        at = self._moment(row, layout.timestamp)
        if at is None and not self.live:
            raise BadRow(layout.timestamp or "", "it isn't said when it happened", _ISO)
        declared = self.deployment.tracking.event(event)
        properties = self._values(row, declared.property if declared else lambda _: None)
        yield self._incoming("track", self._message_id(row) or self._as_event(row, event, at), row, event, properties, {}, at)

    def _as_event(self, row: Row, event: str, at: datetime | None) -> str:
        # A row may tell of several events, by several mappings: what it was read as belongs to the id.
        return _digest("event", event, self._who(row), None if at is None else at.isoformat(), row.cells)

    def _customer(self, row: Row) -> Iterator[Incoming]:
        layout = self.layout
        at = self._moment(row, layout.timestamp)
        traits = self._values(row, self.deployment.tracking.attribute)
        # Who they are now may be what they were before another file: a row counts once for each file.
        message_id = self._message_id(row) or _digest("customer", self.file, row.cells)
        who = self._incoming("identify", message_id, row, "", {}, traits, at)
        yield who
        for said in layout.consents:
            state = _state(row.cells.get(said.column), said.column)
            if state is not None:
                yield self._consent(row, said, state, who)

    def _consent(self, row: Row, said: Consent, state: str, who: Incoming) -> Incoming:
        told = {"channel": said.channel, "topic": said.topic, "state": state, "source": "import", "wording": said.wording}
        properties: dict[str, Json] = {name: value for name, value in told.items() if value is not None}
        if said.confirmed:
            properties["confirmed"] = True
        at = self._moment(row, said.at) or who.occurred_at
        # Agreeing counts once, however many files say it again; taking back counts with every file.
        about = [dict(who.identifiers), properties, None if at is None else at.isoformat()]
        message_id = _digest("consent", *about, *([] if state == "granted" else [self.file]))
        return self._incoming("track", message_id, row, "consent_changed", properties, {}, at)

    def _incoming(
        self,
        kind: Any,
        message_id: str,
        row: Row,
        event: str,
        properties: Mapping[str, Json],
        traits: Mapping[str, Json],
        at: datetime | None,
    ) -> Incoming:
        return Incoming(
            kind,
            self.source,
            message_id,
            event,
            properties,
            traits,
            self._who(row),
            occurred_at=at,
            history=not self.live,
        )

    def _who(self, row: Row) -> dict[str, str]:
        """The identifiers of a row; an address of a customer names them only where no id does."""
        found = {kind: name for kind, column in self.layout.who if (name := self._name(row, column, kind))}
        ids = {kind: name for kind, name in found.items() if kind not in KINDS}
        if ids and self.layout.kind == "customers":
            return ids
        region = self.deployment.policy.identity.region
        for kind, column in self.layout.who:
            if kind in KINDS and kind in found and normal(kind, found[kind], region) is None:
                what = "e-mail address" if kind == "email" else "phone number"
                if not ids:
                    problem = f"{found[kind][:60]!r} is no {what}, and nothing else names the customer"
                    raise BadRow(column, problem, f"mend the {what}")
                del found[kind]
        if not found:
            columns = ", ".join(column for _, column in self.layout.who)
            raise BadRow("", "nobody is named", f"fill in one of: {columns}")
        return found

    def _name(self, row: Row, column: str | None, field: str) -> str:
        """An identifier or a name; "" where there is none. Raises Refusal, BadRow."""
        value = None if column is None else row.cells.get(column)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)  # what tables make of whole numbers where a cell is empty
        if isinstance(value, str):
            value = value.strip()
            if not _is_text(value):
                raise _no_text(row)
        try:
            return name_of({field: value}, field)
        except Refusal as refusal:
            raise BadRow(column or "", refusal.message, refusal.hint or "mend the value") from None

    def _message_id(self, row: Row) -> str:
        return self._name(row, self.layout.message_id, "message_id")

    def _moment(self, row: Row, column: str | None) -> datetime | None:
        """A cell's moment in UTC; None where there is none. Raises BadRow."""
        value = None if column is None else row.cells.get(column)
        if column is None or value is None:
            return None
        try:
            moment = _moment(value, self.zone)
        except (ValueError, OverflowError, OSError):
            raise BadRow(column, f"{str(value)[:60]!r} is no moment", _ISO) from None
        if moment < EARLIEST:
            raise BadRow(column, f"{str(value)[:60]!r} is before 1970", _ISO)
        if moment > self.now + CLOCKS:
            raise BadRow(column, f"{str(value)[:60]!r} has not come yet", "only what has happened can be imported")
        return moment

    def _values(self, row: Row, type_of: Any) -> dict[str, Json]:
        """Attributes or properties, in JSON's types. Raises BadRow."""
        layout, values = self.layout, {}
        whole = next((w for name in WHOLE if isinstance(w := row.cells.get(name), dict) and name not in layout.used), None)
        if whole is not None:
            values.update({name: value for name, value in whole.items() if value is not None})
        elif layout.rest:
            for column, cell in row.cells.items():
                if column not in layout.used:
                    values[column] = _plain(column, cell, type_of(column))
        for name, column in layout.named:
            if column in row.cells:
                values[name] = _plain(column, row.cells[column], type_of(name))
        if checked(values, "the row") > CALL_LIMIT:
            raise BadRow(
                "", f"the row is larger than {CALL_LIMIT // 1024} KB", "leave out what journeys don't need, with `ignore`"
            )
        return values


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(orjson.dumps(parts, default=str, option=_JSON), digest_size=16).hexdigest()


def _moment(value: Any, zone: ZoneInfo) -> datetime:
    """Raises ValueError, OverflowError or OSError for what is no moment."""
    if isinstance(value, str):
        text = value.strip()
        places = len(text.partition(".")[0]) if text.isascii() and text.replace(".", "", 1).isdigit() else 0
        number = places >= 9
        if number and places not in SINCE_1970:  # 202401151030 is a clock's reading, and would be some moment of 1976
            raise ValueError
        value = float(text) if number else datetime.fromisoformat(text)
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, (int, float, Decimal)):
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) > 1e11 else seconds, UTC)
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise ValueError
        value = datetime.combine(value, time())
    return value.astimezone(UTC) if value.tzinfo is not None else resolve_local(value, zone)


def _state(cell: Any, column: str) -> str | None:
    """What a cell says of a consent; None where it says nothing. Raises BadRow."""
    if cell is None:
        return None
    said = str(cell).strip().lower().replace("-", "_").replace(" ", "_")
    if said in GRANTED:
        return "granted"
    if said in WITHDRAWN:
        return "withdrawn"
    raise BadRow(column, f"{str(cell)[:60]!r} doesn't say whether they agree", "write granted or withdrawn, or yes or no")


def _plain(column: str, cell: Any, declared: Any) -> Json:
    """A cell as JSON. Text that is declared as a list or an object is JSON itself. Raises BadRow."""
    match cell:
        case str():
            if declared is not None and declared.kind in ("list", "object") and cell.lstrip()[:1] in ("[", "{"):
                try:
                    return orjson.loads(cell)
                except orjson.JSONDecodeError as wrong:
                    raise BadRow(column, f"{cell[:60]!r} is not JSON: {wrong.msg}", f"write a {declared.kind} as JSON") from None
            return cell
        case bool() | int() | dict() | list():
            return cell
        case float():
            if cell != cell or cell in (float("inf"), float("-inf")):
                raise BadRow(column, f"{cell} is no number that can be kept", "leave the cell empty")
            return cell
        case Decimal():
            return float(cell)
        case datetime() | date() | time():
            return cell.isoformat()
        case _:
            raise BadRow(column, f"a value of the kind {type(cell).__name__} can't be kept", "write it as text or a number")


def _is_text(cell: Any) -> bool:
    return not isinstance(cell, str) or not any("\ud800" <= letter <= "\udfff" for letter in cell)


def _no_text(row: Row) -> BadRow:
    column = next((column for column, cell in row.cells.items() if not _is_text(cell)), "")
    return BadRow(column, "it holds bytes that are not UTF-8 text", "save the file with UTF-8 encoding")


def source_of(name: str | None, kind: str) -> str:
    """The source under which message ids of imports are unique: files of the same system share one."""
    return f"{IMPORT}{name or kind}"
