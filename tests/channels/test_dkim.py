"""DKIM signatures, verified by another implementation (dkimpy) than the one that makes them."""

from __future__ import annotations

import base64
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.dkim import Dkim, Signer
from channels.smtp import Settings, Smtp
from engine.delivery.channel import ChannelError, Content, Result, load_channel
from engine.delivery.testing import ODD
from tests.channels.smtp_sink import post
from tests.channels.test_smtp import message

RSA, ED = rsa.generate_private_key(public_exponent=65537, key_size=1024), ed25519.Ed25519PrivateKey.generate()


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """The key as it stands in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def dns(name: bytes, timeout: int = 5) -> bytes | None:
    """What a receiver finds in DNS: the RSA key for skin.example, the Ed25519 key for other.example."""
    if name.startswith(b"s1._domainkey.skin.example"):
        spki = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(spki)
    if name.startswith(b"s1._domainkey.other.example"):
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    return None


BLANK = st.text(alphabet=" \t\r\nax.é\u2028=", max_size=60)


@given(body=BLANK, subject=BLANK, key=st.sampled_from(["rsa", "ed25519"]))
@settings(max_examples=60, deadline=None)
def test_verifies(body: str, subject: str, key: str) -> None:
    """Whatever blanks, empty lines and folds a message has, its signature holds; a changed or a second header breaks it."""
    lines = [
        "From: <care@skin.example>",
        f"Subject: {' '.join(subject.split())}\r\n\t folded  here ",
        "List-Unsubscribe: <https://x>",
    ]
    mail = "\r\n".join([*lines, "", body.replace("\r", "").replace("\n", "\r\n")]).encode() + b"\r\n"
    private, domain = (pem(RSA), None) if key == "rsa" else (pem(ED), "other.example")
    signer = Signer(Dkim.model_validate({"selector": "s1", "domain": domain, "key": private}))
    signed = signer.sign(mail, "skin.example", 1_700_000_000) + mail
    assert dkim.verify(signed, dnsfunc=dns)
    assert max(len(line) for line in signed.split(b"\r\n")[:12]) <= 998
    for spoilt in (
        signed.replace(b"folded", b"molded"),
        signed.replace(b"<https://x>", b"<https://y>"),
        b"From: <evil@evil.example>\r\n" + signed,
        b"Reply-To: <evil@evil.example>\r\n" + signed,
        signed + b"more\r\n",
    ):
        assert not dkim.verify(spoilt, dnsfunc=dns)
    assert dkim.verify(signed.replace(b"folded  here", b"folded\r\n here") + b"\r\n \r\n", dnsfunc=dns)


async def test_through_a_server() -> None:
    """What a server receives is signed for the sender's domain, the headers by which to unsubscribe included."""
    async with post(enable_SMTPUTF8=True) as told:
        options = {"host": "127.0.0.1", "port": told.port, "dkim": {"selector": "s1", "key": pem(RSA)}, "timeout": 50.0}
        channel = Smtp(Settings.model_validate(options))
        content = Content({"subject": ODD}, text=f".\r\n..two\n\n{ODD}\n.\n\n\n", html=f"<p>{ODD}</p>")
        for to in ("ada@example.com", "josé@bücher.example"):
            assert (await channel.send(message(content=content, to=to))).result == Result.ACCEPTED
        await channel.close()
    for raw in told.arrived:
        assert dkim.verify(raw, dnsfunc=dns)
        signature = dkim.util.parse_tag_value(raw.partition(b":")[2].partition(b"\r\nFrom:")[0])
        assert signature[b"d"] == b"skin.example"
        assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(b"".join(signature[b"h"].split()).split(b":"))


def test_keys(tmp_path: Path) -> None:
    """A key that can't be used is refused when the settings are read, with what is wrong, and without showing it."""
    file = tmp_path / "key.pem"
    file.write_text(pem(ED))
    assert isinstance(Dkim.model_validate({"selector": "s1", "key_file": str(file)}).private_key(), ed25519.Ed25519PrivateKey)
    curve, weak = (
        pem(ec.generate_private_key(ec.SECP256R1())),
        "-----BEGIN PRIVATE KEY-----\nh3x-secret\n-----END PRIVATE KEY-----",
    )
    for wrong, words in (
        ({}, "one of"),
        ({"key": pem(ED), "key_file": str(file)}, "one of"),
        ({"key": weak}, "PEM"),
        ({"key": curve}, "RSA or Ed25519"),
        ({"key_file": str(tmp_path / "none.pem")}, "No such file"),
        ({"key": pem(ED), "selector": "a\r\nb"}, "selector"),
    ):
        with pytest.raises(ChannelError, match=words) as refused:
            load_channel("email", {"use": "channels.smtp", "host": "mx.example", "dkim": {"selector": "s1", **wrong}})
        assert "h3x-secret" not in str(refused.value)
        assert "PRIVATE" not in str(refused.value)
