"""Who may call what: every route of the OpenAPI document with every role, and with none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import httpx

from engine.api import collect, inbox
from engine.api.access import Access
from engine.api.app import create_app
from engine.api.reach import Reach
from engine.api.rights import RIGHTS
from engine.settings.project import Role
from engine.store import tokens
from engine.store.database import transaction
from tests.api.conftest import ROLES, Api, error

CUSTOMERS = {inbox.PATH}
"""Those that take a customer's own token, which has no role."""

OPEN = {"/healthz", "/readyz", "/v1/channels/{name}/webhook", *(f"/{way}/{{token}}" for way in "ucprlo")}
"""Those that need no login; of the last the channel's adapter checks the signature."""

HISTORY = {"/v1/batch": "?history=true"}
BODY = {"/v1/journeys/{name}/enroll": {"userId": "ada"}, "/v1/customers/{user_id}/standing": {"restricted": False}}


def routes() -> list[tuple[str, str]]:
    """(method, path) of every route of the document."""
    reach = Reach("x", Access({}, {}), None, None, None, None, None)  # type: ignore[arg-type]  # only its routes are looked at
    document = create_app(reach).openapi()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


async def call(http: httpx.AsyncClient, method: str, path: str, token: str) -> httpx.Response:
    """A call that a role which may would be answered for, or told that there is no such thing."""
    url = path.replace("{name}", "nothing").replace("{user_id}", "ada") + HISTORY.get(path, "")
    body: Any = {"batch": []} if path == "/v1/batch" else BODY.get(path)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await http.request(method, url, json=body, headers=headers, auth=None)


def test_every_route_is_open_or_takes_a_write_key_or_stands_in_the_table() -> None:
    """One that a later version adds is in one of the three, and the table names none that isn't there."""
    told = set(routes())
    assert set(RIGHTS) <= told
    left = {(m, p) for m, p in told - set(RIGHTS) if p not in OPEN | CUSTOMERS and p not in collect.PATHS}
    assert set() == left
    assert set(get_args(Role)) == set(ROLES)


async def test_every_role_gets_what_the_table_says_and_no_more(api: Api) -> None:
    """403 with the role named, for every route and every role that isn't in its row; 401 without a known token. Nobody exports,
    erases or restricts but the privacy officer."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    async with httpx.AsyncClient(base_url=api.address, timeout=60) as http:
        for (method, path), roles in RIGHTS.items():
            for role in ROLES:
                if role in roles:
                    continue
                answer = await call(http, method, path, f"token_{role}")
                assert (path, role, 403, "wrong_role") == (path, role, *error(answer))
            for stranger in ("", "token_nobody"):
                answer = await call(http, method, path, stranger)
                assert (path, 401, "bad_token") == (path, *error(answer))
        assert [] == list(await api.query("select 1 from audit where act in ('export', 'erase', 'restrict')"))
        for (method, path), roles in sorted(RIGHTS.items(), key=lambda one: one[0][0] == "DELETE"):
            for role in roles if method != "DELETE" else roles[:1]:
                answer = await call(http, method, path, f"token_{role}")
                assert (path, role, answer.status_code in (200, 404)) == (path, role, True), answer.text
    may = {role for (_, path), roles in RIGHTS.items() if path.endswith("/export") for role in roles}
    assert {"privacy"} == may


async def test_a_token_that_was_made_lets_in_until_it_is_revoked(api: Api) -> None:
    """By its digest alone; with its own role; revoked, it is unknown at once."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    async with transaction(api.core.database) as c:
        assert await tokens.create(c, "dpo", "privacy", "sjt_secret", "cli/test")
        assert not await tokens.create(c, "dpo", "operator", "sjt_other", "cli/test")
    kept = (await api.query("select * from tokens"))[0]
    assert "sjt_secret" not in str(tuple(kept))
    async with httpx.AsyncClient(base_url=api.address, timeout=60) as http:
        answer = await call(http, "GET", "/v1/customers/{user_id}/export", "sjt_secret")
        assert 200 == answer.status_code
        assert (403, "wrong_role") == error(await call(http, "POST", "/v1/batch", "sjt_secret"))
        noted = await api.query("select actor, act from audit where act = 'export'")
        assert [("token/dpo", "export")] == [tuple(r) for r in noted]
        async with transaction(api.core.database) as c:
            assert await tokens.revoke(c, "dpo", "cli/test")
            assert not await tokens.revoke(c, "dpo", "cli/test")
        assert (401, "bad_token") == error(await call(http, "GET", "/v1/customers/{user_id}/export", "sjt_secret"))


def test_the_page_about_roles_has_the_same_table() -> None:
    """docs/reference/roles.md, row by row."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "roles.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    told = {}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 2 and " /" in cells[0]:
            told[cells[0].strip("`")] = tuple(sorted(cells[1].replace("`", "").replace(",", "").split()))
    names = {"{name}": "NAME", "{user_id}": "ID"}
    real = {}
    for (method, path), roles in RIGHTS.items():
        for written, shown in names.items():
            path = path.replace(written, shown)
        real[f"{method} {path}{HISTORY.get(path, '')}"] = tuple(sorted(roles))
    assert real == told
