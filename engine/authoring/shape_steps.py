"""The steps of a journey as YAML writes them: one shape to a verb. Only forms are checked here; `compile_steps` looks at
what they refer to and builds operations.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Tag
from pydantic_core import PydanticCustomError

from engine.authoring.shapes import Days, Expression, Filled, Id, Name, Offset, Span, Value, Window, ZoneOrCustomer
from engine.settings.shape import FORM, LIST, MAP, TEXT, Number, Shape, Share, Whole, YesNo, one_of


class Step(Shape):
    """What every step may carry. `verb` is the key that says which step it is."""

    verb: ClassVar[str] = ""
    id: Id | None = None
    if_: Expression | None = Field(None, alias="if")


class Until(Shape):
    """`wait: {until: …}`."""

    until: Expression
    days: Days = ()
    timezone: ZoneOrCustomer = "customer"
    offset: Offset | None = None
    jitter: Span | None = None
    on_past: Literal["run", "skip", "exit"] | None = None
    then: Steps | None = None


class Wait(Step):
    verb: ClassVar[str] = "wait"
    wait: Annotated[Annotated[Span, TEXT] | Annotated[Until, MAP], FORM]
    then: Steps | None = None


class Deadline(Shape):
    """`timeout: {until: …}`."""

    until: Expression
    offset: Offset | None = None
    timezone: ZoneOrCustomer = "customer"
    days: Days = ()


class Awaited(Shape):
    """One thing that a `wait_for` waits for: exactly one of `event`, `segment`, `if`."""

    event: Name | None = None
    where: Expression | None = None
    match: Literal["any", "key"] | None = None
    segment: Name | None = None
    if_: Expression | None = Field(None, alias="if")
    then: Steps | None = None


class WaitFor(Step):
    verb: ClassVar[str] = "wait_for"
    wait_for: Annotated[
        Annotated[Name, TEXT] | Annotated[Awaited, MAP] | Annotated[tuple[Awaited, ...], LIST, Field(min_length=1)], FORM
    ]
    where: Expression | None = None
    match: Literal["any", "key"] | None = None
    timeout: Annotated[Annotated[Span, TEXT] | Annotated[Deadline, MAP], FORM]
    since: Literal["entry", "step"] = "entry"
    then: Steps | None = None
    else_: Steps | None = Field(None, alias="else")


class Send(Step):
    verb: ClassVar[str] = "send"
    send: Filled
    template: Filled
    with_: dict[str, Value] = Field(default_factory=dict, alias="with")
    topic: Filled | None = None
    tier: Filled | None = None
    tags: tuple[Filled, ...] = ()
    on_defer: Literal["wait", "skip", "exit"] = "wait"
    expires: Span | None = None
    fallback: tuple[Filled, ...] = ()
    window: Window | None = None
    tracking: YesNo = True
    wait_for_delivery: Span | None = None
    variants: Value = None
    winner: Value = None


class BranchArm(Shape):
    """`{if, then}`, or `{else: steps}` as the last one."""

    if_: Expression | None = Field(None, alias="if")
    then: Steps | None = None
    else_: Steps | None = Field(None, alias="else")


class Branch(Step):
    verb: ClassVar[str] = "branch"
    branch: Annotated[tuple[BranchArm, ...], Field(min_length=1)]


class SplitArm(Shape):
    name: Id
    weight: Number = Field(1.0, gt=0)
    then: Steps | None = None


class Split(Step):
    verb: ClassVar[str] = "split"
    split: Id
    arms: Annotated[tuple[SplitArm, ...], Field(min_length=1)]
    holdout: Share = 0.0


class Set(Step):
    verb: ClassVar[str] = "set"
    set: Annotated[dict[str, Value], Field(min_length=1)]


class Task(Step):
    verb: ClassVar[str] = "task"
    task: Id
    title: Filled
    body: str | None = None
    due: Span | None = None
    assignee: str | None = None
    once_per: Expression | None = None


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _request(text: str) -> str:
    method, _, url = text.partition(" ")
    if method not in _METHODS or not re.match(r"(https?://|\{\{)", url.strip()):
        raise PydanticCustomError(
            "request",
            "{shown} is not a request",
            {"shown": repr(text), "hint": "write it as: call: POST https://example.com/path"},
        )
    return text


def _variable(text: str) -> str:
    if not re.match(r"vars\.[A-Za-z_]\w*\Z", text):
        raise PydanticCustomError("variable", "the answer goes into a variable: vars.NAME")
    return text


class Call(Step):
    verb: ClassVar[str] = "call"
    call: Annotated[str, AfterValidator(_request)]
    json_: Value = Field(None, alias="json")
    headers: dict[str, str] = Field(default_factory=dict)
    into: Annotated[str, AfterValidator(_variable)] | None = None
    timeout: Span | None = None
    on_error: Literal["retry", "skip", "exit"] = "retry"


class Emit(Step):
    verb: ClassVar[str] = "emit"
    emit: Name
    with_: dict[str, Value] = Field(default_factory=dict, alias="with")
    to: Expression | None = None


class Start(Step):
    verb: ClassVar[str] = "start"
    start: Name
    with_: dict[str, Value] = Field(default_factory=dict, alias="with")


class Rounds(Shape):
    """`repeat: {…}`."""

    times: Annotated[Whole, Field(ge=1, le=1000)] | None = None
    until: Expression | None = None
    every: Span | None = None
    steps: Steps


class Repeat(Step):
    verb: ClassVar[str] = "repeat"
    repeat: Rounds


class Exit(Step):
    verb: ClassVar[str] = "exit"
    exit: Id


_INSTEAD = {
    name: f"a message is a send: - {{send: {channel}, template: NAME, topic: TOPIC}}"
    for name, channel in (*((c, c) for c in ("email", "sms", "push", "whatsapp")), ("mail", "email"), ("message", "CHANNEL"))
}
"""Verbs that people expect, and what to write for them."""
VERBS: tuple[str, ...] = ("wait", "wait_for", "send", "branch", "split", "set", "task", "call", "emit", "start", "repeat", "exit")


def _verb(data: Any) -> str | None:
    """Which verb a step has; none or several is reported at the step."""
    if isinstance(data, Step):
        return f"<{data.verb}>"
    if not isinstance(data, dict):
        return None
    found = [v for v in VERBS if v in data]
    return f"<{found[0]}>" if len(found) == 1 else None


AnyStep = (
    Annotated[Wait, Tag("<wait>")]
    | Annotated[WaitFor, Tag("<wait_for>")]
    | Annotated[Send, Tag("<send>")]
    | Annotated[Branch, Tag("<branch>")]
    | Annotated[Split, Tag("<split>")]
    | Annotated[Set, Tag("<set>")]
    | Annotated[Task, Tag("<task>")]
    | Annotated[Call, Tag("<call>")]
    | Annotated[Emit, Tag("<emit>")]
    | Annotated[Start, Tag("<start>")]
    | Annotated[Repeat, Tag("<repeat>")]
    | Annotated[Exit, Tag("<exit>")]
)
Steps = tuple[Annotated[AnyStep, one_of(_verb, VERBS, "a step", _INSTEAD)], ...]

for _shape in (Until, Wait, Awaited, WaitFor, BranchArm, Branch, SplitArm, Split, Rounds, Repeat):
    _shape.model_rebuild()
