"""Every flag, once: the fields of `Config` are the flags, with their help, default and what is allowed.

`saejax/flags.py` makes absl flags of the fields, and the frozen Config of the flags. A field's section says which artifacts it
shapes (`settings_of`), so that a task can tell whether what it finds in the work directory was made with the same settings.
Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from typing import Any

TASKS = ("pretrain", "extract", "train", "finetune", "evaluate", "features", "interface", "compare", "serve")
_SEEDS = 2**32 - 1  # what a JAX key takes
DTYPES = ("float32", "bfloat16")
_CHOSEN_FORMS = ("gao2024", "saelens", "sparsify", "dictionary_learning")

# The sections whose flags shape what each task writes.
SECTIONS_OF_TASK = {
    "pretrain": ("text", "pretrain"),
    "extract": ("text", "model", "extract"),
    "train": ("text", "model", "extract", "sweep", "form", "train"),
    "finetune": ("text", "model", "extract", "sweep", "form", "train", "finetune"),
    "evaluate": ("text", "model", "extract", "sweep", "form", "train", "finetune", "evaluate"),
    "features": ("text", "model", "extract", "sweep", "form", "train", "finetune", "features"),
    "interface": (),  # it shows what is there, and is made again where that has changed
    "compare": ("text", "model", "pretrain", "extract", "sweep", "form", "train", "compare"),
    "serve": (),  # it makes nothing
}
SECTION_TITLES = {
    "run": "The run",
    "text": "Text",
    "model": "Language model",
    "pretrain": "Pretraining (--tasks=pretrain)",
    "extract": "Activations (--tasks=extract)",
    "sweep": "The sweep: lists, whose product is the grid of autoencoders",
    "form": "Architectures' own options",
    "train": "Training (--tasks=train)",
    "finetune": "End-to-end fine-tuning (--tasks=finetune)",
    "evaluate": "Evaluation (--tasks=evaluate)",
    "features": "Features (--tasks=features)",
    "compare": "Comparison with PyTorch (--tasks=compare)",
    "serve": "Pages on this machine (--tasks=serve)",
}


def _flag(
    default: Any,
    section: str,
    help: str,
    *,
    choices: tuple = (),
    least: float | None = None,
    most: float | None = None,
    may_be_empty: bool = False,
):
    """A field that is a flag; `least` and `most` bound every number given, `may_be_empty` lets a text be none."""
    metadata = {"section": section, "help": help, "choices": choices, "least": least, "most": most}
    metadata["may_be_empty"] = may_be_empty or default == ""
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """What the flags say."""

    tasks: tuple[str, ...] = _flag(("extract", "train", "evaluate"), "run", "what to do, in this order", choices=TASKS)
    plan: bool = _flag(
        False, "run", "only say what the tasks would take here: seconds, memory, disk and operations, measured in half a minute"
    )
    workdir: str = _flag("runs/default", "run", "folder of all that the run reads and writes")
    resume: bool = _flag(True, "run", "go on with what --workdir holds; --noresume refuses a work directory that is not empty")
    log_every_steps: int = _flag(50, "run", "training steps between two lines of metrics, and in one dispatch", least=1)
    checkpoint_every_steps: int = _flag(500, "run", "training steps between two checkpoints", least=1)
    extract_batch_size: int = _flag(4096, "run", "tokens in one forward pass while extracting", least=1)
    eval_batch_size: int = _flag(
        4096, "run", "tokens in one forward pass while evaluating, and while features are collected", least=1
    )
    compilation_cache: str = _flag(
        os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "saejax", "jax"),
        "run",
        "folder of compiled programs, which later runs load; keep it from others' hands. Empty: none",
        may_be_empty=True,
    )
    wandb_project: str = _flag("", "run", "also log metrics to this Weights & Biases project (extra 'wandb'); empty: do not")

    neuronpedia: bool = _flag(
        False, "run", "--tasks=features also writes neuronpedia/, in Neuronpedia's format for bulk import"
    )
    push_to_hub: str = _flag(
        "", "run", "upload saes/ with a model card to this repository (owner/name) at the end; the token is $HF_TOKEN"
    )

    dataset: str = _flag(
        "pydocs", "text", "'pydocs', a .txt, .jsonl, .json or .parquet file, or a HuggingFace dataset (streamed)"
    )
    dataset_split: str = _flag("train", "text", "split of a HuggingFace dataset")
    text_column: str = _flag("text", "text", "column that holds the text")
    held_out_fraction: float = _flag(0.05, "text", "share of documents kept for evaluation only", least=0.001, most=0.5)
    context_size: int = _flag(128, "text", "tokens in a window, at most the model's context", least=2)
    prepend_bos: bool = _flag(True, "text", "put <|endoftext|> before each document")

    model: str = _flag(
        "tiny",
        "model",
        "'tiny' (shipped), 'lm' (made by --tasks=pretrain), a HuggingFace directory or Hub id; for --tasks=compare alone "
        "'random': a GPT-2 of the --lm_ sizes with random weights",
    )
    hook_name: tuple[str, ...] = _flag(("blocks.2.hook_resid_post",), "model", "sites to read, by TransformerLens's names")
    target_hook_name: tuple[str, ...] = _flag(
        (), "model", "sites that transcoders predict, one for each of --hook_name; empty: autoencoders"
    )
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

    architecture: tuple[str, ...] = _flag(
        ("topk",),
        "sweep",
        "relu, tied, tied_topk, thresholding, gated, jumprelu, topk, batch_topk, matryoshka, p_anneal, group_max, "
        "matching_pursuit",
    )
    expansion_factor: tuple[int, ...] = _flag((8,), "sweep", "latents as a multiple of the site's width", least=1, most=4096)
    d_sae: tuple[int, ...] = _flag((), "sweep", "latents; instead of --expansion_factor", least=1, most=2**24)
    learning_rate: tuple[float, ...] = _flag((1e-3,), "sweep", "the optimizer's peak learning rate", least=0.0)
    seed: tuple[int, ...] = _flag((0,), "sweep", "of the autoencoders' initial parameters", least=0, most=_SEEDS)
    k: tuple[int, ...] = _flag(
        (), "sweep", "active latents a row, where they are chosen (topk and its kin, matching_pursuit); empty: 32", least=1
    )
    l1_coefficient: tuple[float, ...] = _flag(
        (),
        "sweep",
        "weight of the L1 or Lp loss; empty: 1 for relu, gated and p_anneal, 0.001 for tied and thresholding",
        least=0.0,
    )
    l0_coefficient: tuple[float, ...] = _flag((), "sweep", "jumprelu: weight of the sparsity loss; empty: 0.1", least=0.0)
    auxk_coefficient: tuple[float, ...] = _flag(
        (), "sweep", "topk, batch_topk, matryoshka, group_max: weight of AuxK; empty: 1/32", least=0.0
    )
    bias_decay: tuple[float, ...] = _flag(
        (), "sweep", "relu, tied: weight of the encoder bias's norm in the loss; empty: 0", least=0.0
    )
    bandwidth: tuple[float, ...] = _flag((), "sweep", "jumprelu: width of the kernel; empty: 0.05", least=1e-9)
    target_l0: tuple[float, ...] = _flag(
        (), "sweep", "jumprelu: L0 aimed at by its quadratic and dictionary_learning forms; empty: 32", least=1e-9
    )
    tanh_scale: tuple[float, ...] = _flag((), "sweep", "jumprelu: slope in its tanh forms; empty: 4", least=0.0)
    pre_act_coefficient: tuple[float, ...] = _flag(
        (), "sweep", "jumprelu: weight of the pre-activation loss in its tanh forms; empty: 3e-6", least=0.0
    )
    p_start: tuple[float, ...] = _flag((), "sweep", "p_anneal: the power at the start; empty: 1", least=1e-9)
    p_end: tuple[float, ...] = _flag((), "sweep", "p_anneal: the power at the end; empty: 0.2", least=1e-9)
    anneal_start: tuple[float, ...] = _flag(
        (), "sweep", "p_anneal: share of the training before the power's first change; empty: 0.25", least=0.0, most=0.99
    )
    threshold_rate: tuple[float, ...] = _flag(
        (), "sweep", "batch_topk, matryoshka: weight of a batch in the threshold's average; empty: 0.01", least=1e-9, most=1.0
    )
    residual_threshold: tuple[float, ...] = _flag(
        (), "sweep", "matching_pursuit: norm of a residual that needs no further latent, in scaled rows; empty: 0", least=0.0
    )

    relu_form: str = _flag(
        "bricken2023", "form", "relu: form of the loss", choices=("bricken2023", "april2024", "openai", "sparse_coding")
    )
    ghost_gradients: bool = _flag(False, "form", "relu: ghost gradients for dead latents")
    tied_normalise: bool = _flag(True, "form", "tied: divide the dictionary's rows by their norms")
    tied_decoder_bias: bool = _flag(False, "form", "tied: a decoder bias")
    gated_form: str = _flag("rajamanoharan2024", "form", "gated: form of the loss", choices=("rajamanoharan2024", "saelens"))
    jumprelu_form: str = _flag(
        "rajamanoharan2024",
        "form",
        "jumprelu: form of the loss",
        choices=("rajamanoharan2024", "saelens", "saelens_tanh", "anthropic2025", "quadratic", "dictionary_learning"),
    )
    topk_form: str = _flag("gao2024", "form", "topk: form of the loss", choices=_CHOSEN_FORMS)
    multi_topk: bool = _flag(False, "form", "topk: add the loss of the 4k largest latents, weighed by 1/8")
    batch_topk_form: str = _flag("dictionary_learning", "form", "batch_topk: form of the loss", choices=_CHOSEN_FORMS)
    group_max_form: str = _flag("sparsify", "form", "group_max: form of the loss", choices=_CHOSEN_FORMS)
    k_aux: int = _flag(0, "form", "dead latents that AuxK decodes; 0: half the width that is predicted", least=0)
    matryoshka_form: str = _flag(
        "bussmann2025",
        "form",
        "matryoshka: form of the loss",
        choices=("bussmann2025", "saelens", "dictionary_learning"),
    )
    matryoshka_prefixes: tuple[float, ...] = _flag(
        (0.0625, 0.125, 0.25, 0.5, 1.0),
        "form",
        "matryoshka: the nested dictionaries, as shares of the latents",
        least=1e-9,
        most=1.0,
    )
    matryoshka_auxk: bool = _flag(False, "form", "matryoshka: AuxK for each level by itself")
    lp_function: str = _flag("Lp^p", "form", "p_anneal: the sparsity loss", choices=("Lp^p", "Lp"))
    skip: bool = _flag(False, "form", "transcoders: a linear path beside the latents")
    decoder_init_norm: float = _flag(
        0.0, "form", "norm of the decoder's rows at the start; 0: the architecture's own", least=0.0
    )
    sae_dtype: str = _flag("float32", "form", "of the operands of the autoencoders' matrix products", choices=DTYPES)

    training_tokens: int = _flag(3_000_000, "train", "rows to train on; more than the store holds are further passes", least=1)
    batch_size: int = _flag(2048, "train", "rows (tokens) a step", least=2)
    microbatch_size: int = _flag(
        0, "train", "rows of a step whose latents are in memory at once, a divisor of --batch_size; 0: all of them", least=0
    )
    normalize_activations: str = _flag(
        "expected_average_only_in",
        "train",
        "scale rows: all by one number, to a mean norm of √d_in, undone in what is exported; or each by itself",
        choices=("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"),
    )
    b_dec_init: str = _flag("mean", "train", "where decoder biases start", choices=("mean", "geometric_median", "zeros"))
    optimizer: str = _flag("adam", "train", "from optax", choices=("adam", "adamw", "signum", "muon", "adafactor"))
    adam_b1: float = _flag(0.9, "train", "decay of the first moment (and signum's momentum)", least=0.0, most=0.999999)
    adam_b2: float = _flag(0.999, "train", "decay of the second moment", least=0.0, most=0.9999999)
    adam_eps: float = _flag(1e-8, "train", "added to the second moment's root", least=0.0)
    weight_decay: float = _flag(0.0, "train", "adamw, muon: decoupled weight decay", least=0.0)
    lr_schedule: str = _flag(
        "constant", "train", "between warm-up and tail; cosine falls to a tenth", choices=("constant", "cosine")
    )
    lr_cycles: int = _flag(1, "train", "cosines one after the other, each starting again at the peak", least=1)
    lr_warm_up_steps: int = _flag(50, "train", "steps over which the learning rate rises linearly", least=0)
    lr_decay_fraction: float = _flag(
        0.2, "train", "last share of training in which the learning rate falls linearly to 0", least=0.0, most=1.0
    )
    sparsity_warm_up_steps: int = _flag(200, "train", "steps over which l1 and l0 coefficients rise linearly from 0", least=0)
    k_anneal_from: int = _flag(0, "train", "k at the start, falling linearly to each member's own; 0: its own", least=0)
    k_anneal_steps: int = _flag(1000, "train", "steps of that fall", least=1)
    gradient_clip: float = _flag(0.0, "train", "largest norm of one autoencoder's gradient; 0: no clipping", least=0.0)
    dead_window_steps: int = _flag(200, "train", "a latent that did not fire for this many steps counts as dead", least=1)
    resample_every_steps: int = _flag(
        0, "train", "steps between two resamplings of dead latents (Bricken et al.); 0: none", least=0
    )
    resample_times: int = _flag(4, "train", "resamplings in all", least=1)
    resample_window_steps: int = _flag(
        0, "train", "a latent is resampled that did not fire for this many steps; 0: half of --resample_every_steps", least=0
    )
    resample_rows: int = _flag(
        65_536, "train", "rows that badly reconstructed inputs are chosen from (the paper: 819,200)", least=1
    )
    shuffle_seed: int = _flag(0, "train", "of the order of the rows", least=0, most=_SEEDS)
    sae: tuple[str, ...] = _flag(
        (),
        "train",
        "autoencoders of any known format (a directory, or a Hub id[:subfolder]): training starts from the one given; "
        "evaluate measures them all",
    )

    finetune_loss: str = _flag("kl", "finetune", "what the spliced model is held to", choices=("kl", "ce"))
    finetune_weight: float = _flag(
        0.5, "finetune", "share of that loss in the gradient; the rest is the architecture's own", least=0.0, most=1.0
    )
    finetune_tokens: int = _flag(500_000, "finetune", "tokens to train on", least=1)
    finetune_batch_size: int = _flag(2048, "finetune", "tokens a step, in whole windows", least=2)
    finetune_learning_rate: float = _flag(1e-4, "finetune", "the optimizer's peak learning rate", least=0.0)
    bootstrap_samples: int = _flag(1000, "evaluate", "resamples of documents for confidence intervals; 0: none", least=0)
    probe_tokens: int = _flag(
        16_384, "evaluate", "held-out rows, at most, for sparse probing and feature absorption; 0: neither", least=0
    )

    feature_members: tuple[str, ...] = _flag(
        (),
        "run",
        "names in saes/ of the autoencoders whose features are collected, or 'recommended': those that evaluate "
        "recommends; empty: all",
    )
    feature_tokens: int = _flag(262_144, "features", "tokens of text to look at, at most", least=512)
    feature_split: str = _flag("held_out", "features", "which documents' text", choices=("held_out", "train"))
    feature_top_examples: int = _flag(12, "features", "strongest examples of a latent", least=1)
    feature_intervals: int = _flag(6, "features", "even parts of a latent's range, of which examples are sampled", least=1)
    feature_interval_examples: int = _flag(4, "features", "examples of each part of the range", least=0)
    feature_tokens_before: int = _flag(24, "features", "tokens shown before an example's peak", least=0)
    feature_tokens_after: int = _flag(12, "features", "tokens shown after it", least=0)
    feature_ablations: int = _flag(
        4, "features", "top examples of a latent that the model is run on without the latent; 0: none", least=0
    )
    feature_strengths: tuple[float, ...] = _flag(
        (0.0, 0.5, 1.0), "features", "of steering, in multiples of a latent's largest activation"
    )
    feature_steering_tokens: int = _flag(12, "features", "tokens sampled while steering; 0: no steering", least=0)
    feature_prompt: str = _flag("The", "features", "what steering continues")
    feature_affected: int = _flag(
        4096, "features", "latents, at most, that are ablated and steered with, evenly spread over those that fire", least=0
    )
    feature_seed: int = _flag(0, "features", "of sampled examples, steering, map and clusters", least=0, most=_SEEDS)

    compare: tuple[str, ...] = _flag(("train",), "compare", "what to compare", choices=("train", "extract", "store", "sweep"))
    compare_with: tuple[str, ...] = _flag(
        (),
        "compare",
        "packages to measure beside the PyTorch twin, where they are installed",
        choices=("saelens", "sparsify", "dictionary_learning", "sparse_coding", "transformer_lens"),
    )
    compare_d_in: int = _flag(
        0, "compare", "train on planted rows of that many dimensions; 0: on the rows stored at --hook_name", least=0
    )
    compare_rounds: int = _flag(7, "compare", "turns of each contender", least=1)
    compare_steps: int = _flag(4, "compare", "training steps of a turn, and of the comparison of values", least=1)
    compare_compile: bool = _flag(False, "compare", "the PyTorch twin trains through torch.compile")

    port: int = _flag(8765, "serve", "where the pages are served; 0: a free one", least=0, most=65_535)
    host: str = _flag(
        "127.0.0.1", "serve", "address to listen on: this machine's own", choices=("127.0.0.1", "localhost", "::1")
    )


KINDS = typing.get_type_hints(Config)
FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def settings_of(config: Config, task: str) -> dict[str, Any]:
    """The flags that shape what `task` writes, as JSON values.

    `--sae` shapes training only where training is asked for: otherwise it names what else is to be evaluated.
    """
    sections = SECTIONS_OF_TASK[task]
    values = {name: getattr(config, name) for name, f in FIELDS.items() if f.metadata["section"] in sections}
    if task == "compare":
        values["extract_batch_size"] = config.extract_batch_size
    if not (task == "train" and "train" in config.tasks):
        values.pop("sae", None)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
