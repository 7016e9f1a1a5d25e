"""Random projects and random lives of their customers, for playing them on the simulator and on the real engine.

What the two can't agree on to the second is kept apart: the real engine hands a message over a second after it is due, so nothing
here comes within a minute of anything else that decides about it. Events of a customer, and calls, have minutes of their own (2,
7, 12 … behind the hour), and each journey is some minutes later than the one before it; the calendar has minutes in which none of
those come, in zones of half an hour too; spans are whole hours, and the windows of rolling caps and of segments and the longest
times of holds are odd.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.harness import HELLO

Json = dict[str, Any]

FIRST = datetime(2026, 3, 2, 6, tzinfo=UTC)
EVENTS = ("signed_up", "ordered", "pinged", "confirmed", "cancelled", "complaint_filed", "complaint_resolved")
ENTERING = ("signed_up", "ordered", "pinged")
KEYS = ("A", "B")
ZONES = ("Europe/Rome", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
TIERS = ("service", "lifecycle", "promotional")
SPANS = st.sampled_from(["1h", "5h", "9h", "1d", "26h", "2d"])
TIMES = st.sampled_from([(8, 30), (12, 0), (22, 0)])
MINUTES = (2, 7, 12, 17, 32, 37, 42, 47)
"""Behind the hour: when events come. Journeys go on up to four minutes later."""
CALENDAR_MINUTES = (60, 58, 53, 54, 52)
"""Behind the hour: when the calendar brings people into each journey. It goes on later by its number: at minutes of its own."""

TRACKING = {
    "events": {
        **{name: {"properties": {"n": "string", "total": "number"}} for name in EVENTS[:5]},
        **{name: {"properties": {"ticket_id": "string"}} for name in EVENTS[5:]},
        "noted": {"properties": {"n": "string"}},
    },
    "attributes": {
        **dict.fromkeys(("first_name", "email", "phone", "timezone", "country", "note"), "string"),
        "renews_on": "date",
    },
    "computed": {
        "spent": {"sum": "event.total", "of": "ordered"},
        "lately": {"count": "ordered", "within": "4327m"},
    },
}
SEGMENTS = {
    "segments": {
        "buyers": {"did": "ordered"},
        "lapsed": {"all": [{"did": "ordered"}, {"did_not": "ordered", "within": "3547m"}]},
        "big": {"if": "customer.spent >= 100"},
    },
    "stages": [{"stage": "loyal", "did": "ordered", "at_least": 2}, {"stage": "new", "did": "signed_up"}, {"stage": "lead"}],
}
CONDITIONS = st.sampled_from(
    [
        'customer.country == "IT"',
        'segment("buyers")',
        'segment("lapsed")',
        "customer.spent >= 60",
        "customer.lately >= 2",
        'customer.stage == "loyal"',
        'vars.mark == "seen"',
        "now - entry.occurred_at > days(1)",
    ]
)


@dataclass(frozen=True)
class Project:
    """`files`: path → text. `tests`: the lives of its customers, as journeys/tests would have them, without `expect`."""

    files: dict[str, str]
    journeys: tuple[str, ...]
    tests: tuple[Json, ...]


@st.composite
def projects(draw: st.DrawFn, journeys: int = 5, customers: int = 5) -> Project:
    """A project of so many journeys, with so many customers."""
    names = [f"j{n}" for n in range(journeys)]
    files = {
        "journeys/tracking.yaml": json.dumps(TRACKING),
        "journeys/segments.yaml": json.dumps(SEGMENTS),
        "journeys/policy.yaml": json.dumps(draw(policies(names))),
        "templates/email/hello.txt": HELLO + "{{ entry.n }} {{ vars.mark }} {{ customer.spent }} {{ customer.note }}\n",
        "templates/email/again.txt": HELLO,
        "templates/sms/hello.txt": "Hi {{ customer.first_name }} {{ customer.country }}",
        "templates/push/hello.txt": "Hi {{ customer.first_name }} {{ customer.stage }}",
    }
    for n, name in enumerate(names):
        files[f"journeys/{name}.yaml"] = json.dumps(draw(journeys_called(name, names[:n])))
    tests = tuple(draw(lives(n, names)) for n in range(customers))
    return Project(files, tuple(names), tests)


@st.composite
def policies(draw: st.DrawFn, names: Sequence[str]) -> Json:
    """Tiers as in most projects; which caps, holds, quiet hours, limits and consents there are is random."""
    most = ["lifecycle", "promotional"]
    caps = [
        {"name": "daily", "tiers": most, "limit": draw(st.integers(1, 2)), "per": "day"},
        {"name": "rolling", "tiers": most, "limit": draw(st.integers(1, 3)), "per": "4351m"},
        {"name": "texts", "channel": "sms", "limit": 1, "per": "1591m"},
        {"name": "weekly", "tiers": ["promotional"], "limit": 2, "per": "week"},
    ]
    holds = [
        {"name": "recovery", "while_in": names[0], "pause": ["promotional"], "at_most": "2589m"},
        {
            "name": "complaint", "from": "complaint_filed", "until": "complaint_resolved", "key": "ticket_id",
            "pause": most, "at_most": "4029m",
        },
    ]  # fmt: skip
    quiet = [
        {"from": "21:00", "to": "08:00", "channels": ["email", "sms"]},
        {"from": "12:00", "to": "15:30", "if": 'customer.country == "IT"'},
    ]
    limits = [{"name": "few", "journeys": list(names), "at_once": 2, "when_full": draw(st.sampled_from(["bar", "displace"]))}]
    policy: Json = {
        "tiers": [
            {"name": "service", "skip": ["consent", "caps", "holds"], "expires": "7d"},
            {"name": "lifecycle", "expires": draw(st.sampled_from(["3d", "30h"]))},
            {"name": "promotional", "expires": "25h"},
        ],
        "timezone": "UTC",
        "topics": ["news", "offers"],
        "consent": {c: {"default": draw(st.sampled_from(["granted", "granted", "none"]))} for c in ("email", "sms")},
        "senders": {"email": {"from": "Test Co <care@test.example>", "postal_address": "1 Main St"}},
    }
    policy["consent"]["push"] = {"default": "granted"}
    for name, written, most_of in (("caps", caps, 4), ("holds", holds, 2), ("quiet_hours", quiet, 2), ("limits", limits, 1)):
        chosen = draw(st.lists(st.sampled_from(written), max_size=most_of, unique_by=json.dumps))
        if chosen:
            policy[name] = chosen
    return policy


@st.composite
def journeys_called(draw: st.DrawFn, name: str, others: Sequence[str]) -> Json:
    """A journey. `others`: those that it may start."""
    entry, keyed = draw(_entries(int(name[1:])))
    steps = _Steps(draw, name, others)
    journey: Json = {
        "journey": name,
        "tier": draw(st.sampled_from(TIERS)),
        "enter": [entry, {"api": True, **({"key": "n"} if keyed else {"again": "always"})}],
        "steps": [{"set": {"vars.mark": "begun"}, "id": "begin"}, {"wait": f"{steps.late}m"}, *steps.block(2, least=2)],
    }
    if draw(st.booleans()):
        journey["exit"] = [{"event": "cancelled"}]
    if draw(st.booleans()):
        journey["goal"] = {"event": "confirmed", "within": "2d", "exit": draw(st.booleans())}
    if draw(st.integers(0, 3)) == 0:
        journey["holdout"] = "30%"
    return journey


@st.composite
def _entries(draw: st.DrawFn, number: int) -> tuple[Json, bool]:
    kind = draw(st.sampled_from(["event", "event", "keyed", "segment", "schedule", "date"]))
    if kind in ("schedule", "date"):
        return {**draw(_calendar(kind, number)), "while_active": draw(st.sampled_from(["ignore", "restart", "parallel"]))}, False
    again = draw(st.sampled_from(["never", "always", "after 20h"]))
    if kind == "segment":
        segment = draw(st.sampled_from(["buyers", "lapsed", "big"]))
        when = draw(st.sampled_from(["enters", "leaves"]))
        return {"segment": segment, "when": when, "existing": "ignore", "again": again}, False
    entry: Json = {"event": draw(st.sampled_from(ENTERING))}
    if draw(st.integers(0, 2)) == 0:
        entry["where"] = 'event.n == "A"'
    entry["while_active"] = draw(st.sampled_from(["ignore", "restart", "parallel"]))
    entry["again"] = again
    if kind == "keyed":
        entry["key"] = "n"
    return entry, kind == "keyed"


@st.composite
def _calendar(draw: st.DrawFn, kind: str, number: int) -> Json:
    """An entry by schedule or date: a few times while the project is played, at the journey's own minute."""
    behind = CALENDAR_MINUTES[number]
    at = f"{draw(st.sampled_from([6, 9, 16])) + behind // 60:02}:{behind % 60:02}"
    if kind == "date":
        made: Json = {"date": "customer.renews_on", "at": at, "on_past": "skip", "again": "always"}
        offset, yearly = draw(st.sampled_from([None, "-2d", "26h"])), draw(st.booleans())
        return made | ({"offset": offset} if offset else {}) | ({"every": "year"} if yearly else {})
    zone = draw(st.sampled_from(["customer", "Europe/Rome", "America/New_York"]))
    hour, _, minute = at.partition(":")
    schedule = draw(
        st.sampled_from(
            [
                {"at": f"2026-03-05 {at}", "timezone": zone},
                {"at": at, "days": ["tue", "fri"], "timezone": zone},
                {"cron": f"{int(minute)} {int(hour)} * * wed", "timezone": zone},
            ]
        )
    )
    audience = draw(
        st.sampled_from(["buyers", "lapsed", 'customer.country == "IT"', {"did": "pinged", "at_least": 1, "within": "3457m"}])
    )
    return {"schedule": schedule, "audience": audience}


