"""The catch-all before a loopback server, by Apprise's own `json://`: conformance, as far as Apprise tells what happened."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from engine.delivery.channel import ChannelError, Content, Receipt, Result, load_channel
from engine.delivery.testing import Stage
from tests.channels.http_sink import Reply, Request, answer, free_port, sink
from tests.channels.phones import PhoneCases

PASSWORD = "hook-password-6e1f"
FAILED = ("refuses", "busy", "fails", "breaks_off", "hangs", "nonsense", "unreachable", "quotes")


class TestApprise(PhoneCases):
    """Every conformance case. Apprise says True or False: whatever went wrong is unknown, and names no time."""

    use = "channels.apprise"
    answers: ClassVar = {"accepts": Result.ACCEPTED, "garbles": Result.ACCEPTED, **dict.fromkeys(FAILED, Result.UNKNOWN)}
    secrets = (PASSWORD,)

    @asynccontextmanager
    async def before(self, reply: Reply, hangs: bool = False, gone: bool = False) -> AsyncIterator[Stage]:
        """The adapter before a server that Apprise posts JSON to."""
        async with sink(reply) as heard:
            port = free_port() if gone else heard.port
            url = f"json://ops:{PASSWORD}@127.0.0.1:{port}/hook/{{to}}?rto=1.0&cto=5.0"
            settings = {"use": self.use, "url": url, "timeout": 1.5 if hangs else 30.0}
            channel = load_channel(self.name, settings)
            yield Stage(channel, settings, lambda: heard.arrived)
            await channel.close()

    def accepts(self, request: Request) -> bytes:
        return answer(200, b"ok")

    def refusal(self, words: str) -> bytes:
        return answer(400, words.encode())

    async def test_request(self) -> None:
        """Title and text arrive, at a URL that holds the address; an address can't leave its place in it."""
        async with self.stage("accepts") as stage:
            content = Content({"title": "Hello"}, text="Your serum")
            receipt = await stage.channel.send(self.message(content=content))
            await stage.channel.send(self.message(to="../x?to=y#z"))
            first, second = self.heard(stage)
        assert (first.target.partition("?")[0], first.json["title"], first.json["message"]) == (
            "/hook/+393331234567",
            "Hello",
            "Your serum",
        )
        assert second.target.partition("?")[0].startswith("/hook/")
        assert receipt == Receipt(Result.ACCEPTED)

    async def test_each_hears_its_own(self) -> None:
        """What Apprise says of one message is in no other channel's words, though both send at once, and not in our log."""
        log = io.StringIO()
        handler = logging.StreamHandler(log)  # pytest's own hears loggers that don't propagate too
        logging.getLogger().addHandler(handler)

        def refuse(request: Request) -> bytes:
            return answer(400, b"")

        async with self.before(refuse) as here, sink(refuse) as there:
            url = f"xml://127.0.0.1:{there.port}/{{to}}"
            other = load_channel("other", {"use": self.use, "url": url})
            sent = [
                c.send(self.message(to=to)) for _ in range(3) for c, to in ((here.channel, "+391111111"), (other, "+392222222"))
            ]
            words = [receipt.words for receipt in await asyncio.gather(*sent)]
        assert ["JSON" in w for w in words] == [True, False] * 3, words
        assert ["XML" in w for w in words] == [False, True] * 3, words
        logging.getLogger().removeHandler(handler)
        assert "notification" not in log.getvalue()

    def test_settings_of_urls(self) -> None:
        """A URL that Apprise doesn't know is refused without being quoted."""
        with pytest.raises(ChannelError, match="no URL that Apprise knows") as refused:
            load_channel("x", {"use": self.use, "url": "s3cret://nowhere"})
        assert "s3cret" not in str(refused.value)
