"""The documentation as data: pages, their headings and links, their fenced blocks with the marks that stand before them.

A mark is an HTML comment right above a block. `not run: REASON` keeps a block from being run, `exits N` says that its last
command fails with N, `eventually` that its output may take a moment, `file: PATH` that the block is that file of the project.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

MARK = re.compile(r"<!-- (not run|exits|eventually|file)(?:: (.*?)| (\d+))? -->")
FENCE = re.compile(r"(\s*)```(\w*)\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line`: of its opening fence, from 1. `marks`: name → what it says."""

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file of the project that this block is: from its mark, or from a comment in its first line."""
        if "file" in self.marks:
            return self.marks["file"]
        first = re.match(r"# ([\w./-]+\.yaml)\n", self.text)
        return first[1] if first and self.language == "yaml" else None


@dataclass(frozen=True, slots=True)
class Command:
    """One `$ …` of a console block, and what the page shows of its output."""

    text: str
    shown: tuple[str, ...]


def pages() -> list[Path]:
    """The README and everything under docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    marks: dict[str, str] = {}
    opened: tuple[int, str, str] | None = None
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if opened is not None and line.strip() == "```":
            found.append(Block(page, opened[0], opened[1], "".join(f"{b.removeprefix(opened[2])}\n" for b in body), marks))
            opened, marks, body = None, {}, []
        elif opened is not None:
            body.append(line)
        elif fence:
            opened = (number, fence[2], fence[1])
        elif mark := MARK.match(line.strip()):
            marks[mark[1]] = mark[2] or mark[3] or ""
        elif line.strip():
            marks = {}
    assert opened is None, f"{page}: a block isn't closed"
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block, each with the lines that follow it; a command goes on after a backslash or in quotes."""
    lines = block.text.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            raise AssertionError(f"{block.place}: a console block begins with `$ `, not with {line!r}")
        text = line[2:]
        while lines and (text.endswith("\\") or text.count("'") % 2):
            text += f"\n{lines.pop(0).removeprefix('> ')}"
        shown: list[str] = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        yield Command(text, tuple(shown))


def prose(page: Path) -> str:
    """A page's text without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def named(page: Path) -> set[str]:
    """Every word that stands in code marks in the prose of a page."""
    return set(re.findall(r"[\w.$/{}-]+", " ".join(re.findall(r"`([^`]+)`", prose(page)))))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.replace("`", "").lower()).replace(" ", "-") for h in headings}


def links(page: Path) -> list[str]:
    """The targets of a page's links, without those to other hosts."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]
