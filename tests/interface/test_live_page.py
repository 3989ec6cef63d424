"""The live page in a real browser, asking a real server. No page may complain, or ask for anything elsewhere."""

from __future__ import annotations

import re

import pytest
from made_up_run import NAMES
from synthetic import HOSTILE

READING = ".reading-text .token"


def live(served, open_page, **options):
    page = open_page(f"{served.address}live.html", **options)
    page.wait_for_selector(".samples dd .token")
    page.wait_for_selector(READING)
    return page


def tokens(page, reading: int = 0) -> list[str]:
    return page.locator(".reading").nth(reading).locator(READING).all_text_contents()


def probabilities(page, column: str = "number") -> list[str]:
    return page.locator(f".next tbody td.{column}").all_text_contents()


def type_text(page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.wait_for_function("n => document.querySelectorAll('.reading-text .token').length > n", arg=1)


def test_a_text_that_is_typed_is_read(served, open_page):
    page = live(served, open_page)
    before = probabilities(page)
    page.get_by_label("Text", exact=True).fill("")
    page.get_by_label("Text", exact=True).press_sequentially("def zeros(shape)", delay=20)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.reading-text .token')].map((e) => e.textContent).join('').endsWith('(shape)')"
    )
    assert "".join(tokens(page)).endswith("def zeros(shape)")
    page.wait_for_function("old => document.querySelector('.next tbody').innerText.indexOf(old) < 0", arg=before[0])
    assert re.match(r"\d+ of 64 tokens", page.locator(".asked-under").inner_text())
    assert "strongest at" in page.locator(".asked [role=status]").text_content()


def test_a_token_has_its_latents_and_one_colours_the_text(served, open_page):
    page = live(served, open_page)
    page.locator(READING).nth(3).hover()
    shown = page.locator(".reading-list h3").inner_text()
    assert tokens(page)[3].strip() in shown
    page.locator(READING).nth(3).click()
    page.mouse.move(0, 0)
    assert page.locator(".reading-list h3").inner_text() == shown
    page.wait_for_function(
        "text => document.querySelector('#next-title').innerText.includes(text)", arg=tokens(page)[3].strip()
    )
    second = page.locator(".strongest .pick").nth(1)
    number = second.locator(".name").inner_text()
    second.click()
    page.wait_for_function("n => document.querySelector('.reading h2').innerText === `Latent ${n}`", arg=number)
    assert page.locator(f".pick[data-latent='{number}']").get_attribute("aria-pressed") == "true"
    assert "active" in page.locator(READING).nth(3).get_attribute("class")
    page.get_by_role("link", name=f"Page of latent {number}").click()
    page.wait_for_selector("h1")
    page.wait_for_function("n => document.querySelector('h1')?.innerText === `Latent ${n}`", arg=number)
    page.get_by_role("link", name="Live", exact=True).click()
    page.wait_for_selector(READING)
    assert page.locator(".reading h2").inner_text() == f"Latent {number}"


def test_a_slider_moved_by_the_keyboard_changes_the_distribution(served, open_page):
    page = live(served, open_page)
    assert probabilities(page, "after-number:visible") == []
    page.get_by_role("button", name=re.compile("^Turn latent")).first.press("Enter")
    slider = page.get_by_role("slider", name=re.compile("^Strength of latent"))
    assert slider.evaluate("one => one === document.activeElement"), "the focus follows"
    page.wait_for_selector(".next .after-number:visible")
    first = probabilities(page, "after-number")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "+1.5 × max"
    page.wait_for_function("old => document.querySelector('.next .after-number').innerText !== old", arg=first[0])
    assert "divergence" in page.locator(".outcome").inner_text()
    page.wait_for_selector(".samples dd:nth-of-type(2)")
    assert page.locator(READING + ".worse").count() + page.locator(READING + ".better").count() > 0
    page.get_by_label("ablate", exact=True).focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.querySelector('.slider')")
    page.get_by_role("button", name=re.compile("^Leave latent")).click()
    page.wait_for_function("() => document.querySelector('.next .after-number').hidden")


