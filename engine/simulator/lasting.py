"""What keeps a simulation going that ends by itself: what was to come when it was left to itself, not what comes again.

A schedule that enrolls people for longer than its period would go on for ever: each time it comes, those of the last time wait.
"""

from __future__ import annotations

import heapq

from engine.simulator.stage import DAY, ELSEWHERE, OCCURRENCE, WAKE, Due, Stage

BRINGS_IN = (OCCURRENCE, DAY)
"""What comes again and brings people in."""


class Lasting:
    """Of one run without an end. What counts: what is due at its begin, and the later waits of those who wait then; not that
    somebody may be in another segment by time alone, which what comes again can bring about itself."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._first = {order for _, order, kind, _ in stage.due if kind not in (WAKE, ELSEWHERE)}
        self._waiting = {about.id for _, _, kind, about in stage.due if kind == WAKE}
        self._last: Due | None = None
        self._aside: list[Due] = []

    def set_aside(self) -> None:
        """Take what brings people in out of what comes again, where nothing that counts is to come at its moment or later."""
        recurring = self._stage.recurring
        while recurring and recurring[0][2] in BRINGS_IN and not self._outlasts(recurring[0]):
            self._aside.append(heapq.heappop(recurring))

    def give_back(self) -> None:
        """The run is over: what was set aside is to come again."""
        for one in self._aside:
            heapq.heappush(self._stage.recurring, one)

    def _outlasts(self, one: Due) -> bool:
        """Whether something that counts is as late as `one`. What is of the very moment that is going on counts to its end."""
        last = self._last
        if last is None or last[0] < one[0] or (one[0] > self._stage.now and is_void(last)):
            counting = [d for d in self._stage.due if self._counts(d) and not is_void(d)]
            self._last = last = max(counting, default=None, key=lambda d: d[:2])
        return last is not None and last[0] >= one[0]

    def _counts(self, one: Due) -> bool:
        _, order, kind, about = one
        return about.id in self._waiting if kind == WAKE else order in self._first


def is_void(one: Due) -> bool:
    """Whether what was to happen won't: nobody waits for that moment any more, or the day was planned anew."""
    at, _, kind, about = one
    if kind == WAKE:
        return not (about.state.wake == at and about.state.status == "waiting")
    if kind == DAY:
        customer, number, occasion = about
        return customer.dates.get(number) is not occasion
    return False
