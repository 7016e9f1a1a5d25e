"""`page`, `screen`, `group` and `alias`: what each becomes, alone, in a batch and under analytics.js's short paths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.api.calls import EARLIEST, KINDS, corrected
from tests.api.conftest import PROJECT, Api, serving
from tests.harness import TRACKING, write_project

PRICING = """
journey: pricing
tier: lifecycle
enter:
  event: page
  where: event.page_name == "Pricing" and event.path == "/pricing"
  again: never
steps:
  - wait: 1d
"""
TEAMS = """
journey: teams
tier: lifecycle
enter:
  event: signed_up
  where: customer.group.plan == "team"
  once_per: customer.group_id
  again: never
steps:
  - wait: 1d
"""
DECLARED = TRACKING.replace("events:", "events:\n  page: {properties: {page_name: string, path: string}}").replace(
    "attributes: {", "attributes: {group_id: string, group: {plan: string}, "
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose journeys look at pages and at groups."""
    files = {"journeys/pricing.yaml": PRICING, "journeys/teams.yaml": TEAMS, "journeys/tracking.yaml": DECLARED}
    return write_project(tmp_path, {**PROJECT, **files})


async def attributes(api: Api, user: str) -> Any:
    found = await api.query(
        "select c.attributes from customers c join identifiers i on i.customer_id = c.id where i.value = :user", user=user
    )
    return found[0].attributes


async def journeys(api: Api) -> list[str]:
    return [r.journey for r in await api.query("select journey from enrollments order by id")]


@pytest.mark.parametrize("path", ["/v1/page", "/v1/p"])
async def test_a_page_is_an_event_that_journeys_can_enter_by(api: Api, path: str) -> None:
    """Its event is `page`, its name the property `page_name`, its category `category`; its own properties stay."""
    call = {"anonymousId": "x1", "name": "Pricing", "category": "Shop", "properties": {"path": "/pricing", "name": "Pricing"}}
    assert (await api.http.post(path, json=call)).json() == {"success": True}
    stored = await api.query("select name, properties from events")
    seen = {"path": "/pricing", "name": "Pricing", "page_name": "Pricing", "category": "Shop"}
    assert [("page", seen)] == [tuple(r) for r in stored]
    assert ["pricing"] == await journeys(api)


async def test_pages_and_screens_without_a_name_and_with_it_among_the_properties(api: Api) -> None:
    """analytics.js puts the name among the properties too; no name is no property."""
    batch = [
        {"type": "page", "userId": "ada", "properties": {"name": "Home", "title": "Welcome"}},
        {"type": "screen", "userId": "ada", "name": 7, "category": "Shop"},
        {"type": "screen", "userId": "ada"},
    ]
    assert (await api.http.post("/v1/batch", json={"batch": batch})).json() == {"success": True}
    assert [
        ("page", {"name": "Home", "title": "Welcome", "page_name": "Home"}),
        ("screen", {"screen_name": "7", "category": "Shop"}),
        ("screen", {}),
    ] == [tuple(r) for r in await api.query("select name, properties from events order by id")]


async def test_a_groups_traits_are_kept_for_its_member_and_added_to(api: Api) -> None:
    """`group_id` and `group` are attributes; the same group's traits are added, null takes one away, another replaces it."""
    for call in (
        {"groupId": "acme", "traits": {"name": "Acme", "plan": "free"}},
        {"groupId": "acme", "traits": {"plan": "team", "name": None}},
    ):
        await api.http.post("/v1/group", json={"userId": "ada", **call})
    assert {"group_id": "acme", "group": {"plan": "team"}} == await attributes(api, "ada")
    assert ["$group", "$group"] == await api.events()
    await api.http.post("/v1/g", json={"userId": "ada", "groupId": 42, "traits": {"seats": 3}})
    assert {"group_id": "42", "group": {"seats": 3}} == await attributes(api, "ada")


async def test_one_of_a_group_enters_for_all_of_it(api: Api) -> None:
    """`once_per: customer.group_id` takes the first of a group, and conditions read the group's traits."""
    batch: list[dict[str, Any]] = []
    for user, plan in (("ada", "team"), ("bob", "team"), ("eve", "free")):
        batch.append({"type": "group", "userId": user, "groupId": plan, "traits": {"plan": plan}})
        batch.append({"type": "track", "userId": user, "event": "signed_up"})
    await api.http.post("/v1/batch", json={"batch": batch})
    assert 1 == (await journeys(api)).count("teams")


@pytest.mark.parametrize("path", ["/v1/alias", "/v1/a"])
async def test_an_alias_gives_a_person_the_id_from_before(api: Api, path: str) -> None:
    """Where nobody has the previous id, or only somebody without a user id yet, both are one person from then on."""
    await api.http.post("/v1/track", json={"anonymousId": "x1", "event": "pinged"})
    assert (await api.http.post(path, json={"previousId": "x1", "userId": "ada"})).json() == {"success": True}
    await api.http.post("/v1/track", json={"userId": "ada", "event": "pinged"})
    await api.http.post("/v1/track", json={"anonymousId": "x1", "event": "pinged"})
    assert [(1, 4)] == [tuple(r) for r in await api.query("select count(distinct customer_id), count(*) from events")]
    await api.http.post(path, json={"previousId": "x2", "userId": "ada"})
    await api.http.post("/v1/track", json={"anonymousId": "x2", "event": "pinged"})
    assert 1 == (await api.query("select count(*) from customers"))[0][0]


