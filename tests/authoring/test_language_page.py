"""The language reference: its examples are one project that compiles, and it leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from engine.authoring.project import load_project
from engine.authoring.shape_journey import ENTRIES, Journey
from engine.authoring.shape_policy import Policy
from engine.authoring.shape_steps import VERBS
from engine.authoring.shape_tracking import COMPUTED_KINDS, CONDITIONS
from engine.core.plan import Act, Branch, Exit, Loop, Send, Split, Wait, WaitFor
from engine.settings.shape import keys_of
from engine.settings.yaml import read
from tests.authoring.conftest import CHANNELS, LETTER, PAGE, page_examples

ROOT = PAGE.parents[1]


def test_the_examples_are_one_project_that_compiles(tmp_path: Path) -> None:
    """Every YAML block of docs/language.md compiles, as it stands there."""
    examples = page_examples()
    for path, text in examples.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for channel in CHANNELS:
        for name in ("post_purchase/how_to_use", "post_purchase/thank_you", "post_purchase/replenish", "service/apology"):
            path = tmp_path / "templates" / channel / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(LETTER if channel == "email" else "Hello", encoding="utf-8")
    compiled = load_project(tmp_path, CHANNELS)
    by_calendar = {"spring_news", "birthday", "looked_at", "lapsing_note"}
    assert {"post_purchase_care", "vip_note", "service_recovery", *by_calendar} == set(compiled.plans)
    assert ["journeys/tests/post_purchase_care.yaml"] == list(compiled.tests)
    used = {type(op) for plan in compiled.plans.values() for op in plan.ops}
    assert {Wait, WaitFor, Send, Branch, Split, Act, Loop, Exit} <= used
    assert [] == [p.render() for p in compiled.problems if p.code not in {"SJ419", "SJ333", "SJ209"}]


def test_every_block_names_its_file_and_can_be_read() -> None:
    """A fenced block begins with the file that it is, and holds no YAML problem."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == len(page_examples())
    assert [] == [p for file, text in page_examples().items() for p in read(text, file).problems]


def test_every_verb_entry_and_key_is_documented() -> None:
    """The page has a section for each verb, and names each entry, condition, computed kind and key of the shared files."""
    page = PAGE.read_text(encoding="utf-8")
    assert [] == [verb for verb in VERBS if f"\n### {verb}\n" not in page]
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    keys = {*ENTRIES, *COMPUTED_KINDS, *CONDITIONS, *keys_of(Journey), *keys_of(Policy)}
    assert [] == sorted(keys - words)


def test_every_problem_code_has_a_section() -> None:
    """Each code that the engine can report is explained in docs/problems.md, and none that it can't."""
    explained = set(re.findall(r"^## (SJ\d{3})", (ROOT / "docs" / "problems.md").read_text(encoding="utf-8"), re.MULTILINE))
    sources = [*(ROOT / "engine" / "authoring").glob("*.py"), *(ROOT / "engine" / "settings").glob("*.py")]
    reported = {code for path in sources for code in re.findall(r'"(SJ\d{3})"', path.read_text(encoding="utf-8"))}
    assert [] == sorted(reported - explained)
    assert [] == sorted(explained - reported)


def test_shipped_schemas_hold_the_examples(write: Callable[..., Path]) -> None:
    """The exported schema of a journey knows every key that the page's journey uses."""
    from engine.authoring.project import schemas

    found = schemas()
    assert {"journey", "policy", "calendar", "segments", "tracking", "tests"} == set(found)
    assert set(keys_of(Journey)) == set(found["journey"]["properties"])
