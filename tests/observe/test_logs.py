"""What a log line says, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sqlalchemy.exc import DataError, IntegrityError

from engine.observe import logs
from engine.observe.words import Sayable, in_a_line

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

SECRET = "ada@example.com"


class Stream(io.StringIO):
    """Standard output that is a terminal, or isn't."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        """As told."""
        return self.terminal

    def lines(self) -> list[dict[str, Any]]:
        """What was said, as JSON."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


def test_our_own_words_are_json_where_nobody_watches() -> None:
    """One object to a line: when, how bad, who, what; strangers speak from warnings on, without arguments and on one line."""
    stream = Stream()
    logs.configure({}, stream)
    logging.getLogger("sojourn.relay").info("brought %s", 3)
    logging.getLogger("sojourn.relay").debug("unheard")
    logging.getLogger("httpx").info("POST https://push.example/%s", SECRET)
    logging.getLogger("sojourner").info("not ours")
    logging.getLogger("httpx").warning("can't reach %s", SECRET)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>")
    warnings.warn(f"expected int, got {SECRET!r}", stacklevel=1)
    first, *others = stream.lines()
    assert ("info", "sojourn.relay", "brought 3") == (first["level"], first["logger"], first["event"])
    assert first["timestamp"].endswith("Z")
    assert ["can't reach %s", "Task exception was never retrieved"] == [line["event"] for line in others[:2]]
    assert others[2]["event"].endswith("UserWarning")
    assert SECRET not in stream.getvalue()


def test_people_see_columns() -> None:
    """On a terminal, or where the environment says so; nonsense is refused."""
    for environ, terminal, shown in (
        ({}, True, True),
        ({"SOJOURN_LOG": "console"}, False, True),
        ({"SOJOURN_LOG": "json"}, True, False),
    ):
        stream = Stream(terminal)
        logs.configure(environ, stream)
        logging.getLogger("sojourn.api").warning("hot")
        assert (shown, True) == (not stream.getvalue().startswith("{"), "hot" in stream.getvalue())
    with pytest.raises(ValueError, match="must be json or console, not 'xml'"):
        logs.configure({"SOJOURN_LOG": "xml"}, Stream())


@pytest.mark.parametrize("form", logs.FORMS)
def test_an_exception_is_told_by_classes_and_places(form: str) -> None:
    """With what caused it, and with words only of those that may have some: anybody else's could quote a customer."""
    stream = Stream()
    logs.configure({"SOJOURN_LOG": form}, stream)
    try:
        try:
            int(SECRET)
        except ValueError as wrong:
            raise ExceptionGroup(SECRET, [Sayable("no plan p1"), KeyError(SECRET)]) from wrong
    except ExceptionGroup:
        logging.getLogger("sojourn.api").exception("a request failed")
    said = stream.lines()[0]["exception"] if form == "json" else stream.getvalue()
    for wanted in (
        "ExceptionGroup",
        "Sayable: no plan p1",
        "KeyError",
        "caused by",
        "ValueError",
        "test_logs.py:",
        "told_by_classes",
    ):
        assert wanted in said
    assert SECRET not in stream.getvalue()


def test_a_line_within_a_span_names_it() -> None:
    """So that a trace and its log are found from each other."""
    stream = Stream()
    logs.configure({}, stream)
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        logging.getLogger("sojourn.api").warning("within")
    logging.getLogger("sojourn.api").warning("without")
    within, without = stream.lines()
    assert (f"{0xABC:032x}", f"{0xDEF:016x}") == (within["trace_id"], within["span_id"])
    assert "trace_id" not in without


def test_words_of_the_database_are_told_unless_they_quote_a_value() -> None:
    """The first line without details; of data that a type refuses only the kind."""
    import psycopg.errors as errors

    def said(error: Exception, kind: type[Exception] = IntegrityError) -> str:
        return in_a_line(kind("insert …", {}, error))  # type: ignore[call-arg]  # the three that both take

    assert "duplicate key" == said(errors.UniqueViolation(f"duplicate key\nDETAIL: Key (email)=({SECRET})"))
    refused = said(errors.InvalidTextRepresentation(f'invalid input syntax for type integer: "{SECRET}"'), DataError)
    assert "InvalidTextRepresentation (22P02)" == refused
    assert ["KeyError", "connection refused", "TimeoutError"] == [
        in_a_line(e) for e in (KeyError(SECRET), OSError("connection refused"), TimeoutError())
    ]
