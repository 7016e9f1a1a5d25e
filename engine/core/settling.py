"""When the gates that depend on time have all opened: holds, quiet hours and send windows, caps.

Only the rounds of asking belong here; what each gate says is its own.
"""

from __future__ import annotations

from datetime import datetime

from engine.core.caps import cap
from engine.core.case import Case
from engine.core.holds import hold
from engine.core.hours import quiet_hours

_OF_TIME = (hold, quiet_hours, cap)
_ROUNDS = 64
"""How often the gates are asked again before a set of rules counts as one that never opens."""


def settle(case: Case, moment: datetime) -> tuple[datetime | None, bool, datetime]:
    """The first moment from `moment` on at which they all pass (None: never), whether only time is in the way, and the last
    moment tried. What drops the message isn't asked here."""
    certain = True
    for _ in range(_ROUNDS):
        answers = [gate(case, moment) for gate in _OF_TIME]
        waits = [a for a in answers if a.answer == "defer"]
        if not waits:
            return moment, certain, moment
        certain = certain and all(a.certain for a in waits)
        moment = max(a.until for a in waits if a.until is not None)
    return None, certain, moment
