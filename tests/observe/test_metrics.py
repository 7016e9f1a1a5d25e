"""What is documented is what is exported, and dashboard and alerts name nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.insight.gauges import GAUGES, Gauges
from engine.observe import metrics, tracing
from engine.observe.metrics import exposed
from tests.docs.pages import DOCS, ROOT
from tests.docs.test_complete import table

PAGE = DOCS / "reference" / "metrics.md"
OURS = ("What each process counts", "What each process says of the moment", "What the store says")
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

FUNCTIONS = {"sum", "max", "min", "count", "rate", "increase", "abs", "time", "topk", "histogram_quantile", "vector"}
WORDS = {"by", "ignoring", "or", "on", "without"}


def documented(*headings: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Metric → type and labels, as the page has them."""
    rows = [row for heading in headings for row in table(PAGE, heading)]
    return {row[0].strip("`"): (row[1], frozenset(re.findall(r"`(\w+)`", row[2]))) for row in rows}


def exported() -> dict[str, tuple[str, frozenset[str]]]:
    """The same, as a scrape gives it where each metric has a value."""
    labels = {
        m._name + ("_total" if m._type == "counter" else ""): frozenset(m._labelnames)
        for m in vars(metrics).values()
        if hasattr(m, "_labelnames")
    }
    labels |= {name: frozenset(said[1]) for name, said in {**metrics.WATCHED, **GAUGES}.items()}
    text = generate_latest(exposed(Gauges(None))).decode()  # type: ignore[arg-type]  # nothing is read from the store here
    found = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, labels[name])
    return found


def test_the_page_lists_what_is_exported_and_nothing_else() -> None:
    """Name, type, labels."""
    assert exported() == documented(*OURS)


def test_labels_are_words_of_the_project() -> None:
    """No label can hold a customer, an address, a message or a text that somebody sends."""
    allowed = {
        *("source", "result", "method", "route", "status", "lane", "decision", "gate", "journey", "channel", "tier", "chore"),
        *("state", "version", "schema"),
    }
    assert set() == {label for _, labels in exported().values() for label in labels} - allowed


def test_the_page_lists_every_attribute_of_spans() -> None:
    """With what it holds."""
    assert dict(tracing.ATTRIBUTES) == {row[0].strip("`"): row[1] for row in table(PAGE, "Attributes of spans")}


def test_what_temporal_says_is_in_its_sdk() -> None:
    """The names that the page has are compiled into the SDK."""
    spec = find_spec("temporalio.bridge")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (library,) = (p for p in Path(spec.submodule_search_locations[0]).iterdir() if p.suffix in (".so", ".pyd"))
    held = library.read_bytes()
    for name in documented("What Temporal says"):
        assert re.sub(r"^temporal_|_total$|_seconds$", "", name).encode() in held, name


def samples() -> dict[str, frozenset[str]]:
    """Everything that a query may name → its labels."""
    found = {"up": frozenset({"job", "instance"})}
    for name, (kind, labels) in documented(*OURS, "What Temporal says").items():
        for suffix in SUFFIXES[kind]:
            found[name + suffix] = labels | {"instance", "job"} | ({"le"} if suffix == "_bucket" else set())
    return found


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of the dashboard's panels and the alerts."""
    board = json.loads((ROOT / "deploy/grafana/sojourn.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"dashboard: {panel['title']}", target["expr"]
    for rule in rules():
        yield f"alert: {rule['alert']}", rule["expr"]


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    read = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(("where", "query"), [*queries()], ids=lambda value: value if ": " in value else "")
def test_every_query_names_metrics_and_labels_that_there_are(where: str, query: str) -> None:
    """Its functions are Prometheus's, its brackets close, what it groups by is a label of what it looks at."""
    known = samples()
    assert [query.count(c) for c in "({["] == [query.count(c) for c in ")}]"], where
    plain = re.sub(r"\"[^\"]*\"", "", query)
    named = set(re.findall(r"\b(?:sojourn|temporal)_\w+|\bup\b", plain))
    assert named, where
    assert set() == named - set(known), where
    there = frozenset.union(*(known[name] for name in named))
    for name, chosen in re.findall(r"(\w+)\{([^}]*)\}", plain):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen)) <= known[name], where
    for grouped in re.findall(r"\b(?:by|ignoring|on|without)\s*\(([^)]*)\)", plain):
        assert set(re.findall(r"\w+", grouped)) <= there, where
    left = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|ignoring|on|without)\s*\([^)]*\)", "", plain)
    assert set() == set(re.findall(r"[a-z]\w*", left)) - named - FUNCTIONS - WORDS, where
    for window in re.findall(r"\[([^\]]*)\]", plain):
        assert re.fullmatch(r"\$__rate_interval|\d+[mhd]", window), where
    assert all(
        re.search(rf"(?:rate|increase)\({name}", plain) for name in named if name.endswith(("_total", "_bucket", "_count"))
    ), where


def test_alerts_have_what_prometheus_asks_and_say_what_to_do() -> None:
    """Each has a name of its own, a severity, what is wrong and what to do; `for` is a duration. What it says names labels that
    its query keeps."""
    all_ = rules()
    assert len(all_) == len({rule["alert"] for rule in all_})
    for rule in all_:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert {"summary", "do"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by)\s*\(([^)]*)\)", rule["expr"]))))
        kept = grouped or samples()[re.findall(r"\b(?:sojourn_\w+|up)\b", rule["expr"])[0]]
        said = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= kept, rule["alert"]


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """Panels have numbers of their own, a place within 24 columns that no other has, and the data source that is chosen."""
    board = json.loads((ROOT / "deploy/grafana/sojourn.json").read_text())
    panels = board["panels"]
    assert len(panels) == len({p["id"] for p in panels})
    assert ["datasource"] == [v["name"] for v in board["templating"]["list"]]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert "${datasource}" == target["datasource"]["uid"]