class _Steps:
    """The steps of one journey, each with an id of its own, `late` minutes behind those of the first one: of two who come to a
    send at one moment, one of them behind a branch, chance says on the real engine which one asks first."""

    def __init__(self, draw: st.DrawFn, name: str, others: Sequence[str]) -> None:
        self.draw, self.name, self.others, self.number = draw, name, others, 0
        self.late = int(name[1:])

    def block(self, depth: int, least: int = 0) -> list[Json]:
        steps = [step for _ in range(self.draw(st.integers(least, 3))) for step in self.some(depth)]
        return steps or [self._send()]

    def some(self, depth: int) -> list[Json]:
        """A step; around one that starts another journey, waits: what the other does first, and whom it displaces, would else be
        a race with what this one does at that moment. The other goes on half a minute behind this one and everybody else: what
        this one sends in by `emit` would else race with the end of a wait for it."""
        made = self.step(depth)
        return [{"wait": "60m30s"}, made, {"wait": self.draw(SPANS)}, {"wait": "59m30s"}] if "start" in made else [made]

    def step(self, depth: int) -> Json:
        simple = ["send", "send", "send", "wait", "wait", "set", "task", "emit", "until"]
        deep = ["wait_for", "wait_for", "branch", "split", "repeat", "leave"] if depth else []
        verb = self.draw(st.sampled_from(simple + deep + (["start"] if self.others else [])))
        made: Json = (
            getattr(self, f"_{verb}")(depth) if verb in ("wait_for", "branch", "split", "repeat") else getattr(self, f"_{verb}")()
        )
        self.number += 1
        made["id"] = f"s{self.number}"
        if verb in ("send", "set", "task", "wait") and self.draw(st.integers(0, 4)) == 0:
            made["if"] = self.draw(CONDITIONS)
        return made

    def _send(self) -> Json:
        channel = self.draw(st.sampled_from(["email", "email", "sms", "push"]))
        made: Json = {"send": channel, "template": "hello", "topic": self.draw(st.sampled_from(["news", "offers"]))}
        if self.draw(st.integers(0, 3)) == 0:
            made["on_defer"] = self.draw(st.sampled_from(["skip", "exit"]))
        if self.draw(st.integers(0, 3)) == 0:
            made["expires"] = self.draw(st.sampled_from(["7h", "50h"]))
        if channel != "push" and self.draw(st.integers(0, 3)) == 0:
            made["fallback"] = ["push"]
        if self.draw(st.integers(0, 5)) == 0:
            made["window"] = {"from": "10:00", "to": "18:30", "days": ["mon", "tue", "wed", "thu", "fri"]}
        return made

    def _wait(self) -> Json:
        return {"wait": self.draw(SPANS)}

    def _until(self) -> Json:
        hour, minute = self.draw(TIMES)
        return {"wait": {"until": f"{hour:02}:{minute + self.late:02}"}}

    def _set(self) -> Json:
        return {
            "set": self.draw(
                st.sampled_from(
                    [
                        {"vars.mark": "seen"},
                        {"customer.note": "{{ entry.n }}"},
                        {"customer.country": "IT"},
                        {"customer.renews_on": "2026-03-14"},
                    ]
                )
            )
        }

    def _task(self) -> Json:
        return {"task": "service", "title": "Call {{ customer.first_name }} about {{ entry.n }}"}

    def _emit(self) -> Json:
        return {"emit": "noted", "with": {"n": "{{ entry.n }}"}}

    def _start(self) -> Json:
        return {"start": self.draw(st.sampled_from(self.others)), "with": {"n": "A"}}

    def _leave(self) -> Json:
        return {"exit": "enough", "if": self.draw(CONDITIONS)}

    def _wait_for(self, depth: int) -> Json:
        made: Json = {"wait_for": self.draw(st.sampled_from(["confirmed", "pinged", "noted"])), "timeout": self.draw(SPANS)}
        if self.draw(st.booleans()):
            made["since"] = "step"
        return {**made, "then": self.block(depth - 1), "else": self.block(depth - 1)}

    def _branch(self, depth: int) -> Json:
        return {"branch": [{"if": self.draw(CONDITIONS), "then": self.block(depth - 1)}, {"else": self.block(depth - 1)}]}

    def _split(self, depth: int) -> Json:
        arms = [{"name": arm, "weight": 1, "then": self.block(depth - 1)} for arm in ("a", "b")]
        return {"split": f"{self.name}_{self.number}", "arms": arms}

    def _repeat(self, depth: int) -> Json:
        return {"repeat": {"times": 2, "every": self.draw(SPANS), "steps": self.block(depth - 1)}}


