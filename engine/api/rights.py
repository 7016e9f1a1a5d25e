"""Who may call which route: one table, which every route with a token goes by. What isn't in it, no token may call.

docs/reference/roles.md has the same table for people, and a test calls every route with every role.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request

from engine.api.access import Caller
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.taking import patiently
from engine.settings.project import Role
from engine.store import tokens
from engine.store.database import transaction

READERS: tuple[Role, ...] = ("operator", "analyst", "privacy")

RIGHTS: Mapping[tuple[str, str], tuple[Role, ...]] = {
    ("POST", "/v1/batch"): ("operator",),  # with history=true; without it a write key is asked for
    ("POST", "/v1/journeys/{name}/enroll"): ("operator", "source"),
    ("GET", "/v1/customers/{user_id}"): READERS,
    ("GET", "/v1/customers/{user_id}/messages"): READERS,
    ("GET", "/v1/customers/{user_id}/why"): READERS,
    ("GET", "/v1/customers/{user_id}/export"): ("privacy",),
    ("DELETE", "/v1/customers/{user_id}"): ("privacy",),
    ("PUT", "/v1/customers/{user_id}/standing"): ("privacy",),
    ("GET", "/metrics"): ("operator", "analyst"),
    ("GET", "/v1/log"): ("operator", "privacy"),
}
"""(method, path as in the OpenAPI document) → the roles that may."""


async def caller(reach: Reach, request: Request) -> Caller:
    """The holder of the request's token, who may call this route. Raises Refusal: 401 without a known token, 403 where its role
    may not."""
    token = reach.access.token(request)
    found = reach.access.holder(token)
    if found is None:
        async with patiently(), transaction(reach.database) as c:
            row = await tokens.holder(c, tokens.digest_of(token))
        found = None if row is None else Caller(row.name, row.role)
    if found is None:
        raise reach.access.unknown_token("this token is not known")
    route = request.scope["route"]
    roles = RIGHTS.get((request.method, getattr(route, "path_format", "")), ())
    if found.role not in roles:
        wanted = " or ".join(roles) or "no token"
        raise Refusal(403, "wrong_role", f"the token {found.name!r} has the role {found.role}, this needs {wanted}")
    return found
