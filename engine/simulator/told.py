"""What a simulated project tells of itself: one value for each thing that happens, in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal[
    "enter", "send", "defer", "drop", "task", "call", "emit", "set", "start", "goal", "exit", "parked", "wait", "branch", "skip"
]

ELSE, TIMEOUT, HELD_OUT = "else", "timeout", "holdout"
"""Ways out of a step that have no name of their own."""


@dataclass(frozen=True, slots=True)
class Told:
    """`at` (aware): when. `enrollment`: its number, and `user` the customer's user id ("" where they have none). `step` and `op`
    (its operation, -1: none) say where.

    enter · send: handed over on `channel`, with `text`, its words as rendered ("" where nothing is rendered) · defer: for
    `reason`, `until` then · drop: for `reason`; "live": the journey had ended, "condition": the step's `if` no longer held when
    it was due again · task: in queue `reason`, called `title` · call: `reason` is METHOD and URL, `value` the status · emit: the
    event `reason` · set · start: the journey `reason` · goal, with its `value` · exit with `reason` · parked with `reason` ·
    wait: in this step, at the latest until `until` · branch: went on by `choice`: the number of an arm or alternative from 0, the
    name of a split's arm, or ELSE, TIMEOUT, HELD_OUT · skip: the step's `if` was false. `rule`: the rule of policy that stood in
    the way of a message."""

    at: datetime
    kind: Kind
    customer: int
    user: str
    journey: str
    enrollment: int
    step: str = ""
    op: int = -1
    choice: str = ""
    channel: str = ""
    template: str = ""
    tier: str = ""
    topic: str = ""
    reason: str = ""
    rule: str = ""
    until: datetime | None = None
    title: str = ""
    text: str = ""
    value: float | None = None

    @property
    def arm(self) -> str:
        """Another word for `choice`, where that is the arm of a branch or split."""
        return self.choice
