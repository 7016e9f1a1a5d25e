"""Commands of operators that act on people inside: `retry`, `stop`, `skip`; in batches, through `engine.intake.operators`."""

from __future__ import annotations

from dataclasses import replace

from engine.cli.acting import INSIDE, on_chosen
from engine.cli.choosing import NOTHING, EnrollmentsArgument, Wanted, filtered, read_numbers
from engine.cli.located import locate
from engine.cli.terminal import HERE, DataOption, DryRunOption, JsonOption, ProjectOption, YesOption


@filtered
def retry(
    numbers: EnrollmentsArgument = None,
    project: ProjectOption = HERE,
    wanted: Wanted = NOTHING,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let parked enrollments go on with what failed, after it was mended.

    Every gate is asked again before anything leaves. Exit code 1 where there is none such, or none of them is parked.
    Example: [bold]sojourn retry --journey welcome --reason template[/]
    """
    from engine.intake import operators

    wanted = replace(wanted, numbers=read_numbers(numbers))
    located = locate(project, data, lenient=True)
    on_chosen(located, wanted, ("parked",), operators.retry, ("parked", "retry", "retried"), dry_run, yes, as_json)


@filtered
def stop(
    numbers: EnrollmentsArgument = None,
    project: ProjectOption = HERE,
    wanted: Wanted = NOTHING,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End enrollments at once, in the middle of a wait too. What was handed over stays sent.

    Exit code 1 where there is none such, or none of them is inside any more.
    Example: [bold]sojourn stop --customer ada --journey welcome[/]
    """
    from engine.intake import operators

    wanted = replace(wanted, numbers=read_numbers(numbers))
    located = locate(project, data, lenient=True)
    on_chosen(located, wanted, INSIDE, operators.stop, ("inside", "stop", "stopped"), dry_run, yes, as_json)


@filtered
def skip(
    numbers: EnrollmentsArgument = None,
    project: ProjectOption = HERE,
    wanted: Wanted = NOTHING,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have enrollments go on behind the step in which they stand, asleep or parked.

    A message of that step that waits is dropped; one that a provider has stays sent. The blocks of a wait_for belong to it. Exit
    code 1 where there is none such, or all stand at their very beginning.
    Example: [bold]sojourn skip --journey welcome --step confirm --in-step 14d[/]
    """
    from engine.intake import operators

    wanted = replace(wanted, numbers=read_numbers(numbers))
    located = locate(project, data, lenient=True)
    on_chosen(located, wanted, INSIDE, operators.skip, ("inside", "skip", "skipped"), dry_run, yes, as_json)
