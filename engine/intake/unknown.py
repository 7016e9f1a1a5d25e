"""Events that `tracking.yaml` doesn't know, where `on_unknown: warn` stands: taken in, and said once each in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from engine.core.incoming import Incoming
from engine.delivery.deployment import Deployment
from engine.settings.problems import nearest

log = logging.getLogger("sojourn.intake")

MOST = 1000
"""Names that a process remembers to have said; a source that makes a name of each event would fill the memory."""


@dataclass(slots=True)
class Unknown:
    """What one process has said."""

    said: set[tuple[str, str]] = field(default_factory=set)

    def look(self, deployment: Deployment, incoming: Incoming) -> None:
        """Say that an event isn't known, the first time that a source sends it."""
        name = (incoming.source, incoming.name)
        if name in self.said or len(self.said) >= MOST or not deployment.warns_of(incoming):
            return
        self.said.add(name)
        hint = nearest(incoming.name, (e.name for e in deployment.tracking.events))
        log.warning("the source %r sends %r, which is not in tracking.yaml; %s", *name, hint or "no event is declared there")
