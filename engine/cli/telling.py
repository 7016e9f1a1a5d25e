"""Commands that tell the running system what happened: `track` and `identify`, through its HTTP API like any other source."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.located import Located, locate
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, path_option, print_json

if TYPE_CHECKING:
    from engine.store.database import Connection
    from engine.store.history import Told

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The customer's user id.")]
ValuesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]…", help="key=text, or key:=json for numbers, lists and objects.", show_default=False),
]
FileOption = Annotated[
    Path | None,
    path_option("--json-file", "FILE", "Take the values from this file, a JSON object; - reads the input."),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar="SOJOURN_URL", help="The API to tell.", show_default="the one that runs here"),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--write-key",
        metavar="KEY",
        envvar="SOJOURN_WRITE_KEY",
        help="The source's write key.",
        show_default="this project's first",
    ),
]


def track(
    user: UserArgument,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's name.")],
    values: ValuesArgument = None,
    json_file: FileOption = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    write_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell that a customer did something, and print what it set going.

    Example: [bold]sojourn track ada order_completed order_id=A1 total:=40[/]
    """
    body = {"userId": user, "event": event, "properties": _values(values, json_file)}
    _tell(_Call.found(project, data, url, write_key), "track", body, f"{event} of {user}", as_json)


def identify(
    user: UserArgument,
    values: ValuesArgument = None,
    json_file: FileOption = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    write_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who a customer is: attributes such as email, first_name or timezone.

    Example: [bold]sojourn identify ada email=ada@example.com timezone=Europe/Rome[/]
    """
    body = {"userId": user, "traits": _values(values, json_file)}
    _tell(_Call.found(project, data, url, write_key), "identify", body, f"who {user} is", as_json)


def _values(pairs: list[str] | None, file: Path | None) -> dict[str, Any]:
    """The values of a call. Raises Failure that names the one that is wrong."""
    found: dict[str, Any] = {}
    if file is not None:
        try:
            text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text(encoding="utf-8")
            found = _json(text)
        except OSError as wrong:
            raise Failure(f"{file} can't be read: {wrong.strerror}") from None
        except (ValueError, RecursionError) as wrong:
            raise Failure(f"{file} is not JSON: {wrong}") from None
        if not isinstance(found, dict):
            raise Failure(f"{file} is not a JSON object", 'write {"key": "value"}')
    for pair in pairs or ():
        key, mark, written = pair.partition("=")
        if not mark or not key.rstrip(":"):
            raise Failure(f"{pair!r} is not key=value", "write key=text, or key:=json")
        if key.endswith(":"):
            try:
                found[key[:-1]] = _json(written)
            except (ValueError, RecursionError):
                raise Failure(f"{written[:60]!r} of {key[:-1]!r} is not JSON", "write key=text for text") from None
        else:
            found[key] = written
    return found


def _json(text: str) -> Any:
    """Raises ValueError also for NaN and numbers without end, which Python reads and JSON doesn't know."""
    value = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value


@dataclass(frozen=True, slots=True)
class _Call:
    """Where to tell it, with which key; `located` where the answer's consequences can be looked up."""

    url: str
    key: str
    located: Located | None

    @classmethod
    def found(cls, project: Path, data: Path | None, url: str | None, key: str | None) -> _Call:
        if url is not None and key is not None:
            return cls(url.rstrip("/"), key, None)
        from engine.app.development import kept_keys

        located = locate(project, data, lenient=True)
        if url is None and (located.running is None or located.running.api_url is None):
            raise Failure(f"no system runs on {located.data}", "run `sojourn up`, or name one with --url", Code.UNREACHABLE)
        there = url or (located.running.api_url if located.running else None) or ""
        if key is None:
            first = next(iter(located.settings.write_keys), None)
            if first is not None:
                key = located.settings.write_keys[first].get_secret_value()
            elif (kept := kept_keys(located.data)) is not None:
                key = kept.write_key
        if key is None or key.startswith("<"):
            raise Failure("no write key is known", "set the variable that sojourn.yaml names, or give --write-key")
        return cls(there.rstrip("/"), key, located if url is None else None)


def _tell(call: _Call, kind: str, body: dict[str, Any], what: str, as_json: bool) -> None:
    import httpx

    body["messageId"] = f"cli-{uuid.uuid4()}"
    local = _local(call.url)
    try:
        answer = httpx.post(f"{call.url}/v1/{kind}", json=body, auth=(call.key, ""), timeout=30, trust_env=not local)
    except httpx.HTTPError as failed:
        raise Failure(f"{call.url} can't be reached: {failed}", "is `sojourn up` running?", Code.UNREACHABLE) from None
    if answer.status_code >= 500:
        message, hint = _error(answer)
        raise Failure(f"the API answered {answer.status_code}: {message}", hint, Code.UNREACHABLE)
    if not answer.is_success:
        message, hint = _error(answer)
        aside = "put aside" in hint
        raise Failure(
            f"{'kept aside, not taken in' if aside else f'the API refused it ({answer.status_code})'}: {message}",
            hint,
            Code.NO if aside else Code.USAGE,
        )
    told, unknown = None, ""
    if call.located:
        told, unknown = _consequences(call.located, body)
    if as_json:
        looked = {**told.to_json(), "unknown": unknown} if told else {}
        print_json({"accepted": True, "messageId": body["messageId"], **looked})
    else:
        _show(what, body["userId"], told, unknown)
    if told is not None and told.quarantined:
        raise typer.Exit(Code.NO)


def _local(url: str) -> bool:
    """Whether `url` leads to this machine. Raises Failure where it isn't one."""
    from urllib.parse import urlsplit

    from engine.settings.project import is_loopback

    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port is None or parts.port else None
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise Failure(f"{url!r} is no address of an API", "write http://HOST:PORT, with a port from 1 to 65535")
    return is_loopback(host)


def _error(answer: Any) -> tuple[str, str]:
    """What the API says is wrong and what to do, in its own words."""
    try:
        said = answer.json()["error"]
        return str(said["message"]), str(said.get("hint") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return str(answer.text[:200]) or "no reason given", ""


def _consequences(located: Located, body: dict[str, Any]) -> tuple[Told, str]:
    """What a call led to; and what to say of an event that nobody knows, or of what it names, "" for any other."""
    from engine.insight.finding import unknown_event
    from engine.store.history import told

    async def look(c: Connection) -> tuple[Told, str]:
        event = body.get("event")
        return await told(c, body["messageId"]), await unknown_event(c, event, body.get("properties")) if event else ""

    return located.in_transaction(look)


def _show(what: str, user: str, told: Told | None, unknown: str) -> None:
    if told is not None and told.quarantined:
        out.print(f"kept aside, not taken in: {told.quarantined}", style="yellow", markup=False)
        if unknown:
            out.print(f"  {unknown}", style="yellow", markup=False, soft_wrap=True)
        return
    out.print(f"accepted: {what}", markup=False)
    if told is None:
        return
    for journey, enrollment in told.entered:
        out.print(f"  entered {journey} (enrollment {enrollment})", markup=False)
    for journey, kind in told.moved:
        meant = {"exit": "left", "event": "was waited for in", "replan": "moved a wait in"}.get(kind, kind)
        out.print(f"  {meant} {journey}", markup=False)
    for journey, detail in told.refused:
        out.print(f"  didn't enter {journey}: {detail}", markup=False, soft_wrap=True)
    for journey in told.broadcast:
        out.print(f"  sets off {journey} for those whom it concerns (`sojourn broadcasts`)", markup=False)
    if unknown:
        out.print(f"  {unknown}", style="yellow", markup=False, soft_wrap=True)
    if told.entered or told.moved:
        out.print(f"  `sojourn why {user}` tells what becomes of it", style="dim", markup=False)
    elif not unknown and not told.refused and not told.broadcast:
        out.print("  no journey was waiting for it", style="dim", markup=False)
