"""Five-field cron expressions: minute, hour, day of the month, month, day of the week. Which local times they name; pure.

A field is `*`, a number, `a-b`, either with `/step` (`1/2` goes on until the last, in a week until Saturday), or several of these
with commas; months and days of the week have names too, and Sunday is 0 or 7. Where day of the month and day of the week are
both narrowed, a day that fits either is meant, as in every cron.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. `weekdays` count from Monday, 0. `either`: a day need only fit `days` or `weekdays`."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def times(self, day: date) -> Iterator[time]:
        """The local times that it names on `day`, in order."""
        in_month, in_week = day.day in self.days, day.weekday() in self.weekdays
        if day.month in self.months and ((in_month or in_week) if self.either else (in_month and in_week)):
            for hour in self.hours:
                for minute in self.minutes:
                    yield time(hour, minute)


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    """The expression that `text` writes. ValueError says which field is wrong, and what may stand there."""
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"a cron expression has five fields, as in 0 9 * * tue; {text!r} has {len(fields)}")
    minutes, hours, days, months, weekdays = (_field(f, *about) for f, about in zip(fields, _FIELDS, strict=True))
    return Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        days,
        months,
        frozenset((d - 1) % 7 for d in weekdays),
        either=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )


def _field(text: str, what: str, least: int, most: int, names: Sequence[str]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        spread, slash, step = part.partition("/")
        first, dash, last = spread.partition("-")
        if spread == "*":
            start, end = least, most
        else:
            start = _number(first, what, least, most, names)
            end = _number(last, what, least, most, names) if dash else most if slash else start
            if slash and not dash and names is _DAYS:  # a week ends on Saturday: 7 is only another name of its first day
                start, end = start % 7, 6
        every = _number(step, what, 1, most, ()) if slash else 1
        if end < start:
            raise ValueError(f"the {what} {part!r} ends before it begins")
        found.update(range(start, end + 1, every))
    return frozenset(found)


def _number(text: str, what: str, least: int, most: int, names: Sequence[str]) -> int:
    if text in names:
        return names.index(text) + (1 if least else 0)
    if text.isascii() and text.isdigit() and len(text) < 5 and least <= int(text) <= most:
        return int(text)
    also = f" or {names[0]} to {names[-1]}" if names else ""
    raise ValueError(f"{text!r} can't be the {what}: it goes from {least} to {most}{also}")
