"""What projects are played with where nothing is connected to, whichever command plays them."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from engine.app.offline import addresses_of
from engine.app.reliving import Past, relive
from engine.app.simulating import Part, play_file
from engine.authoring.project import Compiled, load_project
from engine.core.incoming import Incoming
from engine.settings.project import ChannelSettings, Settings
from engine.simulator.told import Told
from tests.harness import utc, write_project

MONDAY = utc("2026-03-02 10:00")
CARE = """
journey: care
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - {call: "POST https://crm.example/{{ secrets.CRM }}", id: ask}
  - {call: "POST https://crm.example/{{ secrets.DESK }}", id: tell}
  - {send: sms, template: hello, topic: news}
"""
URLS = ["POST https://crm.example/CRM", "POST https://crm.example/DESK"]


@pytest.fixture
def care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """A journey that calls with two secrets, of which the environment has one."""
    monkeypatch.setenv("SOJOURN_SECRET_CRM", "s3cret")
    monkeypatch.delenv("SOJOURN_SECRET_DESK", raising=False)
    return load_project(write_project(tmp_path, {"journeys/care.yaml": CARE}), {"email", "sms"})


def calls(told: list[Told]) -> list[str]:
    """What was called; the environment is as it was."""
    assert ("s3cret", None) == tuple(os.environ.get(f"SOJOURN_SECRET_{name}") for name in ("CRM", "DESK"))
    return [t.reason for t in told if t.kind == "call"]


def test_an_address_that_the_settings_name_counts_before_what_is_usual() -> None:
    """Also where the adapter can't be had."""
    named = {"sms": ChannelSettings(use="nowhere", address="mobile"), "email": ChannelSettings(use="nowhere")}
    own = {"push": ChannelSettings(use="channels.noop", address="token"), "none": ChannelSettings(use="nowhere", address="")}
    assert {"sms": "mobile", "email": "email", "push": "token", "none": ""} == addresses_of(Settings(channels={**named, **own}))


def test_a_play_of_a_file_sees_no_secret_and_leaves_none_behind(tmp_path: Path, care: Compiled) -> None:
    """Names stand in their places while it lasts, for those that the environment has too."""
    told: list[Told] = []
    file = tmp_path / "events.jsonl"
    file.write_text('{"type": "track", "userId": "ada", "event": "signed_up", "timestamp": "2026-03-02T10:00:00Z"}\n')
    play_file(file, [Part(care, None, told.append)], lambda done, whole: None)
    assert URLS == calls(told)


def test_a_past_is_relived_without_secrets_at_the_addresses_of_the_project(care: Compiled) -> None:
    """A channel sends to the attribute that its project names."""
    who = {"user_id": "ada"}
    coming = (
        Incoming("identify", "test", "1", traits={"mobile": "+393331234567"}, identifiers=who, occurred_at=MONDAY),
        Incoming("track", "test", "2", "signed_up", identifiers=who, occurred_at=MONDAY),
    )
    done = relive(care, Past(1, "ada", coming, Counter(), MONDAY + timedelta(days=1)), None, {"sms": "mobile"})
    assert (URLS, ((("care", "send.hello"), 1),)) == (calls(list(done.told)), done.added)
