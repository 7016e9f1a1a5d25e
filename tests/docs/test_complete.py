"""The reference pages leave nothing out and invent nothing: settings, variables, routes, errors, statuses, gates, inputs.

Language and problem codes are held to account in `tests/authoring`, commands in `tests/cli`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, SecretStr

from channels import file, smtp, webhook
from engine.api.access import Access
from engine.api.app import create_app
from engine.api.journeys import STATUS as CANT_ENROLL
from engine.api.reach import Reach
from engine.core.enrollment import Input
from engine.core.facts import GATES
from engine.settings.project import ChannelSettings, Role, Settings, SourceSettings, TokenSettings
from tests.docs.pages import DOCS, ROOT, anchors, links, named, pages, prose

SETTINGS, API, LEDGER = (DOCS / "reference" / f"{name}.md" for name in ("settings", "api", "ledger"))
MIGRATIONS = ROOT / "engine" / "store" / "migrations" / "versions"


def keys_of(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every key of a settings model, dotted; NAME for keys that the project chooses."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{before}{name}.")
        elif named_model := next((a for a in get_args(inner) if a in (ChannelSettings, SourceSettings, TokenSettings)), None):
            yield from keys_of(named_model, f"{before}{name}.NAME.")
        elif SecretStr in [getattr(a, "__origin__", a) for a in get_args(inner)] and str(inner).startswith("dict"):
            yield f"{before}{name}.NAME"
        else:
            yield f"{before}{name}"


def table(page: Any, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    under = (
        prose(page).split(f"\n## {heading}\n")[1]
        if f"\n## {heading}\n" in prose(page)
        else prose(page).split(f"\n### {heading}\n")[1]
    )
    rows = re.search(r"(?:^\|.*\n)+", under.split("\n#")[0], re.MULTILINE)[0].splitlines()  # type: ignore[index]  # or it fails
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_every_setting_is_explained() -> None:
    """The page's table has exactly the keys that sojourn.yaml can have."""
    told = {re.sub(r"`", "", row[0]) for row in table(SETTINGS, "Every key")}
    assert sorted(keys_of(Settings)) == sorted(told)


@pytest.mark.parametrize("channel", [smtp, webhook, file], ids=lambda c: c.__name__)
def test_every_setting_of_a_channel_is_explained_with_its_default(channel: Any) -> None:
    """Each channel that ships has a table with exactly its settings, and numbers stand there as the code has them."""
    rows = table(SETTINGS, channel.__name__)
    told = {key: row[1] for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    fields = channel.Settings.model_fields
    assert sorted(fields) == sorted(told)
    for key, field in fields.items():
        if field.is_required():
            assert (key, "required") == (key, told[key])
        elif isinstance(field.default, (bool, int, float)):
            shown = str(field.default).lower() if isinstance(field.default, bool) else f"{field.default:g}"
            if isinstance(field.default, int) and not isinstance(field.default, bool):
                shown = str(field.default)
            assert (key, f"`{shown}`") == (key, told[key])


def test_every_environment_variable_is_explained() -> None:
    """Each SOJOURN_ variable that the code, the starter or the shipped project reads is on the page, and no other."""
    sources = [p for top in ("engine", "channels") for p in (ROOT / top).rglob("*") if p.suffix in (".py", ".yaml")]
    text = "\n".join(p.read_text(encoding="utf-8") for p in [*sources, ROOT / "sojourn.yaml", ROOT / "worker.py"])
    read = {v for v in re.findall(r"SOJOURN_[A-Z_]+\b", text) if not v.endswith("_")}
    read |= {"SOJOURN_SECRET_NAME"} if "SOJOURN_SECRET_{" in text else set()
    told = {v for row in table(SETTINGS, "Environment variables") for v in re.findall(r"SOJOURN_[A-Z_]+", row[0])}
    assert sorted(read) == sorted(told)


def test_every_route_is_explained() -> None:
    """The API's page has a heading with the method and path of every route, and none that isn't there."""
    reach = Reach("docs", Access({}, {}), None, None, None, None, None)  # type: ignore[arg-type]  # only its routes are looked at
    document = create_app(reach).openapi()
    real = {
        f"{method.upper()} {re.sub(r'{.*?}', lambda p: {'{name}': 'NAME', '{token}': 'TOKEN'}.get(p[0], 'ID'), path)}"
        for path, methods in document["paths"].items()
        for method in methods
        if method != "head"
    }
    headings = [h for h in re.findall(r"^## (.*)$", prose(API), re.MULTILINE) if "/" in h]
    told = {route for h in headings for route in h.split(" and ")}
    assert sorted(real) == sorted(told)


def test_every_error_code_of_the_api_is_explained() -> None:
    """Each code that the API's modules can answer is in the table of errors, and no other."""
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "engine" / "api").glob("*.py"))
    real = set(re.findall(r"Refusal\(\s*\d{3},\s*\"(\w+)\"", source)) | set(re.findall(r"unavailable\(\"(\w+)\"", source))
    real |= {"bad_text", "too_deep", *CANT_ENROLL} | {"bad_request", "not_found", "method_not_allowed"}  # named in other ways
    assert [] == [code for code in sorted(real) if f'"{code}"' not in source]
    told = {code for row in table(API, "Errors") for code in re.findall(r"`(\w+)`", row[1])}
    assert sorted(real) == sorted(told)


