"""What is taken in although it is likely to be a mistake, and said once each in the log: events that `tracking.yaml` doesn't
know, where `on_unknown: warn` stands, and statements about a channel or a topic that there isn't. Those may come from elsewhere,
before policy has it; to put a withdrawal aside would be worse.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from engine.core.incoming import Incoming
from engine.delivery.deployment import Deployment
from engine.delivery.statements import unknown_in
from engine.settings.problems import nearest

log = logging.getLogger("sojourn.intake")

MOST = 1000
"""Things that a process remembers to have said; a source that makes a name of each event would fill the memory."""


@dataclass(slots=True)
class Unknown:
    """What one process has said."""

    said: set[tuple[str, str]] = field(default_factory=set)

    def look(self, deployment: Deployment, incoming: Incoming) -> None:
        """Say what isn't known of an event, the first time that a source sends it."""
        if incoming.kind != "track":
            return
        if deployment.warns_of(incoming):
            hint = nearest(incoming.name, (e.name for e in deployment.tracking.events)) or "no event is declared there"
            self._say(incoming, f"which is not in tracking.yaml; {hint}")
        for words in unknown_in(deployment, incoming.name, incoming.properties):
            self._say(incoming, words)

    def _say(self, incoming: Incoming, why: str) -> None:
        name = (incoming.source, f"{incoming.name} {why}")
        if name not in self.said and len(self.said) < MOST:
            self.said.add(name)
            log.warning("the source %r sends %r, %s", incoming.source, incoming.name, why)
