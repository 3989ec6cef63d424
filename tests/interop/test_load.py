"""Any format, told by its files."""

from __future__ import annotations

import shutil

import pytest

from saejax.errors import InputError
from saejax.interop.load import FORMATS, load

METADATA = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_post"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_by_its_files(name, tmp_path, make, exactly):
    sae = make("topk", unit=True)
    FORMATS[name].save(tmp_path / "sae", sae, metadata=METADATA)
    loaded = load(tmp_path / "sae")
    assert (loaded.format, loaded.hook_name, loaded.target_hook_name) == (name, METADATA["hook_name"], None)
    assert loaded.metadata["model_name"] == "gpt2"
    exactly(loaded.sae, sae)


@pytest.mark.parametrize("name", ["saelens", "sparsify"])
def test_a_transcoder_s_target(name, tmp_path, make):
    target = "blocks.1.hook_mlp_out"
    FORMATS[name].save(tmp_path / "sae", make("topk", applied=False), metadata={**METADATA, "hook_name_out": target})
    assert load(str(tmp_path / "sae")).target_hook_name == target


def test_no_site_is_guessed(tmp_path, make):
    FORMATS["sparsify"].save(tmp_path / "h.3", make("topk"), metadata={})
    loaded = load(tmp_path / "h.3")
    assert loaded.hook_name is None and loaded.metadata["hookpoint"] == "h.3"


def refused(where, word):
    with pytest.raises(InputError) as error:
        load(where)
    assert word in str(error.value) and "\n" not in str(error.value)


def test_what_is_not_one_autoencoder(tmp_path, make):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "sae_weights.safetensors")
    for i in range(12):
        FORMATS["sparsify"].save(tmp_path / "many" / f"h.{i:02}", make("topk"), metadata={})
    refused(tmp_path / "many", "h.00, h.01, h.02, h.03, h.04, h.05, h.06, h.07, h.08, h.09 and 2 more")
    refused(tmp_path / "many" / "h.00" / "cfg.json", "is a file")
    FORMATS["saelens"].save(tmp_path / "two", make("topk"), metadata={})
    shutil.copy(tmp_path / "many" / "h.00" / "sae.safetensors", tmp_path / "two")
    refused(tmp_path / "two", "several formats")
