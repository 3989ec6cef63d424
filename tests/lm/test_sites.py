"""The table of hook sites against TransformerLens's names and shapes, and the errors for names that no site has."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.errors import InputError
from saejax.lm import sites


def test_the_table_names_every_site_of_the_reference_and_no_other(reference):
    stored = {key.removeprefix("sites/") for key in reference("gpt2_sites") if key.startswith("sites/")}
    names = sites.site_names(3)
    assert len(names) == len(set(names)) == 2 + 3 * 14 + 1
    assert set(names) == stored


def test_site_width_is_the_width_of_the_joined_rows(reference):
    data = reference("gpt2_sites")
    for name in sites.site_names(3):
        if not name.endswith("hook_pattern"):
            stored = data[f"sites/{name}"]
            assert sites.site_width(name, n_embd=48, n_inner=192) == np.prod(stored.shape[2:]), name


def test_an_attention_pattern_has_no_width():
    with pytest.raises(InputError, match="blocks.0.attn.hook_pattern.*no fixed width"):
        sites.site_width("blocks.0.attn.hook_pattern", n_embd=48, n_inner=192)


@pytest.mark.parametrize("name", ["blocks.1.hook_resid_pots", "blocks.3.hook_resid_post", "hook_resid_post", "nonsense", ""])
def test_an_unknown_site_is_refused_in_one_line_that_lists_the_sites(name):
    with pytest.raises(InputError) as caught:
        sites.check_sites(["hook_embed", name], 3)
    message = str(caught.value)
    assert f"--hook_name={name}:" in message and "hook_resid_post" in message and "\n" not in message


def test_an_error_names_the_nearest_site():
    with pytest.raises(InputError, match="did you mean blocks.1.hook_resid_post"):
        sites.check_sites(["blocks.1.hook_resid_pots"], 3)


def test_every_site_of_the_table_is_accepted():
    sites.check_sites(sites.site_names(3), 3)
