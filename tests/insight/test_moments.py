"""`why` of a moment: what stood then, whatever has come since. Stories cut back by hand, without a store."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.cli.drawing import draw_passage
from engine.core.clock import zone
from engine.insight.as_of import passage_at
from engine.insight.asked import BadMoment, read_moment, settle_moment
from engine.insight.story import Decision, Message, Moment, Passage, in_order
from engine.insight.why import _came
from engine.store.relay import DONE

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROME = zone("Europe/Rome")


def decision(at: datetime, verdict: str, until: datetime | None = None) -> Decision:
    """One verdict, of the cap unless it allows."""
    return Decision(at, verdict, "" if verdict == "allow" else "cap", "", f"{verdict} it", until, until, ())


def message(*decisions: Decision, **changed: Any) -> Message:
    """A message that went in the end, after these decisions."""
    sent = Message(
        key="1/hello/0/0",
        step="hello",
        channel="email",
        template="hello",
        tier="lifecycle",
        topic=None,
        status="sent",
        reason="",
        detail="",
        planned_at=NINE,
        expires_at=None,
        sent_at=decisions[-1].at,
        until=None,
        tries=1,
        provider_id="p1",
        words="fine",
        decisions=decisions,
    )
    return replace(sent, **changed)


def passage(*moments: Moment, **changed: Any) -> Passage:
    """An enrollment from nine o'clock on, over at fifteen."""
    whole = Passage(
        enrollment=1,
        journey="welcome",
        key="",
        status="ended",
        reason="completed",
        holdout=False,
        entered_at=NINE,
        ended_at=NINE + 6 * HOUR,
        step="hello",
        wake_at=None,
        now="Ended after its last step.",
        moments=(Moment(NINE, "entered", "Entered by signed_up."), *moments),
    )
    return replace(whole, **changed)


def of(told: Message, came: datetime | None = None) -> Moment:
    """The message when what stands of it `came`: when it left, or was decided last."""
    return Moment(came or told.sent_at or told.decisions[-1].at, "message", "email hello", told)


def stood(whole: Passage, hours: float) -> tuple[str, str, list[tuple[str, datetime | None]]]:
    """Where `whole` stood so many hours after nine: its status, its sentence, and each message's status and until."""
    cut = passage_at(whole, NINE + hours * HOUR, ROME)
    messages = [(m.message.status, m.message.until) for m in cut.moments if m.message is not None]
    return cut.status, cut.now, messages


WAITED = message(decision(NINE + HOUR, "defer", NINE + 3 * HOUR), decision(NINE + 3 * HOUR, "allow"))


def test_a_message_that_waited_and_went() -> None:
    """Before its first decision it isn't there, then it waits, then it is sent; after the end the enrollment has ended."""
    whole = passage(of(WAITED))
    status, told, messages = stood(whole, 0.5)
    assert ("live", []) == (status, messages)
    assert "What came next, on 2 March 2026 at 11:00 (Europe/Rome): email hello stood before the gates, at hello." in told
    assert ("live", "At hello, whose message waits until 2 March 2026 at 13:00 (Europe/Rome).") == stood(whole, 2)[:2]
    assert [("deferred", NINE + 3 * HOUR)] == stood(whole, 2)[2]
    assert ("live", [("sent", None)]) == stood(whole, 3)[::2]
    assert ("ended", "Ended after its last step.", [("sent", None)]) == stood(whole, 6)


def test_what_came_later_is_not_told() -> None:
    """Neither the provider's words, nor how often it was tried, nor when it was sent, nor how the enrollment ended."""
    cut = passage_at(passage(of(WAITED)), NINE + 2 * HOUR, ROME)
    told = cut.moments[-1].message
    assert told is not None
    assert ("", "", 0, None, 1) == (told.words, told.provider_id, told.tries, told.sent_at, len(told.decisions))
    assert ("", None, None) == (cut.reason, cut.ended_at, cut.step)


def test_a_message_that_was_given_up_with_its_enrollment_waited_until_then() -> None:
    """The exit dropped it without a decision: an hour before that it waited."""
    given_up = message(
        decision(NINE + HOUR, "defer", NINE + 9 * HOUR), status="dropped", reason="cancelled", sent_at=None, until=None
    )
    assert [("deferred", NINE + 9 * HOUR)] == stood(passage(of(given_up, NINE + 6 * HOUR)), 5)[2]
    assert [("dropped", None)] == stood(passage(of(given_up, NINE + 6 * HOUR)), 6)[2]


def test_a_message_whose_condition_went_waited_until_its_time_came() -> None:
    """The step's `if` was looked at when it was due again."""
    gone = message(
        decision(NINE + HOUR, "defer", NINE + 3 * HOUR), status="dropped", reason="condition", sent_at=None, until=None
    )
    assert [[("deferred", NINE + 3 * HOUR)], [("dropped", None)]] == [
        stood(passage(of(gone, NINE + 3 * HOUR)), h)[2] for h in (2, 4)
    ]


def test_a_message_that_may_not_wait_was_dropped_at_once() -> None:
    """`on_defer: skip`: deferred by the gates, given up in the same moment."""
    skipped = message(
        decision(NINE + HOUR, "defer", NINE + 3 * HOUR), status="dropped", reason="cap", sent_at=None, until=NINE + 3 * HOUR
    )
    assert [("dropped", NINE + 3 * HOUR)] == stood(passage(of(skipped)), 1)[2]


