"""AWS Signature Version 4 for requests whose body is known. No adapter, and no I/O.

From "Create a signed AWS API request" in the AWS documentation for IAM, read 2026-11-22.

Small, because it signs one kind of request, and tested against the requests that AWS published for this purpose. botocore would
bring every service's description (more than 100 MB on disk) for these forty lines.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import httpx


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose key signs what. `token`: of temporary credentials, "" where they are permanent."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    region: str
    service: str


def signed(
    credentials: Credentials, method: str, url: str, headers: Mapping[str, str], body: bytes, at: datetime
) -> dict[str, str]:
    """`headers` and those that sign them, the method, the path (which has no query) and the body. `at`: aware, in UTC."""
    where = httpx.URL(url)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    added = {**headers, "X-Amz-Date": stamp, **({"X-Amz-Security-Token": credentials.token} if credentials.token else {})}
    canonical = sorted(
        (name.lower(), " ".join(value.split())) for name, value in {**added, "Host": where.netloc.decode()}.items()
    )
    names = ";".join(name for name, _ in canonical)
    lines = [method, where.raw_path.decode(), "", *(f"{name}:{value}" for name, value in canonical), "", names]
    request = "\n".join([*lines, hashlib.sha256(body).hexdigest()])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**added, "Authorization": authorization}
