"""Every example on the pages is carried out: commands by a shell, calls by curl, journeys and settings by the real readers."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.authoring.project import load_project
from engine.settings.project import load_settings
from tests.docs.pages import DOCS, ROOT, Block, Command, blocks, pages
from tests.docs.scratch import Scratch
from tests.harness import write_project

IN_A_SHOP = (
    "send-events",
    "mend-what-was-put-aside",
    "import-files",
    "find-out-why",
    "retry-what-is-parked",
    "replay",
    "operate-what-runs",
    "back-up-and-recover",
    "write-messages",
    "know-beforehand",
    "change-a-journey",
    "watch-it",
)
"""The how-to pages whose examples need a project that runs: the same one, in this order; the last but one closes its journey."""

TESTING = "test-a-journey"
"""The how-to page whose examples need a project and nothing that runs."""

ELSEWHERE = {"language.md", "adding-a-channel.md", "cli.md", "benchmarks.md"}
"""Pages whose examples other tests carry out."""


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    """An empty folder and a shell; what was started in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="sojourn-docs-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # the account that runs PostgreSQL for root passes through
        made = Scratch(Path(folder))
        try:
            yield made
        finally:
            made.clear()


def test_the_quickstart_is_carried_out(scratch: Scratch) -> None:
    """Following the quickstart from the first command to the last gives what it shows."""
    for block in blocks(DOCS / "quickstart.md"):
        scratch.show(block)


def test_the_how_to_pages_are_carried_out(scratch: Scratch) -> None:
    """The pages' commands, files and calls do what they say, in a project that `sojourn init` made and `sojourn up` runs."""
    for text in ("sojourn init shop", "cd shop", "sojourn up"):
        scratch.run("before the pages", Command(text, ()))
    for page in IN_A_SHOP:
        for block in blocks(DOCS / "how-to" / f"{page}.md"):
            scratch.show(block)


def test_the_page_about_tests_is_carried_out(scratch: Scratch) -> None:
    """In a new project, with no server: what passes, what fails and how that is shown, what is covered."""
    for text in ("sojourn init shop", "cd shop"):
        scratch.run("before the page", Command(text, ()))
    for block in blocks(DOCS / "how-to" / f"{TESTING}.md"):
        scratch.show(block)


def test_the_api_reference_is_carried_out(scratch: Scratch) -> None:
    """Each call of the API reference gets the answer that the page shows."""
    for text in ("sojourn init shop", "cd shop"):
        scratch.run("before the page", Command(text, ()))
    for block in blocks(DOCS / "reference" / "api.md"):
        scratch.show(block)
        if block.file == "sojourn.yaml":
            scratch.run(block.place, Command("sojourn up", ()))


def settings_blocks() -> list[Block]:
    """Every `sojourn.yaml` on the pages."""
    return [b for page in pages() for b in blocks(page) if b.file == "sojourn.yaml"]


@pytest.mark.parametrize("block", settings_blocks(), ids=lambda b: b.place)
def test_settings_examples_are_read(block: Block, tmp_path: Path) -> None:
    """Each sojourn.yaml on the pages is one that the engine reads, once the environment holds its secrets."""
    (tmp_path / "sojourn.yaml").write_text(block.text)
    environ = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)", block.text)}
    environ |= {"SOJOURN_DATABASE_URL": "postgresql://db.internal/sojourn", "SOJOURN_TEMPORAL_ADDRESS": "temporal.internal:7233"}
    assert load_settings(tmp_path, environ).project


def test_the_journey_in_the_readme_is_one_that_ships() -> None:
    """The README shows journeys/second_basket.yaml as it stands there, and the project compiles."""
    shown = next(b for b in blocks(ROOT / "README.md") if b.language == "yaml")
    assert (ROOT / "journeys" / "second_basket.yaml").read_text() == shown.text
    channels = load_settings(ROOT, {}).channels
    assert "second_basket" in load_project(ROOT, channels).plans


def test_the_journey_that_asks_for_consent_compiles(tmp_path: Path) -> None:
    """The journey on the page about consent, with a template that holds the link."""
    (journey,) = [b for b in blocks(DOCS / "reference" / "consent.md") if b.language == "yaml"]
    letter = "---\nsubject: Please confirm\n---\n{{ confirm_url }}\n"
    files = {"journeys/ask.yaml": journey.text, "templates/email/ask_for_consent.txt": letter}
    assert "ask" in load_project(write_project(tmp_path, files), {"email", "sms"}).plans


def test_the_page_of_preferences_compiles(tmp_path: Path) -> None:
    """The page of one's own, as the reference shows it."""
    (page,) = [b for b in blocks(DOCS / "reference" / "preferences.md") if b.file]
    assert load_project(write_project(tmp_path, {str(page.file): page.text}), {"email", "sms"}).templates.keys() >= {
        ("pages", "preferences")
    }


def test_the_page_about_clean_lists_compiles(tmp_path: Path) -> None:
    """Its journey with its segment, which is the one that `sojourn init` writes."""
    found = {str(b.file): b.text for b in blocks(DOCS / "how-to" / "keep-a-list-clean.md") if b.file and "journeys/" in b.file}
    tracking = (ROOT / "engine" / "cli" / "starter" / "journeys" / "tracking.yaml").read_text()
    letter = "---\nsubject: Still there?\n---\n{{ preferences_url }} {{ unsubscribe_url }} {{ postal_address }}\n"
    files = {**found, "journeys/tracking.yaml": tracking, "templates/email/sunset/still_there.txt": letter}
    compiled = load_project(write_project(tmp_path / "page", files), {"email", "sms"})
    assert "sunset" in compiled.plans
    started = (ROOT / "engine" / "cli" / "starter" / "journeys" / "segments.yaml").read_text()
    other = write_project(tmp_path / "init", {"journeys/segments.yaml": started, "journeys/tracking.yaml": tracking})
    assert compiled.segments.get("unengaged") == load_project(other, {"email", "sms"}).segments.get("unengaged")


def test_no_block_is_left_out_silently() -> None:
    """A console block is either carried out by these tests or says why it isn't; so is a block that names its file."""
    run = {DOCS / "quickstart.md", DOCS / "reference" / "api.md", *(DOCS / "how-to" / f"{p}.md" for p in (*IN_A_SHOP, TESTING))}
    left = [
        b.place
        for page in pages()
        if page not in run and page.name not in ELSEWHERE
        for b in blocks(page)
        if b.language == "console" and not b.marks.get("not run") and page.name != "run-distributed.md"
    ]
    assert [] == left


def test_the_distributed_page_is_carried_out(scratch: Scratch) -> None:
    """Those commands of the page that need no cluster run as they stand there."""
    for block in blocks(DOCS / "how-to" / "run-distributed.md"):
        if block.language == "console":
            scratch.show(block)
    assert scratch.environ["SOJOURN_ENCRYPTION_KEY"].startswith("2026a:")


def test_json_examples_are_json() -> None:
    """A json block that is no template holds JSON."""
    wrong = []
    for page in pages():
        for b in blocks(page):
            if b.language == "json" and b.file is None:
                try:
                    json.loads(b.text)
                except ValueError:
                    wrong.append(b.place)
    assert [] == wrong
