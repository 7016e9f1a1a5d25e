"""HTTP transports that go only where they may: addresses are looked up, judged, and then connected to as judged, so that a name
that changes its address in between (DNS rebinding) gains nothing. Whoever sends HTTP for a journey, the step `call` and adapters
alike, does it through here; proxies are never used, because a proxy looks names up by itself, and cookies are not kept, because
one customer's would go along with the next one's request.

    httpx.ConnectError
    └── Forbidden   the address must not be reached: no later try would fare better
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import unicodedata
from collections.abc import AsyncIterator, Callable
from functools import cache

import httpx

LOOK_UP = 1.0
"""Seconds that a reader who follows a link waits at the most until its host is looked up."""

KEEP = 30.0
"""Seconds that looked-up addresses are used again."""

ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)

ORIGINS = 64
"""Hosts that `Outward` keeps connections to; beyond that it forgets those it called longest ago."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset(ipaddress.ip_address(one) for one in ("168.63.129.16", "192.0.0.192"))
"""Metadata services on addresses that look public; the others are link-local or private already."""

_LOCAL = ipaddress.ip_network("fec0::/10")
"""Site-local (RFC 3879): nobody's any more, and still routed inside by who has it."""


class Forbidden(httpx.ConnectError):
    """A host that must not be reached; the message names the address and the setting that would permit it."""


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


def inside(host: str) -> bool:
    """Whether a link to `host` leads inside, as it is written: a private address in any of the ways in which browsers take one,
    or a name that means something only inside."""
    name = unicodedata.normalize("NFKC", host).strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    with contextlib.suppress(OSError, UnicodeError, ValueError):
        name = socket.inet_ntoa(socket.inet_aton(name))  # 2130706433, 0x7f.1, 0177.0.0.1
    return _address(name) is not None and not _leads_out(name)


async def looked_up_inside(host: str) -> bool:
    """Whether the name `host` leads to an address inside now. One that can't be looked up here leads nowhere."""
    try:
        async with asyncio.timeout(LOOK_UP):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (TimeoutError, OSError, UnicodeError):
        return False
    return any(not _leads_out(str(entry[4][0])) for entry in found)


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # What is reserved holds IPv4 addresses in disguise: ::7f00:1 (RFC 4291), ::ffff:0:7f00:1 and 64:ff9b:1:: (RFC 8215).
    odd = address.is_multicast or address.is_reserved or address in _LOCAL
    return address.is_global and not odd and address not in _METADATA


def _leads_out(address: str) -> bool:
    """Whether a looked-up address is a public one."""
    judged = _address(address)
    return judged is not None and _public(judged) and not judged.is_loopback


@cache
def _tls(http2: bool) -> ssl.SSLContext:
    """The trusted authorities. To read them takes longer than many requests; each connection writes into its context whether it
    speaks HTTP/2."""
    return httpx.create_ssl_context(trust_env=False)


