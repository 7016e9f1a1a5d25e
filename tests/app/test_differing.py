"""What differs between two versions is told in words, and every message that differs, with its reasons."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.app.comparing import NEW, NOT_REACHED, OLD, Change, Compared, by_customer, totals
from engine.app.differing import project_changes
from engine.app.event_file import read_file
from engine.app.import_file import Unreadable
from engine.app.simulating import Part, play_file
from engine.app.versions import NoVersion, of_revision
from engine.authoring.project import Compiled, load_project
from engine.simulator.told import Told
from tests.harness import POLICY, write_project

CAPPED = POLICY + "caps: [{name: daily, limit: 1, per: day}]\n"
CARE = """
journey: care
tier: lifecycle
holdout: 10%
enter: {event: signed_up, again: always, while_active: parallel}
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait: 3d
    id: pause
  - branch:
      - if: customer.country == "IT"
        then: [{send: email, id: italian, template: hello, topic: news}]
      - else: [{task: service, id: call, title: Call}]
    id: where
  - wait_for: confirmed
    id: answer
    timeout: 10d
    then: [{exit: answered, id: out}]
  - send: sms
    id: last
    template: hello
    topic: offers
"""


def compiled(folder: Path, care: str = CARE, **files: str) -> Compiled:
    """The project with this journey, and these files where they differ."""
    written = {f"journeys/{name}.yaml": text for name, text in files.items()}
    return load_project(
        write_project(folder, {"journeys/policy.yaml": CAPPED, **written, "journeys/care.yaml": care}), {"email", "sms"}
    )


EDITS: list[tuple[str, str, list[str]]] = [
    ("wait: 3d", "wait: 5d", ["changed pause: until.after: 3d → 5d"]),
    ("holdout: 10%", "holdout: 25%", ["holdout: 10% → 25%"]),
    ("tier: lifecycle\n", "tier: promotional\n", ["tier: lifecycle → promotional"] + ["tier"] * 3),
    ("  - wait: 3d\n    id: pause\n", "", ["removed pause (wait)"]),
    (
        'country == "IT"',
        'country == "FR"',
        ['changed where: arms 1.condition: customer.country == "IT" → customer.country == "FR"'],
    ),
    ("    topic: offers\n", "    topic: news\n", ["changed last: topic: offers → news"]),
    (
        "  - wait_for: confirmed",
        "  - emit: pinged\n    id: tell\n  - wait_for: confirmed",
        ["added tell (emit) before answer"],
    ),
    ("again: always", "again: never", ["entries 1.again: always → never"]),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The version before every edit."""
    return compiled(tmp_path_factory.mktemp("before"))


def told(old: Compiled, new: Compiled) -> list[str]:
    """The changes of the one journey in lines."""
    lines = []
    for journey in project_changes(old, new).journeys:
        lines += [d.told() for d in journey.fields]
        for s in journey.steps:
            where = f" before {s.before}" if s.kind == "added" else ""
            lines += [f"{s.kind} {s.step}: {d.told()}" for d in s.fields] or [f"{s.kind} {s.step} ({s.verb}){where}"]
    return lines


@pytest.mark.parametrize(("was", "will", "said"), EDITS, ids=[will.strip()[:30] or "gone" for _, will, _ in EDITS])
def test_each_edit_is_told_and_nothing_else(before: Compiled, tmp_path: Path, was: str, will: str, said: list[str]) -> None:
    """One edit gives its own lines; the numbers of operations, which it moves, give none."""
    assert was in CARE
    found = told(before, compiled(tmp_path, CARE.replace(was, will)))
    assert len(said) == len(found)
    for expected, real in zip(said, found, strict=True):
        assert all(word in real for word in expected.split()), (expected, real)


WAYS = """
journey: care
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait_for:
      - {event: confirmed, where: event.order_id == "1", then: [{exit: a, id: one}]}
      - {event: confirmed, where: event.order_id == "2", then: [{exit: b, id: two}]}
    id: answer
    timeout: 10d
  - branch:
      - {if: customer.country == "IT", then: [{exit: c, id: three}]}
      - {if: customer.country == "IT", then: [{exit: d, id: four}]}
    id: where
"""


