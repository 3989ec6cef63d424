"""The model card of a repository of autoencoders: README.md of the Hugging Face Hub.

Names come from users; in the YAML front matter, in tables and in code they are written so that they mean only themselves.
Source: huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from saejax.errors import InputError

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~&$#!])")
_NONE = "–"


def model_card(
    evaluation: Mapping[str, Any],
    *,
    repo: str,
    base_model: str = "openai-community/gpt2",
    datasets: tuple[str, ...] = (),
    license: str | None = None,
) -> str:
    """README.md for the members of one evaluation.

    Args:
      evaluation: evaluation.json: {"members": {name: {metric: number or null}}}, and where there are such "clean": {metric:
        number} of the model alone and "recommended": {hook_name: {"member": name, "reason": text}}, or one member's name.
      repo: "owner/name", as in the code that loads it.
      base_model: the Hub's id of the language model.
      datasets: the Hub's ids of what it was trained on.
      license: the Hub's name of one; left out where none has been chosen.

    Returns:
      Markdown with YAML front matter.

    Raises:
      InputError: an evaluation without members, or with values that are no numbers.
    """
    members = evaluation.get("members")
    if not isinstance(members, Mapping) or not members or not all(isinstance(m, Mapping) for m in members.values()):
        raise InputError("evaluation: has no members; give evaluation.json as --tasks=evaluate writes it")
    best = _recommended(evaluation.get("recommended"))
    example = next((name for name in best if name in members), next(iter(members)))
    sections = [
        _front_matter(base_model, datasets, license),
        f"# {_text(repo.rpartition('/')[2])}",
        f"Sparse autoencoders on the activations of {_text(base_model)}, trained with saejax.",
        "## Members\n\n" + _table(members, best),
        _clean(evaluation.get("clean")),
        "\n".join(f"- Recommended: **{_text(name)}**{': ' + _text(why) if why else ''}" for name, why in best.items()),
        _how_to_load(repo, example),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(base_model: str, datasets: tuple[str, ...], license: str | None) -> str:
    lines = ["---", "library_name: saejax"]
    lines += [f"license: {_yaml(license)}"] if license else []
    lines += [f"base_model: {_yaml(base_model)}"]
    lines += ["datasets:", *(f"- {_yaml(name)}" for name in datasets)] if datasets else []
    return "\n".join([*lines, "tags:", "- sparse-autoencoder", "- mechanistic-interpretability", "- saelens", "---"])


def _table(members: Mapping[str, Mapping[str, Any]], best: Mapping[str, str]) -> str:
    metrics = list(dict.fromkeys(metric for values in members.values() for metric in values if metric != "hook_name"))
    rows = [["member", *metrics], ["---", *("---:" for _ in metrics)]]
    lines = [_row([_text(cell) for cell in rows[0]]), _row(rows[1])]
    for name, values in members.items():
        shown = f"**{_text(name)}**" if name in best else _text(name)
        lines.append(_row([shown, *(_number(f"{name}: {metric}", values.get(metric)) for metric in metrics)]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _clean(clean: Any) -> str:
    if not isinstance(clean, Mapping) or not clean:
        return ""
    values = ", ".join(f"{_text(metric)} {_number(f'clean: {metric}', value)}" for metric, value in clean.items())
    return f"The language model alone: {values}."


def _recommended(recommended: Any) -> dict[str, str]:
    """{member: reason}, from whichever form the evaluation has."""
    if isinstance(recommended, str):
        return {recommended: ""}
    if not isinstance(recommended, Mapping):
        return {}
    abouts = [about if isinstance(about, Mapping) else {"member": about} for about in recommended.values()]
    return {a["member"]: str(a.get("reason") or "") for a in abouts if isinstance(a.get("member"), str)}


def _how_to_load(repo: str, member: str) -> str:
    repo_text, member_text, where = _yaml(repo), _yaml(member), _yaml(f"{repo}:{member}")
    return f"""## How to load

In saejax:

```python
from saejax.interop.load import load

loaded = load({where})
latents = loaded.sae.encode(activations)  # float32 [rows, d_in], at loaded.hook_name
```

In SAELens 6 (not for members whose architecture in cfg.json begins with `saejax_`):

```python
from sae_lens import SAE

sae = SAE.from_pretrained({repo_text}, {member_text})
```"""


def _number(what: str, value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"evaluation: {_text(what)} is {value!r}; it must be a finite number or null: evaluate again")
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _text(value: Any) -> str:
    """Plain text in Markdown, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _MARKDOWN.sub(r"\\\1", line)


def _yaml(value: str) -> str:
    """A double-quoted scalar of YAML, which is a string of Python and JSON too."""
    return '"' + "".join(_quoted(c) for c in value) + '"'


def _quoted(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if 0xD800 <= ord(c) <= 0xDFFF:  # half a pair: no character
        return "\ufffd"
    if c.isprintable():
        return c
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
