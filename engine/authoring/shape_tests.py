"""journeys/tests/*.yaml as YAML writes them. Only the form is checked: running them is the simulator's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel, Tag, model_validator
from pydantic_core import PydanticCustomError

from engine.authoring.shapes import Filled, Name, Value
from engine.settings.shape import Shape, YesNo, one_of
from engine.settings.yaml import Document, typed


class Customer(Shape):
    """Attributes beside the named keys are the customer's own."""

    model_config = ConfigDict(extra="allow")

    segments: tuple[Name, ...] = ()
    consents: dict[str, dict[str, Literal["granted", "withdrawn", "pending"]]] = Field(default_factory=dict)


class Happening(Shape):
    """Something that comes in at a time; keys beside the named ones are its properties."""

    model_config = ConfigDict(extra="allow")

    at: Filled

    @property
    def properties(self) -> dict[str, Any]:
        """All that isn't named here."""
        return dict(self.model_extra or {})


class Event(Happening):
    """The customer does something."""

    event: Name


class Enroll(Happening):
    """A call enrolls the customer into the journey `enroll`, which has `api: true`."""

    enroll: Name
    key: Filled | None = None


HAPPENINGS = ("event", "enroll")


def _which(data: Any) -> str | None:
    if isinstance(data, Happening):
        return f"<{type(data).__name__.lower()}>"
    found = [k for k in HAPPENINGS if isinstance(data, dict) and k in data]
    return f"<{found[0]}>" if len(found) == 1 else None


AnyHappening = Annotated[
    Annotated[Event, Tag("<event>")] | Annotated[Enroll, Tag("<enroll>")], one_of(_which, HAPPENINGS, "a line of events")
]


class Answer(Shape):
    """What a `call` gets."""

    url: Filled
    status: Filled = "200"
    json_: Value = Field(None, alias="json")


EXPECTED = ("send", "defer", "drop", "task", "exit")


class Expected(Shape):
    """A line of `expect`: exactly one of send, defer, drop, task and exit."""

    at: Filled | None = None
    journey: Name | None = None
    send: Filled | None = None
    defer: Filled | None = None
    drop: Filled | None = None
    task: Filled | None = None
    exit: Filled | None = None
    template: Filled | None = None
    contains: Filled | None = None
    reason: Filled | None = None
    until: Filled | None = None
    title: Filled | None = None

    @model_validator(mode="before")
    @classmethod
    def _one(cls, data: Any) -> Any:
        found = [k for k in EXPECTED if isinstance(data, dict) and k in data]
        if isinstance(data, dict) and len(found) != 1:
            raise PydanticCustomError("expected", "a line of expect has exactly one of send, defer, drop, task, exit")
        return data


class Test(Shape):
    """One test."""

    test: Filled
    journey: Name | None = None
    journeys: tuple[Name, ...] = ()
    customer: Customer = Customer()
    holdout: YesNo = False
    arms: dict[str, str] = Field(default_factory=dict)
    calls: tuple[Answer, ...] = ()
    events: tuple[AnyHappening, ...] = ()
    until: Filled | None = None
    expect: tuple[Expected, ...] = ()


class Tests(RootModel[Annotated[tuple[Test, ...], Field(min_length=1)]]):
    """A file of tests."""

    model_config = ConfigDict(frozen=True)


def with_values(tests: Tests, document: Document) -> Tests:
    """The same, with what no type is declared for as JSON would mean it (an unquoted 3 is a number): the bodies of answers, and
    the properties of calls that enroll."""

    def call(happening: Event | Enroll, *place: str | int) -> Event | Enroll:
        if not isinstance(happening, Enroll):
            return happening
        return happening.model_copy(update={name: typed(document.at([*place, name])) for name in happening.properties})

    found = []
    for i, test in enumerate(tests.root):
        events = tuple(call(one, i, "events", j) for j, one in enumerate(test.events))
        calls = tuple(
            one.model_copy(update={"json_": typed(document.at([i, "calls", j, "json"]))}) if one.json_ is not None else one
            for j, one in enumerate(test.calls)
        )
        found.append(test.model_copy(update={"events": events, "calls": calls}))
    return Tests(tuple(found))