def test_every_way_of_a_step_is_compared_with_its_own(tmp_path: Path) -> None:
    """Also where several wait for the same event, or ask the same."""
    swapped = {"exit: a, id: one": "exit: b, id: two", "exit: c, id: three": "exit: d, id: four"}
    swapped |= {two: one for one, two in swapped.items()}
    other = re.sub("|".join(swapped), lambda found: swapped[found[0]], WAYS)
    found = told(compiled(tmp_path / "old", WAYS), compiled(tmp_path / "new", other))
    assert [
        'changed answer: confirmed where event.order_id == "1" leads to: one → two',
        'changed answer: confirmed where event.order_id == "2" leads to: two → one',
        'changed where: customer.country == "IT" leads to: three → four',
        'changed where: customer.country == "IT" (2) leads to: four → three',
    ] == [line for line in found if "leads to" in line]


def test_what_journeys_share_is_told_by_its_place(before: Compiled, tmp_path: Path) -> None:
    """A cap's limit, a new tier, a type, a segment and a template are each named; so is a journey that is gone."""
    write_project(tmp_path, {"templates/email/hello.txt": "---\nsubject: Hi\n---\n{{ unsubscribe_url }} {{ postal_address }}\n"})
    policy = CAPPED.replace("limit: 1", "limit: 2").replace("tiers:\n", "tiers:\n  - {name: vital}\n")
    new = load_project(
        write_project(
            tmp_path / "new",
            {
                "journeys/policy.yaml": policy,
                "journeys/segments.yaml": "segments: {keen: {did: confirmed}}\n",
                "templates/email/hello.txt": (tmp_path / "templates/email/hello.txt").read_text(),
            },
        ),
        {"email", "sms"},
    )
    found = project_changes(before, new)
    lines = [d.told() for differences in found.shared.values() for d in differences]
    assert "caps.daily.limit: 1 → 2" in lines
    assert (
        "tiers.order: transactional, service, lifecycle, promotional → vital, transactional, service, lifecycle, promotional"
        not in lines
    )
    assert any(line.startswith("tiers.vital: ") and line.endswith("(new)") for line in lines)
    assert any(line.startswith("segments.keen: ") for line in lines)
    assert (("email/hello", "changed: subject, txt"),) == found.templates
    assert [("care", "gone")] == [(j.journey, j.kind) for j in found.journeys]
    assert not project_changes(before, before)


STEPS = [f"  - wait: {n + 1}d\n    id: s{n}\n" for n in range(7)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(7)), st.permutations(range(7)), st.integers(1, 7), st.integers(1, 7))
def test_steps_are_added_removed_and_moved_as_sets_say(tmp_path: Path, a: Any, b: Any, n: int, m: int) -> None:
    """Over any two orders of any steps: what only one has is added or removed, and what isn't told keeps its order."""
    head = "journey: care\ntier: lifecycle\nenter: {event: signed_up, again: never}\nsteps:\n"
    old, new = (compiled(tmp_path, head + "".join(STEPS[i] for i in order)) for order in (a[:n], b[:m]))
    changes = {s.step: s.kind for j in project_changes(old, new).journeys for s in j.steps}
    was, will = [f"s{i}" for i in a[:n]], [f"s{i}" for i in b[:m]]
    assert {s for s, kind in changes.items() if kind == "added"} == set(will) - set(was)
    assert {s for s, kind in changes.items() if kind == "removed"} == set(was) - set(will)
    still = [s for s in will if s in was and changes.get(s) != "moved"]
    assert still == [s for s in was if s in still]
    assert "changed" not in changes.values()


def calls(path: Path, *lines: tuple[str, str, str]) -> Path:
    """A file of events (user, name, moment)."""
    who = sorted({user for user, _, _ in lines})
    known = [f'{{"type": "identify", "userId": "{u}", "timestamp": "2026-03-01T00:00:00Z", "traits": {{"email": "{u}@x.example", '
             f'"phone": "+3933312345{n}", "country": "IT"}}}}' for n, u in enumerate(who)]  # fmt: skip
    did = [f'{{"type": "track", "userId": "{u}", "event": "{e}", "timestamp": "{at}"}}' for u, e, at in lines]
    path.write_text("\n".join([*did, *known]) + "\n")
    return path


