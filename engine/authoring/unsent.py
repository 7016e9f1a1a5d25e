"""What is wrong with templates that no journey sends, which nothing else looks at before somebody writes the `send`.

Which event is looked at there, and what `with` gives, nobody knows yet: any property of an event will do, and a name that isn't
known is a warning. All else is wrong in whatever journey.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from engine.authoring.scopes import Open
from engine.authoring.template_checks import GIVEN, check_names, check_template
from engine.authoring.templates import PAGES, Source, Template, sealed
from engine.authoring.world import World
from engine.settings.problems import Problem, nearest

UNKNOWN = "SJ230"
"""The code of a name that nobody knows."""


def check_unsent(world: World, loose: Iterable[Source]) -> Iterator[Problem]:
    """What is wrong with the messages that nothing has `sent`, and with `loose` files, which no message includes."""
    anything = Open({})
    scope = world.names(entry=anything, event=anything, vars=anything).scope()
    for _, template in _unsent(world):
        yield from map(_mild, check_template(template, scope, marketing=False))
    seen = scope.with_names(GIVEN)
    for source in loose:
        yield from map(_mild, check_names(_alone(source), seen))


def tell_unsent(world: World) -> Iterator[Problem]:
    """A warning for each message that nothing sends."""
    for (channel, name), template in _unsent(world):
        main = next(iter((*template.parts.values(), *template.fields.values())), None)
        file = f"templates/{channel}/{name}" if main is None else main.file
        hint = f"remove it, or send it: `send: {channel}` with `template: {name}`"
        if channel not in world.channels:
            known = nearest(channel, world.channels) or "none is declared"
            hint = f"there is no channel {channel!r} ({known}): rename the folder, declare it in sojourn.yaml, or remove this"
        yield Problem(file, 0, 0, "SJ209", 0, "no journey sends this message", hint, "warning")


def _unsent(world: World) -> Iterator[tuple[tuple[str, str], Template]]:
    for place, template in world.templates.items():
        if place[0] != PAGES and place not in world.sent:
            yield place, template


def _mild(problem: Problem) -> Problem:
    if problem.code != UNKNOWN:
        return problem
    hint = "; ".join(filter(None, ("whatever sends it must give it, under `with:`", problem.hint)))
    return replace(problem, level="warning", hint=hint)


def _alone(source: Source) -> Template:
    return sealed("", "", {}, {}, {source.file: source})
