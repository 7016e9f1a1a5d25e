"""Why a message waited or wasn't sent, in a few words: what a gate's reason and rule are called in a table or a timeline.

The whole sentences, with numbers and moments, are `telling`'s.
"""

from __future__ import annotations


def brief(reason: str, rule: str, topic: str) -> str:
    """What a gate's reason and rule mean, "" where there are none."""
    about = f" for {topic.replace('_', ' ')}" if topic else ""
    match reason:
        case "consent":
            return f"consent{about} withdrawn" if rule == "withdrawn" else f"no consent{about}"
        case "holdout":
            return f"{rule} holdout, left out to measure"
        case "cap":
            return f"the {rule} cap was full"
        case "quiet_hours":
            name, _, hours = rule.partition(" ")
            return f"{'quiet hours' if name == 'quiet_hours' else 'its send window is'} {hours.replace('-', '–')}".strip()
        case "hold":
            return f"held back by {rule}"
        case "live":
            if rule == "restarted":
                return "the journey had begun anew"
            return f"the journey had ended: {rule}" if rule else "the journey had ended"
        case "condition":
            return "its condition no longer held"
        case "reachable":
            return "no address"
        case "suppression":
            return f"address suppressed: {rule}"
        case "expired":
            return f"too late: {_expired(rule)}"
    return " ".join(part for part in (reason.replace("_", " "), rule) if part)


def _expired(rule: str) -> str:
    if rule == "expires":
        return "it came up after its time"
    if rule.startswith("quiet_hours"):
        return "quiet hours lasted longer"
    return "its send window opened later" if rule.startswith("window") else f"the {rule} cap had no room"
