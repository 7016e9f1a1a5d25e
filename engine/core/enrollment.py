"""Where one enrollment stands, what may happen to it, and what it asks for: the vocabulary of `interpreter.advance`.

All frozen. `compact.py` turns them into the JSON lists that signals, continue-as-new and the store carry (at most
250 bytes for an ordinary member): ids, positions and moments, nothing personal. A list has the fields in the order they stand in
here, so a new field goes to the end and has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["running", "waiting", "parked", "ended"]
"""running: a command is in flight · waiting: for `wake` or an input · parked: needs a person · ended."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The enrollment starts; `at` is when the entry occurred. Input number 1."""

    seq: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Input:
    """Something that happened, numbered by the store.

    kind `event`: `matched` lists the (operation, alternative) pairs of WaitFors it satisfies ·
    `exit` and `stop`: end now with `reason` (the store has already ended it) ·
    `again`: try the deferred or waiting command again now (a hold was released, a slot came free) ·
    `replan`: the wait in one of `matched`'s operations must be evaluated again (an attribute changed) ·
    `retry`: a parked enrollment goes on with the command that failed ·
    `move`: leave this cohort, to go on in another, as soon as it stands at the first operation of one of `matched`'s pairs (from,
    to); `reason` is the hash of the plan that it goes on with ·
    `skip`: go on behind the step that has one of `matched`'s operations, if it still stands there.
    `at`: when it occurred, clamped by the store to its acceptance."""

    seq: int
    at: datetime
    kind: Literal["event", "exit", "stop", "again", "replan", "retry", "move", "skip"]
    matched: tuple[tuple[int, int], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wake:
    """The time `wake` of the state has come."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to the command in flight, recognised by `(op, visit, attempt)`; anything else is stale and ignored.

    next: done, go on with the following operation; `at` is the handover or completion time, None: the step's own time ·
    goto: go on at operation `choice` · sleep: wait until `until` ·
    took: input `seq` matched alternative `choice` of a WaitFor at `at` ·
    timeout: the WaitFor's deadline is confirmed · again: same command again at `until` (deferred, refused for now) ·
    fallback: the next channel of the list · exit: leave with `reason` · park: needs a person, `reason` says why."""

    kind: Literal["next", "goto", "sleep", "took", "timeout", "again", "fallback", "exit", "park"]
    op: int
    visit: int
    attempt: int
    at: datetime | None = None
    until: datetime | None = None
    choice: int = 0
    seq: int = 0
    reason: str = ""


NOT_REACHED = "not reached"
"""The reason of an `again` that nobody has looked at, because time was up."""


Given = Begin | Input | Wake | Outcome


@dataclass(frozen=True, slots=True)
class State:
    """One enrollment.

    op: the operation it stands at · at: logical time of the step (its cause's time) · wake: when to be woken ·
    visit: rounds of `repeat` so far, so that (step, visit) is never used twice · attempt: index into a Send's channels ·
    seq: highest input seen · event: input that ended the last wait (0: none) · taken: inputs that waits have used up ·
    loops: (operation, rounds done) of the repeats it is inside · held: inputs that came while a command was in flight, and
    some of those that came while none was (`interpreter.HELD`) · confirm: the command in flight confirms a timeout ·
    again: at `wake` the same command is issued again (it was deferred) · deadline: of the WaitFor whose timeout is being
    confirmed · left: it was let go, to go on in another cohort, and nothing happens to it here any more. Before its Begin a
    state is `State()`, recognised by `at` None."""

    status: Status = "waiting"
    op: int = 0
    at: datetime | None = None
    wake: datetime | None = None
    visit: int = 0
    attempt: int = 0
    seq: int = 0
    event: int = 0
    taken: tuple[int, ...] = ()
    loops: tuple[tuple[int, int], ...] = ()
    held: tuple[Input, ...] = ()
    confirm: bool = False
    reason: str = ""
    again: bool = False
    deadline: datetime | None = None
    left: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """What an enrollment asks for. The driver runs it and gives the Outcome back (not for `record`).

    evaluate: Wait, WaitFor, Branch, Split, Loop, or a condition on Exit · act: an Act · deliver: a Send, on `channel` ·
    record: tell the store `status` (ended, parked, or moved, with the number of the `move` as `event`) and `reason`.
    `at`: logical start of the step · `event`: input that ended the last wait · `taken`: see State ·
    `confirm`: a WaitFor's deadline has come, look for an accepted event before it · `rounds`: of this Loop so far."""

    kind: Literal["evaluate", "act", "deliver", "record"]
    op: int
    visit: int
    attempt: int
    at: datetime
    event: int = 0
    taken: tuple[int, ...] = ()
    confirm: bool = False
    rounds: int = 0
    channel: str = ""
    status: str = ""
    reason: str = ""
