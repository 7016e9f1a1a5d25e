"""What the engine asks of a channel, and how one is found: values, the protocol, a base class, the loader.

Adapters in `channels/` import this module and nothing else of the engine; the engine never imports them. A change here is a
change for every adapter anybody has written: add with a default, never rename.

    ChannelError            a channel can't be loaded as configured: the operator mends `sojourn.yaml`
    Forged                  raised by `parse_webhook`: whoever called isn't the provider, or repeats what it said long ago
    MissingPackage          raised by an adapter whose library isn't installed; the loader turns it into a ChannelError
    anything else           a bug of the adapter: `send_many` hands it back in a receipt's place; the caller parks that message
"""

from __future__ import annotations

import asyncio
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, cast, runtime_checkable

from pydantic import ValidationError

from engine.core.wire import Json

ENGINE_KEYS = frozenset({"use", "rate", "address", "price", "replies", "warmup", "complaints"})
"""Settings of a channel that the engine reads itself; adapters never see them."""

USUAL_ADDRESS = {"email": "email", "sms": "phone", "whatsapp": "phone", "voice": "phone"}
"""The attribute that holds the address, by the channel's name, where neither the adapter nor `address:` says so."""

MAX_WORDS = 500
"""Characters kept of what a provider said."""


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered template. `fields`: its single-line parts ("subject", "title", …); `text`, `html` and `json`: its bodies, None
    where the template has none. `template_hash`: content hash of the template's files. `locale`: which of its versions this is,
    "" where it is the one for everybody else."""

    fields: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    html: str | None = None
    json: Json | None = None
    template_hash: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to hand over. `key`: "enrollment/step/visit/attempt", the same for every try of this handover and for no other.

    `to`: the address. `sender`: policy's sender of the channel (from, reply_to, …). `customer`: the opaque id. `unsubscribe_url`:
    an opaque HTTPS link for one-click unsubscribe, None where there is none. `test`: a person is trying the template out."""

    key: str
    to: str
    content: Content
    sender: Mapping[str, str]
    customer: str
    journey: str
    step: str
    template: str
    tier: str
    topic: str | None = None
    unsubscribe_url: str | None = None
    test: bool = False


class Result(StrEnum):
    """What became of a handover; `docs/adding-a-channel.md` says which provider's answer means which.

    accepted: the provider has it · refused: for ever · later: not now, and certainly not sent · unknown: may have been sent."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's answer. `words`: its own words, cut to 500 characters, control characters made spaces; never a secret.

    `retry_after`: seconds, only with LATER, None where the provider named no time. `suppress`: why the address must not be used
    again ("hard_bounce", "invalid", …), None where it may be."""

    result: Result
    provider_id: str = ""
    words: str = ""
    retry_after: float | None = None
    suppress: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", clean_line(self.words)[:MAX_WORDS])
        object.__setattr__(self, "provider_id", clean_line(self.provider_id)[:MAX_WORDS])


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel is like. `address`: the customer attribute that holds the address; "" means the customer's own id.

    `idempotent`: the provider recognises `Outgoing.key`, so that sending again is safe. `concurrency`: messages in flight.
    `on_unknown`: what to do when nobody can tell whether it was sent. `local`: the provider is this machine (loopback, disk).
    `batch`: messages that the provider takes in one request. `attachments`: it takes files beside the text, once messages have
    any. `receipts`: the kinds of Feedback that its webhook tells; where it is empty there is no webhook."""

    address: str
    idempotent: bool = False
    concurrency: int = 10
    on_unknown: Literal["assume_sent", "retry"] = "assume_sent"
    local: bool = False
    batch: int = 1
    attachments: bool = False
    receipts: frozenset[str] = frozenset()

    @property
    def at_once(self) -> int:
        """Messages that are handed over together: as many as are in flight, or as fill one request."""
        return max(1, self.concurrency, self.batch)


@dataclass(frozen=True, slots=True)
class Notice:
    """One call of a provider's to `/v1/channels/NAME/webhook`. `method`: in capitals. `url`: as the provider called it, under the
    project's public URL, query included: some sign it. `headers`: names in lower case. `received`: aware.

    `tokens`: where `parse_webhook` puts what a provider signs for one notice alone, if that says nothing of the rest: whoever
    comes with one of them again, and says something else, isn't heard."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received: datetime
    tokens: set[str] = field(default_factory=set, compare=False)


class Forged(ValueError):
    """The signature of a notice is missing, wrong or too old. Its words are shown to the caller: never put a secret in."""


