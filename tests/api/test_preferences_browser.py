"""The page of preferences in a real browser: with the keyboard alone, for screen readers, on a phone, by day and by night."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.store import planned
from engine.store.database import transaction
from tests.api.conftest import serving
from tests.api.test_preferences import FILES, known, link, said
from tests.browser import CONTRAST, ENTER, MISSING, SPACE, TAB, Browser, browsing
from tests.harness import write_project

TEXTS = "h1, p, legend, label, .quiet, button, select"


def look(browser: Browser, url: str, pictures: Path | None) -> None:
    """Everything that a browser can say of the page, and a change made by keys alone."""
    browser.open(url)
    assert "544px" == browser.script("return getComputedStyle(document.querySelector('main')).maxWidth"), "its style is allowed"
    boxes = browser.find("input[type=checkbox]")
    assert ["News", "Offers", "News", "Offers"] == [browser.label(b) for b in boxes]
    assert ["Send me nothing until"] == [browser.label(e) for e in browser.find("input[type=date]")]
    assert ["All channels"] == [browser.label(e) for e in browser.find("select")]
    assert ["E-mail", "Text messages", "Fewer messages", "Take a break"] == [
        browser.label(e) for e in browser.find("fieldset")
    ], "groups have names"
    for scheme in ("light", "dark"):
        browser.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        ratios = browser.script(CONTRAST, TEXTS)
        assert min(ratios) >= 4.5, (scheme, ratios)
        if pictures is not None:
            (pictures / f"preferences-{scheme}.png").write_bytes(browser.picture())
    browser.emulate("setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=True)
    assert 320 >= browser.script("return document.documentElement.scrollWidth"), "nothing is cut off on a small phone"
    sizes = browser.script("return [...document.querySelectorAll('label.choice, button, select, input[type=date]')]"
                           ".map(e => e.getBoundingClientRect().height)")  # fmt: skip
    assert min(sizes) >= 44, "large enough for a thumb"
    if pictures is not None:
        (pictures / "preferences-phone.png").write_bytes(browser.picture())
    browser.press(TAB)
    assert "News" == browser.focused()
    browser.press(SPACE)  # e-mails about news: off
    for _ in range(12):
        if browser.focused() == "Save":
            break
        browser.press(TAB)
    browser.press(ENTER)
    told = browser.find("[role=status]")
    assert ["Saved. It takes effect at once."] == [browser.ask("GET", f"element/{e}/text") for e in told]
    assert [False, True] == [browser.ask("GET", f"element/{b}/selected") for b in browser.find("input[value^='email/']")]
    if pictures is not None:
        (pictures / "preferences-saved.png").write_bytes(browser.picture())


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
async def test_the_page_works_in_a_browser(database_url: str, temporal_address: str, tmp_path: Path) -> None:
    """Every field has a name, text has contrast in both schemes, nothing is cut off at 320 pixels, and the keyboard is enough.
    SOJOURN_TEST_PICTURES=FOLDER keeps pictures of it."""
    pictures = os.environ.get("SOJOURN_TEST_PICTURES")
    async with serving(database_url, temporal_address, write_project(tmp_path, FILES)) as api:
        async with transaction(api.core.database) as c:
            await planned.know_channels(c, {"email": "email", "sms": "phone"})
        ada = await known(api, "ada", phone="+390001")
        url = api.address + link(api, ada)

        def drive() -> None:
            with browsing() as browser:
                look(browser, url, Path(pictures) if pictures else None)

        await asyncio.to_thread(drive)
        assert [("email", "news", "withdrawn")] == [s[:3] for s in await said(api, ada)]
