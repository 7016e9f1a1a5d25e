"""Which addresses journeys may call: public ones. Private, loopback, link-local and metadata addresses are refused."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit


class Forbidden(Exception):
    """An address that a journey must not reach; the message names the host."""


async def check_public(url: str) -> None:
    """Raise Forbidden unless every address that `url`'s host resolves to is a public one."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise Forbidden(f"{url[:80]!r} is not an http or https URL")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return  # the call itself will fail on it, and be retried
    for _, _, _, _, address in found:
        if not ipaddress.ip_address(str(address[0]).split("%")[0]).is_global:
            raise Forbidden(f"{host} is a private address: set `calls: {{allow_private: true}}` in sojourn.yaml to allow it")
