"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from engine.app.doctor import channels, database, machine, workers
from engine.app.doctor.finding import Finding, Patient
from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.store.database import connect, transaction


async def visit(patient: Patient, only: str | None = None) -> AsyncIterator[Finding]:
    """Every finding, as it is made. `only`: of one channel."""
    patient = await _with_senders(patient)
    if only is None:
        yield machine.secrets(patient)
        yield machine.zones(patient)
        for found in machine.disk(patient):
            yield found
        async for found in database.look(patient):
            yield found
        async for found in workers.look(patient):
            yield found
    async for found in channels.look(patient, only):
        yield found


async def _with_senders(patient: Patient) -> Patient:
    """With the senders of the deployment in force, where there is one."""
    if patient.database_url is None:
        return patient
    store = connect(patient.database_url, pool=1)
    try:
        async with transaction(store) as c:
            deployment = await Deployments().current(c)
    except (SQLAlchemyError, OSError, NothingDeployed):  # the check of the database says so
        return patient
    finally:
        await store.dispose()
    return replace(patient, senders={name: deployment.sender(name).get("from", "") for name in patient.settings.channels})
