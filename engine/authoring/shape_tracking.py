"""tracking.yaml and segments.yaml as YAML writes them. `types.parse_type` reads the types of properties; conditions stay text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine.authoring.shapes import Expression, Name, Span, Value
from engine.authoring.types import SIMPLE, Type, parse_type
from engine.settings.shape import Number, Shape, Whole, one_of


def _type(data: Any) -> Type:
    if isinstance(data, Type):
        return data
    try:
        return parse_type(data)
    except ValueError as bad:
        raise PydanticCustomError("type", "{words}", {"words": str(bad), "code": "SJ310"}) from None


DeclaredType = Annotated[
    Type,
    PlainValidator(_type),
    WithJsonSchema({"anyOf": [{"enum": list(SIMPLE)}, {"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]}),
]


class Event(Shape):
    """One of `events`."""

    properties: dict[Name, DeclaredType] = Field(default_factory=dict)
    required: tuple[Name, ...] = ()
    retention: Span | None = None


class Computed(Shape):
    """What all computed attributes may carry. `kind` is the key that says which one it is."""

    kind: ClassVar[str] = ""
    where: Expression | None = None
    within: Span | None = None
    at_least: Annotated[Whole, Field(ge=1)] | None = None
    default: Value = None


class Sum(Computed):
    kind: ClassVar[str] = "sum"
    sum: Expression
    of: Name


class Count(Computed):
    kind: ClassVar[str] = "count"
    count: Name


class Latest(Computed):
    kind: ClassVar[str] = "latest"
    latest: Expression
    of: Name


class Earliest(Computed):
    kind: ClassVar[str] = "earliest"
    earliest: Expression
    of: Name


class Last(Computed):
    kind: ClassVar[str] = "last"
    last: Annotated[Whole, Field(ge=1, le=1000)]
    of: Name
    value: Expression


class First(Computed):
    kind: ClassVar[str] = "first"
    first: Annotated[Whole, Field(ge=1, le=1000)]
    of: Name
    value: Expression


class MedianGap(Computed):
    kind: ClassVar[str] = "median_gap_days"
    median_gap_days: Name


class MostFrequent(Computed):
    kind: ClassVar[str] = "most_frequent"
    most_frequent: Expression
    of: Name


class Distinct(Computed):
    kind: ClassVar[str] = "distinct"
    distinct: Expression
    of: Name


class PointsOf(Shape):
    """Points for each event `of` that name."""

    of: Name
    where: Expression | None = None
    add: Number


class PointsIf(Shape):
    """Points while a condition on the customer holds."""

    if_: Expression = Field(alias="if")
    add: Number


def _one(kinds: tuple[str, ...]) -> Callable[[Any], str | None]:
    def tell(data: Any) -> str | None:
        found = [k for k in kinds if isinstance(data, dict) and k in data]
        return f"<{found[0]}>" if len(found) == 1 else None

    return tell


AnyPoints = Annotated[
    Annotated[PointsOf, Tag("<of>")] | Annotated[PointsIf, Tag("<if>")], one_of(_one(("of", "if")), ("of", "if"), "points")
]


class Score(Shape):
    """Points of events, which fade by half in every `half_life`, and of what the customer is."""

    kind: ClassVar[str] = "score"
    score: tuple[AnyPoints, ...] = Field(min_length=1)
    half_life: Span | None = None


COMPUTED = (Sum, Count, Latest, Earliest, Last, First, MedianGap, MostFrequent, Distinct, Score)
COMPUTED_KINDS: tuple[str, ...] = tuple(c.kind for c in COMPUTED)


AnyComputed = Annotated[
    Annotated[Sum, Tag("<sum>")]
    | Annotated[Count, Tag("<count>")]
    | Annotated[Latest, Tag("<latest>")]
    | Annotated[Earliest, Tag("<earliest>")]
    | Annotated[Last, Tag("<last>")]
    | Annotated[First, Tag("<first>")]
    | Annotated[MedianGap, Tag("<median_gap_days>")]
    | Annotated[MostFrequent, Tag("<most_frequent>")]
    | Annotated[Distinct, Tag("<distinct>")]
    | Annotated[Score, Tag("<score>")],
    one_of(_one(COMPUTED_KINDS), COMPUTED_KINDS, "a computed attribute"),
]


class Predict(Shape):
    """`predict`: which event is an order, and what it is worth."""

    orders: Name
    value: Expression | None = None
    where: Expression | None = None
    ahead: Span | None = None


class Tracking(Shape):
    """tracking.yaml."""

    events: dict[Name, Event] = Field(default_factory=dict)
    attributes: dict[Name, DeclaredType] = Field(default_factory=dict)
    computed: dict[Name, AnyComputed] = Field(default_factory=dict)
    predict: Predict | None = None
    on_unknown: Literal["accept", "warn", "quarantine"] = "warn"


CONDITIONS: tuple[str, ...] = ("any", "all", "not", "did", "did_not", "if", "segment")


class Condition(Shape):
    """A condition on a customer: exactly one of its first seven keys."""

    any: tuple[Condition, ...] | None = Field(None, min_length=1)
    all: tuple[Condition, ...] | None = Field(None, min_length=1)
    not_: Condition | None = Field(None, alias="not")
    did: Name | None = None
    did_not: Name | None = None
    if_: Expression | None = Field(None, alias="if")
    segment: Name | None = None
    at_least: Annotated[Whole, Field(ge=1)] | None = None
    within: Span | None = None
    where: Expression | None = None


class Stage(Condition):
    """One of `stages`: a condition with the stage's name; without a condition it matches everybody."""

    stage: Name


class Segments(Shape):
    """segments.yaml."""

    segments: dict[Name, Condition] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
