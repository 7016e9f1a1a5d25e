"""What is put aside, as a row of the quarantine and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.incoming import Incoming
from engine.intake import kept
from tests.harness import utc

given_ids = st.dictionaries(st.sampled_from(["user_id", "anonymous_id"]), st.text(min_size=1, max_size=5), min_size=1)


@given(
    named=given_ids,
    kind=st.sampled_from(["track", "identify", "set", "enroll"]),
    depth=st.integers(0, 10),
    history=st.booleans(),
    customer=st.none() | st.integers(1, 9),
    way=st.sampled_from(["api", "schedule"]),
    place=st.integers(0, 3),
)
def test_what_stands_beside_a_call_survives_the_quarantine(
    named: dict[str, str], kind: str, depth: int, history: bool, customer: int | None, way: str, place: int
) -> None:
    """A row, read back, says the same as what was put aside."""
    at = utc("2026-03-02 10:00")
    item = Incoming(
        kind,  # type: ignore[arg-type]  # one of its literals
        "test",
        "m1",
        identifiers=named,
        customer=customer,
        occurred_at=at,
        journey="welcome",
        history=history,
        depth=depth,
        way=way,
        place=place,
    )
    row = kept.row(item, "why", utc("2026-03-03 10:00"))
    read = Incoming(item.kind, "test", "another", occurred_at=at)
    assert item == kept.restored(read, row["message_id"], row["at"], row["body"])
