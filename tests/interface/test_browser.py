"""The pages in a real browser, opened from the file system. No page may complain, ask for anything remote, or open a dialog."""

from __future__ import annotations

import re

import pytest
import synthetic
from made_up_site import MEMBER, build, latent, member

from saejax.features import records
from saejax.interface import shards

ROWS = ".latents tbody tr[aria-rowindex]"


def latents_of(site) -> list[records.Latent]:
    return list(records.read_latents(site.parent / "features" / MEMBER))


def shown(page) -> list[int]:
    return [int(text) for text in page.locator(f"{ROWS} th a").all_inner_texts()]


def n_found(page) -> int:
    return int(page.locator(".found [role=status]").inner_text().split(" ")[0].replace(",", ""))


def test_overview_leads_to_a_member(plain_site, open_page):
    page = open_page(f"{plain_site.as_uri()}/index.html")
    assert page.locator("main table tbody tr").count() == 3
    assert page.locator(".chart .point").count() == 3 and page.locator(".chart .ring").count() == 1
    page.get_by_label("Fraction of variance unexplained").check(force=True)
    assert "unexplained" in page.locator(".chart svg").get_attribute("aria-label")
    page.get_by_role("button", name="L0", exact=True).click()
    assert page.locator("main table tbody th").first.inner_text() == "relu-l1_1"
    page.locator(f".chart a[aria-label^='{MEMBER}']").click()
    page.wait_for_selector(ROWS)
    assert page.title() == f"{MEMBER} · saejax"


def test_search_finds_numbers_labels_and_tokens(plain_site, open_page):
    page = open_page(member(plain_site))
    assert n_found(page) == 256
    page.keyboard.press("/")
    page.keyboard.type("#17")
    assert shown(page) == [17]
    search = page.get_by_label("Search the latents")
    found = [one for one in latents_of(plain_site) if "after" in one.label]
    search.fill("AFTER")
    page.get_by_label("Where to search").select_option("label")
    assert n_found(page) == len(found) and shown(page)[0] == found[0].latent
    search.fill("no such thing at all")
    assert n_found(page) == 0
    page.get_by_role("button", name="Show all").click()
    assert n_found(page) == 256 and search.input_value() == ""
    page.get_by_label("Labels", exact=True).select_option("no")
    assert n_found(page) == sum(not one.label for one in latents_of(plain_site))


@pytest.mark.parametrize("column, field", [("Density", "density"), ("Max", "max_activation")])
def test_headers_sort(plain_site, open_page, column, field):
    page = open_page(member(plain_site))
    values = shards.rounded([getattr(one, field) for one in latents_of(plain_site)])
    page.get_by_role("button", name=column, exact=True).click()
    falling = [values[i] for i in shown(page)]
    assert falling == sorted(falling, reverse=True) and falling[0] == max(values)
    header = page.locator("th[aria-sort]")
    assert header.get_attribute("aria-sort") == "descending" and header.inner_text().startswith(column)
    page.keyboard.press("Enter")  # the focus stays on the header
    rising = [values[i] for i in shown(page)]
    assert rising == sorted(rising) and rising[0] == 0
    page.reload()
    page.wait_for_selector(ROWS)
    assert [values[i] for i in shown(page)] == rising, "the address remembers the order"


def test_labels_and_tokens_sort_with_empty_ones_last(plain_site, open_page):
    page = open_page(member(plain_site))
    page.get_by_role("button", name="Automatic label").click()
    assert all(text != "–" for text in page.locator(f"{ROWS} td:nth-child(2)").all_inner_texts())
    page.get_by_role("button", name="Fires on").click()
    tokens = [text.lstrip("·↵") for text in page.locator(f"{ROWS} .fires").all_inner_texts()]
    assert len(tokens) > 10


