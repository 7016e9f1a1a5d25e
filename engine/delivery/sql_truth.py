"""What SQL can say of a condition: surely true, surely false, or unknown; and how conditions combine.

Where SQL doesn't know, whoever asks has the Python evaluator answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

HEAVIEST = 4_000
"""Parts of one condition beyond which nobody has PostgreSQL work it out: segments that ask for others are written out in full."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition as SQL, never null. `must` holds only where the condition surely does, `may` wherever it could: the same
    object where SQL knows. `weight`: how much SQL it is."""

    must: ColumnElement[bool]
    may: ColumnElement[bool]
    weight: int = 1

    @property
    def exact(self) -> bool:
        """Whether nobody else needs to be asked."""
        return self.must is self.may


def surely(condition: ColumnElement[bool], weight: int = 1) -> Truth:
    """A condition that SQL knows."""
    return Truth(condition, condition, weight)


TRUE, FALSE = surely(true()), surely(false())
UNKNOWN = Truth(false(), true())
"""Nothing that SQL could say."""


def every(parts: Sequence[Truth]) -> Truth:
    """All of them."""
    return _joined(parts, and_, TRUE)


def either(parts: Sequence[Truth]) -> Truth:
    """At least one of them."""
    return _joined(parts, or_, FALSE)


def opposite(part: Truth) -> Truth:
    """Not that."""
    if part.exact:
        return surely(not_(part.must), part.weight + 1)
    return Truth(not_(part.may), not_(part.must), part.weight + 1)


def where_known(part: Truth, known: Sequence[ColumnElement[bool]]) -> Truth:
    """The condition where all of this holds; else it may hold."""
    if not known:
        return part
    surely_known = and_(*known)
    return Truth(and_(part.must, surely_known), or_(part.may, not_(surely_known)), part.weight + 2 * len(known))


def _joined(parts: Sequence[Truth], join: Callable[..., ColumnElement[bool]], empty: Truth) -> Truth:
    weight = sum(p.weight for p in parts) + 1
    if not parts or weight > HEAVIEST:
        return empty if not parts else UNKNOWN
    if len(parts) == 1:
        return parts[0]
    must = join(*[p.must for p in parts])
    return Truth(must, must if all(p.exact for p in parts) else join(*[p.may for p in parts]), weight)
