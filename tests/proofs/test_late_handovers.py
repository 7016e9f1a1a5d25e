"""A slot counts where the message goes, not where it was meant to go: what the search found, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from tests.proofs.world import Passages, World

START = datetime(2026, 6, 3, 11, 30, tzinfo=UTC)
WEEK = timedelta(days=8)
EVENING = datetime(2026, 6, 3, 18, 59, 40, tzinfo=UTC)
MORNING = datetime(2026, 6, 4, 6, tzinfo=UTC)
"""Twenty seconds before quiet hours begin in Rome, and when they end."""


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """Two lifecycle or promotional messages in seven days."""
    made = World(tmp_path, database_url)
    made.deploy("one")
    made.set_clock(START)
    yield made
    made.close()


class Ada:
    """One customer and her passages."""

    def __init__(self, world: World) -> None:
        self.world, self.passages, self.count = world, Passages(), itertools.count()
        traits = {"email": "ada@example.com", "phone": "+391234", "first_name": "Ada", "timezone": "Europe/Rome"}
        answer = world.run(world.intake.accept([Incoming("identify", "t", "i", traits=traits, identifiers={"user_id": "ada"})]))
        self.id = answer[0].customer

    def tell(self, name: str, **properties: str) -> None:
        """An event, brought to the passages it concerns."""
        incoming = Incoming("track", "t", f"e{next(self.count)}", name, properties, customer=self.id)
        self.world.run(self.world.intake.accept([incoming]))
        self.world.relay(self.passages, [self.id])

    def work(self, answer: str) -> None:
        """All that is asked for is done, once; the provider gives this answer."""
        self.world.email.answers = self.world.sms.answers = itertools.repeat(answer)
        for group in self.passages.groups():
            act, members = self.world.activity(self.passages, group)
            self.world.play([act], itertools.repeat(0))
            assert act.error is None
            outcomes = dict(act.answer)
            for member, command in members:
                self.passages.asked.remove((member, command))
                if member in outcomes:
                    self.passages.give(member, outcomes[member], self.world.now)

    def later(self, span: timedelta) -> None:
        """Time passes while nobody works; nobody is woken yet."""
        self.world.set_clock(self.world.now + span)

    def messages(self, journey: str) -> list[tuple[str, str, datetime | None]]:
        """Status, reason and slot of this journey's messages, oldest first."""
        rows = self.world.ask("select status, reason, slot_at from messages where journey = :j order by id", j=journey)
        return [(r.status, r.reason, r.slot_at) for r in rows]


@pytest.mark.parametrize("answer", ["soon", "unknown"])
def test_a_message_that_is_tried_again_a_week_late_needs_a_slot_of_that_week(answer: str, world: World) -> None:
    """The provider asked for patience, or may have it, and the workers were down for a week: by then two others have gone, and a
    third in seven days would be one too many. What may have arrived keeps its old slot, too."""
    ada = Ada(world)
    ada.tell("signed_up", n="1")  # the lifecycle letter and the offer
    ada.work(answer)
    first = ada.messages("first")
    assert [("reserved", START)] == [(status, at) for status, _, at in first]
    ada.later(WEEK)
    ada.tell("ordered", n="2")
    ada.tell("ordered", n="3")
    ada.work("accepted")
    assert ["sent", "sent"] == [status for status, _, _ in ada.messages("asked")]
    world.wake(ada.passages)
    ada.work("accepted")
    assert [("deferred", START if answer == "unknown" else None)] == [(s, at) for s, _, at in ada.messages("first")]


def test_a_message_that_is_tried_again_soon_keeps_its_slot(world: World) -> None:
    """Half a minute later it goes, whatever else wants to."""
    ada = Ada(world)
    ada.tell("signed_up", n="1")
    ada.work("soon")
    ada.tell("ordered", n="2")
    ada.work("accepted")
    assert [("deferred", "cap", None)] == ada.messages("asked")
    ada.later(timedelta(seconds=30))
    world.wake(ada.passages)
    ada.work("accepted")
    assert [("sent", "", START)] == ada.messages("first")


def test_a_message_that_waits_too_long_for_its_slot_waits_in_the_queue(world: World) -> None:
    """The provider asked for patience, and then the night began: the letter gives its slot back at once, and in the morning no
    lower one gets that day's before it."""
    world.deploy("calendar")  # one a day
    ada = Ada(world)
    ada.later(EVENING - START)
    ada.tell("ordered", n="1")
    ada.work("soon")
    assert [("reserved", "provider", EVENING)] == ada.messages("asked")
    ada.later(timedelta(seconds=30))
    world.wake(ada.passages)
    ada.work("accepted")
    assert [("deferred", "quiet_hours", None)] == ada.messages("asked")
    ada.later(MORNING - world.now)
    ada.tell("pinged", n="2")  # the text of a promotion is asked for before the letter wakes
    ada.work("accepted")
    assert [("deferred", "cap", None)] == ada.messages("texted")
    world.wake(ada.passages)
    ada.work("accepted")
    assert [("sent", "", MORNING)] == ada.messages("asked")
