"""Every flag, once: the fields of `Config` are the flags, with their help, default and what is allowed.

`define` makes absl flags of the fields, `from_flags` makes the frozen Config of the flags, `to_flagfile` writes
a flagfile that repeats it. A field's section says which artifacts it shapes (`settings_of`), so that a task can
tell whether what it finds in the work directory was made with the same settings. Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from absl import flags

from saejax.errors import InputError

TASKS = ("pretrain", "extract", "train", "evaluate")
_SEEDS = 2**32 - 1  # what a JAX key takes
DTYPES = ("float32", "bfloat16")

# The sections whose flags shape what each task writes.
SECTIONS_OF_TASK = {
    "pretrain": ("text", "pretrain"),
    "extract": ("text", "model", "extract"),
    "train": ("text", "model", "extract", "sweep", "train"),
    "evaluate": ("text", "model", "extract", "sweep", "train", "evaluate"),
}
SECTION_TITLES = {
    "run": "The run",
    "text": "Text",
    "model": "Language model",
    "pretrain": "Pretraining (--tasks=pretrain)",
    "extract": "Activations (--tasks=extract)",
    "sweep": "The sweep: lists, whose product is the grid of autoencoders",
    "train": "Training (--tasks=train)",
    "evaluate": "Evaluation (--tasks=evaluate)",
}


def _flag(default: Any, section: str, help: str, *, choices: tuple = (), least: float | None = None, most: float | None = None):
    """A field that is a flag; `least` and `most` bound every number given."""
    metadata = {"section": section, "help": help, "choices": choices, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """What the flags say."""

    tasks: tuple[str, ...] = _flag(("extract", "train", "evaluate"), "run", "what to do, in this order", choices=TASKS)
    workdir: str = _flag("runs/default", "run", "folder of all that the run reads and writes")
    resume: bool = _flag(True, "run", "go on with what --workdir holds; --noresume refuses a work directory that is not empty")
    log_every_steps: int = _flag(50, "run", "training steps between two lines of metrics, and in one dispatch", least=1)
    checkpoint_every_steps: int = _flag(500, "run", "training steps between two checkpoints", least=1)
    extract_batch_size: int = _flag(4096, "run", "tokens in one forward pass while extracting", least=1)
    eval_batch_size: int = _flag(4096, "run", "tokens in one forward pass while evaluating", least=1)
    wandb_project: str = _flag("", "run", "also log metrics to this Weights & Biases project (extra 'wandb'); empty: do not")

    dataset: str = _flag(
        "pydocs", "text", "'pydocs', a .txt, .jsonl, .json or .parquet file, or a HuggingFace dataset (streamed)"
    )
    dataset_split: str = _flag("train", "text", "split of a HuggingFace dataset")
    text_column: str = _flag("text", "text", "column that holds the text")
    held_out_fraction: float = _flag(0.05, "text", "share of documents kept for evaluation only", least=0.001, most=0.5)
    context_size: int = _flag(128, "text", "tokens in a window, at most the model's context", least=2)
    prepend_bos: bool = _flag(True, "text", "put <|endoftext|> before each document")

    model: str = _flag("tiny", "model", "'tiny' (shipped), 'lm' (made by --tasks=pretrain), a HuggingFace directory or Hub id")
    hook_name: tuple[str, ...] = _flag(("blocks.2.hook_resid_post",), "model", "sites to read, by TransformerLens's names")
    dtype: str = _flag("float32", "model", "of the language model's activations and products", choices=DTYPES)

    lm_n_layer: int = _flag(4, "pretrain", "blocks", least=1)
    lm_n_embd: int = _flag(128, "pretrain", "width of the residual stream", least=1)
    lm_n_head: int = _flag(4, "pretrain", "attention heads", least=1)
    lm_vocab_size: int = _flag(4096, "pretrain", "tokens of the BPE trained on the text", least=257)
    lm_tokens: int = _flag(20_000_000, "pretrain", "tokens to train on, in as many passes as that takes", least=1)
    lm_text_tokens: int = _flag(20_000_000, "pretrain", "tokens of text to read, at most", least=1)
    lm_batch_size: int = _flag(4096, "pretrain", "tokens a step", least=1)
    lm_learning_rate: float = _flag(3e-3, "pretrain", "AdamW's peak learning rate", least=0.0)
    lm_warm_up_steps: int = _flag(200, "pretrain", "steps of linear warm-up before the cosine", least=0)
    lm_weight_decay: float = _flag(0.1, "pretrain", "AdamW's weight decay, on matrices", least=0.0)
    lm_gradient_clip: float = _flag(1.0, "pretrain", "largest global norm of a gradient", least=1e-9)
    lm_dtype: str = _flag("float32", "pretrain", "of activations and products", choices=DTYPES)
    lm_seed: int = _flag(0, "pretrain", "of parameters and batches", least=0, most=_SEEDS)

    store_tokens: int = _flag(1_000_000, "extract", "tokens of text whose activations are stored", least=1)
    exclude_special: bool = _flag(True, "extract", "leave out rows at <|endoftext|> and at a window's first position")
    eval_tokens: int = _flag(32_768, "extract", "held-out tokens to keep for evaluation", least=512)

    architecture: tuple[str, ...] = _flag(("topk",), "sweep", "relu, tied, topk")
    expansion_factor: tuple[int, ...] = _flag((8,), "sweep", "latents as a multiple of the site's width", least=1, most=4096)
    d_sae: tuple[int, ...] = _flag((), "sweep", "latents; instead of --expansion_factor", least=1, most=2**24)
    learning_rate: tuple[float, ...] = _flag((1e-3,), "sweep", "Adam's peak learning rate", least=0.0)
    seed: tuple[int, ...] = _flag((0,), "sweep", "of the autoencoders' initial parameters", least=0, most=_SEEDS)
    k: tuple[int, ...] = _flag((), "sweep", "topk: active latents a row; empty: 32", least=1)
    l1_coefficient: tuple[float, ...] = _flag(
        (), "sweep", "relu, tied: weight of the sparsity loss; empty: relu 1, tied 0.001", least=0.0
    )
    auxk_coefficient: tuple[float, ...] = _flag((), "sweep", "topk: weight of AuxK; empty: 1/32", least=0.0)
    bias_decay: tuple[float, ...] = _flag(
        (), "sweep", "tied: weight of the encoder bias's norm in the loss; empty: 0", least=0.0
    )

    relu_form: str = _flag("bricken2023", "train", "relu: form of the loss", choices=("bricken2023", "april2024"))
    topk_form: str = _flag(
        "gao2024", "train", "topk: form of the loss", choices=("gao2024", "saelens", "sparsify", "dictionary_learning")
    )
    training_tokens: int = _flag(3_000_000, "train", "rows to train on; more than the store holds are further passes", least=1)
    batch_size: int = _flag(2048, "train", "rows (tokens) a step", least=2)
    normalize_activations: str = _flag(
        "expected_average_only_in",
        "train",
        "scale rows so that their mean norm is √d_in while training; undone in what is exported",
        choices=("none", "expected_average_only_in"),
    )
    lr_warm_up_steps: int = _flag(50, "train", "steps over which the learning rate rises linearly", least=0)
    lr_decay_fraction: float = _flag(
        0.2, "train", "last share of training in which the learning rate falls linearly to 0", least=0.0, most=1.0
    )
    sparsity_warm_up_steps: int = _flag(
        200, "train", "relu, tied: steps over which l1_coefficient rises linearly from 0", least=0
    )
    gradient_clip: float = _flag(0.0, "train", "largest norm of one autoencoder's gradient; 0: no clipping", least=0.0)
    dead_window_steps: int = _flag(200, "train", "a latent that did not fire for this many steps counts as dead", least=1)
    shuffle_seed: int = _flag(0, "train", "of the order of the rows", least=0, most=_SEEDS)

    bootstrap_samples: int = _flag(1000, "evaluate", "resamples of documents for confidence intervals; 0: none", least=0)
    probe_tokens: int = _flag(
        16_384, "evaluate", "held-out rows, at most, for sparse probing and feature absorption; 0: neither", least=0
    )


_KINDS = typing.get_type_hints(Config)
_FIELDS = {field.name: field for field in dataclasses.fields(Config)}


class _ListParser(flags.ArgumentParser):
    """Parses `a,b,c` to a tuple of one element type."""

    def __init__(self, element: type):
        self._element = element
        self.syntactic_help = f"a comma-separated list of {element.__name__}"

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, (tuple, list)):
            return tuple(argument)
        try:
            return tuple(self._element(part.strip()) for part in argument.split(",") if part.strip())
        except ValueError as error:
            raise ValueError(f"must be {self.syntactic_help}") from error

    def flag_type(self) -> str:
        return "list"


class _ListSerializer(flags.ArgumentSerializer):
    def serialize(self, value: tuple) -> str:
        return ",".join(str(part) for part in value)


def define(flag_values: flags.FlagValues) -> None:
    """Makes one absl flag of each field."""
    scalar = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    for name, field in _FIELDS.items():
        text, kind = field.metadata["help"], _KINDS[name]
        if kind in scalar:
            scalar[kind](name, field.default, text, flag_values=flag_values)
        else:
            parser = _ListParser(typing.get_args(kind)[0])
            flags.DEFINE(parser, name, field.default, text, flag_values, _ListSerializer())


def from_flags(flag_values: flags.FlagValues) -> Config:
    """The Config that the parsed flags say.

    Raises:
      InputError: a value that is not allowed; the message names the flag.
    """
    config = Config(**{name: flag_values[name].value for name in _FIELDS})
    for name in _FIELDS:
        _check(name, getattr(config, name))
    if not config.tasks:
        raise InputError(f"--tasks: none given; choose from {', '.join(TASKS)}")
    if config.d_sae and flag_values["expansion_factor"].present:
        raise InputError(
            f"--d_sae={_text(config.d_sae)} and --expansion_factor={_text(config.expansion_factor)}: both set the number "
            "of latents; give one of them"
        )
    return config


def _check(name: str, value: Any) -> None:
    about = _FIELDS[name].metadata
    is_list = isinstance(value, tuple)
    for part in value if is_list else (value,):
        if part is None or (part == "" and _FIELDS[name].default):
            raise InputError(f"--{name}: no value given; give one, or leave the flag out")
        if about["choices"] and part not in about["choices"]:
            raise InputError(f"--{name}={part}: not known; allowed are {', '.join(about['choices'])}")
        if about["least"] is not None and not part >= about["least"]:
            raise InputError(f"--{name}={part}: must be at least {about['least']:g}")
        if about["most"] is not None and not part <= about["most"]:
            raise InputError(f"--{name}={part}: must be at most {about['most']:g}")
        if isinstance(part, float) and part in (float("inf"), float("-inf")):
            raise InputError(f"--{name}={part}: must be a finite number")
    if is_list and len(set(value)) < len(value):
        raise InputError(f"--{name}={_text(value)}: a value is given twice; give each once")
    if is_list and not value and _FIELDS[name].default:
        raise InputError(f"--{name}: an empty list; give at least one value")


def settings_of(config: Config, task: str) -> dict[str, Any]:
    """The flags that shape what `task` writes, as JSON values."""
    sections = SECTIONS_OF_TASK[task]
    values = {name: getattr(config, name) for name, f in _FIELDS.items() if f.metadata["section"] in sections}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def to_flagfile(config: Config) -> str:
    """A flagfile that repeats the run exactly; an empty list is left at its default."""
    lines = []
    for name in _FIELDS:
        value = getattr(config, name)
        if isinstance(value, bool):
            lines.append(f"--{name}" if value else f"--no{name}")
        elif value not in ((), "") and not (name == "expansion_factor" and config.d_sae):
            lines.append(f"--{name}={_text(value)}")
    return "\n".join(lines) + "\n"


def help_text() -> str:
    """What `--help` prints: every flag by section, with its default."""
    lines = ["python launch.py [--flagfile=FILE] [--flag=value …]", ""]
    lines += ["Later flags win over earlier ones. Lists are comma-separated. --flagfile reads flags from a file, one a line."]
    for section, title in SECTION_TITLES.items():
        lines += ["", f"{title}:"]
        for name, field in _FIELDS.items():
            if field.metadata["section"] == section:
                default, kind = field.default, _KINDS[name]
                shown = ("yes" if default else "no") if kind is bool else _text(default) or "empty"
                allowed = f" [{', '.join(field.metadata['choices'])}]" if field.metadata["choices"] else ""
                flag = f"--[no]{name}" if kind is bool else f"--{name}"
                lines.append(f"  {flag:<26} {field.metadata['help']}{allowed} (default: {shown})")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
