"""`sojourn doctor`: real servers, a real DNS server on loopback, and the command as a process."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from engine.app.doctor import machine, mail
from engine.app.doctor.channels import look as look_at_channels
from engine.app.doctor.finding import Finding, Patient
from engine.app.doctor.signatures import key
from engine.app.doctor.visit import visit
from engine.app.processes import free_port
from engine.delivery.channel import Signing
from engine.settings.project import ChannelSettings, Settings, TemporalSettings
from tests.cli.commands import answer, sojourn
from tests.harness import running, write_project

WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps: [{wait: 30d, id: month}]
"""

KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=1024) for _ in range(2))
EDWARDS = ed25519.Ed25519PrivateKey.generate()


def spki(key: rsa.RSAPrivateKey) -> str:
    """The public half, as it usually stands in DNS."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def bare(key: rsa.RSAPrivateKey) -> bytes:
    """The same as RFC 6376 writes it."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


RSA, ED = spki(KEY), base64.b64encode(EDWARDS.public_key().public_bytes_raw()).decode()
OWN = Signing("s1", "", f"v=DKIM1; k=rsa; p={RSA}")

RECORDS: dict[str, Sequence[str]] = {
    "good.shop.example.net": ["v=spf1 include:_spf.provider.example.net ip4:192.0.2.1 -all", "unrelated"],
    "_spf.provider.example.net": ["v=spf1 a mx:mx.example.net ?all"],
    "s1._domainkey.good.shop.example.net": ["unrelated", OWN.record],
    "ed._domainkey.good.shop.example.net": [f"v=DKIM1; k=ed25519; p={ED}"],
    "gone._domainkey.good.shop.example.net": ["v=DKIM1; p="],
    "_dmarc.shop.example.net": ["v=DMARC1; p=quarantine"],
    "two.example.org": ["v=spf1 -all", "v=spf1 ~all"],
    "_dmarc.two.example.org": ["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    "all.example.org": ["v=spf1 +all"],
    "_dmarc.all.example.org": ["v=DMARC1; p=perhaps"],
    "many.example.org": ["v=spf1 " + " ".join(f"include:m{i}.example.org" for i in range(6)) + " -all"],
    **{f"m{i}.example.org": ["v=spf1 a mx -all"] for i in range(6)},
    "open.example.org": ["v=spf1 ip4:192.0.2.1"],
    "loop.example.org": ["v=spf1 include:loop.example.org ~all"],
}


class Dns(asyncio.DatagramProtocol):
    """A DNS server for TXT records; of names under `mute.` it says nothing."""

    def connection_made(self, transport: Any) -> None:
        """Keeps where to answer."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answers one question."""
        asked = dns.message.from_wire(data)
        name = asked.question[0].name.to_text().rstrip(".")
        if name.startswith(("mute.", "_dmarc.mute.")):
            return
        told = dns.message.make_response(asked)
        if name in RECORDS:
            parts = [" ".join(f'"{t[i : i + 200]}"' for i in range(0, len(t), 200)) for t in RECORDS[name]]
            told.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "TXT", *parts))
        else:
            told.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(told.to_wire(), addr)


@asynccontextmanager
async def served() -> AsyncIterator[mail.Resolver]:
    """A resolver that asks a server of its own."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Dns, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        yield mail.Resolver(resolver)
    finally:
        transport.close()


async def nobody(name: str) -> Sequence[str]:
    """DNS that isn't asked."""
    raise AssertionError(name)


def by_check(found: Sequence[Finding]) -> Mapping[str, Finding]:
    """Check → finding."""
    return {f.check: f for f in found}


