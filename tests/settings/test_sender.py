"""`warmup` and `complaints` of a channel in sojourn.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings.project import SettingsError, load_settings


def channel(folder: Path, more: str) -> str:
    """A sojourn.yaml with one channel."""
    (folder / "sojourn.yaml").write_text(f"channels: {{email: {{use: channels.noop, {more}}}}}\n")
    return more


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Messages a day, days, shares; what is left out has its default, and the adapter sees nothing of it."""
    channel(tmp_path, "warmup: {start: 50/day, double: 3d, until: 20000/day}, complaints: {pause_above: 0.3%}")
    email = load_settings(tmp_path, {}).channels["email"]
    assert email.warmup is not None
    assert email.complaints is not None
    assert (50, 3, 20_000, "") == (email.warmup.start, email.warmup.double, email.warmup.until, email.warmup.sender)
    assert {"above": pytest.approx(0.003), "days": 7, "at_least": 500} == email.complaints.limit()
    assert {"use", "rate", "address"} == email.config().keys()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("warmup: {start: 50, double: 3d}", "50/day"),
        ("warmup: {start: 0/day, double: 3d}", "50/day"),
        ("warmup: {start: 50/h, double: 3d}", "50/day"),
        ("warmup: {start: 50/day}", "double"),
        ("warmup: {start: 50/day, double: 0d}", "30d"),
        ("warmup: {start: 50/day, double: 3d, til: 9/day}", "til"),
        ("warmup: {start: 5/day, double: 3d, until: 3/day}", "this must be more than `start`, which is 5/day"),
        ("warmup: {start: 5/day, double: 3d, until: 5/day}", "more than `start`"),
        ("warmup: {start: 5, double: 3d, until: 3/day}", "50/day"),
        ("complaints: {pause_above: 0.3}", "%"),
        ("complaints: {pause_above: 0%}", "greater than 0"),
        ("complaints: {pause_above: 1%, at_least: 0}", "at_least"),
        ("complaints: {pause_above: 1%, over: week}", "30d"),
    ],
)
def test_what_cannot_be_meant_is_an_error_at_its_place(written: str, told: str, tmp_path: Path) -> None:
    """Each says what to write."""
    channel(tmp_path, written)
    with pytest.raises(SettingsError) as wrong:
        load_settings(tmp_path, {})
    assert told in str(wrong.value)
    assert "sojourn.yaml:1:" in str(wrong.value)