async def test_an_alias_of_two_who_are_known_is_put_aside_in_words(api: Api) -> None:
    """Nobody is merged and no id changes hands; the same alias again is put aside once."""
    for user in ("ada", "bob"):
        await api.http.post("/v1/identify", json={"userId": user})
    call = {"type": "alias", "previousId": "bob", "userId": "ada", "messageId": "a1"}
    why = "alias: both ids are known customers', and `identity: merge:` in policy.yaml doesn't name alias; "
    why += "`sojourn merge` makes one of them"
    for _ in range(2):
        answer = (await api.http.post("/v1/batch", json={"batch": [call]})).json()
        assert {"success": True, "quarantined": [{"at": "batch[0]", "reason": why}]} == answer
    assert [("ada",), ("bob",)] == [tuple(r) for r in await api.query("select value from identifiers order by 1")]
    assert [why] == [r.reason for r in await api.query("select reason from quarantine")]


async def test_every_kind_has_its_own_path_and_one_of_its_first_letter(api: Api) -> None:
    """What a path is called wins over what the call says of itself."""
    call = {"userId": "ada", "event": "pinged", "groupId": "acme", "previousId": "old", "type": "screen"}
    for kind in KINDS:
        for path in (kind, kind[0]):
            assert {"success": True} == (await api.http.post(f"/v1/{path}", json=call)).json()
    assert ["pinged", "$identify", "$alias", "$group", "page", "screen"] == (await api.events())[::2]


EPOCH = EARLIEST.replace(tzinfo=None)
moments = st.datetimes(EPOCH.replace(year=1990), EPOCH.replace(year=2200), timezones=st.just(UTC))
spans = st.timedeltas(timedelta(days=-4000), timedelta(days=4000))


@given(received=moments, delay=st.timedeltas(timedelta(0), timedelta(days=30)), skew=spans)
@example(datetime(2026, 3, 2, tzinfo=UTC), timedelta(seconds=5), timedelta(days=365))
def test_a_clock_that_is_wrong_changes_nothing(received: datetime, delay: timedelta, skew: timedelta) -> None:
    """However far the sender's clock is off, what happened `delay` before it was sent happened that long before it came."""
    sent = received + skew
    assert received - delay == corrected(sent - delay, sent, received)


@given(said=st.datetimes(EPOCH, timezones=st.just(UTC)), sent=st.datetimes(timezones=st.just(UTC)))
def test_a_correction_is_always_a_moment_after_1970(said: datetime, sent: datetime) -> None:
    """Years 1 and 9999 end in no error: what can't be corrected stays as it was said."""
    received = datetime(2026, 3, 2, tzinfo=UTC)
    found = corrected(said, sent, received)
    assert found >= EARLIEST
    assert found == said or found - received == said - sent


async def test_a_batch_from_a_wrong_clock_is_put_right(api: Api) -> None:
    """`sentAt` of the batch corrects every call's timestamp; a call's own wins; without either it stays what was said."""
    wrong = datetime.now(UTC) - timedelta(days=500)
    said = (wrong - timedelta(hours=2)).isoformat()
    batch = [
        {"type": "track", "userId": "ada", "event": "pinged", "timestamp": said},
        {"type": "page", "userId": "ada", "timestamp": said, "sentAt": (wrong + timedelta(hours=1)).isoformat()},
        {"type": "track", "userId": "ada", "event": "confirmed"},
    ]
    before = datetime.now(UTC)
    await api.http.post("/v1/batch", json={"batch": batch, "sentAt": wrong.isoformat()})
    stored = await api.query("select occurred_at from events order by id")
    assert [-2, -3, 0] == [round((r.occurred_at - before) / timedelta(hours=1)) for r in stored]
    await api.http.post("/v1/track", json={"userId": "bob", "event": "pinged", "timestamp": said, "sentAt": "some day"})
    assert said == (await api.query("select occurred_at from events order by id desc"))[0][0].isoformat()


async def test_whole_numbers_are_identifiers_everywhere(api: Api) -> None:
    """Integers and text name the same person."""
    await api.http.post("/v1/alias", json={"previousId": 7, "userId": 8})
    await api.http.post("/v1/page", json={"userId": "8"})
    await api.http.post("/v1/page", json={"anonymousId": "7"})
    await api.http.post("/v1/screen", json={"anonymousId": 7})
    assert 1 == (await api.query("select count(distinct customer_id) from events"))[0][0]


async def test_an_unknown_event_is_said_once_where_a_warning_is_wanted(
    database_url: str, temporal_address: str, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`on_unknown: warn` takes it in and says it once for each source, with the nearest name; `accept` says nothing."""
    tracking = project / "journeys/tracking.yaml"
    for rule, said in (("warn", 1), ("accept", 0)):
        tracking.write_text(DECLARED + f"on_unknown: {rule}\n")
        caplog.clear()
        async with serving(database_url, temporal_address, project) as api:
            for _ in range(2):
                assert {"success": True} == (await api.http.post("/v1/track", json={"userId": "a", "event": "signd_up"})).json()
        told = [r.getMessage() for r in caplog.records if "tracking.yaml" in r.getMessage()]
        assert said == len(told)
        assert all("'website' sends 'signd_up'" in t and "'signed_up'" in t for t in told)


async def test_a_statement_about_a_channel_that_there_is_not_is_said_once(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Kept, because policy may have it one day; whoever reads the log sees why it stops nothing. Other values aren't repeated."""
    said = {"userId": "a", "event": "consent_changed"}
    for channel in ("emial", "emial", "ada@example.com", "email", "*"):
        body = {**said, "properties": {"channel": channel, "state": "withdrawn"}}
        assert {"success": True} == (await api.http.post("/v1/track", json=body)).json()
    told = [r.getMessage() for r in caplog.records if "'consent_changed'" in r.getMessage()]
    assert [
        "no channel is called 'emial'; did you mean 'email'?",
        "it names a channel that there isn't; known here: email, sms",
    ] == [t.partition("'consent_changed', ")[2] for t in told]
    assert not any("ada@" in t for t in told)