def test_brush_filters_by_density(plain_site, open_page):
    page = open_page(member(plain_site))
    box = page.locator(".brush .overlay").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    query = dict(part.split("=") for part in page.url.split("?")[1].split("&"))
    low, high = float(query["low"]), float(query["high"])
    expected = [one.latent for one in latents_of(plain_site) if low <= one.density <= high]
    assert 0 < len(expected) < 256 and n_found(page) == len(expected) and shown(page)[:5] == expected[:5]
    handle = page.get_by_role("slider", name="Highest density")
    handle.focus()
    page.keyboard.press("Home")
    assert n_found(page) < len(expected) and "%" in handle.get_attribute("aria-valuetext")
    page.get_by_role("button", name="Show all").click()
    assert n_found(page) == 256


def test_map_leads_to_a_latent(plain_site, open_page):
    page = open_page(member(plain_site, "?q=%2342"))
    page.get_by_label("cluster", exact=True).check(force=True)
    page.locator(".map").scroll_into_view_if_needed()
    box = page.locator(".map canvas").bounding_box()
    ones = latents_of(plain_site)
    xs, ys = [one.x for one in ones], [one.y for one in ones]
    fit = min((box["width"] - 28) / (max(xs) - min(xs)), (box["height"] - 28) / (max(ys) - min(ys)))
    x = box["x"] + box["width"] / 2 + (ones[42].x - (max(xs) + min(xs)) / 2) * fit
    y = box["y"] + box["height"] / 2 - (ones[42].y - (max(ys) + min(ys)) / 2) * fit
    page.mouse.move(x, y)
    page.wait_for_selector(".tooltip:not([hidden])")
    assert page.locator(".tooltip").inner_text().startswith("Latent 42")
    page.mouse.click(x, y)
    page.wait_for_selector(".examples")
    assert page.locator("h1").inner_text() == "Latent 42"


