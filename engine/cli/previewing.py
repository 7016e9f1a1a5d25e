"""The commands `preview` and `send-test`: a message of the project's files, looked at or tried out. `app.previewing` makes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from engine.cli.deploying import actor
from engine.cli.located import Located, compile_project, locate, stand_in
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, err, out, path_option, print_json

if TYPE_CHECKING:
    from engine.app.previewing import Letter
    from engine.delivery.channel import Content, Receipt
    from engine.store.database import Database

TemplateArgument = Annotated[
    str, typer.Argument(metavar="TEMPLATE", help="Its name below templates/CHANNEL, without an ending: onboarding/welcome.")
]
ChannelOption = Annotated[str, typer.Option("--channel", metavar="NAME", help="Which channel's message.")]
CustomerOption = Annotated[
    str | None,
    typer.Option("--customer", metavar="CUSTOMER", help="Written to this customer: a user id, an address or another identifier."),
]
WithOption = Annotated[
    Path | None,
    path_option("--with", "FILE", 'JSON that says what it sees: {"customer": {…}, "entry": {…}, "vars": {…}, "percent": 10}.'),
]
LocaleOption = Annotated[
    str | None, typer.Option("--locale", metavar="LOCALE", help="For somebody who speaks this: it, pt-BR.", show_default="theirs")
]


def preview(
    template: TemplateArgument,
    channel: ChannelOption = "email",
    customer: CustomerOption = None,
    given: WithOption = None,
    locale: LocaleOption = None,
    file: Annotated[
        Path | None,
        path_option("--out", "FILE", "Write the HTML there; .txt: the text, .json: all of it.", show_default="nowhere"),
    ] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a message as somebody would get it, from the files as they are now. Nothing is sent.

    Exit code 1 where it can't be rendered, or nobody is known by that name.
    Example: [bold]sojourn preview onboarding/welcome --customer ada --out welcome.html[/]
    """
    located = locate(project, data, lenient=True)
    wanted, content = _rendered(located, template, channel, customer, given, locale)
    found = located.settings.channels.get(wanted.channel)
    told = _told(wanted, content, found.price if found else None)
    if file is not None:
        _write(file, content, told)
    if as_json:
        print_json(told)
    else:
        _show(told)
        if file is not None:
            out.print(f"written to {file}", style="dim", markup=False)


