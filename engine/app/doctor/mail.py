"""Whether receivers can tell that a sender's mail is its own: SPF (RFC 7208) and DMARC (RFC 7489) in DNS, and DKIM by
`signatures.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver

from engine.app.doctor.finding import PATIENCE, Finding, Texts
from engine.app.doctor.signatures import key, tags
from engine.delivery.channel import Signing

LOOKUPS = 10
"""Terms of an SPF record that ask DNS, at the most, those of included ones counted too (RFC 7208, section 4.6.4)."""

ASKING = re.compile(r"[+?~-]?(include:|a(?=$|[:/])|mx(?=$|[:/])|ptr(?=$|:)|exists:)|redirect=", re.IGNORECASE)
INCLUDED = re.compile(r"(?:[+?~-]?include:|redirect=)([^\s%]+)$", re.IGNORECASE)

RESERVED = ("example", "test", "invalid", "localhost")
"""Ends of domains that nobody can have (RFC 2606); example.com and its like too."""


@dataclass(slots=True)
class Resolver:
    """DNS as this machine is set up to ask it, or as `resolver` is."""

    resolver: dns.asyncresolver.Resolver | None = None

    async def __call__(self, name: str) -> Sequence[str]:
        """See `Texts`."""
        try:
            asked = self.resolver or dns.asyncresolver.Resolver()
            found: Any = await asked.resolve(name, "TXT", lifetime=PATIENCE)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as failed:
            raise OSError(f"DNS doesn't tell about {name}: {type(failed).__name__}") from failed
        return [b"".join(one.strings).decode("utf-8", "replace") for one in found]


def reserved(domain: str) -> bool:
    """Whether nobody can own `domain`."""
    labels = domain.lower().rstrip(".").split(".")
    return labels[-1] in RESERVED or labels[-2:-1] == ["example"]


async def look(texts: Texts, channel: str, domain: str, signing: Signing | None) -> list[Finding]:
    """The findings about a channel that sends from `domain`. `signing`: where Sojourn signs itself."""
    found = [await spf(texts, channel, domain), await dmarc(texts, channel, domain)]
    if signing is not None:
        found.insert(1, await key(texts, channel, signing, domain))
    return found


async def spf(texts: Texts, channel: str, domain: str) -> Finding:
    """One record, that names who may send, and asks DNS no more than LOOKUPS times."""
    check = f"{channel}: SPF"
    records = await _spf_records(texts, domain)
    if not records:
        do = f"add a TXT record `v=spf1 … -all` to {domain} that names your provider"
        return Finding(check, "warn", f"{domain} doesn't say who may send for it", do)
    if len(records) > 1:
        do = "keep one TXT record that begins with v=spf1, and put what the others name into it"
        return Finding(check, "fail", f"{domain} has {len(records)} SPF records, so none counts", do)
    terms = records[0].lower().split()
    closing = "end the record with -all or ~all"
    if terms[-1] in ("+all", "all"):
        return Finding(check, "fail", f"{domain} lets everybody in the world send for it (`{terms[-1]}`)", closing)
    asked = await _lookups(texts, records[0], {domain.lower()})
    if asked > LOOKUPS:
        do = "receivers give up there, and SPF fails: remove includes that you no longer need"
        return Finding(check, "fail", f"the SPF record of {domain} asks DNS {asked} times, {LOOKUPS} are allowed", do)
    if not (terms[-1].endswith("all") or terms[-1].startswith("redirect=")):
        return Finding(check, "warn", f"the SPF record of {domain} doesn't say what of all others", closing)
    return Finding(check, "ok", f"{domain} names who may send for it, with {asked} of {LOOKUPS} look-ups")


async def _spf_records(texts: Texts, domain: str) -> list[str]:
    return [t for t in await texts(domain) if t.lower().split(" ")[0] == "v=spf1"]


async def _lookups(texts: Texts, record: str, seen: set[str]) -> int:
    """Terms that ask DNS, in `record` and in what it includes; counted to a little above LOOKUPS. `seen`: domains on the way."""
    asked = 0
    for term in record.split()[1:]:
        if not ASKING.match(term):
            continue
        asked += 1
        inner = INCLUDED.match(term)
        if inner is not None and asked <= LOOKUPS and (name := inner[1].lower().rstrip(".")) not in seen:
            for one in (await _spf_records(texts, name))[:1]:
                asked += await _lookups(texts, one, {*seen, name})
    return asked


async def dmarc(texts: Texts, channel: str, domain: str) -> Finding:
    """There is one policy for the domain, or for one above it."""
    check = f"{channel}: DMARC"
    labels = domain.lower().rstrip(".").split(".")
    for i in range(max(1, len(labels) - 1)):
        at = ".".join(labels[i:])
        records = [t for t in await texts(f"_dmarc.{at}") if t.replace(" ", "").lower().startswith("v=dmarc1")]
        if len(records) > 1:
            return Finding(check, "fail", f"_dmarc.{at} has {len(records)} records, so none counts", "keep one")
        if records:
            return _policy(check, at, tags(records[0]))
    do = f"add a TXT record `v=DMARC1; p=none; rua=mailto:YOU@{domain}` at _dmarc.{domain}, and tighten it later"
    return Finding(check, "warn", f"{domain} has no DMARC policy, which large receivers ask of who sends much", do)


def _policy(check: str, at: str, said: dict[str, str]) -> Finding:
    policy = said.get("p", "").lower()
    if policy not in ("none", "quarantine", "reject"):
        do = "write p=none, p=quarantine or p=reject"
        return Finding(check, "fail", f"the policy at _dmarc.{at} is no policy (`p={policy}`)", do)
    return Finding(check, "ok", f"_dmarc.{at} says p={policy}")
