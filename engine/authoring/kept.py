"""Which computed attributes are kept up to date as events arrive, and which are worked out whenever somebody reads them.

One is kept if what an event means to it never changes: its expressions read the event and nothing else. The rule looks at the
expressions only, so it is known when a project is compiled.
"""

from __future__ import annotations

from jinja2 import nodes

from engine.authoring.expressions import Expression, compile_expression
from engine.authoring.model_tracking import Computed, EventType, Tracking
from engine.authoring.types import Type

_BY_THE_ZONE = frozenset({"date", "time"})
"""Filters that read text as a moment of the customer's own clock."""

_SHIFTS = frozenset({"days", "hours"})
"""Functions whose result, added to a text, makes a moment of the customer's own clock of it."""


def why_not_kept(computed: Computed, tracking: Tracking) -> str:
    """Why this attribute is worked out on reading, in words; "" where it is kept."""
    read = [(computed.event, computed.where), (computed.event, computed.value)]
    read += [(p.event, p.where) for p in computed.points if p.event is not None]
    for event, source in read:
        if source is not None and (why := _why(compile_expression(source), tracking.event(event))):
            return f"`{source}` {why}"
    return ""


def _why(expression: Expression, event: EventType | None) -> str:
    uses = expression.uses
    if uses.customer:
        return "reads attributes of the customer, which change"
    if uses.segments:
        return "asks for a segment, which people enter and leave"
    if uses.now:
        return "reads `now`, which passes"
    if _by_the_zone(expression, event):
        return "depends on the customer's time zone, which may change"
    return ""


def _by_the_zone(expression: Expression, event: EventType | None) -> bool:
    """Whether it may give something else in another zone. A moment by itself doesn't; anything done with one may."""
    tree = expression.tree
    if isinstance(tree, nodes.Getattr) and isinstance(tree.node, nodes.Name):
        return False
    moments = {"*", "occurred_at", *(name for name, kind in (event.properties if event else ()) if _holds_moments(kind))}
    if not moments.isdisjoint(expression.uses.event_properties):
        return True
    parts = [tree, *tree.find_all((nodes.Filter, nodes.Call))]
    return any(
        (isinstance(p, nodes.Filter) and p.name in _BY_THE_ZONE)
        or (isinstance(p, nodes.Call) and isinstance(p.node, nodes.Name) and p.node.name in _SHIFTS)
        for p in parts
    )


def _holds_moments(kind: Type) -> bool:
    inner = [t for _, t in kind.fields] + ([kind.item] if kind.item else [])
    return kind.kind in ("date", "datetime") or any(_holds_moments(t) for t in inner)
