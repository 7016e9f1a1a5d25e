"""The project that the benches run: one journey (send, wait for an event, send) under a policy with a cap and a hold.

What it asks of the engine per message is what real projects ask: consent, caps, holds, a personal template, an unsubscribe link.
"""

from __future__ import annotations

import json
from pathlib import Path

JOURNEY = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: first
    template: first
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 30d
    then:
      - send: email
        id: second
        template: second
        topic: news
    else:
      - exit: silent
"""


def letter(name: str, tier: str, enter: str, *more: str) -> str:
    """The journey `name`, which sends one message, called as it is. `more`: further lines of the send."""
    lines = ("steps:", "  - send: email", f"    id: {name}", "    template: first", *(f"    {line}" for line in more))
    return "\n".join((f"journey: {name}", f"tier: {tier}", f"enter: {{{enter}}}", *lines, ""))


OFFER = letter("offer", "promotional", "event: offered, again: never", "topic: news", "expires: 5000d")

LAUNCH = letter("launch", "promotional", "broadcast: launched, audience: customer.email is not none, again: never", "topic: news")

RESET = letter("reset", "transactional", "event: forgot, again: always, while_active: parallel")

POLICY = """
tiers:
  - {name: transactional, skip: [consent, caps, quiet_hours, holds]}
  - {name: lifecycle, expires: 3d}
  - {name: promotional, expires: 3d}
uncounted: [transactional]
caps:
  - {name: weekly, tiers: [lifecycle], limit: 5, per: 7d}
holds:
  - {from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [lifecycle, promotional], at_most: 3000d}
timezone: UTC
topics: [news]
consent:
  email: {default: granted}
senders:
  email: {from: "Bench Co <care@bench.example>", postal_address: "1 Main St"}
"""

TRACKING = """
events:
  signed_up: {properties: {plan: string}}
  confirmed: {properties: {source: string}}
  offered: {properties: {plan: string}}
  forgot: {properties: {plan: string}}
  launched: {properties: {plan: string}}
  cancelled: {properties: {}}
  complaint_filed: {properties: {ticket_id: string}}
  complaint_resolved: {properties: {ticket_id: string}}
attributes: {first_name: string, email: string, country: string}
"""

TEMPLATE = (
    "---\nsubject: {greeting}, {{{{ customer.first_name }}}}\n---\n"
    "{greeting} {{{{ customer.first_name }}}}, you chose {{{{ entry.plan }}}}.\n"
    "{{{{ unsubscribe_url }}}} {{{{ postal_address }}}}\n"
)

STEPS = ("first", "second")
"""The two sends, which are all messages that a customer of the bench gets."""


def write(folder: Path, *, sink_url: str | None, max_size: int, rate: str | None = None, scale: int = 1) -> None:
    """The project in `folder`. Messages go to `sink_url` through `webhook`, or (None) to the channel that does nothing; at `rate`
    ("500/s"; None: as fast as they come). `scale`: how many times faster than life time passes."""
    channel: dict[str, str] = {"use": "channels.noop"} if sink_url is None else {"use": "channels.webhook", "url": sink_url}
    if rate is not None:
        channel["rate"] = rate
    settings = {
        "project": "bench",
        "channels": {"email": channel},
        "database": {"url": "${SOJOURN_DATABASE_URL:-embedded}"},
        "temporal": {"address": "${SOJOURN_TEMPORAL_ADDRESS:-embedded}"},
        "cohort": {"max_size": max_size},
        "time_scale": scale,
    }
    files = {
        "sojourn.yaml": json.dumps(settings, indent=1),
        "journeys/welcome.yaml": JOURNEY,
        "journeys/offer.yaml": OFFER,
        "journeys/reset.yaml": RESET,
        "journeys/launch.yaml": LAUNCH,
        "journeys/policy.yaml": POLICY,
        "journeys/tracking.yaml": TRACKING,
        "templates/email/first.txt": TEMPLATE.format(greeting="Welcome"),
        "templates/email/second.txt": TEMPLATE.format(greeting="Thank you"),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip("\n"))
