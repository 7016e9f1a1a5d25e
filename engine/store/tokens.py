"""Tokens made by `sojourn token create`: who holds one, with which role. Only digests are stored; a name is used once."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run


def digest_of(secret: str) -> bytes:
    """SHA-256: secrets are long and random, so nothing slower is needed."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


async def create(c: Connection, name: str, role: str, secret: str, actor: str) -> bool:
    """A new token; False where the name has been used before."""
    made = await run(
        c,
        "insert into tokens (name, role, digest, created_by) values (:name, :role, :digest, :actor) "
        "on conflict (name) do nothing",
        name=name,
        role=role,
        digest=digest_of(secret),
        actor=actor,
    )
    return made == 1


async def revoke(c: Connection, name: str, actor: str) -> bool:
    """From now on it lets nobody in; False where there is no such token, or it was revoked before."""
    done = await run(
        c,
        "update tokens set revoked_at = clock_timestamp(), revoked_by = :actor where name = :name and revoked_at is null",
        name=name,
        actor=actor,
    )
    return done == 1


async def listing(c: Connection) -> list[Row[Any]]:
    """All of them by name: name, role, created_at, created_by, revoked_at, revoked_by."""
    return await fetch(c, "select name, role, created_at, created_by, revoked_at, revoked_by from tokens order by name")


async def holder(c: Connection, digest: bytes) -> Row[Any] | None:
    """Whose token has this digest: name, role. None where nobody's has, or it was revoked."""
    found = await fetch(c, "select name, role from tokens where digest = :digest and revoked_at is null", digest=digest)
    return found[0] if found else None
