"""Projects for tests, written to a folder: the language page's examples, and small ones that say only what a test needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.authoring.project import AuthoringError, Compiled, load_project
from engine.settings.problems import Problem

CHANNELS = {"email", "sms", "push"}
PAGE = Path(__file__).parents[2] / "docs" / "language.md"

TRACKING = """\
events:
  order_completed: {properties: {order_id: string, total: number, category: [food, skincare]}, required: [order_id]}
  order_refunded: {properties: {order_id: string}}
  review_submitted: {properties: {order_id: string, rating: integer}, required: [rating]}
  signed_up: {properties: {plan: string}}
attributes: {first_name: string, renews_on: date, plan: [free, pro], vip_since: datetime}
computed: {orders: {count: order_completed}}
"""
POLICY = """\
tiers:
  - {name: service, skip: [consent, caps], only: [service/*]}
  - {name: lifecycle, expires: 3d}
  - {name: promotional}
topics: [offers, news]
tags: [offer, survey]
"""
SEGMENTS = "segments: {vip: {if: customer.orders >= 5}}\n"
HEAD = "journey: j\ntier: lifecycle\nenter: {event: order_completed, key: order_id}\nsteps:\n"
LETTER = "---\nsubject: Hello\n---\nHello {{ customer.email }}\n{{ unsubscribe_url }}\n{{ postal_address }}\n"


def page_examples() -> dict[str, str]:
    """The YAML blocks of the language page by the file that their first line names."""
    blocks = re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return {file: f"# {file}\n{body}" for file, body in blocks}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a project: files by path, with working shared files and a letter for every channel unless given."""

    def writing(files: dict[str, str]) -> Path:
        given = {
            "journeys/tracking.yaml": TRACKING,
            "journeys/policy.yaml": POLICY,
            "journeys/segments.yaml": SEGMENTS,
            "templates/email/hello.txt": LETTER,
            "templates/sms/hello.txt": "Hello\n",
            "templates/email/service/sorry.txt": LETTER,
            **files,
        }
        for path, text in given.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        return tmp_path

    return writing


@pytest.fixture
def compiled(write: Callable[..., Path]) -> Callable[..., Compiled]:
    """Compiles a project whose journey `j` has these steps (YAML, not indented), or these files. That its letters are sent by
    nothing isn't said."""

    def compiling(steps: str = "- exit: done", **files: str) -> Compiled:
        found = load_project(write({"journeys/j.yaml": HEAD + steps, **_paths(files)}), CHANNELS)
        return replace(found, problems=[p for p in found.problems if p.code != "SJ209"])

    return compiling


@pytest.fixture
def problems(write: Callable[..., Path]) -> Callable[..., list[Problem]]:
    """What is wrong with such a project; warnings too, but not that its letters are sent by nothing."""

    def finding(steps: str = "- exit: done", **files: str) -> list[Problem]:
        folder = write({"journeys/j.yaml": HEAD + steps, **_paths(files)})
        try:
            return [p for p in load_project(folder, CHANNELS).problems if p.code != "SJ209"]
        except AuthoringError as error:
            return error.problems

    return finding


def _paths(files: dict[str, str]) -> dict[str, str]:
    return {f"journeys/{name}.yaml": text for name, text in files.items()}