class NoWebhook(LookupError):
    """This channel's provider tells nothing afterwards."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One thing that a provider tells afterwards. The message is found by `key`, else by `provider_id`, else by `address`.

    `received` is a text that somebody sent us, `address` its sender and `words` its text; `replied` is an answer to a message;
    `completed` is a task that a person has done.
    `id`: the provider's own id of this notice, the same when it repeats it; "" where it has none. `at`: aware, None where the
    provider didn't say. `suppress`: as in Receipt. `url`: the link that was clicked. `machine`: a scanner or a privacy proxy
    did it, not a person. `raw`: the provider's payload, kept as it came."""

    kind: Literal[
        "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "replied", "failed", "received", "completed"
    ]
    key: str = ""
    provider_id: str = ""
    address: str = ""
    at: datetime | None = None
    words: str = ""
    suppress: str | None = None
    raw: Json = None
    id: str = ""
    url: str = ""
    machine: bool = False


@runtime_checkable
class Channel(Protocol):
    """One kind of message through one provider. `name` is what `sojourn.yaml` calls it, set by the loader."""

    name: str
    capabilities: Capabilities

    async def send(self, message: Outgoing) -> Receipt:
        """Hand one message over. Whatever a provider does is a receipt; an exception means a bug or a broken template."""
        ...

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """One answer per message, in order. An exception stands in the place of its message and fails no other."""
        ...

    async def close(self) -> None:
        """Give up connections. Calling it twice is allowed."""
        ...

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """What the provider's webhook says. Raises Forged where it isn't the provider's, ValueError where it is malformed."""
        ...

    async def challenge(self, notice: Notice) -> str | None:
        """The text to answer with where the provider only asks whether this URL is ours; None where it tells something. Raises
        as `parse_webhook` does, which is called next."""
        ...


@dataclass(frozen=True, slots=True)
class Signing:
    """How a channel signs e-mail by itself (DKIM). `domain`: who signs, "" for the domain of the sender. `record`: the TXT record
    by which receivers check it, which must stand in DNS at `SELECTOR._domainkey.DOMAIN`."""

    selector: str
    domain: str
    record: str


class Adapter:
    """The base of adapters: implement `send`, set `capabilities`; override the rest where the provider offers more."""

    name: str = ""
    capabilities: Capabilities = Capabilities(address="")
    server: tuple[str, int] | None = None
    """Host and port of the one server that messages go to, where there is one: `sojourn doctor` tries to reach it."""
    signing: Signing | None = None
    """How it signs, where it does so itself: `sojourn doctor` looks whether receivers can check that."""

    async def send(self, message: Outgoing) -> Receipt:
        """Hand one message over; see `Channel.send`."""
        raise NotImplementedError(f"{type(self).__name__} has no send()")

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """`send` for each, at most `capabilities.concurrency` at once."""
        free = asyncio.Semaphore(max(1, self.capabilities.concurrency))

        async def one(message: Outgoing) -> Receipt | Exception:
            async with free:
                try:
                    return await self.send(message)
                except Exception as bug:  # noqa: BLE001 - an adapter's bug parks its own message and fails no other
                    return bug

        return list(await asyncio.gather(*(one(m) for m in messages)))

    async def close(self) -> None:
        """Nothing to give up unless an adapter holds connections."""

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """Most providers of this kind tell nothing afterwards: there is no webhook."""
        raise NoWebhook(f"channel {self.name!r} takes no webhooks")

    async def challenge(self, notice: Notice) -> str | None:
        """Most providers don't ask."""
        return None


class ChannelError(Exception):
    """A channel can't be loaded. `name`: the channel, `what` is wrong, `mend`: what to do. Never holds a setting's value."""

    def __init__(self, name: str, what: str, mend: str) -> None:
        self.name, self.what, self.mend = name, what, mend
        super().__init__(f"channel {name!r}: {what}. {mend}")


class MissingPackage(ImportError):
    """An adapter's library isn't installed. `requirement`: what pip installs, such as "twilio>=9" or "sojourn[twilio]"."""

    def __init__(self, requirement: str) -> None:
        self.requirement = requirement
        super().__init__(f"{requirement} is not installed")


