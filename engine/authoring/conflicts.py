"""Conflicts found before anyone is messaged (SJ415, SJ430 to SJ436): what the rules of a project make impossible.

Only what is proved is reported: an error where it fails for every customer, a warning where it fails for some. Each kind of
proof has a module of its own; journeys and a policy come in compiled, problems go to their documents.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.authoring import conflict_caps, conflict_holds, conflict_hours, conflict_paths
from engine.authoring.model_tracking import BUILTIN
from engine.authoring.passages import Placed
from engine.authoring.spots import Spot
from engine.core.plan import Act
from engine.core.policy import Policy


def report_conflicts(journeys: Mapping[str, Placed], policy: Policy, top: Spot) -> None:
    """Reports the conflicts of `journeys` (all free of errors, by name) with themselves, each other and `policy`, whose file
    begins at `top`."""
    emitted = {
        str(op.fields.get("event"))
        for journey in journeys.values()
        for op in journey.plan.ops
        if isinstance(op, Act) and op.verb == "emit" and isinstance(op.fields, dict)
    }
    others = emitted | {event.name for event in BUILTIN}
    for journey in journeys.values():
        conflict_paths.report(journey)
        conflict_caps.report(journey, policy, others)
    conflict_caps.report_closed(policy, list(journeys.values()), top)
    conflict_hours.report(journeys.values(), policy, top)
    conflict_holds.report(journeys, policy, top)
