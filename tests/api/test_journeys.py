"""`/v1/journeys/NAME/enroll`."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.conftest import OPERATOR, Api, error


async def enroll(api: Api, name: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(
        base_url=api.http.base_url, headers=OPERATOR if headers is None else headers, timeout=60
    ) as http:
        return await http.post(f"/v1/journeys/{name}/enroll", json=body)


async def test_a_call_enrolls_one_customer_and_answers_with_the_enrollment(api: Api) -> None:
    """The id in the answer is the enrollment's; the same messageId again changes nothing and says so."""
    answer = await enroll(api, "invited", userId="ada", properties={"by": "bob"}, messageId="m1")
    [row] = await api.query("select e.id, e.journey, v.properties from enrollments e join events v on v.id = e.entry_event")
    assert answer.json() == {"enrollments": [row.id], "reason": None}
    assert (row.journey, row.properties) == ("invited", {"by": "bob"})
    again = (await enroll(api, "invited", userId="ada", messageId="m1")).json()
    assert again["enrollments"] == []
    assert "messageId was taken before" in again["reason"]


async def test_who_is_inside_already_is_not_enrolled_and_the_reason_says_so(api: Api) -> None:
    """Inside now, and later, after the end, `again: never`: each has its own words."""
    first = (await enroll(api, "invited", userId="ada")).json()["enrollments"][0]
    inside = (await enroll(api, "invited", userId="ada")).json()
    assert inside == {"enrollments": [], "reason": f"the customer is in this journey already, as enrollment {first}"}
    await api.query("update enrollments set status = 'ended', ended_at = now() returning id")
    before = (await enroll(api, "invited", userId="ada")).json()
    assert before["reason"] == f"the customer was in this journey before, as enrollment {first}, and may enter again never"


async def test_a_key_gives_one_enrollment_each(api: Api) -> None:
    """`key` stands for the property that the entry names; without either the call is refused."""
    for key in ("A1", 2):
        assert len((await enroll(api, "ordered", userId="ada", key=key)).json()["enrollments"]) == 1
    assert len((await enroll(api, "ordered", userId="ada", properties={"order_id": "A3"})).json()["enrollments"]) == 1
    assert (await enroll(api, "ordered", userId="ada", key="A1")).json()["enrollments"] == []
    assert [r.key for r in await api.query("select key from enrollments order by id")] == ["A1", "2", "A3"]
    assert error(await enroll(api, "ordered", userId="ada")) == (400, "key_missing")
    assert error(await enroll(api, "invited", userId="ada", key="A1")) == (400, "no_key")
    for wrong in (True, 2.5, [1, 2], "  ", "x" * 600):
        assert error(await enroll(api, "ordered", userId="ada", key=wrong)) == (400, "bad_field")
        assert error(await enroll(api, "ordered", userId="ada", properties={"order_id": wrong})) == (400, "bad_field")
    assert error(await enroll(api, "ordered", userId="ada", key="x\0")) == (400, "bad_text")
    assert len((await enroll(api, "ordered", userId="bob", properties={"order_id": 0})).json()["enrollments"]) == 1
    assert error(await enroll(api, "invited")) == (400, "no_identifier")


async def test_an_unknown_journey_is_404_with_the_nearest_name_and_one_without_an_api_entry_409(api: Api) -> None:
    """The hint names what was probably meant, or what to write."""
    unknown = await enroll(api, "inwited", userId="ada")
    assert error(unknown) == (404, "unknown_journey")
    assert "'invited'" in unknown.json()["error"]["hint"]
    assert error(await enroll(api, "welcome", userId="ada")) == (409, "no_api_entry")
    assert await api.events() == []


async def test_only_operators_and_sources_enroll(api: Api) -> None:
    """401 without a known token, 403 with another role; a write key is no token."""
    for role in ("author", "analyst", "privacy"):
        headers = {"Authorization": f"Bearer token_{role}"}
        assert error(await enroll(api, "invited", headers, userId="ada")) == (403, "wrong_role")
    assert error(await enroll(api, "invited", {}, userId="ada")) == (401, "bad_token")
    assert error(await enroll(api, "invited", {"Authorization": "Bearer wk_website"}, userId="ada")) == (401, "bad_token")
    source = {"Authorization": "bearer token_source"}
    assert len((await enroll(api, "invited", source, userId="ada")).json()["enrollments"]) == 1


async def test_enrolling_with_nothing_deployed_is_503(bare: Api) -> None:
    """Not 404: the journey may be there in a minute."""
    assert error(await enroll(bare, "invited", userId="ada")) == (503, "nothing_deployed")