def test_a_message_that_the_provider_put_off_was_to_be_tried_again() -> None:
    """Allowed twice: between the two it was with nobody."""
    again = message(decision(NINE + HOUR, "allow"), decision(NINE + 2 * HOUR, "allow"))
    assert [("reserved", NINE + 2 * HOUR)] == stood(passage(of(again)), 1.5)[2]


def test_where_nothing_has_come_since_it_says_so() -> None:
    """Live, and its last message long sent."""
    live = passage(of(WAITED), status="live", reason="", ended_at=None, now="At pause.")
    assert "No message of it stood before the gates, and nothing has come since." == stood(live, 5)[1]


def test_a_moment_without_an_offset_is_by_the_customers_clock() -> None:
    """Also where that time comes twice or not at all: the first, and the first after the gap."""
    late = datetime(2027, 1, 1, tzinfo=UTC)
    told = {
        "2026-03-02T10:00": NINE,
        "2026-03-02 10:00": NINE,
        "2026-03-02T10:00+01:00": NINE,
        "2026-03-02T09:00Z": NINE,
        "2026-03-02": NINE - 10 * HOUR,
        "2026-03-29T02:30": datetime(2026, 3, 29, 1, tzinfo=UTC),
        "2026-10-25T02:30": datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    }
    assert list(told.values()) == [settle_moment(read_moment(text), ROME, late) for text in told]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "10:00", "0001-01-01", "9999-12-31T23:59:59", "2026-13-01", "2026-03-02T10:00 01:00"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(BadMoment) as bad:
        settle_moment(read_moment(text), ROME, NINE)
    assert "2026-03-02T10:00" in bad.value.hint


def test_a_moment_that_has_not_come_is_refused() -> None:
    """By the customer's clock."""
    with pytest.raises(BadMoment, match=r"2 March 2026 at 10:01 .* hasn't come yet: it is 2 March 2026 at 10:00"):
        settle_moment(read_moment("2026-03-02T10:01"), ROME, NINE)


def test_a_message_between_its_decision_and_its_leaving_is_being_handed_over() -> None:
    """What its provider said came a minute after the gates had let it pass."""
    slow = message(decision(NINE + HOUR, "allow"), sent_at=NINE + 2 * HOUR)
    assert ("live", "At hello, whose message is being handed over.", [("reserved", None)]) == stood(passage(of(slow)), 1.5)
    assert [("sent", None)] == stood(passage(of(slow)), 2)[2]


def test_a_pause_from_before_the_entry_stands_before_it() -> None:
    """And whatever shares the microsecond of the entry or of the end stands between the two."""
    early, late = Moment(NINE - HOUR, "paused", "An operator paused welcome."), Moment(NINE, "paused", "Paused by an operator.")
    entered, ended = Moment(NINE, "entered", "Entered."), Moment(NINE + HOUR, "ended", "Ended.")
    sent = of(message(decision(NINE + HOUR, "allow")))
    assert (early, entered, late, sent, ended) == in_order([ended, sent, late, early, entered], NINE)


def test_a_message_that_waited_is_dated_by_what_stands_and_each_decision_by_itself() -> None:
    """In `why` the time in the margin is when it left, and what was decided before keeps its own."""
    shown = drawn_passage(passage(of(WAITED)))
    assert "13:00     email hello  sent\n" in shown
    assert "Mon 2 Mar 2026 11:00  Defer it." in shown
    once = message(decision(NINE + HOUR, "allow"))
    assert "2026 11:00  Allow it." not in drawn_passage(passage(of(once)))


def test_a_path_at_the_beginning_of_a_sentence_stays_as_it_is() -> None:
    """A word gets its capital letter."""
    broken = message(decision(NINE + HOUR, "allow"), status="parked", detail="templates/email/hello.json:1: no JSON")
    assert "    templates/email/hello.json:1: no JSON.\n" in drawn_passage(passage(of(broken)))


@pytest.mark.parametrize(
    ("status", "reason", "came"),
    [
        ("dropped", "skipped", 3),
        ("dropped", "moved", 4),
        ("dropped", "condition", 2),
        ("dropped", "cancelled", 6),
        ("parked", "x", 1),
    ],
)
def test_a_message_that_was_given_up_is_dated_by_what_caused_it(status: str, reason: str, came: int) -> None:
    """The skip, the move, the time at which its condition was looked at again, the end of its enrollment."""
    told = message(decision(NINE + HOUR, "defer", NINE + 2 * HOUR), sent_at=None, status=status, reason=reason)
    rows = [
        SimpleNamespace(seq=2, at=NINE + 3 * HOUR, kind="skip", reason="hello", note=None, matched=[[0, 0]]),
        SimpleNamespace(seq=3, at=NINE + 3 * HOUR, kind="move", reason="b", note=DONE, matched=[[0, 0]]),
        SimpleNamespace(seq=4, at=NINE + 4 * HOUR, kind="retry", reason="", note="moved", matched=[]),
    ]
    row = SimpleNamespace(sent_at=None, status=status, reason=reason, until=None, step="hello", decided_at=NINE + HOUR)
    assert NINE + came * HOUR == _came(row, told, rows, NINE + 6 * HOUR)


def drawn_passage(whole: Passage) -> str:
    """The passage on a wide screen, in Rome's time."""
    console = Console(width=120, record=True, color_system=None, file=io.StringIO())
    console.print(draw_passage(whole, ROME))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"
