"""This machine: secrets in the environment, time zones, room on the disk."""

from __future__ import annotations

import shutil
from importlib.metadata import version

from engine.app.doctor.finding import Finding, Patient
from engine.core.clock import zone as zone_named

LITTLE, TOO_LITTLE = 2_000_000_000, 200_000_000
"""Bytes free on the disk of the servers' data: below these it is worth a warning, and a failure."""


def secrets(patient: Patient) -> Finding:
    """What sojourn.yaml names is in the environment."""
    if not patient.unset:
        return Finding("secrets", "ok", "every variable that sojourn.yaml names is set here")
    told = "; ".join(f"{p.file}:{p.line}: {p.message}" for p in patient.unset)
    return Finding("secrets", "fail", told, "set them in the environment of every worker and API process")


def zones(_: Patient) -> Finding:
    """Time zones can be told, from the package that is the only source of them."""
    zone_named("Pacific/Apia")  # one that the oldest data has another way
    return Finding("time zones", "ok", f"from tzdata {version('tzdata')}")


def disk(patient: Patient) -> list[Finding]:
    """Room for the embedded servers."""
    if not patient.embedded:
        return []
    free = shutil.disk_usage(patient.data).free
    says = f"{free / 1e9:.1f} GB are free where the servers of `sojourn up` keep their data"
    if free < TOO_LITTLE:
        return [Finding("disk", "fail", says, "make room: PostgreSQL stops where there is none")]
    return [Finding("disk", "warn" if free < LITTLE else "ok", says, "make room soon" if free < LITTLE else "")]
