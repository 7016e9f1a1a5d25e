"""Who follows a link or fetches a picture without being a reader: privacy proxies, link scanners, previews, fetches in advance.

By what they say of themselves. A program that says that it is a browser is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PROXIES = re.compile(
    r"googleimageproxy|yahoomailproxy|"  # Gmail and Yahoo fetch pictures for their readers, some in advance
    r"barracuda|proofpoint|mimecast|symantec|messagelabs|forcepoint|fireeye|trendmicro|safelinks|cloudmark|"  # mail scanners
    r"bingpreview|facebookexternalhit|whatsapp/|skypeuripreview|"
    r"google-safety|google-read-aloud|"
    r"\w*(?<!\bcu)bot\b|\b(?:crawler|spider|scanner|preview|monitor)\b|headlesschrome|phantomjs|"
    r"^(?:curl|wget|python|go-http-client|java|okhttp|axios|node|ruby|perl|libwww|apache-httpclient)\b",
    re.IGNORECASE,
)
"""Parts of the User-Agent of those that name themselves."""

APPLE = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself: it fetches every picture of every letter, read or not."""


def is_machine(headers: Mapping[str, str]) -> bool:
    """Whether a request with these headers (names in lower case) is a machine's own doing."""
    agent = headers.get("user-agent", "").strip()
    ahead = " ".join(headers.get(name, "") for name in ("purpose", "sec-purpose", "x-purpose", "x-moz")).lower()
    return agent in ("", APPLE) or PROXIES.search(agent) is not None or "prefetch" in ahead or "preview" in ahead
