"""The console's tables of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saejax import console
from saejax.comparison.contenders import SAEJAX

_HEADER = [
    "",
    "ms",
    "a second",
    "tokens/s",
    "GFLOP/s",
    "of matrix rate",
    "time / saejax's",
    "first, s",
    "peak MB",
    "over imports",
]


def show(found: Mapping[str, Any]) -> None:
    """Prints every table.

    Args:
      found: what `comparison.json` holds.
    """
    for name, record in found.get("train", {}).items():
        shape, count = record["shape"], record["dense_equivalent_operations"]
        sizes = f"{shape['members']} × [{shape['batch_size']}, {shape['d_in']}] → {shape['d_sae']}, {shape['dtype']}"
        _speeds(f"Training, {name}: {sizes}; {count / 1e9:,.1f} dense GFLOP a step", record)
        _differences(
            f"{name}: largest differences from the twin, {record['steps']} steps, as shares of the largest value", record
        )
        for peer, losses in record["losses_of_peers"].items():
            if losses is None:
                console.log(f"compare: {peer} has another loss: it is timed only")
            else:
                first, rest = losses["first_loss"]["relative"], losses["loss"]["relative"]
                console.log(f"compare: {peer}: first loss differs by {first:.1e}, later ones by up to {rest:.1e}, relative")
    if "extract" in found:
        record = found["extract"]
        shape, count = record["shape"], record["dense_equivalent_operations"]
        title = f"Extraction, {shape['windows']} × {shape['length']} tokens to {record['sites'][-1]}, {shape['dtype']}"
        _speeds(f"{title}; {count / 1e9:,.1f} dense GFLOP a pass", record)
        rows = [
            [name, site, f"{apart['absolute']:.1e}", f"{apart['relative']:.1e}"]
            for name, sites in record["differences"].items()
            for site, apart in sites.items()
        ]
        console.table("Largest differences from saejax's activations", ["", "site", "absolute", "relative"], rows)
    if "store" in found:
        _store(found["store"])
    if "sweep" in found:
        sweep = found["sweep"]
        rows = [[name, f"{seconds:.1f}"] for name, seconds in sweep["alone_seconds"].items()]
        rows += [
            ["each by itself, in all", f"{sweep['alone_total_seconds']:.1f}"],
            ["all at once", f"{sweep['together_seconds']:.1f}"],
        ]
        console.table("Whole runs, start-up to evaluation", ["", "s"], [*rows, ["ratio", f"{sweep['ratio']:.2f}"]])


def _speeds(title: str, record: Mapping[str, Any]) -> None:
    rows = []
    for name, own in record["contenders"].items():
        over, memory = own["time_over_saejax"], own["memory_bytes"]
        times = "1" if name == SAEJAX else f"{over['median']:.2f} ({over['min']:.2f}–{over['max']:.2f})"
        where = memory.get("device", memory["peak"])
        rows.append(
            [
                name,
                f"{1e3 * own['seconds']['median']:,.2f}",
                f"{own['per_second']:,.2f}",
                f"{own['tokens_per_second']:,.0f}",
                f"{own['operations_per_second'] / 1e9:,.1f}",
                f"{own['share_of_matrix_rate']:.0%}",
                times,
                f"{own['first_seconds']:.1f}",
                f"{where / 2**20:,.0f}",
                f"{memory['over_imports'] / 2**20:,.0f}",
            ]
        )
    rate = record["matrix_products"]["operations_per_second"] / 1e9
    console.table(f"{title}; matrix products {rate:,.1f} GFLOP/s", _HEADER, rows)


def _differences(title: str, record: Mapping[str, Any]) -> None:
    largest = record["differences"]["largest"]
    columns = {
        "loss": "loss",
        "latents before": "latents_before",
        "after": "latents_after",
        "after, of norms": "latents_after_norm",
        "parameters": "params",
        "of norms": "params_norm",
        "selections that differ": "selections",
    }
    values = [f"{largest[key]:.1e}" for key in columns.values()]
    console.table(title, ["", *columns], [["PyTorch twin", *values]])


def _store(record: Mapping[str, Any]) -> None:
    rows = []
    for mode in ("cold", "cached"):
        if mode in record:
            own = record[mode]
            rows.append(
                [
                    f"files {mode}",
                    f"{own['shuffled_rows_per_second']['median']:,.0f}",
                    f"{own['shuffled_bytes_per_second']['median'] / 1e6:,.0f}",
                    f"{own['sequential_bytes_per_second']['median'] / 1e6:,.0f}",
                    f"{own['share_of_sequential']['median']:.0%}",
                ]
            )
    console.table("The store", ["", "shuffled rows/s", "shuffled MB/s", "sequential MB/s", "share"], rows)
    waiting = record["training"]["waiting"]
    console.log(
        f"compare: training waits for rows {waiting['median']:.1%} of its time ({waiting['min']:.1%} to {waiting['max']:.1%})"
    )