def compare(old: Compiled, new: Compiled, path: Path) -> tuple[list[Change], Compared]:
    """Both versions over the same events."""
    compared = Compared()
    play_file(path, [Part(old, None, compared.tell(OLD)), Part(new, None, compared.tell(NEW))], lambda done, of: None)
    return compared.changes(), compared


def test_every_message_that_differs_is_told_with_its_reasons(before: Compiled, tmp_path: Path) -> None:
    """A longer wait moves what follows, a tighter cap puts off, a removed step loses its message; the other way round is
    the same with the sides changed."""
    path = calls(
        tmp_path / "events.jsonl",
        ("ada", "signed_up", "2026-03-02T10:00:00Z"),
        ("bob", "signed_up", "2026-03-02T10:00:00Z"),
        ("bob", "confirmed", "2026-03-12T10:00:00Z"),
    )
    edited = CARE.replace("wait: 3d", "wait: 5d").replace("holdout: 10%\n", "")
    edited = edited.replace("  - send: sms\n    id: last\n    template: hello\n    topic: offers\n", "")
    plain = compiled(tmp_path / "plain", CARE.replace("holdout: 10%\n", ""))
    new = compiled(tmp_path / "new", edited)
    changes, compared = compare(plain, new, path)
    start = datetime(2026, 3, 2, 10, tzinfo=UTC)
    expected = [
        ("moved", "ada", "italian", start + timedelta(days=3), start + timedelta(days=5), "", ""),
        ("moved", "bob", "italian", start + timedelta(days=3), start + timedelta(days=5), "", ""),
        ("lost", "ada", "last", start + timedelta(days=13), None, "", NOT_REACHED),
    ]
    fields = ("kind", "user", "step", "old_at", "new_at", "old_why", "new_why")
    assert expected == [tuple(getattr(c, f) for f in fields) for c in changes]
    assert {("care", "first"): 2} == dict(compared.same)
    back, _ = compare(new, plain, path)
    assert sorted((c.kind, c.user, c.step) for c in back) == sorted(
        ({"lost": "added", "added": "lost"}.get(c.kind, c.kind), c.user, c.step) for c in changes
    )
    rows = {(row["step"]): (row["added"], row["lost"], row["moved"], row["same"]) for row in totals(changes, compared.same)}
    assert {"first": (0, 0, 0, 2), "italian": (0, 0, 2, 0), "last": (0, 1, 0, 0)} == rows
    assert [("ada", 1, 1), ("bob", 0, 1)] == [(c["user"], c["lost"], c["moved"]) for c in by_customer(changes)]
    assert ([], 5) == (compare(plain, plain, path)[0], compare(plain, plain, path)[1].same.total())


LIVES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["first", "last"]), st.integers(1, 4), st.booleans()), unique_by=lambda t: t[:2]
)
"""What became of messages: (customer, step, hour, sent or dropped), one of each step."""


@settings(max_examples=40)
@given(LIVES, LIVES, st.randoms(use_true_random=False))
def test_how_two_plays_mingle_changes_nothing(old: Any, new: Any, chance: Any) -> None:
    """Whichever of the two is told first, message by message: the differences are those of two dictionaries."""
    compared, start = Compared(), datetime(2026, 3, 2, tzinfo=UTC)
    coming = [[], []]  # type: list[list[Told]]
    for side, lives in enumerate((old, new)):
        for customer in sorted({life[0] for life in lives}):
            about = (customer, f"u{customer}", "care", 10 * side + customer)
            coming[side].append(Told(start, "enter", *about))
            for _, step, hour, sent in (life for life in lives if life[0] == customer):
                kind: Any = "send" if sent else "drop"
                coming[side].append(
                    Told(start + timedelta(hours=hour), kind, *about, step=step, channel="email", reason="consent")
                )
            coming[side].append(Told(start + timedelta(days=1), "exit", *about, step="last", reason="completed"))
    while any(coming):
        side = chance.choice([s for s in (OLD, NEW) if coming[s]])
        compared.tell(side)(coming[side].pop(0))
    was, will = ({(c, s): hour for c, s, hour, sent in lives if sent} for lives in (old, new))
    both = {k for k in was if was[k] == will.get(k)}
    expected = {
        **{k: "added" for k in will if k not in was},
        **{k: "lost" for k in was if k not in will},
        **{k: "moved" for k in was if k in will and k not in both},
    }
    assert expected == {(c.customer, c.step): c.kind for c in compared.changes()}
    assert len(both) == compared.same.total()


