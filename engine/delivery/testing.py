"""The conformance cases: what every channel must do whatever its provider does. Adapters subclass `ChannelCases` in their tests.

Needs pytest and pytest-asyncio in `auto` mode, and is imported by tests only. A case that an adapter can't pass is a defect of
the adapter, unless its provider can't misbehave in that way: then the adapter leaves it out of `answers`.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.delivery.channel import (
    Channel,
    ChannelError,
    Content,
    Feedback,
    Forged,
    Notice,
    NoWebhook,
    Outgoing,
    Receipt,
    Result,
    load_channel,
)

if TYPE_CHECKING:
    from pytest import LogCaptureFixture  # noqa: PT013 - a type only: pytest isn't there in production

Behaviour = Literal[
    "accepts",
    "garbles",
    "refuses",
    "busy",
    "busy_for",
    "fails",
    "breaks_off",
    "hangs",
    "nonsense",
    "unreachable",
    "quotes",
]
"""What the provider does. garbles: takes the message, and what it says about it can't be read · refuses: this message, for ever ·
busy: not now · busy_for: not for 7 seconds · fails: its own error · breaks_off: takes the whole message and hangs up · hangs:
takes it and never answers · nonsense: takes it and answers outside its protocol · unreachable: takes no connection · quotes:
refuses for ever, and its words hold every one of `secrets`."""

ANSWERS: Mapping[Behaviour, Result] = {
    "accepts": Result.ACCEPTED,
    "garbles": Result.ACCEPTED,
    "refuses": Result.REFUSED,
    "busy": Result.LATER,
    "busy_for": Result.LATER,
    "fails": Result.UNKNOWN,
    "breaks_off": Result.UNKNOWN,
    "hangs": Result.UNKNOWN,
    "nonsense": Result.UNKNOWN,
    "unreachable": Result.LATER,
    "quotes": Result.REFUSED,
}
"""How each must be read, by the rules for sending once. Where a provider says in its answer's body whether it took the message,
"garbles" is unknown: `answers = {**ANSWERS, "garbles": Result.UNKNOWN}`."""

Signer = Literal["provider", "nobody", "stranger"]
"""Who signs a notice: the provider, as it does · nobody: no signature at all · stranger: another key than the provider's."""

GARBAGE = (b"", b"{", b"[", b"null", b"7", b'"x"', b"[1]", b"[[]]", b'{"a": []}', b"\xff\x00", b"[" * 50_000)
"""Bodies that no provider sends."""

ODD = "Zoë  🦄 👩\u200d👩\u200d👧 שלום \u202eabc 𝕳 ﬃ \ud800 \x00 \x1b[31m \u2028 ﷽ O'Neil <b> \"q\" \\ %s {{x}} '; --"
"""A name that somebody has, or says to have."""

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
"""When the provider's notices are signed and received."""

INJECTION = "Hi\r\nX-Injected: yes\r\n\r\nX-Injected: yes\nX-Injected: yes\rX-Injected: yes\u2028X-Injected: yes\x00"


@dataclass(frozen=True, slots=True)
class Stage:
    """A channel in front of a provider that behaves in one way. `settings` are what it was loaded from, `use` included;
    `arrived()` gives the raw bytes of every message that the provider got whole, headers included, in order."""

    channel: Channel
    settings: Mapping[str, object]
    arrived: Callable[[], list[bytes]]


