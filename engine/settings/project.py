"""A project's settings: `sojourn.yaml`, with what the environment says. Secrets come from the environment only.

Every problem of the file comes out at once, at its place; a secret's value is never shown, in no problem and no `repr`. The
environment is an argument. docs/reference/settings.md explains every key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from engine.settings.document import Document
from engine.settings.interpolation import interpolate
from engine.settings.periods import RetentionSettings
from engine.settings.problems import Problem, errors, in_order, nearest
from engine.settings.sender import ComplaintSettings, WarmupSettings
from engine.settings.shape import Number, Shape, Whole, YesNo, validate
from engine.settings.written_secrets import written_secrets
from engine.settings.yaml import read_file

FILE = "sojourn.yaml"
EMBEDDED = "embedded"
OWN = "own"
DATABASE_VARIABLE = "SOJOURN_DATABASE_URL"
TEMPORAL_VARIABLE = "SOJOURN_TEMPORAL_ADDRESS"
PUBLIC_VARIABLE = "SOJOURN_PUBLIC_URL"
METRICS_VARIABLE = "SOJOURN_METRICS_PORT"

UNUSABLE_CHANNEL = "SJ453"
"""The problem of a channel that can't be loaded as configured: those who load adapters report it."""

PER = {"s": 1.0, "m": 60.0, "h": 3600.0}

Role = Literal["author", "operator", "analyst", "privacy", "source"]


class SettingsError(Exception):
    """`sojourn.yaml` can't be used. `problems`: all that is wrong in it; the text shows them for people."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(p.render() for p in self.problems))


def _rate(written: Any) -> Any:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/([smh])", written) if isinstance(written, str) else None
    if found is None or float(found[1]) <= 0:
        raise PydanticCustomError("rate", "this must be a rate such as 100/s, 600/m or 5000/h")
    return float(found[1]) / PER[found[2]]


def _database_url(written: Any) -> Any:
    text = written if isinstance(written, str) else ""
    if text != EMBEDDED and not text.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise PydanticCustomError("database_url", "this must be a postgresql:// URL, or the word embedded")
    try:
        _ = urlsplit(text).port
    except ValueError as wrong:
        raise PydanticCustomError("database_url", "this URL can't be read: {why}", {"why": str(wrong)}) from None
    return written


def _address(written: Any) -> Any:
    if written != EMBEDDED and not (isinstance(written, str) and re.fullmatch(r"[^\s/:]+:\d+", written)):
        raise PydanticCustomError("address", "this must be host:port, or the word embedded")
    return written


def _origin(written: Any) -> Any:
    if not (isinstance(written, str) and re.fullmatch(r"\*|https?://[^\s/?#@*]+", written)):
        raise PydanticCustomError("origin", 'this must be an origin such as https://shop.example, without a path, or "*"')
    return written.lower()


def _price(written: Any) -> Any:
    if not (isinstance(written, str) and re.fullmatch(r"\d{1,6}(\.\d{1,6})? [A-Z]{3}", written)):
        raise PydanticCustomError("price", "this must be a price such as 0.0075 EUR")
    return written


def _not_empty(written: Any) -> Any:
    if written is None or (isinstance(written, str) and not written.strip()):
        raise PydanticCustomError("empty", "this secret is empty")
    return written


Rate = Annotated[float, BeforeValidator(_rate)]
"""Written `100/s`, `600/m` or `5000/h`; the value is per second."""
Price = Annotated[str, BeforeValidator(_price)]
"""Written `0.0075 EUR`; of one segment of a text (`engine.delivery.sms.cost`)."""
Secret = Annotated[SecretStr, BeforeValidator(_not_empty)]
Origin = Annotated[str, BeforeValidator(_origin)]
"""As browsers send it: scheme, host and port, in lower case; "*" stands for any."""
Port = Annotated[Whole, Field(ge=0, le=65535)]


class ApiSettings(Shape):
    """Where the API listens. `public_url`: how the world reaches it, for links in messages; None: only this machine does."""

    host: str = "127.0.0.1"
    port: Port = 8700
    public_url: str | None = None


class SourceSettings(Shape):
    """What a source may do. `rate`: calls a second, of all API processes together (None: no limit). `origins`: from where
    browsers may send with its write key."""

    rate: Rate | None = None
    origins: list[Origin] = Field(default_factory=lambda: ["*"])

    def takes(self, origin: str) -> bool:
        """Whether a browser may send from `origin`."""
        return "*" in self.origins or origin.lower() in self.origins


class TokenSettings(Shape):
    """A person's or program's access to the API, and what it may do."""

    token: Secret
    role: Role


class ReplySettings(Shape):
    """Texts that answer whoever replies STOP, START or HELP, where the provider doesn't do so itself (None: it does)."""

    stop: str | None = None
    start: str | None = None
    help: str | None = None

    def texts(self) -> dict[str, str]:
        """Word → text, of those that are given."""
        return {word: text for word, text in self.model_dump().items() if text and text.strip()}


