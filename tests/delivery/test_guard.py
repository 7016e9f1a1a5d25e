"""Where a journey's calls may go: whatever the URL says, in whatever way it says it. Webhooks' own rules are tested with them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from engine.delivery import guard
from engine.delivery.guard import Forbidden, Guarded, Outward
from tests.channels.http_sink import Sink, answer, free_port, hang, sink


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Sink]:
    """A server on this machine."""
    async with sink(answer(200)) as told:
        yield told


def outward(allow_private: bool = False, connections: int = 4) -> httpx.AsyncClient:
    """A client as the worker has it."""
    return httpx.AsyncClient(transport=Outward(connections, allow_private, "`the setting`"), trust_env=False, timeout=60.0)


def lead(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name leads to all of `addresses`."""

    async def found(host: object, port: object, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


INSIDE = (
    *("127.0.0.1", "127.9.9.9", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0", "168.63.129.16"),
    *("[::7f00:1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:7f00:1::]", "[fec0::1]"),
    *("[fd00:ec2::254]", "[fe80::1]", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
)


async def test_an_address_inside_is_refused_as_written() -> None:
    """Private, link-local and metadata addresses, and IPv4 in every IPv6 disguise. Loopback too, which an engineer's webhook may
    use and an author's call may not; the words name address and setting."""
    async with outward() as client:
        for host in INSIDE:
            with pytest.raises(Forbidden, match=r"private address .* `the setting` permits it"):
                await client.get(f"http://{host}:{free_port()}/")


async def test_what_a_name_leads_to_is_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a journey's call and by an adapter: a name is no way around."""
    for host in INSIDE:
        lead(monkeypatch, host.strip("[]"))
        async with outward() as client:
            with pytest.raises(Forbidden):
                await client.get(f"http://name.example:{free_port()}/")
        async with httpx.AsyncClient(transport=Guarded(httpx.URL("http://name.example/"), 1, False)) as adapter:
            with pytest.raises(Forbidden):
                await adapter.get("http://name.example/")


async def test_a_redirect_leads_nowhere(desk: Sink) -> None:
    """It is an answer like any other: where it points to hears nothing."""
    moved = answer(302, b"", f"Location: http://127.0.0.1:{desk.port}/")
    async with sink(moved) as told, outward(allow_private=True) as client:
        assert 302 == (await client.get(f"http://127.0.0.1:{told.port}/")).status_code
    assert 0 == desk.connections


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1"])
async def test_other_ways_to_write_this_machine_are_refused(host: str, desk: Sink) -> None:
    """What the system's resolver makes of a host is judged, not how it looks."""
    async with outward() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{host}:{desk.port}/")
    assert 0 == desk.connections


@pytest.mark.parametrize("url", ["ftp://example.com/", "file:///etc/passwd", "example.com/x", "http:///x"])
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    """Only http and https, with a host."""
    async with outward() as client:
        with pytest.raises((Forbidden, httpx.InvalidURL)):
            await client.get(url)


async def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses must lead outside with all of them."""
    lead(monkeypatch, "93.184.216.34", "10.1.2.3")
    async with outward() as client:
        with pytest.raises(Forbidden, match=r"10\.1\.2\.3"):
            await client.get("http://mixed.example/")


async def test_where_it_is_allowed_names_and_addresses_lead_inside(monkeypatch: pytest.MonkeyPatch, desk: Sink) -> None:
    """With the setting, a call reaches this machine: under the host that was written, over one connection to each host."""
    lead(monkeypatch, "127.0.0.1")
    async with outward(allow_private=True) as client:
        for host in ("one.example", "one.example", "other.example", "127.0.0.1"):
            assert 200 == (await client.get(f"http://{host}:{desk.port}/path?q=1")).status_code
    heads = [request.split(b"\r\n")[:2] for request in desk.arrived]
    assert [b"GET /path?q=1 HTTP/1.1"] * 4 == [line for line, _ in heads]
    hosts = [f"Host: {h}:{desk.port}".encode() for h in ("one.example", "one.example", "other.example", "127.0.0.1")]
    assert hosts == [host for _, host in heads]
    assert 3 == desk.connections


async def test_no_cookie_is_kept() -> None:
    """What a host wants remembered about one customer's call doesn't come back with the next one's."""
    async with sink(answer(200, b"", "Set-Cookie: session=ada")) as desk, outward(allow_private=True) as client:
        for _ in range(2):
            await client.get(f"http://127.0.0.1:{desk.port}/")
    assert 2 == len(desk.arrived)
    assert b"cookie" not in desk.arrived[1].lower()


async def test_hosts_that_were_not_called_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch, desk: Sink) -> None:
    """However many hosts journeys name, connections are kept to a few; one that is called again is connected to again."""
    monkeypatch.setattr(guard, "ORIGINS", 2)
    lead(monkeypatch, "127.0.0.1")
    async with outward(allow_private=True) as client:
        for host in ("a", "b", "a", "c", "a", "b"):
            await client.get(f"http://{host}.example:{desk.port}/")
    assert 4 == desk.connections, "a, b and c once each, and b again, which c had put out"


async def test_who_gets_no_connection_in_time_is_told_so() -> None:
    """Behind a server that never answers a call waits for a connection no longer than its own timeout."""
    async with sink(hang) as slow, outward(allow_private=True, connections=1) as client:
        url = f"http://127.0.0.1:{slow.port}/"
        first = asyncio.ensure_future(client.get(url, timeout=60.0))
        await asyncio.sleep(0)
        with pytest.raises(httpx.PoolTimeout):
            await client.get(url, timeout=0.1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=0.1)
