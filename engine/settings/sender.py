"""What protects the standing of a channel's sender, in `sojourn.yaml`: `warmup` and `complaints` of a channel."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from engine.settings.periods import Days
from engine.settings.shape import Shape, Share, Whole


def _per_day(written: Any) -> Any:
    found = re.fullmatch(r"(\d{1,9})/day", written) if isinstance(written, str) else None
    if found is None or int(found[1]) == 0:
        raise PydanticCustomError("per_day", "this must be a number of messages such as 50/day")
    return int(found[1])


PerDay = Annotated[int, BeforeValidator(_per_day)]
"""Written `50/day`."""


class WarmupSettings(Shape):
    """`start` messages on the first day, twice as many every `double` days, until there would be `until` on a day (None: for
    ever). `sender`: another name begins anew."""

    start: PerDay
    double: Days
    until: PerDay | None = None
    sender: str = ""

    @field_validator("until")
    @classmethod
    def _above_start(cls, until: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")  # none where that itself is wrong
        if until is not None and start is not None and until <= start:
            raise PydanticCustomError("above_start", "this must be more than `start`, which is {start}/day", {"start": start})
        return until


class ComplaintSettings(Shape):
    """A channel rests where more than `pause_above` of the messages of the last `over` days were complained about, as soon as
    there were `at_least` so many messages."""

    pause_above: Annotated[Share, Field(gt=0)]
    over: Days = 7
    at_least: Annotated[Whole, Field(ge=1)] = 500

    def limit(self) -> dict[str, float]:
        """As `store.senders.know_limits` takes it."""
        return {"above": self.pause_above, "days": self.over, "at_least": self.at_least}