def test_a_latent_is_named_by_its_number(served, open_page):
    page = live(served, open_page)
    number = page.get_by_label("Number of a latent to turn")
    number.fill("99")
    number.press("Enter")
    assert page.locator(".turned").count() == 0, "there are 32"
    number.fill("17")
    number.press("Enter")
    assert page.locator(".turned strong").inner_text() == "Latent 17"


def test_two_autoencoders_read_one_text(served, open_page):
    page = live(served, open_page)
    page.get_by_label("compare with").select_option(NAMES[1])
    page.wait_for_function("() => document.querySelectorAll('.reading .strongest').length === 2")
    assert tokens(page, 0) == tokens(page, 1)
    lists = [page.locator(".reading").nth(i).locator(".strongest li").count() for i in (0, 1)]
    assert 0 < lists[0] <= 4 < lists[1] <= 8
    assert page.get_by_role("button", name=re.compile("^Turn latent")).count() == lists[0], "the first is turned"
    page.get_by_role("button", name="Swap").click()
    page.wait_for_function("name => document.querySelector('.reading').getAttribute('aria-label') === name", arg=NAMES[1])
    page.get_by_label("compare with").select_option("")
    page.wait_for_function("() => document.querySelectorAll('.reading').length === 1")


def test_the_arrows_walk_the_text_and_enter_chooses(served, open_page):
    page = live(served, open_page)
    page.locator(f"{READING}[tabindex='0']").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    chosen = tokens(page)[-3].strip()
    page.wait_for_function("text => document.querySelector('#next-title').innerText.includes(text)", arg=chosen)
    assert page.evaluate("document.activeElement.classList.contains('peak')"), "the focus stays"


def test_another_sample_is_another(served, open_page):
    page = live(served, open_page)
    before = page.locator(".samples").inner_text()
    page.get_by_role("button", name="Another sample").click()
    page.wait_for_function("old => document.querySelector('.samples').innerText !== old", arg=before)


def test_a_long_text_is_cut_with_a_note(served, open_page):
    page = live(served, open_page)
    type_text(page, "many words " * 100)
    page.wait_for_selector(".asked .cut")
    assert "the first 64" in page.locator(".asked .cut").inner_text() and len(tokens(page)) == 64
    page.wait_for_function("() => document.querySelector('.samples').innerText.includes('no room')")


def test_an_empty_text_is_no_error(served, open_page):
    page = live(served, open_page)
    page.get_by_label("Text", exact=True).fill("")
    page.wait_for_function("() => document.querySelectorAll('.reading-text .token').length === 1")
    assert "No latent" in page.locator(".reading").inner_text() and page.get_by_role("alert").is_hidden()


@pytest.mark.parametrize("scheme, width", [("light", 360), ("dark", 1280), ("light", 1280)])
def test_it_fits_and_hostile_text_is_text(served, open_page, scheme, width):
    page = live(served, open_page, width=width, scheme=scheme)
    page.get_by_role("button", name=re.compile("^Turn latent")).first.click()
    for hostile in HOSTILE:
        type_text(page, f"x {hostile} y".replace("half\ud83d", "half"))
    page.wait_for_timeout(500)
    assert page.evaluate("window.hurt") is None
    assert page.locator("main :is(img, script, iframe, b, i)").count() == 0
    page.get_by_label("Text", exact=True).fill(HOSTILE[0])
    page.wait_for_function("() => document.querySelector('.reading-text').innerText.includes('onerror')")
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_is_gone_is_said_so(served, chromium):
    page = chromium.new_page()
    page.goto(f"{served.address}live.html")
    page.wait_for_selector(READING)
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_label("Text", exact=True).fill("anything")
    page.wait_for_selector(".asked [role=alert]:visible")
    assert "Is it still running?" in page.get_by_role("alert").inner_text()
    page.unroute("**/api/**")
    page.get_by_label("Text", exact=True).fill("anything else")
    page.wait_for_selector(".asked [role=alert]", state="hidden")
    page.context.close()
