"""Sites of made-up records, and the browser that opens them: Debian's Chromium, without a window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_run import Served, start_serving
from made_up_site import build

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def plain_site(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("plain"), 256)


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("hostile"), 20, hostile=True)


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Iterator[Served]:
    """`launch.py --tasks=interface,serve` at work."""
    with start_serving(tmp_path_factory.mktemp("served") / "run") as served:
        yield served


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The browser, with an empty folder of its own."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'saejax[test]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> Path:
    """Where screenshots are kept: $SAEJAX_SCREENSHOTS, or pytest's own folder."""
    folder = Path(os.environ.get("SAEJAX_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(chromium, artifacts, request):
    """open_page(address, width=…, scheme=…) → a page; afterwards it is photographed, and must not have complained."""
    opened, complaints = [], []

    def start(address: str, *, width: int = 1280, height: int = 900, scheme: str = "light"):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        home = "file:" if address.startswith("file:") else "/".join(address.split("/")[:3])
        page.on("request", lambda sent: None if sent.url.startswith(home) else complaints.append(f"asked for {sent.url}"))
        page.goto(address)
        page.wait_for_selector("main h1, main [role=alert]")
        opened.append((context, page))
        return page

    yield start
    for i, (context, page) in enumerate(opened):
        if "[object" in page.locator("main").inner_text():
            complaints.append("an object is shown as if it were text")
        page.screenshot(path=str(artifacts / f"{request.node.name}{f'-{i}' if i else ''}.png"))
        context.close()
    assert not complaints, complaints
