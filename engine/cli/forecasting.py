"""The command `simulate`: what a project would do, counted and drawn. Nothing is sent, and nothing is written but a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.importing import progress
from engine.cli.located import Located, compile_project, locate
from engine.cli.terminal import HERE, DataOption, Failure, JsonOption, ProjectOption, out, path_option, print_json

if TYPE_CHECKING:
    from engine.app.forecast import Figures
    from engine.app.simulating import Part, Shown, Span
    from engine.core.clock import Duration
    from engine.simulator.play import Begun

CUSTOMERS, DAYS = 1000, 30

EventsOption = Annotated[
    Path | None,
    path_option("--events", "FILE", "What happened: JSON lines, one Segment call with a timestamp to a line."),
]
StoreOption = Annotated[
    str | None, typer.Option("--from-store", metavar="90d", help="What the database has recorded for so long.")
]


def simulate(
    journey: Annotated[
        str | None, typer.Argument(metavar="[JOURNEY]", help="Only this journey; without it, all of them together.")
    ] = None,
    project: ProjectOption = HERE,
    customers: Annotated[
        int | None, typer.Option("--customers", min=1, metavar="N", help="So many people who don't exist.", show_default="1000")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3660, metavar="D", help="For so long.", show_default="30")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Another number gives other people.")] = 0,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="MOMENT",
            help="When it begins, by the clock of policy.yaml's `timezone` unless it has an offset.",
            show_default="today",
        ),
    ] = None,
    events: EventsOption = None,
    from_store: StoreOption = None,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="Channels that have a `warmup` in sojourn.yaml begin it with their first message.")
    ] = False,
    html: Annotated[Path | None, path_option("--html", "FILE", "Also write a page with plots there.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play journeys beforehand and count what would happen: messages, caps, defers and drops, time in steps, ways taken.

    Nothing is sent. Example: [bold]sojourn simulate --customers 2000 --days 60 --html forecast.html[/]
    """
    from engine.app.offline import addresses_of
    from engine.app.simulating import Part, figures_of, play_synthetic
    from engine.app.synthetic import Synthetic
    from engine.cli.forecast_shown import draw
    from engine.settings.problems import nearest

    _fits(customers=customers, days=days, start=start, events=events, from_store=from_store)
    located = locate(project, data, lenient=True)
    warming = _warming(located) if warm_up else None
    compiled = compile_project(located)
    if journey is not None and journey not in compiled.plans:
        raise Failure(f"there is no journey {journey!r}", nearest(journey, compiled.plans))
    wanted = None if journey is None else (journey,)
    figures = figures_of(compiled, wanted)
    with progress("simulating") as tell:
        part = Part(compiled, wanted, figures.tell, addresses_of(located.settings), warming)
        if from_store is not None:
            span = play_store(located, from_store, [part], tell)
        elif events is not None:
            span = play_file(events, [part], tell, days)
        else:
            how = (customers or CUSTOMERS, days or DAYS, _begin(start, compiled.policy.timezone), compiled.policy.timezone, seed)
            span = play_synthetic(Synthetic(compiled, *how, wanted or ()), part, tell)
    if html is not None:
        _write(html, figures, span, located, journey)
    if as_json:
        print_json({"played": span.to_json(), **figures.to_json()})
        return
    out.print(draw(figures, span))
    if html is not None:
        out.print(f"the page with plots is {html}", markup=False, soft_wrap=True)


def _warming(located: Located) -> dict[str, Begun]:
    """The channels that are to be warmed up. Raises Failure where there are none."""
    from engine.simulator.play import Begun

    written = {name: channel.warmup for name, channel in located.settings.channels.items()}
    found = {name: Begun(w.start, w.double, w.until) for name, w in written.items() if w is not None}
    if not found:
        raise Failure("no channel of sojourn.yaml has a `warmup`", "write one, such as warmup: {start: 50/day, double: 3d}")
    return found


def _fits(**given: object) -> None:
    """Raises Failure where options exclude each other."""
    if given["events"] is not None and given["from_store"] is not None:
        raise Failure(
            "--events and --from-store exclude each other", "one says what happened, the other takes it from the database"
        )
    for other in ("events", "from_store"):
        for one in ("customers", "start") if other == "events" else ("customers", "start", "days"):
            if given[other] is not None and given[one] is not None:
                name = other.replace("_", "-")
                raise Failure(f"--{one} is for people who don't exist, and --{name} has real ones", f"leave --{one} out")


def _begin(text: str | None, zone: str) -> datetime:
    """The moment of --start, or today's first one. Raises Failure."""
    from engine.core.clock import local, resolve_local
    from engine.core.clock import zone as zone_named
    from engine.insight.asked import BadMoment, read_moment

    there = zone_named(zone)
    try:
        naive = local(datetime.now(UTC), there).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
        moment = naive if text is None else read_moment(text)
    except BadMoment as bad:
        raise Failure(f"--start: {bad}", "write it as 2026-03-02, or with its offset: 2026-03-02T10:00+01:00") from None
    return resolve_local(moment, there) if moment.tzinfo is None else moment.astimezone(UTC)


def play_file(path: Path, parts: Sequence[Part], tell: Shown, days: int | None = None) -> Span:
    """Play the calls of --events. Raises Failure."""
    from engine.app.import_file import Unreadable
    from engine.app.simulating import play_file as really

    try:
        return really(path, parts, tell, days)
    except Unreadable as wrong:
        raise Failure(wrong.message, wrong.hint) from None


def play_store(located: Located, back: str, parts: Sequence[Part], tell: Shown) -> Span:
    """Play what is recorded, as far as --from-store goes `back`. Raises Failure."""
    from engine.app.simulating import play_store as really

    length = _length(back)
    return located.on_database(lambda database: really(database, length, parts, tell))


def _length(text: str) -> Duration:
    """How long --from-store goes back. Raises Failure."""
    from engine.core.clock import Duration, parse_duration

    try:
        length = parse_duration(text)
    except ValueError as wrong:
        raise Failure(f"--from-store: {wrong}", "write a time such as 90d, 8w or 6 months") from None
    if length <= Duration():
        raise Failure(f"--from-store: {text} is no time back", "write a time such as 90d, 8w or 6 months")
    return length


def _write(path: Path, figures: Figures, span: Span, located: Located, journey: str | None) -> None:
    from engine.app.forecast_page import page

    title = located.settings.project if journey is None else f"{located.settings.project}: {journey}"
    try:
        path.write_text(page(figures, span, title), encoding="utf-8")
    except OSError as cannot:
        raise Failure(f"{path} can't be written: {cannot.strerror}", "--html names the file of the page") from None
