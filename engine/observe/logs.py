"""What a process logs, and how: the standard library's loggers, rendered by structlog; JSON for machines, columns for people.

    sojourn.*            our own words, from INFO on; they hold ids, never a customer's data
    every other logger   from WARNING on, without the arguments of its words: nobody knows what they would quote
    exceptions           classes and places, and only such words as `words.in_a_line` lets pass

A line that is logged within a span carries its `trace_id` and `span_id`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from engine.observe.words import in_a_line

VARIABLE = "SOJOURN_LOG"
"""`json` or `console`; unset: console on a terminal, else JSON."""

FORMS = ("json", "console")

OURS = "sojourn"

LONGEST = 300
"""Characters of a stranger's words."""


def configure(environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Let everything that this process logs go to `stream` (standard output), and nothing anywhere else. Raises ValueError for a
    SOJOURN_LOG that is neither."""
    stream = sys.stdout if stream is None else stream
    form = environ.get(VARIABLE) or ("console" if stream.isatty() else "json")
    if form not in FORMS:
        raise ValueError(f"{VARIABLE} in the environment is wrong: this must be json or console, not {form!r}")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(console=form == "console", colors=stream.isatty()))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or _is_ours(record.name))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(OURS).setLevel(logging.INFO)
    logging.captureWarnings(True)


def _formatter(*, console: bool, colors: bool) -> logging.Formatter:
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        shown = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
        stamp = structlog.processors.TimeStamper("%H:%M:%S", utc=False)
        last += [stamp, _short_name, shown]
    else:
        stamp = structlog.processors.TimeStamper("iso", utc=True)
        last += [
            stamp,
            structlog.processors.JSONRenderer(serializer=lambda value, **_: orjson.dumps(value, default=str).decode()),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            without_strangers_words,
            with_trace,
            with_exception,
        ],
        processors=last,
        pass_foreign_args=True,
    )


def _is_ours(name: str) -> bool:
    return name == OURS or name.startswith(f"{OURS}.")


def without_strangers_words(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Of others' lines the first, without its arguments; of Python's warnings the place and the kind."""
    arguments = event.pop("positional_args", ())
    record: logging.LogRecord = event["_record"]
    if _is_ours(record.name):
        return event
    if record.name == "py.warnings":
        event["event"] = ":".join(str(event["event"]).split(":", 3)[:3])
    said = str(record.msg if arguments and record.name != "py.warnings" else event["event"])
    event["event"] = (said.splitlines() or [""])[0][:LONGEST]
    return event


def with_trace(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """In which span it was said."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def with_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The exception as `told`, in place of what Python would say of it."""
    given: Any = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(told(error))
    return event


def _short_name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event.pop("span_id", None)  # people look for the trace
    return event


def told(error: BaseException) -> Iterator[str]:
    """An exception with what caused it, line by line: class, words that may be said, and where it went through; the innermost
    place last."""
    words, name = in_a_line(error), type(error).__name__
    yield name if words == name else f"{name}: {words}"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from (f"  | {line}" for line in told(inner))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield "caused by"
        yield from told(cause)
