"""What `why` says of journeys that the calendar, or an event about a thing, brings people into."""

from __future__ import annotations

from pathlib import Path

from engine.insight.why import why
from engine.store.database import transaction
from tests.intake.office import BIRTHDAY, ONCE, Office, journey, office


async def absent(at: Office, user: str) -> tuple[str, str]:
    """(reason, detail) of the one journey that this user isn't in."""
    [row] = await at.query("select customer_id from identifiers where value = :user", user=user)
    async with transaction(at.core.database) as c:
        [one] = (await why(c, row.customer_id)).absences
    return one.reason, one.detail


async def test_who_was_not_reached_hears_what_the_journey_begins_with(tmp_path: Path, database_url: str) -> None:
    """A schedule, a date and an event about a thing, in words."""
    async with office(tmp_path, database_url, "2026-11-30 07:00") as at:
        await at.know({"ada": {"vip": False, "birthday": "1990-05-03"}})
        await at.deploy(journey(ONCE))
        await at.at("2026-12-01 08:00")
        said = "It begins with a schedule (2026-12-01 09:00, Europe/Rome), and that hasn't come for this customer."
        assert ("no_event", said) == await absent(at, "ada")
        await at.deploy(journey(BIRTHDAY))
        said = "It begins with a date (customer.birthday at 09:00, every year), and that hasn't come for this customer."
        assert ("no_event", said) == await absent(at, "ada")
        await at.deploy(journey("{broadcast: cheaper, audience: vips, key: product}"))
        said = "It begins with cheaper for those whom it concerns, and that hasn't come for this customer."
        assert ("no_event", said) == await absent(at, "ada")


async def test_who_was_reached_and_refused_hears_which_rule_said_no(tmp_path: Path, database_url: str) -> None:
    """The condition of the entry, with the time at which the schedule came."""
    async with office(tmp_path, database_url, "2026-11-30 07:00") as at:
        await at.know({"ada": {"vip": True, "timezone": "Europe/Rome"}})
        await at.deploy(journey(ONCE.replace("audience", "if: customer.country == 'IT', audience")))
        await at.at("2026-12-01 08:00")
        reason, detail = await absent(at, "ada")
        assert "condition" == reason
        assert detail.startswith("The schedule's time came on ")
        assert detail.endswith("but this isn't true of it: customer.country == 'IT'")
