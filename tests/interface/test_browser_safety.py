"""Text is text in the browser too, and the browser holds the pages to their policy."""

from __future__ import annotations

import pytest
from made_up_site import latent, member


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_text_is_text(hostile_site, open_page, width):
    for token in ("overview", "member", *range(0, 19, 6)):
        address = {"overview": f"{hostile_site.as_uri()}/index.html", "member": member(hostile_site)}.get(token)
        page = open_page(address or latent(hostile_site, token), width=width)
        if isinstance(token, int):
            page.get_by_role("button", name="All values of this example").first.click()
        assert page.evaluate("window.hurt") is None
        assert page.locator("main :is(img, script, iframe, b, i)").count() == 0
        assert page.locator("[href^='javascript'], [onerror], [onload]").count() == 0
        text = page.locator("main").inner_text()
        assert not set(text) & set("\u202e\u2067\u2069\u200b\ufeff\x07\x1b\x00")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if isinstance(token, int):
            assert "<img src=x onerror=" in text and "\\u{202E}" in text and "&lt;b&gt;" in text and "\\x1B" in text


def test_the_browser_refuses_markup_and_foreign_scripts(plain_site, chromium):
    page = chromium.new_page()
    page.goto(f"{plain_site.as_uri()}/index.html")
    page.wait_for_selector("h1")
    attempts = (
        "document.body.innerHTML = '<b>x</b>'",
        "document.createElement('script').src = 'https://example.org/x.js'",
        "saejax.load('data/../../x.js')",
        "saejax.load('https://example.org/x.js')",
    )
    for attempt in attempts:
        with pytest.raises(Exception, match="TrustedHTML|TrustedScriptURL|not a data file"):
            page.evaluate(f"() => ({attempt})")
    page.context.close()
