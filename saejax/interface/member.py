"""One autoencoder's records → its data files: what its page, its table, its map and its latents' pages load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from saejax import files
from saejax.features import records
from saejax.interface import examples, latents, shards
from saejax.interface.shards import encode


def write(directory: Path, data: Path, folder: str, advance: Callable[[int], None]) -> dict[str, Any]:
    """Writes `data/<folder>/` and the vocabulary; returns the member's facts for the overview.

    Args:
      directory: `features/<member>/`.
      data: the site's data folder.
      folder: the member's own below it.
      advance: told of each latent that is written.
    """
    meta = records.read_meta(directory)
    fires_on: list[list[int]] = [[] for _ in range(meta.d_sae)]
    starts = shards.write_list(data, f"{folder}/latents", _pages(directory, fires_on, advance))
    index_starts = shards.write_list(data, f"{folder}/index", map(encode, latents.index(directory, fires_on)))
    facts = {"n_latents": meta.d_sae, "n_alive": meta.n_alive, "n_labelled": meta.n_labelled}
    about = {
        "meta": meta._asdict(),
        **facts,
        "n_index_files": len(index_starts),
        "latent_starts": starts,
        "changes_a_nat": examples.CHANGES_A_NAT,
        "vocabulary": _vocabulary(directory, data),
    }
    shards.write(data, f"{folder}/member", encode(about))
    return facts


def _pages(directory: Path, fires_on: list[list[int]], advance: Callable[[int], None]) -> Iterator[str]:
    """What each latent's page shows, encoded; fills `fires_on` on the way."""
    found = examples.by_latent(directory)
    latent, own = next(found, (None, None))
    steered = {number: rows for number, rows in records.by_latent(records.read_steering(directory))}
    for page in latents.pages(directory):
        samples = steered.get(page["latent"], [])
        page["steering"] = [{"prompt": s.tokens, "strength": s.strength, "continuation": s.continuation} for s in samples]
        page["examples"] = {}
        if page["latent"] == latent:
            page["examples"], fires_on[latent] = own.columns, own.fires_on
            latent, own = next(found, (None, None))
        advance(1)
        yield encode(page)


def _vocabulary(directory: Path, data: Path) -> dict[str, Any]:
    """Writes the model's vocabulary, once for all members that share it; returns its name and its number of files."""
    vocabulary = records.read_vocabulary(directory)
    name = f"vocabulary-{files.fingerprint(list(vocabulary))}"
    items = (encode([text, 1] if escape else text) for text, escape in zip(*vocabulary))
    return {"name": name, "n_files": len(shards.write_list(data, name, items))}