def test_keys_walk_the_table_and_the_latents_in_its_order(plain_site, open_page):
    page = open_page(member(plain_site, "?sort=density&down=1"))
    page.wait_for_selector(ROWS)
    order = shown(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.innerText") == str(order[1])
    page.keyboard.press("Enter")
    page.wait_for_selector(".examples")
    assert page.locator("h1").inner_text() == f"Latent {order[1]}"
    for key, place in (("j", 2), ("ArrowRight", 3), ("k", 2), ("ArrowLeft", 1), ("k", 0)):
        page.keyboard.press(key)
        page.wait_for_function("i => document.querySelector('h1').innerText === `Latent ${i}`", arg=order[place])
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("99")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('h1').innerText === 'Latent 99'")
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_selector(ROWS)


def test_tokens_say_their_values_on_hover_and_on_focus(plain_site, open_page):
    page = open_page(latent(plain_site, 7))
    strongest = latents_of(plain_site)[7].max_activation
    peak = page.locator(".example").first.locator(".token.peak")
    peak.hover()
    tip = page.locator(".tooltip")
    assert float(re.search(r"activation ([\d.]+)", tip.inner_text())[1]) == pytest.approx(strongest, rel=0.01)
    page.mouse.move(0, 0)
    assert tip.is_hidden()
    peak.focus()
    before = tip.inner_text()
    assert peak.get_attribute("aria-describedby") == tip.get_attribute("id")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != before and "loss without the latent" in tip.inner_text()
    assert page.locator("h1").inner_text() == "Latent 7", "arrows belong to the text while it has the focus"
    assert page.locator(".worse").count() > 0
    assert "Without the latent: loss at" in page.locator(".example .spoken").nth(1).inner_text()


def test_an_examples_values_are_there_as_a_table(plain_site, open_page):
    page = open_page(latent(plain_site, 7))
    _, examples, _ = records.of_latent(plain_site.parent / "features" / MEMBER, 7)
    button = page.get_by_role("button", name="All values of this example").first
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    cells = page.locator(".values").first.locator("tr").nth(1).locator("td").all_inner_texts()
    assert [float(text) for text in cells] == pytest.approx(examples[0].activations, rel=0.01)
    assert f"address {examples[0].address}" in page.locator(".details").first.inner_text()


def test_neighbours_and_steering_are_shown(plain_site, open_page):
    page = open_page(latent(plain_site, 7))
    own, _, steered = records.of_latent(plain_site.parent / "features" / MEMBER, 7)
    strengths = page.locator(".steering dt").all_inner_texts()
    assert [float(text.rstrip("×").replace("−", "-")) for text in strengths] == [one.strength for one in steered]
    assert all(page.locator(".steering dd").nth(i).locator(".token").count() == 16 for i in range(len(steered)))
    page.get_by_role("region", name="Neighbours").get_by_role(
        "link", name=str(own.similar_latents[0]), exact=True
    ).first.click()
    page.wait_for_function("i => document.querySelector('h1').innerText === `Latent ${i}`", arg=own.similar_latents[0])


@pytest.mark.parametrize(
    "label, parts",
    [
        ("at the beginning of a document", ["at the beginning of a document"]),
        ("fires on ` ```", ["fires on ", ["·``"]]),
        ("fires on `x` in any form", ["fires on ", ["x"], " in any form"]),
        ("fires on `a` after `b`", ["fires on ", ["a"], " after ", ["b"]]),
        ("before `a`, `b` or ` c`", ["before ", ["a"], " ", ["b"], " or ", ["·c"]]),
    ],
)
def test_labels_are_text_and_tokens(plain_site, open_page, label, parts):
    page = open_page(latent(plain_site, 7))
    split = "(label) => saejax.label(label).map((part) => (typeof part === 'string' ? part : [part.textContent]))"
    assert page.evaluate(split, label) == parts


def test_what_is_no_latent_is_said_on_the_page(plain_site, open_page):
    page = open_page(latent(plain_site, 256))
    assert "0 to 255" in page.get_by_role("alert").inner_text()
    page = open_page(f"{plain_site.as_uri()}/member.html#../../etc/passwd")
    assert "start from the overview" in page.get_by_role("alert").inner_text()


def test_a_latent_that_never_fires_has_its_page(plain_site, open_page):
    page = open_page(latent(plain_site, 255))
    assert "fired nowhere" in page.locator("main").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_themes_follow_the_system_and_the_reader(plain_site, open_page, scheme):
    page = open_page(latent(plain_site, 7), scheme=scheme)

    def brightness() -> int:
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))

    assert (brightness() < 200) == (scheme == "dark")
    page.get_by_role("button", name="Light or dark").click()
    assert (brightness() < 200) == (scheme == "light")
    page.reload()
    page.wait_for_selector("h1")
    assert (brightness() < 200) == (scheme == "light"), "remembered"


@pytest.mark.parametrize("page_of", [lambda site: f"{site.as_uri()}/index.html", member, lambda site: latent(site, 7)])
def test_pages_fit_a_phone(plain_site, open_page, page_of):
    page = open_page(page_of(plain_site), width=360, height=740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate("""[...document.querySelectorAll('main *')].filter((e) => e.innerText && e.children.length === 0
        && e.getClientRects().length && parseFloat(getComputedStyle(e).fontSize) < 11).length""")
    assert small == 0


def test_a_large_dictionary_makes_few_rows(tmp_path, open_page):
    n = 24_576
    synthetic_site = build(tmp_path, n, n_each=0, context=8)
    page = open_page(member(synthetic_site, "?sort=density&down=1"))
    page.wait_for_selector(ROWS)
    assert n_found(page) == n and page.locator(ROWS).count() < 80
    assert page.locator(".latents").get_attribute("aria-rowcount") == str(n + 1)
    page.locator(".window").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    page.wait_for_selector(f".latents tr[aria-rowindex='{n + 1}']")
    assert shown(page)[-1] == n - 1, "the one that never fires is the rarest"
    page.get_by_label("Search the latents").fill("#20000")
    assert shown(page) == [20_000]
    page.locator(f"{ROWS} a").click()
    page.wait_for_selector(".examples")
    assert page.locator("h1").inner_text() == "Latent 20000"
    assert page.locator(".example").count() == synthetic.N_TOP
