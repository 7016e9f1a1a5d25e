"""Journeys of one letter, which most tests of what may be sent are content with."""

from __future__ import annotations

from pathlib import Path

from tests.harness import POLICY, write_project

JOURNEY = """
journey: {name}
tier: {tier}
{head}enter: {{event: {event}, again: always}}
steps:
{before}  - send: {channel}
    id: {name}
    template: hello
    topic: {topic}
{more}{after}"""


RECOVERY = """
journey: recovery
tier: service
enter: {event: pinged, again: always}
exit: [{event: cancelled}]
steps:
  - wait: 300d
    id: long
"""
"""A journey in which whoever is in it stays until `cancelled`: for holds that last while somebody is in it."""


def letter(
    name: str,
    tier: str = "lifecycle",
    *,
    event: str = "signed_up",
    channel: str = "email",
    topic: str = "news",
    expires: str = "60d",
    head: str = "",
    before: str = "",
    more: str = "",
    after: str = "",
) -> str:
    """The journey `name`, which sends one message, called as it is. `head`: a further line of the journey; `before` and `after`:
    a step; `more`: a further line of the send."""
    return JOURNEY.format(
        name=name,
        tier=tier,
        event=event,
        channel=channel,
        topic=topic,
        head=f"{head}\n" if head else "",
        before=f"  - {before}\n" if before else "",
        more="".join(f"    {line}\n" for line in (f"expires: {expires}" if expires else "", more) if line),
        after=f"  - {after}\n" if after else "",
    )


def project(folder: Path, rules: str, *journeys: str, **files: str) -> Path:
    """A project of these journeys under these further rules of policy; `files`: others under journeys/, by name."""
    named = {f"journeys/{text.split()[1]}.yaml": text for text in journeys}
    shared = {f"journeys/{name}.yaml": text for name, text in files.items()}
    return write_project(folder, {**named, **shared, "journeys/policy.yaml": POLICY + rules})
