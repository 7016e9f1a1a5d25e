"""What `deliver` tells of itself, once it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.delivery.channel import Channel, Receipt
from engine.delivery.draft import Draft
from engine.observe import metrics


def decided(chunk: Sequence[Draft], written: Sequence[dict[str, Any]]) -> None:
    """The gates' verdicts, and the statuses that the ledger has now. `written`: rows of `store.ledger.write`."""
    verdicts = [d.verdict for d in chunk if d.verdict is not None]
    metrics.count_all(metrics.DECISIONS, ((v.decision, v.reason) for v in verdicts))
    metrics.count_all(metrics.MESSAGES, ((r["journey"], r["channel"], r["tier"], r["status"]) for r in written))


def answered(channel: Channel, pairs: Sequence[tuple[Draft, Receipt | Exception]], results: Sequence[dict[str, Any]]) -> None:
    """What the provider said, and the statuses that follow. `results`: rows of `store.ledger.results`, in the pairs' order."""
    said = (str(told.result) if isinstance(told, Receipt) else "failed" for _, told in pairs)
    metrics.count_all(metrics.RECEIPTS, ((channel.name, result) for result in said))
    drafts = zip((d for d, _ in pairs), results, strict=True)
    metrics.count_all(metrics.MESSAGES, ((d.plan.journey, channel.name, d.op.tier, r["status"]) for d, r in drafts))
