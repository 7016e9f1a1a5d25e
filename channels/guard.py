"""An HTTP transport for one URL that goes only where it may: addresses are looked up, judged, and then connected to as judged,
so that a name that changes its address in between (DNS rebinding) gains nothing. No adapter; adapters that speak HTTP use it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable

import httpx

KEEP = 30.0
"""Seconds that looked-up addresses are used again."""

ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Metadata services on addresses that look public; the others are link-local or private already."""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.split("%")[0].strip("[]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def is_loopback(host: str) -> bool:
    """Whether `host`, as written in the settings, is this machine: "localhost" or a loopback address."""
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Whether `host` is an address, neither loopback nor public. False for names: they are judged when looked up."""
    address = _address(host)
    return address is not None and not address.is_loopback and not _public(address)


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and address not in _METADATA


class Guarded(httpx.AsyncBaseTransport):
    """Sends every request to `url`, whatever path the request names: the client, which logs, need not know the path.

    Unless `allow_private`, a name leads only to public addresses, and "localhost" only to loopback. Raises httpx.ConnectError."""

    def __init__(self, url: httpx.URL, connections: int, allow_private: bool) -> None:
        self._url, self._allow_private = url, allow_private
        self._known: tuple[float, list[str]] = (float("-inf"), [])
        self._free = asyncio.Semaphore(connections)
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._lent: set[httpx.AsyncHTTPTransport] = set()
        self._tls = httpx.create_ssl_context(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Try each permitted address in turn until one takes the connection. Waits for one of `connections` to be free.

        Each connection is a transport of its own: httpx's pool looks at all its connections several times per request, which at
        50 of them costs more than the request itself."""
        await self._free.acquire()
        inner = self._idle.pop() if self._idle else httpx.AsyncHTTPTransport(verify=self._tls, limits=ONE, trust_env=False)
        self._lent.add(inner)
        try:
            response = await self._first_that_answers(inner, request)
        except BaseException:
            self._give_back(inner)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Lent(response.stream, lambda: self._give_back(inner))
        return response

    def _give_back(self, inner: httpx.AsyncHTTPTransport) -> None:
        if inner in self._lent:
            self._lent.remove(inner)
            self._idle.append(inner)
            self._free.release()

    async def _first_that_answers(self, inner: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        lost: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in await self._addresses():
            aimed = httpx.Request(
                request.method,
                self._url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": self._url.host},
            )
            try:
                return await inner.handle_async_request(aimed)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                lost = failed
        self._known = (float("-inf"), [])
        raise lost

    async def _addresses(self) -> list[str]:
        host, loop = self._url.host, asyncio.get_running_loop()
        if _address(host) is not None:
            return [host]
        since, addresses = self._known
        if loop.time() - since < KEEP:
            return addresses
        try:
            found = await loop.getaddrinfo(host, self._url.port or self._url.scheme, type=socket.SOCK_STREAM)
        except OSError as unknown:
            raise httpx.ConnectError(f"the host's name can't be looked up: {unknown.strerror}") from unknown
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private:
            refused = [a for a in addresses if not self._may(a)]
            if refused:
                raise httpx.ConnectError(f"the host leads to the private address {refused[0]}; `allow_private: true` permits it")
        self._known = (loop.time(), addresses)
        return addresses

    def _may(self, address: str) -> bool:
        judged = _address(address)
        if judged is None:
            return False
        return judged.is_loopback if is_loopback(self._url.host) else _public(judged) and not judged.is_loopback

    async def aclose(self) -> None:
        """Close the connections."""
        for inner in (*self._idle, *self._lent):
            await inner.aclose()
        self._idle.clear()


class _Lent(httpx.AsyncByteStream):
    """An answer's body; when it is closed its connection is free."""

    def __init__(self, stream: httpx.AsyncByteStream, done: Callable[[], None]) -> None:
        self._stream, self._done = stream, done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._done()
