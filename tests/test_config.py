"""Flags: one default each, round trips through a flagfile, and refusals that name the flag."""

from __future__ import annotations

import dataclasses

import pytest
from absl import flags

from saejax import config as config_lib
from saejax import flags as flags_lib
from saejax.config import Config
from saejax.errors import InputError


def parse(*arguments: str) -> Config:
    values = flags.FlagValues()
    flags_lib.define(values)
    values(["launch.py", *arguments])
    return flags_lib.from_flags(values)


def test_no_flags_are_the_defaults():
    assert parse() == Config()


def test_lists_and_scalars():
    config = parse("--l1_coefficient=1e-4,3e-4", "--seed=0,1", "--architecture=relu,topk", "--noexclude_special", "--k=8")
    assert config.l1_coefficient == (1e-4, 3e-4) and config.seed == (0, 1) and config.architecture == ("relu", "topk")
    assert config.exclude_special is False and config.k == (8,)


@pytest.mark.parametrize(
    "arguments", [[], ["--k=8,16", "--d_sae=100,200", "--noresume", "--dataset=a b.txt", "--learning_rate=3e-4,0.1"]]
)
def test_the_flagfile_repeats_the_run(arguments):
    config = parse(*arguments)
    assert parse(*flags_lib.to_flagfile(config).splitlines()) == config


def test_every_flag_has_a_help_text_that_help_prints():
    text = flags_lib.help_text()
    for field in dataclasses.fields(Config):
        assert field.metadata["help"] and field.metadata["help"] in text
        assert f"--{field.name}" in text or f"--[no]{field.name}" in text


def test_settings_of_later_tasks_hold_those_of_earlier_ones():
    config = Config()
    extract, train, evaluate = (config_lib.settings_of(config, task) for task in ("extract", "train", "evaluate"))
    assert train.pop("sae") == []  # which is what else is evaluated where nothing is trained
    assert extract.items() <= train.items() <= evaluate.items()
    assert "workdir" not in evaluate and "store_tokens" in extract and "k" not in extract and "k" in train


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks=extract,fly"], ["--tasks=fly", "evaluate"]),
        (["--tasks="], ["--tasks"]),
        (["--batch_size=0"], ["--batch_size=0", "at least 2"]),
        (["--held_out_fraction=0.9"], ["--held_out_fraction=0.9", "at most 0.5"]),
        (["--learning_rate=nan"], ["--learning_rate=nan"]),
        (["--learning_rate=inf"], ["--learning_rate=inf", "finite"]),
        (["--seed=1,1"], ["--seed=1,1", "twice"]),
        (["--d_sae=64", "--expansion_factor=4"], ["--d_sae=64", "--expansion_factor=4"]),
        (["--dtype=float16"], ["--dtype=float16", "bfloat16"]),
        (["--normalize_activations=batch_norm"], ["--normalize_activations=batch_norm", "none"]),
        (["--architecture="], ["--architecture"]),
        (["--workdir="], ["--workdir", "no value"]),
        (["--seed=4294967296"], ["--seed=4294967296", "at most"]),
        (["--eval_tokens=2"], ["--eval_tokens=2", "at least 512"]),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(InputError) as error:
        parse(*arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("argument", "word"), [("--k=eight", "list of int"), ("--batch_size=1.5", "batch_size"), ("--sedd=0", "seed")]
)
def test_values_that_cannot_be_parsed(argument, word):
    with pytest.raises(flags.Error, match=word):
        parse(argument)


def test_flags_agree_with_the_registry():
    """Every option and hyper-parameter of every architecture is a flag, with the registry's default and all of its forms."""
    from saejax.sae import chosen, gated, jumprelu, matryoshka, p_anneal, relu
    from saejax.sae.registry import ARCHITECTURES

    forms = {
        "relu_form": relu.FORMS,
        "gated_form": gated.FORMS,
        "jumprelu_form": jumprelu.FORMS,
        "matryoshka_form": matryoshka.FORMS,
        "lp_function": p_anneal.FUNCTIONS,
        **dict.fromkeys(("topk_form", "batch_topk_form", "group_max_form"), chosen.FORMS),
    }
    for name, row in ARCHITECTURES.items():
        assert name in config_lib.FIELDS["architecture"].metadata["help"]
        for option, default in row.options.items():
            assert getattr(Config, option) == default, option
            assert set(config_lib.FIELDS[option].metadata["choices"]) == set(forms.get(option, ())), option
        assert all(getattr(Config, hparam) == () for hparam in row.hparams)
