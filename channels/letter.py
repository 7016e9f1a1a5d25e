"""What adapters of e-mail providers over HTTP share: a message made ready for a JSON or form API, one by one or in batches.

No adapter. Every value from a template, a profile or policy has gone through `mime` before it is in a Letter; keep it that way.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from channels.mime import BadAddress, list_headers, mailbox, not_an_address, quoted, sender_of
from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result, clean_line, clean_text, too_big
from engine.delivery.http import Answer, HttpAdapter, HttpSettings, json_bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """One e-mail. `sender`, `reply_to`: (display name or "", mailbox). `to`: a mailbox. `text`, `html`: one of them at least.
    `headers`: by which to unsubscribe. `key`: goes along as the provider's metadata. `message`: what it was made of."""

    key: str
    sender: tuple[str, str]
    reply_to: tuple[str, str] | None
    to: str
    subject: str
    text: str | None
    html: str | None
    headers: dict[str, str]
    message: Outgoing


def letter(message: Outgoing) -> Letter:
    """`message` as e-mail APIs want it. Raises BadAddress for the recipient, ValueError for what a person must mend."""
    sender = sender_of(message.sender)
    content = message.content
    if content.text is None and content.html is None:
        raise ValueError(f"template {message.template} gives neither text nor HTML")
    return Letter(
        key=clean_line(message.key),
        sender=sender,
        reply_to=sender_of(message.sender, "reply_to") if message.sender.get("reply_to") else None,
        to=mailbox(message.to),
        subject=clean_line(content.fields.get("subject", "")),
        text=None if content.text is None else clean_text(content.text),
        html=None if content.html is None else clean_text(content.html),
        headers=list_headers(message),
        message=message,
    )


def named(mailbox: tuple[str, str]) -> str:
    """A display name and a mailbox as one text: `"Skin Co" <care@skin.example>`."""
    name, address = mailbox
    return f"{quoted(name)} <{address}>" if name else address


def person(mailbox: tuple[str, str]) -> dict[str, str]:
    """A display name and a mailbox as an object."""
    name, address = mailbox
    return {"email": address, "name": name} if name else {"email": address}


def packed(key: str) -> str:
    """A key in the letters that every provider's tags take (A-Z a-z 0-9 - _)."""
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def unpacked(tag: str) -> str:
    """The key that `packed` made into a tag; "" where it is none of ours."""
    try:
        return urlsafe_b64decode(tag + "=" * (-len(tag) % 4)).decode()
    except ValueError:
        return ""


class MailSettings(HttpSettings):
    """`on_unknown`: whether to send again where nobody can tell whether the provider has it; by default only where the provider
    knows a message again."""

    on_unknown: Literal["assume_sent", "retry"] | None = None


class Mailer(HttpAdapter, ABC):
    """The base: implement `post`; where the provider takes batches see BatchMailer, and give `batch`.

    `receipts`: the kinds of Feedback that its webhook tells."""

    receipts: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, base: str, settings: MailSettings, secrets: Iterable[str], *, batch: int = 1, idempotent: bool = False
    ) -> None:
        super().__init__(base, secrets=secrets, **settings.limits)
        self.settings = settings
        self.capabilities = Capabilities(
            address="email",
            idempotent=idempotent,
            concurrency=settings.concurrency,
            on_unknown=settings.on_unknown or ("retry" if idempotent else "assume_sent"),
            local=self.local,
            batch=batch,
            receipts=self.receipts,
        )

    async def send(self, message: Outgoing) -> Receipt:
        """One e-mail. Raises ValueError for a sender or a template that a person must mend."""
        try:
            ready = letter(message)
        except BadAddress as bad:
            return not_an_address(bad)
        return await self.post(ready)

    @abstractmethod
    async def post(self, ready: Letter) -> Receipt:
        """Hand one letter over."""

    def unreadable(self, answer: Answer) -> Receipt:
        """What it means that a provider took a request and doesn't say what became of it."""
        return Receipt(Result.UNKNOWN, words=self.blotted(f"{answer.status}, and an answer that can't be read: {answer.words}"))


class BatchMailer(Mailer):
    """The base where the provider takes batches."""

    @abstractmethod
    def body(self, ready: Letter) -> dict[str, Any]:
        """The JSON that stands for one letter, alone and in a batch."""

    @abstractmethod
    async def post_batch(self, bodies: Sequence[dict[str, Any]]) -> list[Receipt]:
        """Hand several over in one request; one receipt for each."""

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """One by one, or in requests of `capabilities.batch` letters that together stay below `max_bytes`."""
        if self.capabilities.batch == 1:
            return await Adapter.send_many(self, messages)
        most = self.settings.max_bytes
        answers: dict[int, Receipt | Exception] = {}
        parts: list[list[tuple[int, dict[str, Any]]]] = []
        room = 0
        for place, message in enumerate(messages):
            try:
                body = self.body(letter(message))
                size = len(json_bytes(body)) + 1
            except BadAddress as bad:
                answers[place] = not_an_address(bad)
            except Exception as bug:  # noqa: BLE001 - what a person must mend parks its own message and fails no other
                answers[place] = bug
            else:
                if size + 1 > most:
                    answers[place] = too_big(size + 1, most)
                    continue
                if not parts or size > room or len(parts[-1]) == self.capabilities.batch:
                    parts.append([])
                    room = most - 1
                parts[-1].append((place, body))
                room -= size
        free = asyncio.Semaphore(self.capabilities.concurrency)

        async def hand_over(part: list[tuple[int, dict[str, Any]]]) -> None:
            receipts: Sequence[Receipt | Exception]
            async with free:
                try:
                    receipts = await self.post_batch([body for _, body in part])
                except Exception as bug:  # noqa: BLE001 - an adapter's bug parks the letters of its request and fails no others
                    receipts = [bug] * len(part)
            answers.update(zip((place for place, _ in part), receipts, strict=True))

        await asyncio.gather(*(hand_over(part) for part in parts))
        return [answers[place] for place in range(len(messages))]
