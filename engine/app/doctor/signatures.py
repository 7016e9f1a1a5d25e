"""Whether receivers can check what a channel signs: the public key in DNS (RFC 6376, RFC 8463) belongs to the one that it signs
with."""

from __future__ import annotations

import binascii
from base64 import b64decode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from engine.app.doctor.finding import Finding, Texts
from engine.delivery.channel import Signing

HASH = "sha256"
"""By which everything is signed."""

PublicKey = tuple[str, object]
"""What `k=` calls its kind, and what it is."""


async def key(texts: Texts, channel: str, signing: Signing, sender: str) -> Finding:
    """The key at the place that signatures name is there, can be used, and is the one that they are made with. `sender`: the
    domain that the channel sends from."""
    check, name = f"{channel}: DKIM", f"{signing.selector}._domainkey.{signing.domain or sender}"
    there = await texts(name)
    records = [record for record in there if "p" in tags(record)]
    if len(records) != 1:
        found = f"{len(records)} keys" if records else "a record without a key" if there else "no key"
        do = "keep the one that is" if records else "add the TXT record"
        says = f"messages are signed, and {name} has {found} to check it by"
        return Finding(check, "fail", says, f"{do} `{signing.record}`")
    wrong = _wrong(tags(records[0]), signing)
    if wrong:
        do = f"make it `{signing.record}`, or sign with the private key that belongs to it, or with another selector"
        return Finding(check, "fail", f"the key at {name} {wrong}", do)
    return Finding(check, "ok", f"{name} has the public half of the key that messages are signed with")


def tags(record: str) -> dict[str, str]:
    """The tags of a DKIM key or a DMARC policy."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _wrong(said: dict[str, str], signing: Signing) -> str:
    """Why receivers can't check signatures by a record that says this; "" where they can."""
    ours = tags(signing.record)
    if not said["p"]:
        return "is revoked (`p=` is empty)"
    if (version := said.get("v", "DKIM1")) != "DKIM1":
        return f"counts for nothing: it says `v={version}`, where only `v=DKIM1` is read"
    if not {"*", "email"} & {word.strip().lower() for word in said.get("s", "*").split(":")}:
        return f"counts for nothing: it says `s={said['s']}`, where mail needs `s=email` or no `s=`"
    if (kind := said.get("k", "rsa").lower()) != ours["k"]:
        return f"is one for {kind} (`k=`), and messages are signed with {ours['k']}"
    if HASH not in (taken := [word.strip().lower() for word in said.get("h", HASH).split(":")]):
        return f"takes no signatures by {HASH} (`h={':'.join(taken)}`)"
    found = _public_key(kind, said["p"])
    if found is None:
        return f"can't be read: its `p=` is no public key for {kind}"
    if found != _public_key(kind, ours["p"]):
        return "isn't the one that messages are signed with: every signature fails"
    return ""


def _public_key(kind: str, text: str) -> PublicKey | None:
    """The key that `p=` writes, so that two are equal however they are written; None where it is none."""
    try:
        raw = b64decode("".join(text.split()), validate=True)
        if kind == "ed25519":
            return kind, ed25519.Ed25519PublicKey.from_public_bytes(raw).public_bytes_raw()
        found = load_der_public_key(raw)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return None
    return (kind, found.public_numbers()) if isinstance(found, rsa.RSAPublicKey) else None