def test_a_cap_names_itself_and_visits_are_told_apart(tmp_path: Path) -> None:
    """Of two entries on one day the second message waits for the cap that only the new version has."""
    short = CARE.split("  - wait: 3d")[0].replace("holdout: 10%\n", "")
    old = compiled(tmp_path / "old", short, policy=POLICY)
    new = compiled(tmp_path / "new", short)
    moments = ("2026-03-02T10:00:00Z", "2026-03-02T12:00:00Z", "2026-03-04T12:00:00Z")
    path = calls(tmp_path / "events.jsonl", *(("ada", "signed_up", at) for at in moments))
    changes, compared = compare(old, new, path)
    (moved,) = changes
    assert ("moved", "", "put off: cap (daily)") == (moved.kind, moved.old_why, moved.new_why)
    assert (datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 3, 12, tzinfo=UTC)) == (moved.old_at, moved.new_at)
    assert 2 == compared.same.total()


def test_a_file_of_events_is_read_in_order_or_refused_whole(tmp_path: Path) -> None:
    """Lines may come in any order; each that is wrong is named with what to do; nothing is played then."""
    path = calls(tmp_path / "a.jsonl", ("b", "late", "2026-03-03T00:00:00Z"), ("a", "soon", "2026-03-02T00:00:00+01:00"))
    assert ["", "", "soon", "late"] == [i.name for i in read_file(path)]
    wrong = tmp_path / "b.jsonl"
    wrong.write_text(
        path.read_text() + '{"type": "track"\n{"type": "track", "userId": "a", "event": "x"}\n{"type": "buy", "userId": "a"}\n'
    )
    with pytest.raises(Unreadable) as refused:
        read_file(wrong)
    said = refused.value.message
    assert said.startswith("b.jsonl has 3 bad lines:")
    assert all(
        part in said
        for part in ("line 5: the line is not JSON", "line 6: timestamp is missing", "line 7: type 'buy' is not known")
    )
    for name, text in (("c.jsonl", "\n"), ("d.csv", "a,b\n1,2\n"), ("none.jsonl", None)):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(Unreadable):
            read_file(tmp_path / name)
    clicked = tmp_path / "e.jsonl"
    clicked.write_text('{"type": "track", "userId": "a", "event": "message_clicked", "timestamp": "2026-03-02T00:00:00Z", '
                       '"properties": {"message": "1/hello/0/0", "step": "hello"}}\n')  # fmt: skip
    assert {"step": "hello"} == read_file(clicked)[0].properties


def test_a_revision_is_read_from_git(before: Compiled, tmp_path: Path) -> None:
    """The folder as it was, also below the repository's top; what is no revision, or looks like an option, is refused."""
    project = tmp_path / "repository" / "shop"
    compiled(project)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@x.example"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], cwd=project.parent, check=True)
    compiled(project, CARE.replace("wait: 3d", "wait: 9d"))

    def read(folder: Path) -> Compiled:
        return load_project(folder, {"email", "sms"})

    assert not project_changes(before, of_revision(project, "HEAD", read))
    assert ["changed pause: until.after: 3d → 9d"] == told(of_revision(project, "HEAD", read), read(project))
    for name in ("HEAD~1", "--help", "nowhere"):
        with pytest.raises(NoVersion, match="neither a folder nor a revision"):
            of_revision(project, name, read)
    with pytest.raises(NoVersion):
        of_revision(tmp_path, "HEAD", read)
