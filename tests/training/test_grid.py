"""The sweep's product, its groups and names, and what it refuses."""

from __future__ import annotations

import pytest

from saejax.errors import InputError
from saejax.training.grid import Sites, groups


def make(**changed):
    settings = {
        "sites": [Sites("blocks.0.hook_mlp_out", 16)],
        "architectures": ["topk"],
        "d_saes": [],
        "expansion_factors": [4],
        "learning_rates": [1e-3],
        "seeds": [0],
        "hparams": {},
        "options": {"relu_form": "april2024", "topk_form": "saelens"},
    }
    return groups(**{**settings, **changed})


def test_an_architecture_varies_only_in_what_it_takes():
    made = make(
        architectures=["relu", "topk"],
        hparams={"l1_coefficient": (1.0, 2.0), "k": (4, 8, 16)},
        seeds=[0, 1],
        learning_rates=[1e-3, 3e-4],
    )
    assert [len(g.members) for g in made] == [2 * 4, 3 * 4]
    assert {m.hparams["k"] for m in made[1].members} == {4, 8, 16}
    assert all("k" not in m.hparams for m in made[0].members)
    assert made[0].options == {"relu_form": "april2024"} and made[1].options == {"topk_form": "saelens", "k_max": 16}


def test_what_shapes_the_compilation_is_a_group_apart():
    made = make(expansion_factors=[4, 8], architectures=["relu", "topk"], sites=[Sites("a", 16), Sites("b", 32)])
    assert [(g.sites.hook_name, g.architecture, g.frame.d_sae) for g in made] == [
        *[("a", "relu", 64), ("a", "relu", 128), ("a", "topk", 64), ("a", "topk", 128)],
        *[("b", "relu", 128), ("b", "relu", 256), ("b", "topk", 128), ("b", "topk", 256)],
    ]


def test_names_say_the_settings_and_differ():
    (group,) = make(hparams={"k": (32, 64)}, learning_rates=[3e-4, 0.0125], d_saes=[1024])
    assert [m.name for m in group.members] == [
        "topk-k32-d1024-lr3e-4-seed0",
        "topk-k32-d1024-lr0.0125-seed0",
        "topk-k64-d1024-lr3e-4-seed0",
        "topk-k64-d1024-lr0.0125-seed0",
    ]
    assert group.members[0].label == "k=32 η=3e-4"
    many = make(
        architectures=["relu", "tied", "topk"],
        expansion_factors=[1, 2],
        hparams={"l1_coefficient": (1e-4, 0.1), "auxk_coefficient": (0.0, 0.5), "k": (3, 4)},
        seeds=[0, 1],
        sites=[Sites("a", 16), Sites("b", 16)],
    )
    names = [m.name for g in many for m in g.members]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * (2 + 2 + 4)


def test_transcoders_have_both_sites_and_widths_in_their_frames_and_names():
    (group,) = make(sites=[Sites("a", 16, "b", 24)], frame={"skip": True})
    assert (group.frame.d_in, group.frame.d_sae, group.frame.d_out, group.frame.skip) == (16, 64, 24, True)
    assert group.sites.written == "b"
    made = make(sites=[Sites("a", 16, "b", 24), Sites("a", 16)])
    assert [g.members[0].name.split("-topk")[0] for g in made] == ["a-to-b", "a"]


def test_what_bounds_k_is_the_largest_of_the_members():
    (group,) = make(architectures=["matching_pursuit"], hparams={"k": (4, 9, 2)})
    assert group.options["k_max"] == 9


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"architectures": ["sparse"]}, ["--architecture=sparse", "relu, tied, tied_topk"]),
        (
            {"hparams": {"l1_coefficient": (1.0,)}},
            ["--l1_coefficient=1.0", "takes no l1_coefficient", "relu or tied or thresholding"],
        ),
        ({"hparams": {"k": (8, 65)}}, ["--k=65", "64 latents"]),
        ({"architectures": ["group_max"], "hparams": {"k": (8, 12)}}, ["--k=12", "does not divide the 64 latents"]),
        (
            {"architectures": ["matryoshka"], "options": {"matryoshka_prefixes": (0.3, 1.0)}},
            ["--matryoshka_prefixes=0.3,1.0", "do not cut 64 latents"],
        ),
        (
            {"architectures": ["matryoshka"], "options": {"matryoshka_prefixes": (0.5, 0.25)}},
            ["--matryoshka_prefixes=0.5,0.25", "must rise"],
        ),
        (
            {"architectures": ["jumprelu"], "options": {}, "hparams": {"target_l0": (16.0,)}},
            ["--target_l0=16.0", "--jumprelu_form"],
        ),
        (
            {"architectures": ["tied"], "sites": [Sites("a", 16, "b", 16)]},
            ["--target_hook_name=b", "tied", "relu, gated"],
        ),
    ],
)
def test_refusals_name_the_flag_the_value_and_what_is_allowed(changed, words):
    with pytest.raises(InputError) as error:
        make(**changed)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