def send_test(
    template: TemplateArgument,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Who gets it: an address of the channel.")],
    channel: ChannelOption = "email",
    customer: CustomerOption = None,
    given: WithOption = None,
    locale: LocaleOption = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a message through its real channel to an address of yours, from the files as they are now.

    No gate is asked, no cap counts it, the ledger doesn't have it; the audit log does. Its links unsubscribe nobody.
    Exit code 1 where the provider didn't take it. Example: [bold]sojourn send-test onboarding/welcome --to me@example.com[/]
    """
    from engine.delivery.channel import Result

    if not to.strip():
        raise Failure("--to is empty", "name who gets it: an address of the channel")
    located = locate(project, data)
    wanted, content = _rendered(located, template, channel, customer, given, locale)
    told = _sent(located, wanted, content, to)
    taken = told.result is Result.ACCEPTED
    if as_json:
        print_json({"result": told.result.value, "provider_id": told.provider_id, "words": told.words})
    else:
        said = told.words or told.provider_id
        console = out if taken else err
        console.print(f"{told.result.value}{f': {said}' if said else ''}", markup=False, style="" if taken else "red")
    raise typer.Exit(Code.FINE if taken else Code.NO)


def _rendered(
    located: Located, template: str, channel: str, customer: str | None, given: Path | None, locale: str | None
) -> tuple[Letter, Content]:
    """The message, and what the customer would get of it."""
    from engine.app.previewing import Unclear, known, letter, read_given, stranger
    from engine.authoring.expressions import ExpressionError
    from engine.delivery.render import RenderError

    api = located.settings.api
    try:
        values = dict(read_given(given)) if given is not None else {}
        if locale is not None:
            values["customer"] = {**values.get("customer", {}), "locale": locale}
        running = located.running.api_url if located.running is not None else None
        base = api.public_url or running or f"http://{api.host}:{api.port}"
        wanted = letter(compile_project(located), channel, template, values, base)
    except Unclear as unclear:
        raise Failure(unclear.message, unclear.hint) from None
    try:
        if customer is None:
            return wanted, wanted.content(stranger(wanted, datetime.now(UTC)))
        return wanted, wanted.content(located.in_transaction(lambda c: known(c, wanted, customer)))
    except (RenderError, ExpressionError) as wrong:
        raise Failure(str(wrong), _mend(customer), Code.NO) from None


def _mend(customer: str | None) -> str:
    """What to do about a message that fails. It has compiled, so that it is the values."""
    if customer is None:
        return "it compiles, and fails with the values that nobody has: --customer and --with give it others"
    return "it compiles, and fails with this customer's values: mend the template, or what it is given"


def _sent(located: Located, wanted: Letter, content: Content, to: str) -> Receipt:
    from engine.app.previewing import send_test as really
    from engine.delivery.channel import load_channel
    from engine.settings.problems import nearest

    stand_in(located.folder)
    known = located.settings.channels
    if wanted.channel not in known:
        raise Failure(f"sojourn.yaml has no channel {wanted.channel!r}", nearest(wanted.channel, known))
    real = load_channel(wanted.channel, known[wanted.channel].config())

    async def send(database: Database) -> Receipt:
        try:
            return await really(database, wanted, content, real, to, actor())
        except ValueError as wrong:  # what an adapter says that can't make a message of this one
            raise Failure(str(wrong), "mend the template, or the channel's sender in policy.yaml", Code.NO) from None
        finally:
            await real.close()

    return located.on_database(send)


def _told(wanted: Letter, content: Content, price: str | None) -> dict[str, Any]:
    """The message as JSON. `price`: of one segment."""
    from engine.delivery.sms import cost, measure

    told: dict[str, Any] = {
        "channel": wanted.channel,
        "template": wanted.op.template,
        "journey": wanted.plan.journey if wanted.plan.entries else None,
        "locale": content.locale,
        "hash": content.template_hash,
        "fields": dict(content.fields),
        "text": content.text,
        "html": content.html,
        "json": content.json,
        "html_bytes": None if content.html is None else len(content.html.encode()),
    }
    if wanted.channel == "sms" and content.text is not None:
        counted = measure(content.text)
        told["segments"] = {
            "encoding": counted.encoding,
            "segments": counted.segments,
            "units": counted.units,
            "odd": counted.odd,
            "cost": None if price is None else cost(counted.segments, price),
        }
    return told


def _show(told: dict[str, Any]) -> None:
    """Fields, sizes, then the words."""
    from engine.authoring.page_checks import CLIPPED

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told["fields"].items():
        table.add_row(name, Text(value, "bold" if name == "subject" else ""))
    table.add_row("language", Text(told["locale"] or "the one for everybody"))
    if told["html_bytes"] is not None:
        size = Text(f"{told['html_bytes'] / 1024:.1f} KB of HTML")
        if told["html_bytes"] > CLIPPED:
            size.append(f": Gmail cuts off what is over {CLIPPED // 1024} KB", "red")
        table.add_row("size", size)
    if "segments" in told:
        table.add_row("segments", Text(_counted(told["segments"])))
    out.print(table)
    body = told["text"] if told["text"] is not None else json.dumps(told["json"], ensure_ascii=False, indent=2)
    out.print()
    out.print(Text(body), soft_wrap=not out.is_terminal)


def _counted(segments: dict[str, Any]) -> str:
    """ "1 of GSM-7, 58 characters long, 0.05 EUR", and what keeps it from being so."""
    price = f", {segments['cost']}" if segments["cost"] else ""
    odd = f"; not in GSM-7: {' '.join(segments['odd'])}" if segments["odd"] else ""
    return f"{segments['segments']} of {segments['encoding']}, {segments['units']} characters long{price}{odd}"


def _write(file: Path, content: Content, told: dict[str, Any]) -> None:
    if file.suffix == ".json":
        body: str | None = json.dumps(told, ensure_ascii=False, indent=2) + "\n"
    else:
        body = content.text if file.suffix == ".txt" else content.html
    if body is None:
        raise Failure(f"this message has no HTML to write to {file}", "end the file's name in .txt or .json")
    try:
        file.write_text(body, encoding="utf-8")
    except OSError as wrong:
        raise Failure(f"{file} can't be written: {wrong.strerror}") from None
