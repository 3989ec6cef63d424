"""The sweep's product, its groups and names, and what it refuses."""

from __future__ import annotations

import pytest

from saejax.errors import InputError
from saejax.training.grid import groups


def make(**changed):
    settings = {
        "widths": {"blocks.0.hook_mlp_out": 16},
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
    assert made[0].options == {"relu_form": "april2024"} and made[1].options == {"topk_form": "saelens"}


def test_what_shapes_the_compilation_is_a_group_apart():
    made = make(expansion_factors=[4, 8], architectures=["relu", "topk"], widths={"a": 16, "b": 32})
    assert [(g.hook_name, g.architecture, g.d_sae) for g in made] == [
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
        widths={"a": 16, "b": 16},
    )
    names = [m.name for g in many for m in g.members]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * (2 + 2 + 4)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"architectures": ["sparse"]}, ["--architecture=sparse", "relu, tied, topk"]),
        ({"hparams": {"l1_coefficient": (1.0,)}}, ["--l1_coefficient=1.0", "takes no l1_coefficient", "relu or tied"]),
        ({"hparams": {"k": (8, 65)}}, ["--k=65", "64 latents"]),
    ],
)
def test_refusals_name_the_flag_the_value_and_what_is_allowed(changed, words):
    with pytest.raises(InputError) as error:
        make(**changed)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
