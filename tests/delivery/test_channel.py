"""The loader, the base class and the values of `engine.delivery.channel`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr

from engine.delivery.channel import (
    Adapter,
    Capabilities,
    Channel,
    ChannelError,
    Content,
    MissingPackage,
    Outgoing,
    Receipt,
    Result,
    clean_line,
    clean_text,
    load_channel,
    without,
)


class Settings(BaseModel):
    """What the channel of these tests is set up with."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    token: SecretStr = SecretStr("")
    speed: int = 1


class Counting(Adapter):
    """Counts how many sends are in flight; a message to "bug" raises, one to "slow" takes its time."""

    capabilities = Capabilities(address="phone", concurrency=3)

    def __init__(self, config: Mapping[str, object] | None = None) -> None:
        self.settings = Settings.model_validate(config or {})
        self.now = self.most = 0

    async def send(self, message: Outgoing) -> Receipt:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02 if message.to == "slow" else 0)
        self.now -= 1
        if message.to == "bug":
            raise KeyError("bug")
        return Receipt(Result.ACCEPTED, provider_id=message.key)


def message(key: str = "e/s/0/0", to: str = "x") -> Outgoing:
    """A message."""
    return Outgoing(key, to, Content(text="t"), {}, "c", "j", "s", "t", "tier")


def module(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> str:
    """The dotted path of a module that has `attributes`."""
    made = ModuleType("mine_sms")
    made.__dict__.update(attributes)
    monkeypatch.setitem(sys.modules, "mine_sms", made)
    return "mine_sms"


async def test_a_bug_fails_its_own_message_only() -> None:
    """In a batch an exception stands in the place of its message; the others have receipts, in order."""
    answers = await Counting().send_many([message("a", "slow"), message("b", "bug"), message("c")])
    assert isinstance(answers[1], KeyError)
    assert [a.provider_id for a in answers if isinstance(a, Receipt)] == ["a", "c"]


async def test_concurrency_is_bounded() -> None:
    """No more than `concurrency` messages of a batch are in flight at once, and that many are."""
    adapter = Counting()
    await adapter.send_many([message(to="slow") for _ in range(20)])
    assert adapter.most == 3


async def test_cancelling_a_batch_is_no_receipt() -> None:
    """A cancelled batch is cancelled: cancellation is never taken for an adapter's bug."""
    batch = asyncio.ensure_future(Counting().send_many([message(to="slow")] * 9))
    await asyncio.sleep(0.005)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch


def test_module_and_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """`use` names a module with `channel`, or a callable in a module; the loader gives the channel its name."""
    use = module(monkeypatch, channel=Counting, Counting=Counting)
    for path in (use, f"{use}.Counting"):
        loaded = load_channel("sms", {"use": path, "rate": "5/s"})
        assert isinstance(loaded, Channel)
        assert loaded.name == "sms"


@pytest.mark.parametrize(
    ("name", "use", "config", "expected"),
    [
        ("push", "channels.noop", {}, ""),
        ("sms", "channels.noop", {}, "phone"),
        ("email", "channels.noop", {"address": None}, "email"),
        ("email", "channels.noop", {"address": ""}, ""),
        ("email", "channels.noop", {"address": "work_email"}, "work_email"),
    ],
)
def test_address(name: str, use: str, config: dict[str, object], expected: str) -> None:
    """`address` in the settings wins, else the adapter's own, else the usual one of the channel's name, else none."""
    assert load_channel(name, {"use": use, **config}).capabilities.address == expected


def test_loading_changes_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two channels of one adapter have addresses and names of their own."""
    use = module(monkeypatch, channel=Counting)
    first, second = load_channel("a", {"use": use, "address": "one"}), load_channel("b", {"use": use})
    assert (first.capabilities.address, second.capabilities.address) == ("one", "phone")
    assert (first.name, second.name, Counting.name) == ("a", "b", "")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (None, "dotted path"),
        ("../evil", "dotted path"),
        ("os; import sys", "dotted path"),
        ("channels.nowhere", "no module channels.nowhere"),
        ("nowhere_at_all.sms", "no module nowhere_at_all.sms"),
        ("nowhere_at_all", "no module nowhere_at_all"),
        ("channels.smtp.HARD_BOUNCE", "no module"),
        ("channels.mime", "no module channels.mime with"),
        ("json.dumps", "gave a str"),
    ],
)
def test_what_cannot_be_loaded(use: object, words: str) -> None:
    """A `use` that leads nowhere, or to something else, says which channel, what is wrong and what to do."""
    with pytest.raises(ChannelError, match=words) as refused:
        load_channel("sms", {"use": use})
    assert str(refused.value).startswith("channel 'sms': ")
    assert refused.value.mend


def test_a_module_behind_a_package_of_the_same_name_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project's folder `channels` is found after Sojourn's own: the file is named, and the name that works."""
    for folder in ("channels", "own"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "example_sms.py").write_text("from channels.noop import channel\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for use, own in (("channels.example_sms", "own.example_sms"), ("channels.example_sms.channel", "own.example_sms.channel")):
        with pytest.raises(ChannelError, match=f"channels/example_sms.py is there, .*write `use: {own}`"):
            load_channel("sms", {"use": use})
        assert load_channel("sms", {"use": own})
    with pytest.raises(ChannelError, match="Check `use`"):
        load_channel("sms", {"use": "channels.mime"})


def test_settings_are_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong settings are named, all of them, and their values are not."""
    use = module(monkeypatch, channel=Counting)
    with pytest.raises(ChannelError) as refused:
        load_channel("sms", {"use": use, "speed": "s3cret", "tokn": "s3cret", "token": ["s3cret"]})
    assert all(name in str(refused.value) for name in ("speed", "tokn", "token"))
    assert "s3cret" not in f"{refused.value} {refused.value!r} {refused.value.__cause__!r}"


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A missing library is answered by the exact command: the adapter's requirement, else the missing name."""

    def needs(config: Mapping[str, object]) -> Adapter:
        raise MissingPackage("twilio>=9")

    use = module(monkeypatch, channel=needs)
    with pytest.raises(ChannelError, match=r"Run: pip install 'twilio>=9'"):
        load_channel("sms", {"use": use})
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lacking_sms.py").write_text("import no_such_library.sub\n")  # type: ignore[operator]  # a Path
    with pytest.raises(ChannelError, match=r"Run: pip install no_such_library"):
        load_channel("sms", {"use": "lacking_sms"})


def test_a_broken_module_shows_its_own_error(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An adapter whose module fails while it is imported raises that very error, not a guess about it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_sms.py").write_text("1 / 0\n")  # type: ignore[operator]  # a Path
    with pytest.raises(ZeroDivisionError):
        load_channel("sms", {"use": "broken_sms"})


@given(st.text(st.characters(exclude_categories=())))
def test_words_are_clean(text: str) -> None:
    """Whatever a provider says is kept on one line, at most 500 characters, encodable."""
    words = Receipt(Result.REFUSED, words=text).words
    assert len(words) <= 500
    assert len(words.splitlines()) <= 1
    assert words.encode().decode() == words
    assert clean_text(text).encode().decode().count("\x00") == 0
    assert clean_line(clean_line(text)) == clean_line(text)


def test_pairs_are_joined() -> None:
    """Two halves of a surrogate pair are one character; a stray half is replaced."""
    assert clean_text("\ud83e\udd84 \ud800 \x00") == "🦄 \ufffd \ufffd"


def test_without() -> None:
    """Secrets are blotted out, longer ones first, and an empty one changes nothing."""
    assert without("abcdef abc x", ["abc", "abcdef", ""]) == "[secret] [secret] x"
