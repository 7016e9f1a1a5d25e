"""What segments depend on: found through everything that they ask for, so that nothing else is looked at."""

from __future__ import annotations

from dataclasses import replace

from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not, Segment, Segments, Stage
from engine.authoring.model_tracking import Tracking
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.core.policy import Policy, Tier
from engine.delivery.deployment import Deployment
from engine.delivery.interpretation import STAGES, Interpretation
from engine.delivery.render import Renderer
from tests.conditions import TEXT, TRACKING

ORDERED = Did("order", 2)
QUIET = Not(Did("viewed", 1, Duration(days=60)))


def interpretation(*conditions: Condition, stages: tuple[Stage, ...] = ()) -> Interpretation:
    """Segments a, b, c … with these conditions."""
    named = tuple(Segment(chr(97 + i), condition) for i, condition in enumerate(conditions))
    return Interpretation(Deployment(1, Policy((Tier("only"),)), "", TRACKING, Segments(named, stages), Renderer({}), {}, {}))


def test_through_segments_computed_attributes_and_what_events_are_compared_with() -> None:
    """An event or an attribute changes those that ask for it, however far away; a time zone may change any."""
    found = interpretation(
        ORDERED,
        Every((InSegment("a"), Holds("customer.n > 1"))),
        Holds('segment("b") or customer.spent > 3'),
        Did("viewed", where="event.kind == customer.s"),
        Either((QUIET, Holds("customer.o.x is none"))),
        stages=(Stage("one", InSegment("e")), Stage("rest")),
    )
    none: frozenset[str] = frozenset()
    assert {"a", "b", "c"} == found.affected("order", none)
    assert {"d", "e", STAGES} == found.affected("viewed", none)
    assert {"b", "c"} == found.affected("", frozenset({"n"}))
    assert {"d"} == found.affected("", frozenset({"s", "first_name"}))
    assert set() == found.affected("unheard", frozenset({"first_name"}))
    assert {*"abcde", STAGES} == found.affected("", frozenset({"timezone"}))
    assert ("e", STAGES) == found.by_time()


def test_names_from_outside_are_not_remembered() -> None:
    """However many attributes and events nobody asks for: one answer for them all."""
    found = interpretation(ORDERED, Holds("customer.n > 1"))
    for number in range(50):
        assert set() == found.affected(f"unheard{number}", frozenset({f"a{number}", f"b{number}"}))
        assert {"b"} == found.affected(f"unheard{number}", frozenset({f"a{number}", "n"}))
    assert 2 == len(found._affected)


def test_what_time_changes() -> None:
    """Spans, and whatever asks what time it is; also inside a computed attribute."""
    found = interpretation(
        Holds("customer.when < now"),
        Holds("customer.of_late > 1"),
        Did("order", where="event.occurred_at > now - days(3)"),
        ORDERED,
        Not(InSegment("a")),
    )
    assert ("a", "b", "c", "e") == found.by_time()


def test_another_meaning_is_another_definition() -> None:
    """Of a segment, of one that it asks for, of a computed attribute, and of the order of stages; of nothing else."""
    asking = (ORDERED, InSegment("a"), Holds("customer.spent > 1"), QUIET)
    stages = (Stage("one", ORDERED), Stage("two", QUIET))
    before = interpretation(*asking, stages=stages)
    after = interpretation(Did("order", 3), *asking[1:], stages=stages)
    assert {"a", "b"} == {n for n in before.definitions if before.definitions[n] != after.definitions[n]}
    after = interpretation(*asking, stages=(stages[1], stages[0]))
    assert {STAGES} == {n for n in before.definitions if before.definitions[n] != after.definitions[n]}
    spent = next(c for c in TRACKING.computed if c.name == "spent")
    others = tuple(c for c in TRACKING.computed if c is not spent)
    deployment = before.deployment
    tracking = replace(TRACKING, computed=(*others, replace(spent, at_least=4)))
    changed = Interpretation(Deployment(1, deployment.policy, "", tracking, deployment.segments, Renderer({}), {}, {}))
    assert {"c"} == {n for n in before.definitions if before.definitions[n] != changed.definitions[n]}


def test_another_type_is_another_definition() -> None:
    """Of an attribute or a property that is read, also through a computed attribute; of no other."""
    before = interpretation(
        Holds("customer.s == '2026-01-01'"), InSegment("a"), Did("order"), Holds("customer.spent > 1"), Holds("customer.n > 1")
    )

    def differ(tracking: Tracking) -> set[str]:
        deployment = Deployment(1, before.deployment.policy, "", tracking, before.deployment.segments, Renderer({}), {}, {})
        after = Interpretation(deployment)
        return {n for n in before.definitions if before.definitions[n] != after.definitions[n]}

    attributes = tuple((name, Type("datetime") if name == "s" else kind) for name, kind in TRACKING.attributes)
    assert {"a", "b"} == differ(replace(TRACKING, attributes=attributes))
    order, *others = TRACKING.events
    properties = tuple((name, Type("string") if name == "total" else kind) for name, kind in order.properties)
    assert {"c", "d"} == differ(replace(TRACKING, events=(replace(order, properties=properties), *others)))
    assert set() == differ(replace(TRACKING, attributes=(*TRACKING.attributes, ("new", TEXT))))


def test_signs_say_segments_and_the_first_stage() -> None:
    """In the order of the definitions, whichever are asked for."""
    found = interpretation(ORDERED, QUIET, stages=(Stage("one", ORDERED), Stage("two", QUIET), Stage("rest")))
    assert (frozenset({"b"}), "two") == found.told(["a", "b", STAGES], "01011")
    assert (frozenset({"b"}), None) == found.told(["b"], "1")
    assert (frozenset(), "rest") == found.told([STAGES], "001")
    assert (frozenset(), None) == found.told(["a", STAGES], None)
