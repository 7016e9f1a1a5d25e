"""The project that the proofs run: journeys that enter at once, later, or after an event, under several sets of caps."""

from __future__ import annotations

from tests.harness import HELLO

POLICY = """
tiers:
  - {name: transactional, skip: [consent, caps, quiet_hours, holds]}
  - {name: lifecycle, expires: 30d}
  - {name: promotional, expires: 12d}
uncounted: [transactional]
timezone: UTC
topics: [news, offers]
consent:
  email: {default: granted}
  sms: {default: granted}
quiet_hours: [{from: "21:00", to: "08:00"}]
holds:
  - name: complaint
    from: complaint_filed
    until: complaint_resolved
    key: ticket_id
    pause: [lifecycle, promotional]
    at_most: 9d
  - {name: recovery, while_in: recovery, pause: [promotional], at_most: 4d}
senders:
  email: {from: "Test Co <care@test.example>", postal_address: "1 Main St"}
"""

CAPS = {
    "one": "caps: [{name: weekly, tiers: [lifecycle, promotional], limit: 2, per: 7d}]\n",
    "many": "caps:\n"
    "  - {name: all, limit: 3, per: 5d}\n"
    "  - {name: letters, channel: email, limit: 2, per: 30h}\n"
    "  - {name: offers, tiers: [promotional], limit: 1, per: 3d}\n",
    "calendar": "caps:\n  - {name: daily, limit: 1, per: day}\n  - {name: weekly, tiers: [promotional], limit: 2, per: week}\n",
}
"""Caps by name. Those of `one` and `many` roll."""

JOURNEY = """
journey: {name}
tier: {tier}
enter: {{event: {event}, key: n, again: always}}
exit: [{{event: cancelled}}]
steps:
{before}  - send: {channel}
    id: {name}
    template: hello
    topic: {topic}
{after}"""

TWICE = """  - wait_for: confirmed
    timeout: 2d
    then:
      - send: email
        id: thanks
        template: hello
        topic: news
"""

JOURNEYS = {
    "receipt": ("transactional", "ordered", "email", "news", "", ""),
    "first": ("lifecycle", "signed_up", "email", "news", "", ""),
    "offer": ("promotional", "signed_up", "email", "offers", "", ""),
    "later": ("lifecycle", "pinged", "email", "news", "wait: 40h", ""),
    "texted": ("promotional", "pinged", "sms", "offers", "", ""),
    "asked": ("lifecycle", "ordered", "sms", "news", "", TWICE),
    "recovery": ("lifecycle", "complained", "email", "news", "wait: 20h", ""),
}
"""Journey → tier, the event that enters, channel, topic, a step before the message and steps after it."""

DELAYS = {"later": 40, "recovery": 20}
"""Journeys whose message comes so many hours after their entry."""

TRACKING = """
events:
  signed_up: {properties: {n: string}}
  ordered: {properties: {n: string}}
  pinged: {properties: {n: string}}
  complained: {properties: {n: string}}
  confirmed: {properties: {n: string}}
  cancelled: {properties: {n: string}}
  complaint_filed: {properties: {ticket_id: string}}
  complaint_resolved: {properties: {ticket_id: string}}
attributes: {first_name: string, email: string, phone: string, timezone: string}
"""


def files(caps: str) -> dict[str, str]:
    """The project's files, with the set of caps called `caps`."""
    written = {
        f"journeys/{name}.yaml": JOURNEY.format(
            name=name, tier=tier, event=event, channel=channel, topic=topic, before=f"  - {wait}\n" if wait else "", after=after
        )
        for name, (tier, event, channel, topic, wait, after) in JOURNEYS.items()
    }
    texts = {"templates/email/hello.txt": HELLO, "journeys/tracking.yaml": TRACKING}
    return {**written, **texts, "journeys/policy.yaml": POLICY + CAPS[caps]}