async def test_what_dns_says_of_a_sender_is_judged_by_the_standards() -> None:
    """SPF: one record, ten look-ups, an end; DKIM: one key that isn't revoked; DMARC: one policy, here or above."""
    async with served() as texts:

        async def judged(domain: str, selector: str | None = None) -> dict[str, tuple[str, str]]:
            signing = None if selector is None else replace(OWN, selector=selector)
            found = await mail.look(texts, "email", domain, signing)
            return {f.check.removeprefix("email: "): (f.status, f.says) for f in found}

        good = await judged("good.shop.example.net", "s1")
        assert {"SPF": "ok", "DKIM": "ok", "DMARC": "ok"} == {k: status for k, (status, _) in good.items()}
        assert "3 of 10 look-ups" in good["SPF"][1]
        assert "_dmarc.shop.example.net says p=quarantine" == good["DMARC"][1]
        assert "revoked" in (await judged("good.shop.example.net", "gone"))["DKIM"][1]
        assert ("fail", True) == (
            (missing := await judged("good.shop.example.net", "no"))["DKIM"][0],
            "no key" in missing["DKIM"][1],
        )
        for domain, spf, dmarc in (
            ("two.example.org", ("fail", "2 SPF records"), ("fail", "2 records")),
            ("all.example.org", ("fail", "everybody in the world"), ("fail", "p=perhaps")),
            ("many.example.org", ("fail", "asks DNS 1"), ("warn", "no DMARC policy")),
            ("open.example.org", ("warn", "of all others"), ("warn", "no DMARC policy")),
            ("loop.example.org", ("ok", "1 of 10"), ("warn", "no DMARC policy")),
            ("none.example.org", ("warn", "who may send"), ("warn", "no DMARC policy")),
        ):
            said = await judged(domain)
            for check, (status, words) in (("SPF", spf), ("DMARC", dmarc)):
                assert (status, True) == (said[check][0], words in said[check][1]), (domain, said)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([OWN.record], ""),
        ([f"p={RSA[:40]} {RSA[40:]} ; t=s"], ""),
        ([f"v=DKIM1; h=sha1:sha256; p={base64.b64encode(bare(KEY)).decode()}"], ""),
        ([], "no key"),
        (["v=DKIM1; k=rsa"], "a record without a key"),
        ([OWN.record, OWN.record], "2 keys"),
        (["v=DKIM1; p="], "revoked"),
        ([OWN.record.replace("DKIM1", "DKIM2")], "`v=DKIM2`"),
        ([OWN.record + "; s=tlsrpt"], "counts for nothing: it says `s=tlsrpt`"),
        ([OWN.record + "; s=tlsrpt : Email"], ""),
        ([OWN.record + "; s=*"], ""),
        ([f"v=DKIM1; k=ed25519; p={ED}"], "is one for ed25519 (`k=`), and messages are signed with rsa"),
        ([OWN.record + "; h=sha1"], "takes no signatures by sha256"),
        ([OWN.record.replace("p=", "p=!")], "no public key for rsa"),
        ([f"v=DKIM1; k=rsa; p={RSA[:200]}"], "no public key for rsa"),
        ([f"v=DKIM1; k=rsa; p={spki(OTHER)}"], "isn't the one that messages are signed with"),
    ],
)
async def test_the_key_in_dns_is_compared_with_the_one_that_signs(records: list[str], said: str) -> None:
    """However it is written; where it is another one, what must stand there is told whole."""

    async def texts(name: str) -> Sequence[str]:
        assert "s1._domainkey.shop.internal" == name
        return records

    found = await key(texts, "email", OWN, "shop.internal")
    assert ("fail" if said else "ok", True) == (found.status, said in found.says)
    assert (OWN.record in found.do) == bool(said)


async def test_a_key_of_the_other_kind_is_compared_by_the_channel_itself(tmp_path: Path) -> None:
    """Ed25519, whose public key is so short that it stands as it is; signed for another domain than the sender's."""
    pem = EDWARDS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signed = {"selector": "ed", "domain": "good.shop.example.net", "key": pem}
    settings = {"use": "channels.smtp", "host": "mx.shop.internal", "port": str(free_port()), "dkim": signed}
    channels = {"email": ChannelSettings.model_validate(settings)}
    async with served() as texts:
        who = patient(tmp_path, settings=Settings(channels=channels), senders={"email": "care@shop.internal"}, texts=texts)
        found = by_check([f async for f in look_at_channels(who)])
    assert "ed._domainkey.good.shop.example.net has the public half" in found["email: DKIM"].says


def patient(tmp_path: Path, **values: Any) -> Patient:
    """Somebody to look at, who has nothing."""
    return Patient(
        **{
            "settings": Settings(),
            "folder": tmp_path,
            "data": tmp_path,
            "database_url": None,
            "temporal_address": None,
            "texts": nobody,
            **values,
        }
    )


