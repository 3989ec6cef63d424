"""The site's files: the same from the same records, made whole, bounded, and strict about what a page may load."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import synthetic
from made_up_site import ABOUT, EVALUATION, MEMBER, build

from saejax.features import records
from saejax.interface import site

PAGES = ("index.html", "member.html", "latent.html")


def contents(folder) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != site.MADE_FROM
    }


def load(path):
    text = path.read_text()
    return json.loads(text[text.index(",") + 1 : -3])


def test_the_same_records_make_the_same_site(plain_site, tmp_path):
    assert contents(build(tmp_path, 256)) == contents(plain_site)


def test_files_are_bounded_and_all_of_their_kind(plain_site):
    sizes = {path: path.stat().st_size for path in plain_site.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 1_000_000
    assert {path.suffix for path in sizes} == {".html", ".css", ".js", ".svg", ".json"}


def test_a_latents_page_says_what_its_records_say(plain_site):
    own = plain_site.parent / "features" / MEMBER
    latent, examples, steered = records.of_latent(own, 7)
    about = load(plain_site / "data" / MEMBER / "member.js")
    shard = max(i for i, start in enumerate(about["latent_starts"]) if start <= 7)
    page = load(plain_site / "data" / MEMBER / f"latents-{shard:05d}.js")[7 - about["latent_starts"][shard]]
    assert page["latent"] == 7 and page["label"] == latent.label and page["similar_latents"] == latent.similar_latents
    assert page["max_activation"] == pytest.approx(latent.max_activation, rel=5e-4)
    assert [len(page["examples"][name]) for name in ("tokens", "activations", "source")] == [len(examples)] * 3
    for i, example in enumerate(examples):
        pairs = page["examples"]["activations"][i]
        activations = [0.0] * len(example.tokens)
        for index, value in zip(pairs[::2], pairs[1::2]):
            activations[index] = value
        assert activations == pytest.approx(example.activations, rel=5e-4)
        assert page["examples"]["tokens"][i] == example.tokens and page["examples"]["peak"][i] == example.peak
        changes = page["examples"]["changes"][i]
        assert changes[0] is None
        assert [c / about["changes_a_nat"] for c in changes[1:]] == pytest.approx(example.loss_change[1:], abs=5.1e-5)
    assert [(s["strength"], s["continuation"]) for s in page["steering"]] == [(s.strength, s.continuation) for s in steered]


def test_the_index_has_every_latent(plain_site):
    stretches = load(plain_site / "data" / MEMBER / "index-00000.js")
    density = [latent.density for latent in records.read_latents(plain_site.parent / "features" / MEMBER)]
    assert [d for part in stretches for d in part["density"]] == pytest.approx(density, rel=5e-4)


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_only_what_lies_beside_them(name):
    html = (site.ASSETS / name).read_text()
    policy = dict(part.split(maxsplit=1) for part in re.search(r'Policy" content="([^"]*)"', html)[1].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'" and "unsafe" not in html and "http:" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", html)
    for asset in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert (site.ASSETS / asset.removeprefix("assets/")).is_file(), asset


def test_scripts_never_parse_text_as_markup_or_code():
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|fetch\(|XMLHttp"
    for path in (site.ASSETS / "js").glob("*.js"):
        assert not re.search(sinks, path.read_text()), path.name


def test_a_build_that_fails_leaves_the_old_site(plain_site, tmp_path):
    records_of = synthetic.write(tmp_path / "features" / "m", 8)
    members = [site.Member("m", "topk", "k 8", records_of)]
    site.build(tmp_path / "interface", members, {}, ABOUT)
    before = contents(tmp_path / "interface")
    (records_of / records.EXAMPLES_FILE).write_bytes(b"broken")
    with pytest.raises(Exception, match="[Pp]arquet"):
        site.build(tmp_path / "interface", members, {}, ABOUT)
    assert contents(tmp_path / "interface") == before
    synthetic.write(tmp_path / "features" / "m", 8)
    site.build(tmp_path / "interface", members, {}, ABOUT)
    assert contents(tmp_path / "interface") == before
    assert not list(tmp_path.glob(".interface*"))


def test_what_it_is_made_from_changes_with_the_records(tmp_path):
    members = [site.Member("m", "topk", "k 8", synthetic.write(tmp_path / "m", 8))]
    before = site.made_from(members, EVALUATION, ABOUT)
    assert site.made_from(members, EVALUATION, ABOUT) == before
    synthetic.write(tmp_path / "m", 8, seed=1)
    after = site.made_from(members, EVALUATION, ABOUT)
    assert {name for name in before if before[name] != after[name]} == {"features of m"}


def test_names_that_would_share_a_folder_are_told_apart():
    folders = site._folders(["a b", "a/b", "../../etc", "plain-k8"])
    assert len(set(folders.values())) == 4 and folders["plain-k8"] == "plain-k8"
    assert all(re.fullmatch(r"[A-Za-z0-9_.+=-]+", name) and ".." not in name for name in folders.values())
