"""What a sender's standing with its provider is judged by, channel by channel: messages and complaints by day, rests because of
complaints, and how far a new sender has been warmed up. Counters only: nothing here reads messages, but `waiting` when a rest
ends.

Whoever counts does so last in a transaction: these few rows are shared by everybody. Days are UTC, by the logical clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, Database, at_once, fetch, rows, run

TODAY = "(sojourn_now() at time zone 'UTC')::date"

_COUNTED = f"""(
    select coalesce(sum(d.sent), 0)::bigint as sent, coalesce(sum(d.complained), 0)::bigint as complained
    from channel_days d where d.channel = c.name and d.day > {TODAY} - coalesce((c.complaints->>'days')::integer, 7)
)"""


async def know_limits(c: Connection, limits: Mapping[str, Json]) -> None:
    """Note the limits on complaints that these channels have ({"above": share, "days": n, "at_least": n}, None: none)."""
    given = rows({"name": name, "complaints": limit} for name, limit in limits.items())
    await run(
        c,
        "update channels set complaints = r.complaints from jsonb_to_recordset(cast(:rows as jsonb)) as r(name text, "
        "complaints jsonb) where channels.name = r.name and channels.complaints is distinct from r.complaints",
        rows=given,
    )


async def count_sent(c: Connection, channel: str, messages: int) -> None:
    """So many more messages went out on a channel today."""
    if messages:
        await run(
            c,
            f"insert into channel_days (channel, day, sent) values (:channel, {TODAY}, :n) "
            "on conflict (channel, day) do update set sent = channel_days.sent + excluded.sent",
            channel=channel,
            n=messages,
        )


async def complained(c: Connection, complaints: Mapping[str, int]) -> list[Row[Any]]:
    """So many more complaints about these channels; those that rest from now on, because there are too many of them: channel,
    sent, complained, days. Channels without a limit aren't counted."""
    found = await fetch(
        c,
        f"insert into channel_days (channel, day, complained) select c.name, {TODAY}, r.n "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(name text, n bigint) join channels c using (name) "
        "where c.complaints is not null order by 1 "
        "on conflict (channel, day) do update set complained = channel_days.complained + excluded.complained returning channel",
        rows=rows({"name": name, "n": n} for name, n in complaints.items()),
    )
    if not found:
        return []
    return await fetch(
        c,
        "insert into channel_rests (channel, since, sent, complained, days) "
        "select c.name, sojourn_now(), t.sent, t.complained, (c.complaints->>'days')::integer "
        f"from channels c cross join lateral {_COUNTED} t where c.name = any(cast(:names as text[])) "
        "and t.sent >= (c.complaints->>'at_least')::bigint "
        "and t.complained > (c.complaints->>'above')::double precision * t.sent order by 1 "
        "on conflict (channel) do nothing returning channel, sent, complained, days",
        names=[r.channel for r in found],
    )


async def rests(c: Connection) -> list[Row[Any]]:
    """The channels that rest: channel, since, sent, complained, days."""
    return await fetch(c, "select channel, since, sent, complained, days from channel_rests order by channel")


def tell(counted: Any) -> str:
    """What was counted (sent, complained, days), in words."""
    return f"{counted.complained} of {counted.sent} messages in {counted.days} days were complained about"


async def end_rest(c: Connection, channel: str) -> Row[Any] | None:
    """A channel rests no longer, and counting begins anew: what was counted, None where it didn't rest."""
    found = await fetch(
        c, "delete from channel_rests where channel = :channel returning since, sent, complained, days", channel=channel
    )
    if found:
        await run(c, "delete from channel_days where channel = :channel", channel=channel)
    return found[0] if found else None


async def waiting(c: Connection, channel: str, after: int, limit: int) -> list[int]:
    """Live enrollments with a number above `after` whose message on a channel some hold keeps back, the lowest first."""
    found = await fetch(
        c,
        "select distinct m.enrollment_id as id from messages m "
        "join enrollments e on e.id = m.enrollment_id and e.status = 'live' "
        "where m.status = 'deferred' and m.reason = 'hold' and m.channel = :channel and m.enrollment_id > :after "
        "order by 1 limit :limit",
        channel=channel,
        after=after,
        limit=limit,
    )
    return [r.id for r in found]


async def listing(c: Connection) -> list[Row[Any]]:
    """Every channel that a worker has had: name, address, complaints (its limit), sent and complained within the limit's days
    (or a week), since (when its rest began), and of its newest warm-up sender, day (from 1), used, quota."""
    return await fetch(
        c,
        "select c.name, c.address, c.complaints, t.sent, t.complained, r.since, w.sender, w.day + 1 as day, w.used, w.quota "
        f"from channels c cross join lateral {_COUNTED} t left join channel_rests r on r.channel = c.name "
        "left join lateral (select * from warmups where channel = c.name order by begun_on desc limit 1) w on true order by 1",
    )


async def take_warm(
    database: Database, channel: str, sender: str, *, urgent: int, others: int, start: int, double: int, full: int | None
) -> Row[Any]:
    """Messages that may go on a channel today while `sender` is being warmed up: granted (of `others`; `urgent` ones always may,
    and count), day (from 0), quota, begins and ends (of that day).

    The quota of a day is `start`, doubled every `double` days; none from the day on where it reaches `full`. One statement that
    commits by itself; the clock is read behind the lock."""
    async with at_once(database) as c:
        return (
            await fetch(
                c,
                f"""insert into warmups as w (channel, sender, begun_on, day, used, quota, granted)
                select :channel, :sender, {TODAY}, 0, :urgent + given, :start, given
                from (select greatest(0, least(:others, :start - :urgent)) as given) as first
                on conflict (channel, sender) do update set (day, quota, used, granted) = (
                    select day, quota, before + :urgent + given, given from (
                        select day, quota, before, case when quota >= coalesce(:full, quota + 1) then :others
                            else greatest(0, least(:others, quota - before - :urgent)) end as given
                        from (
                            select d as day, case when w.day = d then w.used else 0 end as before,
                                floor(:start * power(2.0, least(d / cast(:double as numeric), 40)))::bigint as quota
                            from (select {TODAY} - w.begun_on as d) as clock
                        ) as today
                    ) as answer
                )
                returning granted, day, quota, (begun_on + day)::timestamp at time zone 'UTC' as begins,
                    (begun_on + day + 1)::timestamp at time zone 'UTC' as ends""",
                channel=channel,
                sender=sender,
                urgent=urgent,
                others=others,
                start=start,
                double=double,
                full=full,
            )
        )[0]


async def give_back(database: Database, channel: str, sender: str, day: int, messages: int) -> None:
    """So many of the messages that `take_warm` granted on `day` didn't go."""
    async with at_once(database) as c:
        await run(
            c,
            "update warmups set used = greatest(0, used - :n) where channel = :channel and sender = :sender and day = :day",
            channel=channel,
            sender=sender,
            day=day,
            n=messages,
        )
