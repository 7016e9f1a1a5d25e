"""Files that can be imported: CSV, JSON lines and Parquet, read row by row with their numbers, never as a whole.

A row that can't be read is given with its reason; those after it go on. Nothing here knows what columns mean.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""What the ending of a file's name says."""

DELIMITERS = ",;\t|"
"""What may stand between the cells of a CSV; the one that is most often in the first row does."""

LOOKED_AT = 1000
"""Rows of a JSON lines file whose keys are its columns."""

PAGE = 1000
"""Rows of a Parquet file that are unpacked at once."""

EXTRA = "pip install 'sojourn[parquet]'"


class Unreadable(Exception):
    """The file can't be imported. `hint`: what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number as an editor or a spreadsheet shows it (the first row of a CSV, with the names, is 1); its cells by
    column, without empty ones; or `wrong` and `mend`, where it can't be read."""

    number: int
    cells: dict[str, Any]
    wrong: str = ""
    mend: str = ""


@dataclass(slots=True)
class ImportFile:
    """An open file. `columns`: their names; `complete`: no row has others. `size` and `position`: for people who wait, in bytes,
    of a Parquet file in rows."""

    path: Path
    format: str
    columns: tuple[str, ...]
    complete: bool
    size: int
    position: int = 0
    delimiter: str = ","

    @property
    def first(self) -> int:
        """The number of the first row."""
        return 2 if self.format == "csv" else 1

    def rows(self, skip: int = 0) -> Iterator[Row]:
        """Every row after the first `skip`. Raises Unreadable."""
        reader = {"csv": self._csv, "jsonl": self._jsonl, "parquet": self._parquet}[self.format]
        return reader(skip)

    def _csv(self, skip: int) -> Iterator[Row]:
        with self.path.open("rb") as raw, _text(raw) as text:
            reader = csv.reader(text, delimiter=self.delimiter)
            next(reader)
            number = 1
            while True:
                number += 1
                row = self._csv_row(reader, number)
                if row is None:
                    return
                if number - 1 > skip:
                    self.position = raw.tell()
                    yield row

    def _csv_row(self, reader: Iterator[list[str]], number: int) -> Row | None:
        """The next row, an empty one too; None at the end."""
        try:
            cells = next(reader)
        except StopIteration:
            return None
        except csv.Error as wrong:
            mend = 'look for a quote that isn\'t closed; a quote inside of a quoted cell is written twice: ""'
            return Row(number, {}, f"the row can't be read: {wrong}", mend)
        if not cells:
            return Row(number, {})
        if len(cells) != len(self.columns):
            wrong_count = f"the row has {len(cells)} cells, and there are {len(self.columns)} columns"
            return Row(number, {}, wrong_count, f"a cell that holds {self.delimiter!r} must stand in quotes")
        return Row(number, {name: cell for name, cell in zip(self.columns, cells, strict=True) if cell != ""})

    def _jsonl(self, skip: int) -> Iterator[Row]:
        with self.path.open("rb") as raw:
            for number, line in enumerate(raw, 1):
                self.position += len(line)
                if number > skip:
                    yield _json_row(number, line)

    def _parquet(self, skip: int) -> Iterator[Row]:
        number = 0
        with _arrow(self.path) as opened:
            for page in opened.iter_batches(batch_size=PAGE):
                if number + page.num_rows <= skip:
                    number += page.num_rows
                    continue
                for cells in page.to_pylist():
                    number += 1
                    self.position = number
                    if number > skip:
                        yield Row(number, {name: cell for name, cell in cells.items() if cell is not None and cell != ""})


def open_file(path: Path, delimiter: str | None = None) -> ImportFile:
    """The file at `path`, looked into. Raises Unreadable."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise Unreadable(
            f"{path.name} is no file that can be imported", "its name ends in .csv, .tsv, .jsonl, .ndjson or .parquet"
        )
    try:
        size = path.stat().st_size
        if kind == "parquet":
            with _arrow(path) as opened:
                return ImportFile(path, kind, tuple(opened.schema_arrow.names), True, opened.metadata.num_rows)
        if kind == "jsonl":
            return ImportFile(path, kind, _json_columns(path), False, size)
        columns, found = _csv_columns(path, delimiter)
        return ImportFile(path, kind, columns, True, size, delimiter=found)
    except OSError as cannot:
        raise Unreadable(f"{path} can't be read: {cannot.strerror or cannot}") from None


def digest_of(path: Path, *beside: str) -> str:
    """A digest of the file's bytes, and of what else makes it this import. Raises Unreadable."""
    try:
        with path.open("rb") as raw:
            whole = hashlib.file_digest(raw, "sha256")
    except OSError as cannot:
        raise Unreadable(f"{path} can't be read: {cannot.strerror}") from None
    for text in beside:
        whole.update(b"\x00" + text.encode())
    return whole.hexdigest()


def _text(raw: BinaryIO) -> io.TextIOWrapper:
    # What is no UTF-8 becomes characters that no JSON can hold, which spoils its row and no other.
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_columns(path: Path, delimiter: str | None) -> tuple[tuple[str, ...], str]:
    """The names in the first row, and what stands between cells. Raises Unreadable."""
    with path.open("rb") as raw, _text(raw) as text:
        first = text.readline()
        found = delimiter or max(DELIMITERS, key=first.count)
        text.seek(0)
        try:
            columns = tuple(name.strip() for name in next(csv.reader(text, delimiter=found), ()))
        except csv.Error as wrong:
            raise Unreadable(f"the first row of {path.name}, with the columns' names, can't be read: {wrong}") from None
    return _checked(path, columns), found


def _checked(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    hint = "the first row of a CSV holds the names of its columns"
    if not any(columns):
        raise Unreadable(f"{path.name} has no columns", hint)
    for i, name in enumerate(columns):
        if not name:
            raise Unreadable(f"column {i + 1} of {path.name} has no name", hint)
        if name in columns[:i]:
            raise Unreadable(f"{path.name} has two columns called {name!r}", "rename one of them")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise Unreadable(f"the first row of {path.name} is not UTF-8 text", "save the file with UTF-8 encoding")
    return columns


def _json_columns(path: Path) -> tuple[str, ...]:
    """The keys of the first rows, in the order in which they come. Raises Unreadable where no row is an object."""
    found: dict[str, None] = {}
    with path.open("rb") as raw:
        for number, line in zip(range(1, LOOKED_AT + 1), raw, strict=False):
            found |= dict.fromkeys(_json_row(number, line).cells)
    if not found:
        raise Unreadable(f"{path.name} holds no JSON object in its first {LOOKED_AT} lines", "each line is an object of its own")
    return tuple(found)


def _json_row(number: int, line: bytes) -> Row:
    if not line.strip():
        return Row(number, {})
    try:
        cells = orjson.loads(line)
    except orjson.JSONDecodeError as wrong:
        return Row(number, {}, f"the line is not JSON: {wrong.msg} (column {wrong.colno})", "a line holds one JSON object")
    if not isinstance(cells, dict):
        return Row(number, {}, "the line is not a JSON object", 'write {"user_id": "ada", …}')
    return Row(number, {name: cell for name, cell in cells.items() if cell is not None and cell != ""})


def _arrow(path: Path) -> Any:
    """The file for pyarrow. Raises Unreadable where that isn't installed, or the file is none of Parquet."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Unreadable("Parquet files need pyarrow, which isn't installed", f"install it: {EXTRA}") from None
    arrow: Any = importlib.import_module("pyarrow")
    try:
        return parquet.ParquetFile(path)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as wrong:
        raise Unreadable(f"{path.name} is not a Parquet file: {str(wrong).splitlines()[0]}") from None