def load_channel(name: str, config: Mapping[str, object]) -> Channel:
    """The channel that `sojourn.yaml` calls `name`, built from its settings there.

    `use` is the dotted path of a module that has `channel(config)`, or of such a function or class itself. It gets the settings
    without ENGINE_KEYS. Raises ChannelError, which says what to mend, and never quotes a setting's value: it may be a secret."""
    use = config.get("use")
    if not isinstance(use, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", use):
        raise ChannelError(name, "`use` must be a dotted path", "Write, for example, `use: channels.smtp`")
    build = _find(name, use)
    try:
        built = build({k: v for k, v in config.items() if k not in ENGINE_KEYS})
    except MissingPackage as missing:
        raise _not_installed(name, use, missing.requirement) from missing
    except ValidationError as wrong:
        raise ChannelError(name, f"its settings for {use} are wrong: {_problems(wrong)}", "Mend them in sojourn.yaml") from None
    if not isinstance(built, Channel):
        raise ChannelError(name, f"{use} gave a {type(built).__name__}, which is no channel", "See docs/adding-a-channel.md")
    built.name = name
    address = config.get("address")
    if address is None:
        address = built.capabilities.address or USUAL_ADDRESS.get(name, "")
    built.capabilities = replace(built.capabilities, address=str(address))
    return built


def _find(name: str, use: str) -> Callable[[Mapping[str, object]], object]:
    """What `use` names: a module's `channel`, or a callable in a module."""
    try:
        found: object = importlib.import_module(use)
    except MissingPackage as missing:
        raise _not_installed(name, use, missing.requirement) from missing
    except ModuleNotFoundError as missing:
        parent, _, last = use.rpartition(".")
        if missing.name is None or not (use == missing.name or use.startswith(missing.name + ".")):
            raise _not_installed(name, use, missing.name or str(missing)) from missing
        if missing.name != use or not parent:
            raise _not_found(name, use) from missing
        found = getattr(importlib.import_module(parent), last, None)
    else:
        found = getattr(found, "channel", None)
    if not callable(found):
        raise _not_found(name, use)
    return cast("Callable[[Mapping[str, object]], object]", found)


def _not_found(name: str, use: str) -> ChannelError:
    what = f"there is no module {use} with a `channel(config)`, and nothing callable of that name"
    mend = "Check `use`, and that the module can be imported from the project folder"
    if hidden := _hidden(use):
        package, _, rest = use.partition(".")
        what = f"{hidden} is there, and another package called {package} is found before it"
        mend = f"Move it into a folder of another name, such as own/, and write `use: own.{rest}`"
    return ChannelError(name, what, mend)


def _hidden(use: str) -> str:
    """The file, below a folder in which modules are looked for, that `use` would lead to but for a package of the same name that
    is found first, as Sojourn's own `channels` is before a project's; "" where there is none."""
    first, *rest = use.split(".")
    package = getattr(sys.modules.get(first), "__path__", ())
    for names in filter(None, (rest, rest[:-1])):
        below = Path(*names).with_suffix(".py")
        there = any((Path(folder, first) / below).is_file() for folder in sys.path)
        if package and there and not any((folder / below).is_file() for folder in map(Path, package)):
            return f"{first}/{below.as_posix()}"
    return ""


def _not_installed(name: str, use: str, requirement: str) -> ChannelError:
    return ChannelError(name, f"{use} needs a package that isn't installed", f"Run: pip install {shlex.quote(requirement)}")


def _problems(wrong: ValidationError) -> str:
    """What pydantic found, without the values it found it in."""
    found = wrong.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(str(part) for part in p['loc']) or 'settings'}: {p['msg']}" for p in found)


def message_json(channel: str, message: Outgoing) -> dict[str, Json]:
    """The message as receivers outside see it. Fields may be added, and are never renamed."""
    content = message.content
    names = ("key", "to", "customer", "journey", "step", "template", "tier", "topic", "unsubscribe_url", "test")
    return {
        "channel": channel,
        **{name: getattr(message, name) for name in names},
        "template_hash": content.template_hash,
        "sender": dict(message.sender),
        "fields": dict(content.fields),
        "text": content.text,
        "html": content.html,
        "json": content.json,
    }


def clean_text(text: str) -> str:
    """`text` as any encoder takes it: halves of surrogate pairs joined, stray ones and NUL replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")


def clean_line(text: str) -> str:
    """`clean_text` on one line: what could end a line or a header (control characters, U+2028, U+2029) becomes one space."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", clean_text(text)).strip()


def too_big(size: int, limit: int) -> Receipt:
    """The refusal of a message whose encoded form has `size` bytes where the channel takes `limit`."""
    return Receipt(Result.REFUSED, words=f"not sent: the message has {size} bytes and this channel takes at most {limit}")


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` with every one of `secrets` blotted out: providers like to quote the credentials that they refuse."""
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text