async def test_channels_are_loaded_and_their_servers_reached(tmp_path: Path) -> None:
    """An adapter that isn't there, one on this machine, one whose server nobody serves, a sender that nobody can own."""
    shut = free_port()
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    channels = {
        "email": ChannelSettings.model_validate({"use": "channels.smtp", "host": "127.0.0.1", "port": str(shut)}),
        "sms": ChannelSettings.model_validate(
            {"use": "channels.webhook", "url": f"http://127.0.0.1:{port}/", "allow_private": "true"}
        ),
        "push": ChannelSettings.model_validate({"use": "channels.nosuch"}),
        "quiet": ChannelSettings.model_validate({"use": "channels.noop"}),
        "remote": ChannelSettings.model_validate(
            {"use": "channels.postmark", "token": "t", "base": f"http://127.0.0.1:{port}", "address": "email"}
        ),
    }
    who = patient(tmp_path, settings=Settings(channels=channels), senders=dict.fromkeys(channels, "Shop <care@shop.example>"))
    found = by_check([f async for f in look_at_channels(who)])
    assert {"email": "fail", "sms": "ok", "push": "fail", "quiet": "ok"} == {
        n: found[n].status for n in ("email", "sms", "push", "quiet")
    }
    assert f"127.0.0.1:{shut} can't be reached" in found["email"].says
    assert f"127.0.0.1:{port} can be reached" in found["sms"].says
    assert [f.check for f in [f async for f in look_at_channels(who, "quiet")]] == ["quiet"]
    listening.close()


async def test_a_machine_without_anything_is_told_what_to_do(tmp_path: Path) -> None:
    """No servers, a variable that isn't set, no disk of ours; servers that don't answer are failures too, not traces."""
    found = by_check([f async for f in visit(patient(tmp_path))])
    assert {"database": "fail", "Temporal": "fail", "secrets": "ok", "time zones": "ok"} == {
        n: f.status for n, f in found.items()
    }
    assert all(f.do for f in found.values() if f.status == "fail")
    dead = f"127.0.0.1:{free_port()}"
    gone = patient(tmp_path, database_url=f"postgresql://nobody@{dead}/x", temporal_address=dead, embedded=True)
    found = by_check([f async for f in visit(gone)])
    assert "it can't be reached" in found["database"].says
    assert f"it doesn't answer at {dead}" in found["Temporal"].says
    assert "GB are free" in found["disk"].says
    empty = replace(gone, embedded=False)
    assert [] == machine.disk(empty)


async def test_a_running_project_is_well_and_says_what_is_not(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With a worker everything that can be is ok; without one its queues are unserved. Then the same by the command."""
    settings = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
    folder = write_project(tmp_path, {"sojourn.yaml": settings, "journeys/welcome.yaml": WELCOME})
    quiet = {name: ChannelSettings(use="channels.noop") for name in ("email", "sms")}
    who = patient(
        tmp_path,
        settings=Settings(channels=quiet),
        database_url=database_url,
        temporal_address=temporal_address,
        prefix=task_queue_prefix,
    )
    async with running(folder, database_url, temporal_address, task_queue_prefix) as project:

        async def served() -> bool:
            """A worker that has started may not have asked all its queues yet."""
            return by_check([f async for f in visit(who)])["workers"].status == "ok"

        await project.until(served)
        found = by_check([f async for f in visit(who)])
        ok = {
            "database",
            "schema",
            "clock",
            "deployment",
            "relay",
            "quarantine",
            "parked",
            "complaints",
            "Temporal",
            "workers",
            "email",
        }
        assert ok <= {n for n, f in found.items() if f.status == "ok"}, found
        assert "every queue is served" in found["workers"].says
        assert "fail" == found["chore calendar"].status, "nobody keeps chores in this test"
        await project.query("insert into quarantine (source, at, reason, body) values ('x', now(), 'y', '{}') returning id")
    other = replace(
        who,
        prefix=f"{task_queue_prefix}-other",
        settings=Settings(channels=quiet, temporal=TemporalSettings(namespace="no-such")),
    )
    found = by_check([f async for f in visit(other)])
    assert ("warn", "1 calls were put aside") == (found["quarantine"].status, found["quarantine"].says)
    assert ("fail", "it has no namespace 'no-such'") == (found["Temporal"].status, found["Temporal"].says)
    servers = {"SOJOURN_DATABASE_URL": database_url, "SOJOURN_TEMPORAL_ADDRESS": temporal_address}
    done = await asyncio.to_thread(sojourn, "doctor", "--json", cwd=folder, **servers)
    told = answer(done)
    assert (1, False, "") == (done.returncode, told["ok"], done.stderr)
    assert {"check", "status", "says", "do"} == set(told["checks"][0])
    assert "fail" == next(c["status"] for c in told["checks"] if c["check"] == "chore calendar")
