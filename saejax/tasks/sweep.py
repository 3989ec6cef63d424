"""What the flags say of the sweep: its members, and the options of its steps."""

from __future__ import annotations

from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import sites
from saejax.lm.gpt2 import GPT2Config
from saejax.sae.base import without_parallel_part
from saejax.sae.registry import ARCHITECTURES
from saejax.sae.scaling import PER_ROW
from saejax.training.ensemble import make
from saejax.training.grid import Group, Sites, groups
from saejax.training.loop import Resampling, Rhythm
from saejax.training.optimizers import DECAYING, Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

_NORMALISED = ("tied_topk", "thresholding")  # their rows are divided by their norms wherever they are used


def n_steps(config: Config) -> int:
    """Updates in all."""
    n = config.training_tokens // config.batch_size
    if not n:
        raise InputError(
            f"--training_tokens={config.training_tokens}: less than one step of --batch_size={config.batch_size}; raise it"
        )
    return n


def grid(config: Config, lm: GPT2Config) -> list[Group]:
    """The sweep that the flags say, on the sites of a GPT-2.

    Raises:
      InputError: a list or an option that the chosen architectures cannot use.
    """
    _refuse_idle_flags(config)
    made = groups(
        sites=_sites(config, lm),
        architectures=config.architecture,
        d_saes=config.d_sae,
        expansion_factors=config.expansion_factor,
        learning_rates=config.learning_rate,
        seeds=config.seed,
        hparams={name: getattr(config, name) for row in ARCHITECTURES.values() for name in row.hparams},
        options={name: getattr(config, name) for row in ARCHITECTURES.values() for name in row.options},
        frame={"skip": config.skip, "decoder_init_norm": config.decoder_init_norm or None, "dtype": config.sae_dtype},
        k_start=config.k_anneal_from,
    )
    for group in made if config.decoder_init_norm else ():
        if group.architecture in _NORMALISED or make(group).project_gradients is without_parallel_part:
            raise InputError(
                f"--decoder_init_norm={config.decoder_init_norm:g}: {group.architecture} in the form that is chosen keeps its "
                "rows at unit norm; leave it out, or choose a form with free norms"
            )
    return made


def _refuse_idle_flags(config: Config) -> None:
    """Raises InputError for a flag that would do nothing beside the others."""
    for name, architectures in _takers_of_options().items():
        value = getattr(config, name)
        if value != getattr(Config, name) and not architectures & set(config.architecture):
            raise InputError(
                f"--{name}={value}: --architecture={','.join(config.architecture)} takes no {name}; leave it out, or add "
                f"{' or '.join(sorted(architectures))}"
            )
    if config.target_hook_name and config.normalize_activations in PER_ROW:
        raise InputError(
            f"--normalize_activations={config.normalize_activations}: a transcoder's input and target are not scaled "
            "row by row; use none or expected_average_only_in"
        )
    if config.weight_decay and config.optimizer not in DECAYING:
        raise InputError(
            f"--weight_decay={config.weight_decay:g}: {config.optimizer} has none; choose --optimizer={' or '.join(DECAYING)}"
        )
    if config.lr_cycles > 1 and config.lr_schedule != "cosine":
        raise InputError(
            f"--lr_cycles={config.lr_cycles}: only a cosine has cycles; give --lr_schedule=cosine, or leave it out"
        )
    if config.skip and not config.target_hook_name:
        raise InputError("--skip: only transcoders have a skip path; give --target_hook_name, or leave it out")


def _sites(config: Config, lm: GPT2Config) -> list[Sites]:
    def width(hook: str) -> int:
        return sites.site_width(hook, n_embd=lm.n_embd, n_inner=lm.inner)

    if not config.target_hook_name:
        return [Sites(hook, width(hook)) for hook in config.hook_name]
    if len(config.target_hook_name) != len(config.hook_name):
        raise InputError(
            f"--target_hook_name={','.join(config.target_hook_name)}: {len(config.target_hook_name)} sites for the "
            f"{len(config.hook_name)} of --hook_name; give one for each"
        )
    pairs = zip(config.hook_name, config.target_hook_name)
    return [Sites(hook, width(hook), target, width(target)) for hook, target in pairs]


def step_options(config: Config) -> StepOptions:
    """Schedules, optimizer and the window of dead latents."""
    steps = n_steps(config)
    return StepOptions(
        Schedules(
            steps,
            lr_schedule=config.lr_schedule,
            lr_cycles=config.lr_cycles,
            lr_warm_up_steps=config.lr_warm_up_steps,
            lr_decay_steps=round(config.lr_decay_fraction * steps),
            sparsity_warm_up_steps=config.sparsity_warm_up_steps,
            k_start=config.k_anneal_from,
            k_anneal_steps=config.k_anneal_steps,
        ),
        Optimizer(
            config.optimizer,
            b1=config.adam_b1,
            b2=config.adam_b2,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            gradient_clip=config.gradient_clip,
        ),
        config.dead_window_steps,
        _microbatch_size(config),
    )


def _microbatch_size(config: Config) -> int:
    if config.microbatch_size and config.batch_size % config.microbatch_size:
        raise InputError(
            f"--microbatch_size={config.microbatch_size}: does not divide --batch_size={config.batch_size}; choose a divisor"
        )
    return config.microbatch_size


def rhythm(config: Config) -> Rhythm:
    """Steps, and when lines, checkpoints and resampling come."""
    every = config.resample_every_steps
    resampling = Resampling(
        every,
        config.resample_times,
        config.resample_window_steps or max(1, every // 2),
        max(1, config.resample_rows // config.batch_size),
    )
    return Rhythm(n_steps(config), config.log_every_steps, config.checkpoint_every_steps, resampling)


def _takers_of_options() -> dict[str, set[str]]:
    """{option: the architectures that take it}."""
    names = {name for row in ARCHITECTURES.values() for name in row.options}
    return {name: {a for a, row in ARCHITECTURES.items() if name in row.options} for name in names}
