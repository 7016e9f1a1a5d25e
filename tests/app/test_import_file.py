"""Files row by row: what was written is what is read, whatever stands in it, and no bytes are too strange."""

from __future__ import annotations

import csv
import tempfile
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.app.import_file import Row, Unreadable, open_file
from engine.app.import_rows import _moment

QUICK = settings(max_examples=60, deadline=None)
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
ROME = ZoneInfo("Europe/Rome")


def read(name: str, content: bytes, skip: int = 0) -> list[Row]:
    """The rows of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return list(open_file(path).rows(skip))


@QUICK
@given(rows=st.lists(st.tuples(cells, cells, cells), max_size=8), delimiter=st.sampled_from(",;\t|"), skip=st.integers(0, 9))
def test_cells_come_back_as_they_were_written(rows: list[tuple[str, ...]], delimiter: str, skip: int) -> None:
    """Also with quotes, line ends and delimiters inside; after any number of rows that are skipped."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter).writerows([("a", "b", "c"), *rows])
        found = list(open_file(path).rows(skip))
    expected = [{k: v for k, v in zip("abc", row, strict=True) if v != ""} for row in rows]
    assert [(n + 2, c) for n, c in enumerate(expected)][skip:] == [(r.number, r.cells) for r in found]


@QUICK
@given(
    content=st.binary(max_size=300),
    head=st.sampled_from([b"", b"a,b\n", b'{"a": 1}\n']),
    name=st.sampled_from(["f.csv", "f.jsonl"]),
)
def test_no_bytes_are_too_strange(content: bytes, head: bytes, name: str) -> None:
    """A file is refused as a whole, or each of its rows is read or told to be wrong."""
    with suppress(Unreadable):
        for row in read(name, head + content):
            assert isinstance(row.cells, dict)
            assert not (row.wrong and row.cells)
            assert bool(row.wrong) == bool(row.mend)


@QUICK
@given(
    st.lists(
        st.dictionaries(cells, st.none() | st.integers(-(2**53), 2**53) | cells | st.lists(cells, max_size=2), min_size=1),
        min_size=1,
    )
)
def test_objects_come_back_as_they_were_written(rows: list[dict[str, Any]]) -> None:
    """Without what is empty."""
    found = read("file.ndjson", b"".join(orjson.dumps(row) + b"\n" for row in rows)) if any(map(_told, rows)) else []
    assert [_told(row) for row in rows if found] == [r.cells for r in found]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if v is not None and v != ""}


def test_a_quote_that_is_never_closed_spoils_what_it_swallows_and_no_more() -> None:
    """The rows before it are read, and it is told."""
    rows = read("file.csv", b'a,b\n1,2\n3,"4\n5,6\n')
    assert [{"a": "1", "b": "2"}, {"a": "3", "b": "4\n5,6\n"}] == [r.cells for r in rows]
    long = read("file.csv", b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 40_000)
    assert {"a": "1", "b": "2"} == long[0].cells
    assert "field larger" in long[1].wrong


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-02T10:00:00Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T10:00:00+02:00", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("2026-03-02 10:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-29 02:30", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-10-25 02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 1, 23, tzinfo=UTC)),
        ("20260302", datetime(2026, 3, 1, 23, tzinfo=UTC)),
        (date(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        (datetime(2026, 7, 1, 12), datetime(2026, 7, 1, 10, tzinfo=UTC)),  # noqa: DTZ001  # as Parquet gives it
        (1772445600, datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("1772445600", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        (1772445600000, datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("1772445600000", datetime(2026, 3, 2, 10, tzinfo=UTC)),
    ],
)
def test_moments_are_read_as_people_and_programs_write_them(written: Any, expected: datetime) -> None:
    """With an offset, by the clock in Rome, as a day, as seconds or milliseconds since 1970; in a gap of the clock the moment
    after it, of an hour that comes twice the first."""
    assert expected == _moment(written, ROME)


@pytest.mark.parametrize(
    "written", ["", "soon", "2026-02-30", "12:00", True, [], "1e400", "202401151030", "20240115103000", "9" * 40, 10**30]
)
def test_what_is_no_moment_is_told(written: Any) -> None:
    """One of the errors that the reader expects."""
    with pytest.raises((ValueError, OverflowError, OSError)):
        _moment(written, ROME)
