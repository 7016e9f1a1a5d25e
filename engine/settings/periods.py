"""`retention:` of `sojourn.yaml`: how long what is kept."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from engine.settings.shape import Shape


def _days(written: Any) -> Any:
    found = re.fullmatch(r"(\d{1,5})\s*(d|w|years?)", written) if isinstance(written, str) else None
    if found is None or int(found[1]) == 0:
        raise PydanticCustomError("days", "this must be a time such as 30d, 8w or 2 years")
    return int(found[1]) * {"d": 1, "w": 7}.get(found[2], 365)


Days = Annotated[int, BeforeValidator(_days)]
"""Written `30d`, `8w` or `2 years` (of 365 days)."""


class RetentionSettings(Shape):
    """For how many days what is kept (None: as long as there is room). Each kind's tables stand in `engine.store.retention`."""

    event_properties: Days | None = None
    message_content: Days | None = None
    decisions: Days | None = None
    inputs: Days | None = None
    messages: Days | None = None
    holds: Days | None = None
    refusals: Days | None = None
    quarantine: Days | None = None
    audit: Days | None = None

    def periods(self) -> dict[str, int]:
        """Kind → days, of those that are set."""
        return {kind: days for kind, days in self.model_dump().items() if days is not None}