@st.composite
def lives(draw: st.DrawFn, number: int, journeys: Sequence[str]) -> Json:
    """A customer and what they do, as a test of journeys has it. Each event has a minute of its own in the hour."""
    customer: Json = {"email": f"c{number}@example.com", "first_name": f"C{number}"}
    for name, values in (
        ("country", ["IT", "US"]),
        ("timezone", ZONES),
        ("phone", [f"+39333123450{number}"]),
        ("push_token", ["t"]),
        ("renews_on", ["2026-03-06", "2026-03-09", "2026-03-13"]),
    ):
        if draw(st.integers(0, 3)):
            customer[name] = draw(st.sampled_from(list(values)))
    topics = {"news": draw(st.sampled_from(["granted", "granted", "withdrawn"])), "offers": "granted"}
    customer["consents"] = dict.fromkeys(draw(st.sampled_from([["email"], ["email", "sms"], []])), topics)
    events = []
    for minute in MINUTES[: draw(st.integers(5, len(MINUTES)))]:
        at = FIRST + timedelta(hours=draw(st.integers(0, 110)), minutes=minute)
        events.append({"at": at.isoformat(), **draw(_events(journeys))})
    return {"test": f"customer {number}", "journeys": list(journeys), "customer": customer, "events": events}


@st.composite
def _events(draw: st.DrawFn, journeys: Sequence[str]) -> Json:
    name = draw(st.sampled_from([*ENTERING, *ENTERING, *EVENTS, "confirmed", "confirmed", "consent_changed", "enroll", "enroll"]))
    if name == "enroll":
        return {"enroll": draw(st.sampled_from(list(journeys))), "n": draw(st.sampled_from(KEYS))}
    if name == "consent_changed":
        return {"event": name, "channel": "email", "topic": "offers", "state": draw(st.sampled_from(["granted", "withdrawn"]))}
    if name.startswith("complaint"):
        return {"event": name, "ticket_id": draw(st.sampled_from(KEYS))}
    return {"event": name, "n": draw(st.sampled_from(KEYS)), "total": draw(st.sampled_from([20, 70]))}
