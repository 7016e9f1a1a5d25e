"""The form of the page of preferences: what it shows of a customer, what comes back, and the calls that this leads to. Pure.

It shows channels, topics, a break and limits, and nothing else of anybody: links are forwarded. docs/reference/preferences.md
explains the names that a project's own page sees, and its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import orjson

from engine.api.preference_words import Words, channel_label, window_label
from engine.core.clock import local_day, resolve_local
from engine.core.consent import refusal, snooze
from engine.core.facts import Facts
from engine.core.incoming import Incoming
from engine.core.policy import Cap, Policy
from engine.core.preferences import Choice, is_on, is_pending, statements
from engine.core.wire import Json

SOURCE = "preferences"
"""The source of what the page says; each call's message id says from which state of the customer it was made."""

HOW = "preferences page"

LONGEST = timedelta(days=366)
"""How far ahead a break may end."""

OFFERED = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 100)
"""Limits that are offered, up to what policy allows."""


class Wrong(Exception):
    """What came back can't be meant; the argument names the words that say so."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows of one customer. `choices`: the boxes, channel by channel. `others`: channels that it doesn't show.
    `limits`: caps whose limit the customer may choose, with the attribute that holds it. `proven`: the channel whose present
    address the link went to, "" where there is none. `state`: what the customer has said and is, as a text that changes with
    it."""

    policy: Policy
    facts: Facts
    attributes: Mapping[str, Json]
    choices: tuple[Choice, ...]
    others: frozenset[str]
    limits: tuple[tuple[Cap, str], ...]
    zone: ZoneInfo
    now: datetime
    proven: str = ""
    state: str = ""

    def until(self) -> str:
        """The day on which the customer's break ends, "" without one."""
        found = snooze(self.facts.consents, "*", None, self.now)
        return "" if found is None or found.until is None else local_day(found.until, self.zone).isoformat()

    def own(self, attribute: str) -> str:
        """The limit that the customer chose, "" where they chose none."""
        value = self.attributes.get(attribute)
        return str(int(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""

    def seen(self) -> str:
        """What the page shows, for the field that brings it back."""
        body = {
            "on": [_value(c) for c in self.choices if is_on(self.policy, self.facts, c, self.now)],
            "until": self.until(),
            "caps": {cap.name: self.own(attribute) for cap, attribute in self.limits},
        }
        return orjson.dumps(body).decode()


def limits_of(policy: Policy, declared: Mapping[str, Any]) -> tuple[tuple[Cap, str], ...]:
    """The caps whose `own_limit` is simply an attribute that sources may set, each with that attribute."""
    found = []
    for cap in policy.caps:
        name = re.fullmatch(r"\s*customer\.([A-Za-z_]\w*)\s*", cap.own_limit or "")
        if name is not None and name[1] in declared:
            found.append((cap, name[1]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came back: the boxes that are ticked, the day, the limits by cap, the button, and what the page had shown (None: it
    doesn't say)."""

    act: str = ""
    on: frozenset[str] = frozenset()
    until: str = ""
    caps: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Any] | None = None


def submitted(body: bytes) -> Submitted:
    """A form's body, whatever it is."""
    try:
        fields = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return Submitted()
    last = dict(fields)
    try:
        seen = orjson.loads(last.get("seen", ""))
    except orjson.JSONDecodeError:
        seen = None
    whole = isinstance(seen, dict) and isinstance(seen.get("on"), list) and isinstance(seen.get("caps"), dict)
    return Submitted(
        last.get("act", ""),
        frozenset(value for name, value in fields if name == "on"),
        last.get("until", "").strip(),
        {name.removeprefix("cap."): value.strip() for name, value in last.items() if name.startswith("cap.")},
        seen if whole else None,
    )


def calls(shown: Shown, form: Submitted, customer: int, wording: str) -> list[Incoming]:
    """What the form says that isn't so yet, as calls for the door; nothing for what the page had shown already. Raises Wrong."""
    if form.act == "nothing":
        done = refusal(shown.facts.consents, "*", None, shown.now) is not None
        return [] if done else [*_said(shown, customer, wording, [("*", None, "withdrawn", None)])]
    if form.seen is None:
        raise Wrong("wrong_form")
    found: list[tuple[str, str | None, str, datetime | None]] = []
    found += [(s.channel, s.topic, s.state, None) for s in _chosen(shown, form, form.seen["on"])]
    found += _break(shown, form, form.seen.get("until"))
    traits = dict(_limits(shown, form, form.seen["caps"]))
    made = list(_said(shown, customer, wording, found))
    if traits:
        about = "&".join(f"{name}={value}" for name, value in sorted(traits.items()))
        made.append(Incoming("set", SOURCE, f"{customer}/{shown.state}/{about}", traits=traits, customer=customer))
    return made


def _chosen(shown: Shown, form: Submitted, was: Sequence[object]) -> Sequence[Any]:
    # Only boxes that were moved: what changed elsewhere since the page was shown stays as it is.
    wanted = {}
    for choice in shown.choices:
        ticked = _value(choice) in form.on
        moved = ticked != (_value(choice) in was)
        wanted[choice] = ticked if moved else is_on(shown.policy, shown.facts, choice, shown.now)
    asked = {rule.channel for rule in shown.policy.consent if rule.double_opt_in} - {shown.proven}
    return statements(shown.policy, shown.facts, wanted, shown.now, others=shown.others, unproven=asked)


def _break(shown: Shown, form: Submitted, was: object) -> Iterator[tuple[str, str | None, str, datetime | None]]:
    current = shown.until()
    if form.until in (was, current):
        return
    end = None if not form.until else _day(shown, form.until)
    if current:  # what was said before it holds again
        yield "*", None, "withdrawn", shown.now
    if end is not None:
        yield "*", None, "withdrawn", end


def _day(shown: Shown, written: str) -> datetime:
    first, last = _bounds(shown)
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise Wrong("wrong_date") from None
    if not first <= day <= last:
        raise Wrong("wrong_date")
    return resolve_local(datetime.combine(day, time()), shown.zone)


def _bounds(shown: Shown) -> tuple[date, date]:
    today = local_day(shown.now, shown.zone)
    return today + timedelta(days=1), today + LONGEST


def _limits(shown: Shown, form: Submitted, was: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    for cap, attribute in shown.limits:
        chosen = form.caps.get(cap.name, was.get(cap.name))
        if chosen in (was.get(cap.name), shown.own(attribute)):
            continue
        if chosen not in _offered(cap, shown.own(attribute)):
            raise Wrong("wrong_choice")
        yield attribute, int(chosen) if chosen else None


def _offered(cap: Cap, own: str) -> list[str]:
    most = max(cap.limit, cap.own_up_to or 0)
    numbers = {n for n in (*OFFERED, most) if n <= most} | ({int(own)} if own else set())
    return ["", *(str(n) for n in sorted(numbers))]


def _said(
    shown: Shown, customer: int, wording: str, said: Sequence[tuple[str, str | None, str, datetime | None]]
) -> Iterator[Incoming]:
    """The events. Their ids come from the customer's state, so that a form that comes twice changes nothing the second time."""
    for channel, topic, state, until in said:
        told: dict[str, Json] = {"channel": channel, "topic": topic, "state": state, "source": HOW, "wording": wording}
        end = "" if until is None else until.astimezone(UTC).isoformat()
        if end:
            told["until"] = end
        if state == "granted" and channel == shown.proven:
            told["confirmed"] = True
        name = f"{customer}/{shown.state}/{channel}/{topic or '*'}/{state}/{end}"
        yield Incoming("track", SOURCE, name, "consent_changed", told, customer=customer)


def context(shown: Shown, words: Words, form: Submitted | None = None, error: str = "") -> dict[str, Any]:
    """The names that the page sees. `form`: what came back and could not be taken, which it shows again."""
    if form is not None and form.seen is None:
        form = None
    first, last = _bounds(shown)
    return {
        "language": words["language"],
        "locale": shown.attributes.get("locale") or shown.attributes.get("language"),
        "words": words,
        "seen": shown.seen() if form is None else orjson.dumps(form.seen).decode(),
        "channels": list(_channels(shown, words, form)),
        "until": shown.until() if form is None else form.until,
        "earliest": first.isoformat(),
        "latest": last.isoformat(),
        "caps": [_cap(cap, shown.own(a) if form is None else form.caps.get(cap.name, ""), words) for cap, a in shown.limits],
        "saved": False,
        "error": error,
    }


def _channels(shown: Shown, words: Words, form: Submitted | None) -> Iterator[dict[str, Any]]:
    for channel in dict.fromkeys(c.channel for c in shown.choices):
        choices = []
        for choice in (c for c in shown.choices if c.channel == channel):
            on = is_on(shown.policy, shown.facts, choice, shown.now)
            label = words["all"] if choice.topic is None else choice.topic.replace("_", " ").capitalize()
            choices.append(
                {
                    "value": _value(choice),
                    "topic": choice.topic,
                    "label": label,
                    "on": on if form is None else _value(choice) in form.on,
                    "pending": not on and is_pending(shown.facts, choice, shown.now),
                }
            )
        yield {"name": channel, "label": channel_label(words, [channel]), "choices": choices}


def _cap(cap: Cap, own: str, words: Words) -> dict[str, Any]:
    window = window_label(words, cap.per, cap.rolling.days if cap.rolling is not None else 0)
    options = [
        {
            "value": value,
            "label": f"{words['at_most'].format(n=value)} {window}" if value else words["as_usual"],
            "chosen": value == own,
        }
        for value in _offered(cap, own if own.isdigit() else "")
    ]
    label = channel_label(words, cap.channels) if cap.channels else str(words["every"])
    return {"name": cap.name, "label": label, "own": own, "options": options}


def _value(choice: Choice) -> str:
    return f"{choice.channel}/{choice.topic or ''}"
