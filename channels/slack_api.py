"""What both of Slack's adapters speak: how its API answers, and whose its calls are. No adapter."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from engine.delivery.channel import Notice, Receipt, Result
from engine.delivery.http import HttpAdapter, retry_after
from engine.delivery.notices import epoch, fresh, mac, same

LATER = {"ratelimited", "rate_limited", "message_limit_exceeded", "service_unavailable", "team_added_to_org"}
OURS = {
    "account_inactive",
    "invalid_auth",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "token_expired",
    "token_revoked",
}
"""Slack doesn't let the app in: nothing is wrong with the message."""

UNKNOWN = {"internal_error", "fatal_error", "request_timeout"}
"""Slack says that part of the operation may have been done."""

SUPPRESS = {"channel_not_found": "invalid_address", "is_archived": "invalid_address", "user_not_found": "invalid_address"}


async def sent(http: HttpAdapter, method: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Receipt:
    """What Slack makes of a call of a chat method. A message is known as CHANNEL:TS."""
    answer = await http.ask("POST", method, headers=headers, json=body)
    if isinstance(answer, Receipt) or not 200 <= answer.status < 300:
        return answer if isinstance(answer, Receipt) else http.receipt(answer)
    told = answer.json
    if told.get("ok") is True:
        return http.receipt(answer, id=f"{told.get('channel', '')}:{told.get('ts', '')}")
    error = str(told.get("error", ""))
    words = http.blotted(error or f"an answer that is none of Slack's: {answer.words}")
    if error in LATER:
        return Receipt(Result.LATER, words=words, retry_after=retry_after(answer.headers))
    if error in OURS:
        return http.unauthorised(error)
    if error in UNKNOWN or not error:
        return Receipt(Result.UNKNOWN, words=words)
    return Receipt(Result.REFUSED, words=words, suppress=SUPPRESS.get(error))


def judged(notice: Notice, secret: SecretStr) -> None:
    """Raises Forged unless Slack signed the notice, just now."""
    stamp = notice.headers.get("x-slack-request-timestamp", "")
    signed = b"v0:" + stamp.encode() + b":" + notice.body
    expected = "v0=" + mac(secret.get_secret_value(), signed).hex()
    same(notice.headers.get("x-slack-signature", ""), expected)
    fresh(notice, epoch(stamp))
