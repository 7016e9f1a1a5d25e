"""What else is wrong with a journey whose form is: what was refused is taken out, and the rest compiled for the names it uses.

So one run tells them too. Only names that the shared files, the templates or other journeys decide are judged: what stands in the
place of what was taken out may lack anything else.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from engine.authoring.compile_journey import compile_journey
from engine.authoring.shape_journey import Journey
from engine.authoring.world import World
from engine.settings.shape import path_of
from engine.settings.yaml import Document, plain

NAMES = frozenset({f"SJ2{n:02}" for n in range(1, 14)} - {"SJ211"})
"""Unknown events, templates, topics, tiers, channels, journeys, tags, attributes, segments and calendars."""

ROUNDS = 20
"""How often something is taken out: each time what is refused then."""

_STEP = {"wait": "1d"}
_ENTER = [{"api": "true", "again": "always"}]


def tell_names(document: Document, world: World) -> None:
    """Adds the unknown names of `document`, a journey that was refused for its form, to its problems."""
    journey = _sound_part(document)
    if journey is None:
        return
    told = len(document.problems)
    compile_journey(journey, document, world)
    document.problems[told:] = [p for p in document.problems[told:] if p.code in NAMES]


def _sound_part(document: Document) -> Journey | None:
    """The journey without what is refused, the rest at its places; None where too little is left."""
    if document.root is None:
        return None
    data = plain(document.root)
    for _ in range(ROUNDS):
        try:
            return Journey.model_validate(data, context={})
        except ValidationError as bad:
            for error in bad.errors(include_url=False, include_input=False):
                if not isinstance(data, dict) or not _take_out(data, path_of(document, error["loc"]), error["type"]):
                    return None
    return None


def _take_out(data: dict[str, Any], path: list[str | int], kind: str) -> bool:
    """Take out what stands at `path`: a key that nobody knows, else the step around it, else all under its first key. Whether
    that was possible."""
    if not path:
        return False
    if kind == "extra_forbidden" and isinstance(above := _there(data, path[:-1]), dict):
        above.pop(path[-1], None)
        return True
    for n in range(len(path) - 1, 0, -1):
        above = _there(data, path[:n])
        if isinstance(above, list) and isinstance(at := path[n], int) and path[n - 1] in ("steps", "then", "else"):
            if at < len(above):
                above[at] = dict(_STEP)
            return True
    first = str(path[0])
    if first == "enter":
        data["enter"] = _ENTER
    elif first == "steps":
        data["steps"] = [_STEP]
    elif first not in data:
        return False
    else:
        del data[first]
    return True


def _there(data: Any, path: list[str | int]) -> Any:
    """What stands at `path`, None where what stood there was taken out."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