class ChannelCases(ABC):
    """Subclass as `class TestSomething(ChannelCases)` and say how to set the stage.

    `answers`: the behaviours that the provider is capable of, and how they must be read. `secrets`: credentials in the stage's
    settings, and whatever else must never show. `huge`: characters of a body that it must refuse; None where it has no limit.
    `deadline`: seconds in which every send must be over; set the channel's own timeout well below it where the provider hangs.

    Where the provider has a webhook: `told` are literal bodies with what each must be understood as (`raw` left out), one at
    least for every kind in the channel's `capabilities.receipts`; `notice` signs them. `max_age`: seconds after which a signed
    notice is no longer taken; None where its signature holds no time."""

    answers: ClassVar[Mapping[Behaviour, Result]] = ANSWERS
    secrets: ClassVar[tuple[str, ...]] = ()
    huge: ClassVar[int | None] = 11_000_000
    deadline: ClassVar[float] = 60.0
    told: ClassVar[Sequence[tuple[bytes, Sequence[Feedback]]]] = ()
    max_age: ClassVar[float | None] = 300.0

    @abstractmethod
    def stage(self, behaviour: Behaviour) -> AbstractAsyncContextManager[Stage]:
        """A fresh channel before a fresh provider that does `behaviour`; both are closed at the end."""

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """The provider's call that says `body`, made and received at `at`, signed by `signer`."""
        raise NotImplementedError("this provider tells nothing afterwards")

    def message(self, **changes: object) -> Outgoing:
        """A message that an accepting provider accepts; `changes` are fields of Outgoing."""
        content = Content(
            {"subject": "How to use it"}, text="Morning and evening.", html="<p>Morning and evening.</p>", template_hash="0a"
        )
        plain = Outgoing(
            key="e1/how_to_use/0/0",
            to="ada@example.com",
            content=content,
            sender={"from": "Skin Co <care@skin.example>", "reply_to": "help@skin.example"},
            customer="c1",
            journey="post_purchase_care",
            step="how_to_use",
            template="post_purchase/how_to_use",
            tier="lifecycle",
            topic="product_education",
            unsubscribe_url="https://m.skin.example/u/abc",
        )
        return replace(plain, **changes)  # type: ignore[arg-type]  # the caller names fields of Outgoing

    async def _send(self, stage: Stage, message: Outgoing) -> Receipt:
        async with asyncio.timeout(self.deadline):
            return await stage.channel.send(message)

    async def test_answers(self) -> None:
        """Whatever the provider does is read by the rules for sending once, and never raises."""
        for behaviour, expected in self.answers.items():
            async with self.stage(behaviour) as stage:
                receipt = await self._send(stage, self.message())
                assert expected == receipt.result, f"{behaviour}: {receipt}"
                assert (receipt.retry_after is None) or expected is Result.LATER, f"{behaviour}: {receipt}"

    async def test_words(self) -> None:
        """Everything but an acceptance comes with words for people, on one line of at most 500 characters; so it does for each
        message of a batch."""
        for behaviour, expected in self.answers.items():
            async with self.stage(behaviour) as stage, asyncio.timeout(self.deadline):
                for receipt in await stage.channel.send_many([self.message(), self.message(key="e2/how_to_use/0/0")]):
                    assert isinstance(receipt, Receipt), (behaviour, receipt)
                    assert expected == receipt.result, f"{behaviour}: {receipt}"
                    assert expected is Result.ACCEPTED or receipt.words, behaviour
                    assert receipt.words.isprintable(), (behaviour, receipt.words)
                    assert len(receipt.words) <= 500, behaviour

    async def test_retry_after(self) -> None:
        """The time that a busy provider names reaches the engine in seconds."""
        if "busy_for" in self.answers:
            async with self.stage("busy_for") as stage:
                assert (await self._send(stage, self.message())).retry_after == 7.0

    async def test_arrives_once(self) -> None:
        """One accepted send is one message at the provider; the same handover tried again is accepted under the same id."""
        async with self.stage("accepts") as stage:
            first = await self._send(stage, self.message())
            arrived = len(stage.arrived())
            again = await self._send(stage, self.message())
            assert (first.result, again.result) == (Result.ACCEPTED, Result.ACCEPTED)
            assert arrived <= 1
            assert not stage.channel.capabilities.idempotent or first.provider_id == again.provider_id

    async def test_odd_unicode(self) -> None:
        """Odd names, emoji, right-to-left marks, stray surrogates and NUL are delivered like any other text."""
        content = Content({"subject": ODD, "title": ODD}, text=ODD * 10, html=f"<p>{ODD}</p>" * 10)
        async with self.stage("accepts") as stage:
            receipt = await self._send(stage, self.message(key=f"e1/{ODD}/0/0", customer=ODD, content=content))
            assert receipt.result == Result.ACCEPTED, receipt

    async def test_huge_body(self) -> None:
        """A body over the limit is refused with both sizes, before anything is sent."""
        if self.huge is not None:
            async with self.stage("accepts") as stage:
                receipt = await self._send(stage, self.message(content=Content({}, text="x" * self.huge)))
                assert receipt.result == Result.REFUSED
                assert re.search(r"\d+ bytes.*at most \d+", receipt.words), receipt
                assert stage.arrived() == []

    async def test_no_injection(self) -> None:
        """Line ends in an address, a subject, a key, a sender or a link never become a header or a command of their own."""
        content = Content({"subject": INJECTION}, text="hello")
        sender = {"from": "Skin\r\nX-Injected: yes <care@skin.example>", "reply_to": "help@skin.example"}
        changes: list[dict[str, object]] = [
            {"content": content},
            {"sender": sender},
            {"key": INJECTION},
            {"to": "ada@example.com\r\nX-Injected: yes"},
            {"unsubscribe_url": "https://m.skin.example/u/abc\r\nX-Injected: yes"},
        ]
        async with self.stage("accepts") as stage:
            for change in changes:
                receipt = await self._send(stage, self.message(**change))
                assert receipt.result in (Result.ACCEPTED, Result.REFUSED), (change, receipt)
            for raw in stage.arrived():
                assert re.search(rb"(?mi)^x-injected", raw) is None, raw

    async def test_secrets(self, caplog: LogCaptureFixture) -> None:
        """No secret shows in words, ids, reprs or logs, not even where the provider quotes it."""
        caplog.set_level(0)
        for behaviour in self.answers:
            async with self.stage(behaviour) as stage:
                receipt = await self._send(stage, self.message())
                shown = f"{receipt!r} {stage.channel!r} {stage.channel.capabilities!r} {getattr(stage.channel, 'settings', '')!r}"
                for secret in self.secrets:
                    assert secret not in shown, behaviour
                    assert secret not in caplog.text, behaviour

    async def test_batch(self) -> None:
        """A batch of any size gives one answer per message, in order; an address that can't be used, and a body that is too
        large, fail no other."""
        async with self.stage("accepts") as stage:
            count = max(30, stage.channel.capabilities.batch + 1)
            messages = [self.message(key=f"e{n}/s/0/0") for n in range(count)]
            messages[7] = replace(messages[7], to="\r\n")
            spoilt = {7}
            if self.huge is not None:
                messages[11] = replace(messages[11], content=Content({}, text="x" * self.huge))
                spoilt.add(11)
            async with asyncio.timeout(self.deadline):
                answers = await stage.channel.send_many(messages)
            assert len(messages) == len(answers)
            accepted = {n for n, a in enumerate(answers) if isinstance(a, Receipt) and a.result is Result.ACCEPTED}
            assert set(range(count)) - spoilt <= accepted, answers
            assert self.huge is None or 11 not in accepted

    async def test_empty_batch(self) -> None:
        """An empty batch is answered by an empty list."""
        async with self.stage("accepts") as stage:
            assert await stage.channel.send_many([]) == []

    async def test_close(self) -> None:
        """Closing twice is allowed, before and after use."""
        async with self.stage("accepts") as stage:
            await self._send(stage, self.message())
            await stage.channel.close()
            await stage.channel.close()

    async def test_settings(self) -> None:
        """A setting that it doesn't have is an error that names the setting and never its value."""
        async with self.stage("accepts") as stage:
            said = ""
            try:
                load_channel("wrong", {**stage.settings, "no_such_setting": "s3cret-value"})
            except ChannelError as error:
                said = f"{error} {error!r} {error.__cause__!r}"
            assert "no_such_setting" in said
            assert "s3cret-value" not in said

    async def test_notices(self, caplog: LogCaptureFixture) -> None:
        """Each of the provider's notices is understood, and keeps its payload; every kind that the channel says it reports is
        among them. A channel that reports nothing has no webhook."""
        caplog.set_level(0)
        async with self.stage("accepts") as stage:
            channel, kinds = stage.channel, set[str]()
            for body, expected in self.told:
                found = await channel.parse_webhook(self.notice(body, NOW, "provider"))
                assert list(expected) == [replace(feedback, raw=None) for feedback in found], body
                assert all(feedback.raw is not None for feedback in found), body
                kinds |= {feedback.kind for feedback in found}
            assert channel.capabilities.receipts == kinds
            if not kinds:
                with suppress(NoWebhook):
                    heard = await channel.parse_webhook(Notice("POST", "https://m.skin.example/", {}, b"{}", NOW))
                    raise AssertionError(f"it has no webhook, and heard {heard}")
            assert not [secret for secret in self.secrets if secret in caplog.text]

    async def test_forged_notices(self) -> None:
        """A notice without a signature, signed by somebody else, or signed too long ago is refused, in words without a secret."""
        async with self.stage("accepts") as stage:
            for body, _ in self.told[:1]:
                late = [] if self.max_age is None else [timedelta(seconds=self.max_age + 60)]
                forged = [self.notice(body, NOW, "nobody"), self.notice(body, NOW, "stranger")]
                repeated = [replace(self.notice(body, NOW, "provider"), received=NOW + after) for after in late]
                for notice in (*forged, *repeated):
                    words = await self._refusal(stage, notice)
                    assert words, f"taken for the provider's: {notice}"
                    assert not [secret for secret in self.secrets if secret in words]

    async def _refusal(self, stage: Stage, notice: Notice) -> str:
        try:
            await stage.channel.parse_webhook(notice)
        except Forged as refused:
            return str(refused)
        return ""

    async def test_garbage_notices(self) -> None:
        """What no provider would say, rightly signed, is a ValueError, or it means nothing; it is never another error."""
        async with self.stage("accepts") as stage:
            for body in GARBAGE if self.told else ():
                try:
                    heard = await stage.channel.parse_webhook(self.notice(body, NOW, "provider"))
                except ValueError:
                    continue
                assert heard == [], body
