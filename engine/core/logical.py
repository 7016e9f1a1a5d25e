"""Logical time: what the engine's moments mean when weeks pass in minutes (`time_scale`). With scale 1 and equal epochs it is
real time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class LogicalClock:
    """logical = logical_epoch + (real - real_epoch) x scale. Waits, windows and caps use it; retries and leases never do."""

    scale: float
    real_epoch: datetime
    logical_epoch: datetime

    def logical(self, real: datetime) -> datetime:
        """The logical moment at `real`."""
        return self.logical_epoch + (real - self.real_epoch) * self.scale

    def real_seconds(self, span: timedelta) -> float:
        """How many real seconds a logical span takes."""
        return span.total_seconds() / self.scale

    def logical_span(self, real_seconds: float) -> timedelta:
        """The logical span that passes in `real_seconds`: what a retry in real time means on the logical clock."""
        return timedelta(seconds=real_seconds * self.scale)