class _Origin:
    """Connections to one host. `may` judges an address, `permit` names the setting that would allow what it refuses.

    Each connection is a transport of its own: httpx's pool looks at all its connections several times per request, which at 50
    of them costs more than the request itself. Hosts never share one: two names on one address have two certificates."""

    def __init__(
        self,
        url: httpx.URL,
        connections: int,
        may: Callable[[str], bool],
        permit: str,
        tls: ssl.SSLContext,
        http2: bool = False,
    ) -> None:
        self._host, self._port = url.host, url.port or url.scheme
        self._may, self._permit, self._tls, self._http2 = may, permit, tls, http2
        self._known: tuple[float, list[str]] = (float("-inf"), [])
        self._free = asyncio.Semaphore(connections)
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._lent: set[httpx.AsyncHTTPTransport] = set()
        self._asked = 0

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or about to be."""
        return self._asked > 0 or bool(self._lent)

    async def send(self, request: httpx.Request, url: httpx.URL) -> httpx.Response:
        """Try each permitted address in turn until one takes the connection. Waits for one of the connections to be free."""
        self._asked += 1
        try:
            return await self._send(request, url)
        finally:
            self._asked -= 1

    async def _send(self, request: httpx.Request, url: httpx.URL) -> httpx.Response:
        if self._free.locked():
            try:
                async with asyncio.timeout(_seconds(request, "pool")):
                    await self._free.acquire()
            except TimeoutError as late:
                raise httpx.PoolTimeout("no connection to the host came free in time") from late
        else:
            await self._free.acquire()
        inner = self._idle.pop() if self._idle else self._connection()
        self._lent.add(inner)
        try:
            response = await self._first_that_answers(inner, request, url)
        except BaseException:
            self._give_back(inner)
            raise
        response.headers.pop("set-cookie", None)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Lent(response.stream, lambda: self._give_back(inner))
        return response

    def _connection(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=ONE, trust_env=False, http1=not self._http2, http2=self._http2)

    def _give_back(self, inner: httpx.AsyncHTTPTransport) -> None:
        if inner in self._lent:
            self._lent.remove(inner)
            self._idle.append(inner)
            self._free.release()

    async def _first_that_answers(
        self, inner: httpx.AsyncHTTPTransport, request: httpx.Request, url: httpx.URL
    ) -> httpx.Response:
        lost: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in await self._addresses(request):
            aimed = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": self._host},
            )
            try:
                return await inner.handle_async_request(aimed)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                lost = failed
        self._known = (float("-inf"), [])
        raise lost

    async def _addresses(self, request: httpx.Request) -> list[str]:
        loop = asyncio.get_running_loop()
        since, addresses = self._known
        if loop.time() - since < KEEP:
            return addresses
        addresses = [self._host] if _address(self._host) is not None else await self._look_up(request)
        refused = [a for a in addresses if not self._may(a)]
        if refused:
            raise Forbidden(f"the host leads to the private address {refused[0]}; {self._permit} permits it")
        self._known = (loop.time(), addresses)
        return addresses

    async def _look_up(self, request: httpx.Request) -> list[str]:
        try:
            async with asyncio.timeout(_seconds(request, "connect")):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except TimeoutError as late:
            raise httpx.ConnectTimeout("the host's name was not looked up in time") from late
        except OSError as unknown:
            raise httpx.ConnectError(f"the host's name can't be looked up: {unknown.strerror}") from unknown
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def close(self) -> None:
        """Close the connections."""
        for inner in (*self._idle, *self._lent):
            await inner.aclose()
        self._idle.clear()


class Guarded(httpx.AsyncBaseTransport):
    """Sends every request to `url`, whatever path the request names: the client, which logs, need not know the path. A request's
    extension "target" (bytes) stands in place of the path and query of `url`.

    An address in `url` itself is the settings' to judge. Unless `allow_private`, a name leads only to public addresses, and
    "localhost" only to loopback. `http2`: speak nothing else. Raises httpx.ConnectError."""

    def __init__(self, url: httpx.URL, connections: int, allow_private: bool, http2: bool = False) -> None:
        self._url, self._allow_private = url, allow_private
        self._origin = _Origin(url, connections, self._may, "`allow_private: true`", _tls(http2), http2)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Over one of `connections`, once it is free."""
        return await self._origin.send(request, self._url)

    def _may(self, address: str) -> bool:
        if self._allow_private or address == self._url.host:
            return True
        if is_loopback(self._url.host):
            return is_loopback(address)
        return _leads_out(address)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._origin.close()


class Outward(httpx.AsyncBaseTransport):
    """Sends each request where its own URL says, with at most `connections` to one host. Unless `allow_private`, that must be a
    public address, however it is written. Raises Forbidden, also for what is no http or https URL; `permit` is what it names."""

    def __init__(self, connections: int, allow_private: bool, permit: str) -> None:
        self._connections, self._allow_private, self._permit = connections, allow_private, permit
        self._tls = _tls(http2=False)
        self._origins: dict[tuple[str, str, int | None], _Origin] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Over a connection of the URL's own host."""
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise Forbidden(f"{str(url)[:80]!r} is not an http or https URL")
        name = (url.scheme, url.host, url.port)
        origin = self._origins.pop(name, None) or _Origin(url, self._connections, self._may, self._permit, self._tls)
        self._origins[name] = origin  # last: called most recently
        try:
            return await origin.send(request, url)
        finally:
            await self._forget()

    def _may(self, address: str) -> bool:
        return self._allow_private or _leads_out(address)

    async def _forget(self) -> None:
        """Close the connections to hosts that weren't called for long."""
        old = [name for name, origin in self._origins.items() if not origin.busy][: max(len(self._origins) - ORIGINS, 0)]
        for origin in [self._origins.pop(name) for name in old]:
            await origin.close()

    async def aclose(self) -> None:
        """Close the connections."""
        for origin in self._origins.values():
            await origin.close()
        self._origins.clear()


def _seconds(request: httpx.Request, part: str) -> float | None:
    """How long the request may take over one part of it (httpx's `connect`, `pool` …); None: as long as it likes."""
    found = request.extensions.get("timeout", {}).get(part)
    return None if found is None else float(found)


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
