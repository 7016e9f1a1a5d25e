"""The step `call` on the real engine: its key, its answer, what goes wrong, and the addresses that it never reaches."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import anyio
import pytest

from engine.settings.project import CallSettings
from tests.channels.http_sink import answer, sink
from tests.harness import running, write_project

INSIDE = CallSettings(allow_private=True)
"""Settings under which a call may reach the sinks of these tests, which are on this machine."""

OUTSIDE = "93.184.216.34"
"""A public address. No test connects to it."""


def journey(name: str, steps: str) -> str:
    """A journey of these steps."""
    return f"journey: {name}\ntier: lifecycle\nenter: {{event: signed_up, again: always}}\nsteps:\n{steps}"


async def test_a_call_carries_its_key_and_its_answer_comes_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A call sends the step's key and its JSON; what it answers is in `vars` for the steps behind it."""
    async with sink(answer(200, b'{"owner": "Grace"}', "Content-Type: application/json")) as desk:
        steps = f"""
  - call: POST http://127.0.0.1:{desk.port}/tickets
    id: ticket
    json: {{name: "{{{{ customer.first_name }}}}"}}
    into: vars.ticket
  - task: desk
    title: "{{{{ vars.ticket.owner }}}}"
"""
        folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
        async with running(folder, database_url, temporal_address, task_queue_prefix, calls=INSIDE) as sojourn:
            await sojourn.identify("ada")
            await sojourn.track("ada", "signed_up")
            await sojourn.settled()
            assert ["Grace"] == [r.title for r in await sojourn.query("select title from tasks")]
        (request,) = desk.arrived
        assert b"idempotency-key: 1/ticket/0/0" in request.lower()
        assert request.endswith(b'{"name":"Ada"}')


async def test_a_call_to_a_private_address_is_refused(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Unless the settings allow it, a call never reaches this machine or its network: the member is parked, nothing is called."""
    async with sink(answer(200)) as desk:
        steps = f"  - call: GET http://127.0.0.1:{desk.port}/\n    id: inside\n"
        folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
        async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
            await sojourn.identify("ada")
            await sojourn.track("ada", "signed_up")

            async def parked() -> bool:
                return [("call", "parked")] == [e[:2] for e in await sojourn.ends()]

            await sojourn.until(parked)
            assert (await sojourn.ends())[0][2].startswith("call: ")
        assert 0 == desk.connections


@pytest.mark.parametrize(("on_error", "end", "tasks"), [("skip", "completed", 1), ("exit", "call_failed", 0)])
async def test_on_error_skips_or_leaves(
    on_error: str, end: str, tasks: int, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A call that fails is passed over with `skip` and ends the enrollment with `exit`."""
    async with sink(answer(500)) as desk:
        steps = f"  - call: GET http://127.0.0.1:{desk.port}/\n    on_error: {on_error}\n  - task: after\n    title: After\n"
        folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
        async with running(folder, database_url, temporal_address, task_queue_prefix, calls=INSIDE) as sojourn:
            await sojourn.identify("ada")
            await sojourn.track("ada", "signed_up")
            await sojourn.settled()
            assert [("call", "ended", end)] == await sojourn.ends()
            assert tasks == len(await sojourn.query("select 1 from tasks"))


async def test_an_act_that_fails_for_one_of_three_parks_that_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A call whose URL is none for one customer parks that one; the others' calls are made."""
    async with sink(answer(200)) as desk:
        steps = '  - call: "POST {{ customer.country }}"\n    json: {a: 1}\n'
        folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
        async with running(folder, database_url, temporal_address, task_queue_prefix, calls=INSIDE) as sojourn:
            url = f"http://127.0.0.1:{desk.port}/"
            for user, country in (("ada", url), ("bob", "http://nowhere:port/"), ("cyd", url)):
                await sojourn.identify(user, country=country)
            await sojourn.accept([sojourn.event(u, "signed_up") for u in ("ada", "bob", "cyd")])

            async def all_told() -> bool:
                return ["ended", "parked", "ended"] == [e[1] for e in await sojourn.ends()]

            await sojourn.until(all_told)
            assert (await sojourn.ends())[1][2].startswith("call: ")
        assert 2 == len(desk.arrived)


async def test_a_name_that_changes_its_address_behind_the_judgement_leads_nowhere_else(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is looked up first and this machine from then on (DNS rebinding): the call is made to the
    address that was judged, and this machine hears nothing."""
    loop, looked_up, tried = asyncio.get_running_loop(), list[str](), list[str]()
    ask, connect = loop.getaddrinfo, anyio.connect_tcp

    async def resolve(host: object, port: object, **more: object) -> object:
        if host != "rebinding.example":
            return await ask(host, port, **more)  # type: ignore[arg-type] # as it was called
        looked_up.append(OUTSIDE if not looked_up else "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (looked_up[-1], port))]

    async def reach(remote_host: str, remote_port: int, **more: object) -> object:
        tried.append(remote_host)
        if remote_host == OUTSIDE:
            raise OSError("no test leaves this machine")
        ((*_, (address, _)),) = await resolve(remote_host, remote_port)  # type: ignore[misc, attr-defined] # as above
        return await connect(address, remote_port, **more)  # type: ignore[call-overload] # as it was called

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    monkeypatch.setattr(anyio, "connect_tcp", reach)
    async with sink(answer(200)) as desk:
        steps = f"  - call: GET http://rebinding.example:{desk.port}/\n    on_error: exit\n"
        folder = write_project(tmp_path, {"journeys/call.yaml": journey("call", steps)})
        async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
            await sojourn.identify("ada")
            await sojourn.track("ada", "signed_up")
            await sojourn.settled()
            assert [("call", "ended", "call_failed")] == await sojourn.ends()
        assert (0, [OUTSIDE], [OUTSIDE]) == (desk.connections, looked_up, tried)