class ChannelSettings(Shape):
    """One channel: `use` is the dotted path of its adapter, `rate` messages a second (None: no limit), `address` the customer
    attribute it sends to, `price` what one segment of a text costs, `replies` the texts that answer keywords; `warmup` and
    `complaints`: what protects its sender. All other keys are the adapter's own, as text."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str
    rate: Rate | None = None
    address: str | None = None
    price: Price | None = None
    replies: ReplySettings = ReplySettings()
    warmup: WarmupSettings | None = None
    complaints: ComplaintSettings | None = None

    def config(self) -> dict[str, Any]:
        """What `engine.delivery.channel.load_channel` takes."""
        return {"use": self.use, "rate": self.rate, "address": self.address, **(self.__pydantic_extra__ or {})}

    def remote_host(self) -> str | None:
        """The first host that `host` or any URL names outside of this machine, None where there is none."""
        return next((h for h in _hosts(self.__pydantic_extra__ or {}) if not is_loopback(h)), None)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "use", self.use


class ReceiverSettings(Shape):
    """Who takes the tasks of a queue: `use` is the dotted path of an adapter, or `own` for our own list. All other keys are the
    adapter's own, as text."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str

    def config(self) -> dict[str, Any] | None:
        """What `engine.delivery.channel.load_channel` takes; None for our own list."""
        return None if self.use == OWN else {"use": self.use, **(self.__pydantic_extra__ or {})}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "use", self.use


class DatabaseSettings(Shape):
    """`url`: a postgresql:// URL, or "embedded"."""

    url: Annotated[SecretStr, BeforeValidator(_database_url)] = SecretStr(EMBEDDED)


class TemporalSettings(Shape):
    """`address`: host:port of a frontend, or "embedded"."""

    address: Annotated[str, BeforeValidator(_address)] = EMBEDDED
    namespace: str = "default"


class CohortSettings(Shape):
    """`max_size`: enrollments that one workflow execution carries."""

    max_size: Annotated[Whole, Field(ge=1, le=500)] = 500


class RelaySettings(Shape):
    """`partitions`: into how many parts customers are divided, each relayed by one process at a time."""

    partitions: Annotated[Whole, Field(ge=1, le=256)] = 1


class CallSettings(Shape):
    """`allow_private`: the step `call` may reach private addresses and this machine."""

    allow_private: YesNo = False


class InboxSettings(Shape):
    """`key` signs the tokens with which customers' apps read their inbox (None: nobody can). `origins`: from which sites."""

    key: Annotated[SecretStr | None, BeforeValidator(lambda written: written or None)] = None
    origins: list[Origin] = Field(default_factory=list)

    def takes(self, origin: str) -> bool:
        """Whether a browser may read from `origin`."""
        return "*" in self.origins or origin.lower() in self.origins


class MetricsSettings(Shape):
    """Where a worker serves its metrics: `port` of `host`; None: nowhere. (The API serves its own at `/metrics`.)"""

    host: str = "127.0.0.1"
    port: Port | None = None


class EncryptionSettings(Shape):
    """`key` encrypts what goes to Temporal (None: nothing is encrypted); what `previous` keys wrote stays readable."""

    key: Annotated[SecretStr | None, BeforeValidator(lambda written: written or None)] = None
    previous: list[Secret] = Field(default_factory=list)


class Settings(Shape):
    """All of `sojourn.yaml`. Without a file: embedded servers, the API on this machine, no write keys, tokens or channels."""

    project: str = "sojourn"
    api: ApiSettings = ApiSettings()
    write_keys: dict[str, Secret] = Field(default_factory=dict)
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    tokens: dict[str, TokenSettings] = Field(default_factory=dict)
    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    tasks: dict[str, ReceiverSettings] = Field(default_factory=dict)
    database: DatabaseSettings = DatabaseSettings()
    temporal: TemporalSettings = TemporalSettings()
    cohort: CohortSettings = CohortSettings()
    relay: RelaySettings = RelaySettings()
    calls: CallSettings = CallSettings()
    inbox: InboxSettings = InboxSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: RetentionSettings = RetentionSettings()
    time_scale: Annotated[Number, Field(ge=1, le=1_000_000)] = 1.0

    def adapters(self) -> dict[str, dict[str, Any]]:
        """Name → what `engine.delivery.channel.load_channel` takes: of the channels, and as `tasks.QUEUE` of who takes tasks."""
        theirs = {f"tasks.{queue}": config for queue, one in self.tasks.items() if (config := one.config()) is not None}
        return {name: one.config() for name, one in self.channels.items()} | theirs

    @property
    def database_url(self) -> str | None:
        """The database's URL, None for the embedded server."""
        url = self.database.url.get_secret_value()
        return None if url == EMBEDDED else url

    @property
    def temporal_address(self) -> str | None:
        """host:port of Temporal, None for the embedded server."""
        return None if self.temporal.address == EMBEDDED else self.temporal.address