def test_every_role_is_explained() -> None:
    """Each role that a token may have stands in the table of who may do what."""
    rows = table(DOCS / "how-to" / "run-distributed.md", "Who may do what")
    assert sorted(get_args(Role)) == sorted(role for row in rows for role in re.findall(r"`(\w+)`", row[0]))


def test_every_status_is_explained() -> None:
    """The ledger's page has exactly the statuses that the schema allows: of messages, enrollments and tasks."""
    schema = "\n".join(p.read_text(encoding="utf-8") for p in sorted(MIGRATIONS.glob("0*.py")))
    checks = [re.findall(r"'(\w+)'", c) for c in re.findall(r"check \(status in\s*\(([^)]*)\)", schema)]
    enrollments, tasks, messages = checks
    assert sorted(messages) == sorted(re.findall(r"`(\w+)`", " ".join(r[0] for r in table(LEDGER, "Statuses of messages"))))
    assert sorted(enrollments) == sorted(re.findall(r"`(\w+)`", " ".join(r[0] for r in table(LEDGER, "Statuses of enrollments"))))
    assert {"open", "done", "closed"} == set(tasks)
    assert set(tasks) <= named(LEDGER)


def test_every_gate_is_explained_in_order() -> None:
    """The page lists the gates by number and name, as `decide` asks them."""
    rows = table(LEDGER, "The gates")
    assert [(str(i), f"`{gate}`") for i, gate in enumerate(GATES)] == [(row[0], row[1]) for row in rows]


def test_every_kind_of_input_is_explained() -> None:
    """The page lists `begin` and every kind of input that the core knows."""
    kinds = get_args(get_type_hints(Input)["kind"])
    told = [row[0].strip("`") for row in table(LEDGER, "Kinds of inputs")]
    assert sorted(["begin", *kinds]) == sorted(told)


def test_every_reason_of_an_end_is_explained() -> None:
    """Each reason that the engine itself gives for an end is on the page."""
    folders = [ROOT / "engine" / name for name in ("core", "delivery", "intake")]
    source = "\n".join(p.read_text(encoding="utf-8") for folder in folders for p in folder.glob("*.py"))
    given = set(re.findall(r"(?:done|out|Outcome)\(\"exit\", (?:\*place, )?reason=\"(\w+)\"\)", source))
    given |= set(re.findall(r"leave\(person, inside, \"(\w+)\"", source)) | set(
        re.findall(r"^STOPPED = \"(\w+)\"", source, re.MULTILINE)
    )
    given |= set(re.findall(r"^COMPLETED = \"(\w+)\"", source, re.MULTILINE))
    assert {"no_date", "past", "deferred", "goal", "restarted", "stopped"} <= given
    assert [] == sorted(given - named(LEDGER))


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Any) -> None:
    """Every link of a page leads to a file that is there, and to a heading in it."""
    lost = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert [] == lost


def test_every_page_is_on_the_map() -> None:
    """docs/index.md links to every page under docs/."""
    mapped = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "index.md")}
    assert [] == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if p not in mapped and p.name != "index.md")


def test_no_page_names_a_machine() -> None:
    """No page holds a path of somebody's machine or the name of a package registry's host."""
    found = [p.name for p in pages() if re.search(r"/(home|root|work|Users)/|pypi\.org|npmjs", p.read_text(encoding="utf-8"))]
    assert [] == found
