"""Each channel: its settings load, its provider can be reached, and receivers can check its sender. Nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.utils import parseaddr

from engine.app.doctor import mail
from engine.app.doctor.finding import PATIENCE, Finding, Patient
from engine.delivery.channel import Channel, ChannelError, load_channel
from engine.observe.words import in_a_line
from engine.settings.project import ChannelSettings


async def look(patient: Patient, only: str | None = None) -> AsyncIterator[Finding]:
    """All channels of sojourn.yaml, or `only` one."""
    for name, written in patient.settings.channels.items():
        if only in (None, name):
            async for found in _channel(patient, name, written):
                yield found


async def _channel(patient: Patient, name: str, written: ChannelSettings) -> AsyncIterator[Finding]:
    try:
        channel = load_channel(name, written.config())
    except ChannelError as wrong:
        yield Finding(name, "fail", wrong.what, wrong.mend)
        return
    try:
        yield await _reached(name, written, channel)
    finally:
        await channel.close()
    domain = parseaddr(patient.senders.get(name, ""))[1].rpartition("@")[2]
    if not domain or channel.capabilities.local or channel.capabilities.address != "email":
        return
    if mail.reserved(domain):
        do = "name an address of your own under senders in policy.yaml"
        yield Finding(f"{name}: sender", "warn", f"nobody can own {domain}, which {name} sends from", do)
        return
    try:
        for found in await mail.look(patient.texts, name, domain, getattr(channel, "signing", None)):
            yield found
    except OSError as failed:
        yield Finding(f"{name}: sender", "warn", in_a_line(failed), "run this where DNS can be asked")


async def _reached(name: str, written: ChannelSettings, channel: Channel) -> Finding:
    """A connection can be made to the server that the adapter names."""
    server: tuple[str, int] | None = getattr(channel, "server", None)
    if server is None:
        where = "stays on this machine" if channel.capabilities.local else "names no one server to be tried"
        return Finding(name, "ok", f"{written.use} loads, and {where}")
    host, port = server
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except OSError as failed:  # TimeoutError is one of them
        do = "check the address in sojourn.yaml and what stands between (a firewall, a proxy); messages wait and are tried again"
        return Finding(name, "fail", f"{host}:{port} can't be reached: {in_a_line(failed)}", do)
    return Finding(name, "ok", f"{written.use} loads, and {host}:{port} can be reached")
