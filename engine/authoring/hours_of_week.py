"""Sets of the minutes of a local week, as bits of an int (bit 0: Monday 00:00), and what time does to them. Pure arithmetic.

A week without a change of clocks: where one may fall into it, who uses this allows for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.core.clock import WEEKDAYS, parse_time, weekdays

DAY = 24 * 60
WEEK = 7 * DAY
EVERY = (1 << WEEK) - 1


def turned(minutes: int, by: int) -> int:
    """Each of `minutes`, `by` minutes later (negative: earlier), around the week."""
    by %= WEEK
    return ((minutes << by) | (minutes >> (WEEK - by))) & EVERY


def smeared(minutes: int, by: int) -> int:
    """`minutes` and all up to `by` minutes after each."""
    if by >= WEEK - 1:
        return EVERY if minutes else 0
    found, done = minutes, 0
    while done < by:
        step = min(done + 1, by - done)
        found |= turned(found, step)
        done += step
    return found


def window(start: str, end: str, days: tuple[str, ...]) -> int:
    """The minutes from local time `start` to before `end`, beginning on `days` (empty: all); equal times mean a whole day."""
    opens, closes = minute(start), minute(end)
    length = (closes - opens) % DAY or DAY
    found = 0
    for day in weekdays(days):
        found |= turned((1 << length) - 1, day * DAY + opens)
    return found


def minute(text: str) -> int:
    """The minute of the day of "HH:MM"."""
    of_day = parse_time(text)
    return of_day.hour * 60 + of_day.minute


def next_of(minutes: int, text: str, days: tuple[str, ...]) -> int:
    """The first local time `text` on one of `days` strictly after each of `minutes`."""
    targets = sorted(day * DAY + minute(text) for day in weekdays(days))
    found = 0
    for i, target in enumerate(targets):
        before = targets[i - 1]
        length = (target - before) % WEEK or WEEK
        if minutes & turned((1 << length) - 1, before):
            found |= 1 << target
    return found


def stretches(minutes: int) -> Iterator[tuple[int, int]]:
    """Where each unbroken stretch of `minutes` begins, and its length; none where it is the whole week."""
    starts = minutes & ~turned(minutes, 1)
    while starts:
        first = (starts & -starts).bit_length() - 1
        starts &= starts - 1
        rest = turned(minutes, -first)
        yield first, (~rest & (rest + 1)).bit_length() - 1


def waiting(closed: int, least: int) -> int:
    """The minutes of `closed` from which it stays closed for `least` minutes or longer."""
    found = 0
    for first, length in stretches(closed):
        if length >= max(least, 1):
            found |= turned((1 << (length - max(least, 1) + 1)) - 1, first)
    return found


def opened(closed: int, minutes: int) -> int:
    """When each of `minutes` is out of `closed`: the minute itself, or the end of its stretch."""
    found = minutes & ~closed
    for first, length in stretches(closed):
        if minutes & turned((1 << length) - 1, first):
            found |= 1 << ((first + length) % WEEK)
    return found


def longest_wait(closed: int, minutes: int) -> tuple[int, int]:
    """Of those of `minutes` that lie in `closed` the one that waits longest for its end, and how many minutes."""
    best = (0, 0)
    for first, length in stretches(closed):
        inside = turned(minutes, -first) & ((1 << length) - 1)
        if inside:
            ahead = (inside & -inside).bit_length() - 1
            if length - ahead > best[1]:
                best = ((first + ahead) % WEEK, length - ahead)
    return best


def told(moment: int, daily: bool) -> str:
    """A minute of the week for people: "21:00", or with its day where that matters: "fri 21:00"."""
    day, rest = divmod(moment % WEEK, DAY)
    clock = f"{rest // 60:02}:{rest % 60:02}"
    return clock if daily else f"{WEEKDAYS[day]} {clock}"
