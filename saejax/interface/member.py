"""One autoencoder's records → its data files: what its page, its table, its map and its latents' pages load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from saejax import files
from saejax.interface import examples, latents, shards
from saejax.interface.shards import encode


def write(records: Path, data: Path, folder: str, advance) -> dict[str, Any]:
    """Writes `data/<folder>/` and the vocabulary; returns the member's facts for the overview.

    Args:
      records: `features/<member>/`.
      data: the site's data folder.
      folder: the member's own below it.
      advance: told of each latent that is written.
    """
    meta = files.read_json(records / "meta.json")
    n_latents = pq.ParquetFile(records / "latents.parquet").metadata.num_rows
    fires_on: list[list[int]] = [[] for _ in range(n_latents)]
    labelled = 0

    def encoded_pages() -> Iterator[str]:
        nonlocal labelled
        found = examples.by_latent(records / "examples.parquet")
        steering = _steering(records / "steering.parquet")
        latent, own = next(found, (None, None))
        for page in latents.pages(records / "latents.parquet"):
            page["examples"], page["steering"] = {}, steering.get(page["latent"], [])
            if page["latent"] == latent:
                page["examples"], fires_on[latent] = own.columns, own.fires_on
                latent, own = next(found, (None, None))
            labelled += bool(page["label"])
            advance(1)
            yield encode(page)

    starts = shards.write_list(data, f"{folder}/latents", encoded_pages())
    parts = [encode(part) for part in latents.index(records / "latents.parquet", fires_on)]
    index_starts = shards.write_list(data, f"{folder}/index", parts)
    alive = pq.read_table(records / "latents.parquet", columns=["n_active"]).column(0).to_numpy()
    facts = {"n_latents": n_latents, "n_alive": int((alive > 0).sum()), "n_labelled": labelled}
    about = {
        "meta": meta,
        **facts,
        "n_index_files": len(index_starts),
        "latent_starts": starts,
        "changes_a_nat": examples.CHANGES_A_NAT,
        "vocabulary": _vocabulary(records, data),
    }
    shards.write(data, f"{folder}/member", encode(about))
    return facts


def _steering(path: Path) -> dict[int, list[dict]]:
    """{latent: its samples}; the table is small."""
    by_latent: dict[int, list[dict]] = {}
    if path.exists():
        for row in pq.read_table(path).to_pylist():
            sample = {"prompt": row["tokens"], "strength": row["strength"], "continuation": row["continuation"]}
            by_latent.setdefault(row["latent"], []).append(sample)
    return by_latent


def _vocabulary(records: Path, data: Path) -> dict[str, Any]:
    """Writes the model's vocabulary unless another member has; returns its name and its number of files."""
    path = records / "vocabulary.json"
    vocabulary = files.read_json(path)
    name = f"vocabulary-{files.fingerprint(path.read_bytes())}"
    items = (encode([text, 1] if escape else text) for text, escape in zip(vocabulary["tokens"], vocabulary["escaped"]))
    return {"name": name, "n_files": len(shards.write_list(data, name, items))}
