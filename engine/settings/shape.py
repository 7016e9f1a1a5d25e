"""Pydantic models of files that people write: every scalar arrives as text and gets its type here, unknown keys are refused
with the nearest known one, and each of pydantic's errors becomes a Problem at its place. Fields with the names of Python's
keywords carry an underscore and an alias (`if_`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from engine.settings.document import Document, List, Map, Node, plain
from engine.settings.problems import Problem, nearest

M = TypeVar("M", bound=BaseModel)


class Shape(BaseModel):
    """The base of all models of files. Frozen; keys it doesn't declare are problems."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _remember(cls, data: Any, info: ValidationInfo) -> Any:
        """Notes which model a mapping was read as, so that an unknown key can be told the known ones."""
        if isinstance(data, dict) and info.context is not None:
            info.context[id(data)] = cls
        if data is None or not isinstance(data, dict):
            raise PydanticCustomError("mapping", "this must be a mapping with the keys {keys}", {"keys": ", ".join(keys_of(cls))})
        return data


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that `model` knows, as they are written."""
    return [f.alias or name for name, f in model.model_fields.items()]


def _form(data: Any) -> str:
    if isinstance(data, dict):
        return "<map>"
    return "<list>" if isinstance(data, list) else "<text>"


FORM = Discriminator(_form)
"""Tells `Annotated[X, TEXT] | Annotated[Y, MAP] | Annotated[Z, LIST]` apart by what was written."""
TEXT, MAP, LIST = Tag("<text>"), Tag("<map>"), Tag("<list>")


def _yes_no(data: Any) -> Any:
    if isinstance(data, bool):
        return data
    if data in ("true", "false"):
        return data == "true"
    raise PydanticCustomError("yes_no", "this must be true or false")


def _share(data: Any) -> Any:
    if isinstance(data, str) and data.endswith("%"):
        try:
            number = float(data[:-1])
        except ValueError:
            number = -1.0
        if 0 <= number <= 100:
            return number / 100
    raise PydanticCustomError("share", "this must be a share written as a percentage, such as 10%")


def _number(data: Any) -> Any:
    if isinstance(data, str) and not data.strip().isascii():
        raise PydanticCustomError("number", "this must be a number")
    return data


YesNo = Annotated[bool, BeforeValidator(_yes_no), WithJsonSchema({"type": "boolean"})]
Share = Annotated[float, BeforeValidator(_share), WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$"})]
"""Written `10%`; the value is in [0, 1]."""
Whole = Annotated[int, BeforeValidator(_number)]
Number = Annotated[float, BeforeValidator(_number)]


def validate(document: Document, model: type[M]) -> M | None:
    """The document as `model`, or None; what is wrong is added to `document.problems`."""
    if document.root is None:
        if not document.problems:
            document.problems.append(
                Problem(document.file, 0, 0, "SJ108", 0, "this file is empty", "write something in it, or remove it")
            )
        return None
    read_as: dict[int, type[BaseModel]] = {}
    data = plain(document.root)
    try:
        return model.model_validate(data, context=read_as)
    except ValidationError as bad:
        for error in bad.errors(include_url=False):
            if error["type"] == "too_short" and error["input"]:
                continue  # its items were refused, each with a problem of its own
            document.problems.append(_problem(document, data, dict(error), read_as))
        return None


def path_of(document: Document, loc: tuple[int | str, ...]) -> list[str | int]:
    """pydantic's `loc` as a path in the file: without the tags of unions, and without the index of a single value that stands
    for a list of one."""
    path: list[str | int] = []
    for part in loc:
        node = document.at(path)
        written = isinstance(node, Map) and node.get(str(part)) is not None
        tag = isinstance(part, str) and part.startswith("<") and part.endswith(">")
        if not written and (tag or part == "[key]" or (isinstance(part, int) and not isinstance(node, List))):
            continue
        path.append(part)
    return path


def _problem(document: Document, data: Any, error: dict[str, Any], read_as: dict[int, type[BaseModel]]) -> Problem:
    path = path_of(document, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        above = _inside(data, path[:-1])
        model = read_as.get(id(above))
        known = [k for k in keys_of(model) if k not in above] if model else []
        return document.problem(
            "SJ110", document.key_at(path), f"{path[-1]!r} is not a key that is known here", nearest(str(path[-1]), known)
        )
    if kind == "missing":
        node = document.at(path[:-1])
        place = document.key_at(path[:-1]) if isinstance(node, Map) and path[:-1] else node
        if isinstance(place, Map) and place.entries:
            place = place.entries[0][0]
        return document.problem("SJ111", place, f"{path[-1]!r} is missing here", "")
    node = document.at(path)
    if kind == "one_of":
        return _not_one(document, node, error)
    if path and (isinstance(node, Map) or error["loc"][-1] == "[key]"):
        node = document.key_at(path)
    code = str((error.get("ctx") or {}).get("code", "SJ112"))
    return document.problem(code, node, _words(error), str((error.get("ctx") or {}).get("hint", "")))


def _not_one(document: Document, node: Node | None, error: dict[str, Any]) -> Problem:
    """None or several of the keys that say what a mapping is (a step's verb, an entry's kind)."""
    known = str(error["ctx"]["known"]).split()
    what = error["ctx"]["what"]
    if not isinstance(node, Map):
        return document.problem("SJ113", node, f"this isn't {what}", f"write one of {', '.join(known)}, followed by a colon")
    found = [k for k, _ in node.entries if k.value in known]
    if len(found) > 1:
        names = " and ".join(repr(k.value) for k in found[:2])
        return document.problem(
            "SJ114", found[1], f"{names} can't stand in one item", "make two of it: begin the second with its own '-'"
        )
    hints = {k: hint for k, _ in node.entries if (hint := _meant(k.value, known, error["ctx"]))}
    odd, hint = next(iter(hints.items()), (node.entries[0][0] if node.entries else node, ""))
    return document.problem("SJ113", odd, f"{what} needs exactly one of: {', '.join(known)}", hint)


def _meant(key: str, known: list[str], context: Mapping[str, Any]) -> str:
    """A hint for a key that is none of `known`, "" where nothing is near it."""
    near = nearest(key, known)
    return str(context.get(f"instead of {key.lower()}", near if near.startswith("did") else ""))


def one_of(
    name: Callable[[Any], str | None], known: Iterable[str], what: str, instead: Mapping[str, str] | None = None
) -> Discriminator:
    """A discriminator by the one key that says what a mapping is; none or several of `known` is SJ113 or SJ114. `instead`: what
    to write for words that people try."""
    return Discriminator(
        name,
        custom_error_type="one_of",
        custom_error_message="{what} needs exactly one of {known}",
        custom_error_context={
            "known": " ".join(known),
            "what": what,
            **{f"instead of {k}": v for k, v in (instead or {}).items()},
        },
    )


def _inside(data: Any, path: list[str | int]) -> Any:
    for part in path:
        data = data[part]
    return data


def _words(error: dict[str, Any]) -> str:
    """pydantic's error in our words."""
    kind, ctx = error["type"], error.get("ctx") or {}
    if error["input"] is None:
        return "a value is missing here"
    if kind == "literal_error":
        return f"{error['input']!r} can't stand here: it must be {ctx['expected']}"
    if kind == "union_tag_invalid":
        expected = str(ctx.get("expected_tags", "")).replace("<", "").replace(">", "").replace("'", "")
        return f"a {str(ctx.get('tag', '')).strip('<>')} can't stand here: it must be {expected.replace(', ', ' or ')}"
    simple = {
        "string_type": "this must be text",
        "list_type": "this must be a list",
        "tuple_type": "this must be a list",
        "dict_type": "this must be a mapping",
        "int_parsing": "this must be a whole number",
        "int_type": "this must be a whole number",
        "float_parsing": "this must be a number",
        "float_type": "this must be a number",
        "finite_number": "this must be a number",
        "too_short": "this needs at least one item",
    }
    return simple.get(kind) or str(error["msg"])