def load_settings(folder: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the project in `folder`. Raises SettingsError with every problem of its `sojourn.yaml`.

    SOJOURN_DATABASE_URL, SOJOURN_TEMPORAL_ADDRESS, SOJOURN_PUBLIC_URL and SOJOURN_METRICS_PORT in `environ` win over the file,
    so that one deployment can point elsewhere.
    """
    path = folder / FILE
    try:
        document = read_file(path, FILE)
    except FileNotFoundError:
        document = Document(FILE)
        settings: Settings | None = Settings()
    except OSError as unreadable:
        raise SettingsError([Problem(FILE, 0, 0, "SJ108", 0, f"it can't be read: {unreadable.strerror}")]) from None
    else:
        document.problems += written_secrets(document)
        interpolate(document, environ)
        settings = validate(document, Settings)
    if settings is not None:
        settings = _with_environment(document, settings, environ)
        document.problems += _conflicts(document, settings)
    if settings is None or errors(document.problems):
        raise SettingsError(document.problems)
    return settings


def _with_environment(document: Document, settings: Settings, environ: Mapping[str, str]) -> Settings:
    """`settings` with what these variables say, where they say anything."""
    update: dict[str, Any] = {}
    checks = ((DATABASE_VARIABLE, "database", "url", _database_url), (TEMPORAL_VARIABLE, "temporal", "address", _address))
    for variable, section, field, check in checks:
        said = environ.get(variable)
        if not said:
            continue
        try:
            check(said)
        except PydanticCustomError as wrong:
            message = f"{variable} in the environment is wrong: {wrong.message()}"
            document.problems.append(Problem(document.file, 0, 0, "SJ112", 0, message))
            continue
        value = SecretStr(said) if field == "url" else said
        update[section] = getattr(settings, section).model_copy(update={field: value})
    if public := environ.get(PUBLIC_VARIABLE):
        if re.match(r"https?://[^/\s]+", public):
            update["api"] = settings.api.model_copy(update={"public_url": public})
        else:
            message = f"{PUBLIC_VARIABLE} in the environment is wrong: this must be an http:// or https:// URL"
            document.problems.append(Problem(document.file, 0, 0, "SJ112", 0, message))
    if port := environ.get(METRICS_VARIABLE):
        if port.isascii() and port.isdigit() and int(port) <= 65535:
            update["metrics"] = settings.metrics.model_copy(update={"port": int(port)})
        else:
            message = f"{METRICS_VARIABLE} in the environment is wrong: this must be a port, 0 to 65535"
            document.problems.append(Problem(document.file, 0, 0, "SJ112", 0, message))
    return settings.model_copy(update=update)


def _conflicts(document: Document, settings: Settings) -> Iterator[Problem]:
    """What only several keys together get wrong."""
    sources: dict[str, str] = {}
    for name, key in settings.write_keys.items():
        earlier = sources.setdefault(key.get_secret_value(), name)
        if earlier != name:
            message = f"the sources {earlier!r} and {name!r} have the same write key"
            yield _at(document, ("write_keys", name), "SJ451", message, "give each source its own, so that one can be revoked")
    for name in settings.sources if settings.write_keys else ():
        if name not in settings.write_keys:
            message = f"the source {name!r} has no write key, so nobody can send as it"
            yield _at(document, ("sources", name), "SJ454", message, nearest(name, settings.write_keys))
    for name, host in remote_channels(settings).items() if settings.time_scale != 1 else ():
        message = f"the channel {name!r} sends to {host}, and time_scale is {settings.time_scale:g}"
        hint = "a time scale is for channels on this machine only: weeks of messages would go out in minutes"
        yield _at(document, ("channels", name), "SJ452", message, hint)


def remote_channels(settings: Settings) -> dict[str, str]:
    """Channels whose settings name a host that isn't on loopback, with that host. A channel that names none may still be remote:
    whoever loads the adapters asks their `capabilities.local` too before it runs under a time scale."""
    return {name: host for name, channel in settings.channels.items() if (host := channel.remote_host()) is not None}


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is certainly this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hosts(value: Any, field: str = "") -> Iterator[str]:
    """Every host in a channel's settings: fields called `host`, and whatever is a URL with one."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _hosts(below, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _hosts(item, field)
    elif isinstance(value, str):
        if re.match(r"[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
            yield urlsplit(value).hostname or ""
        elif field == "host" or field.endswith("_host"):
            yield value


def _at(document: Document, path: tuple[str, ...], code: str, message: str, hint: str) -> Problem:
    return document.problem(code, document.key_at(path), message, hint)
