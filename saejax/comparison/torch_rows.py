"""What PyTorch contenders share: rows and parameters that were handed over, the device and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """As JAX names it."""
    return "gpu" if DEVICE == "cuda" else "cpu"


def device_peak_bytes() -> int | None:
    """The accelerator's peak, where there is one."""
    return torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None


def timed(work: Callable[[], object]) -> float:
    """Seconds until everything that the call started is done."""
    start = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def read_rows(folder: Path) -> tuple[Tensor, Tensor, float]:
    """(x_SxBxD bfloat16 on the device, held rows float32 [B, D] in scaled units, the factor on the rows)."""
    with np.load(folder / "rows.npz", allow_pickle=False) as rows:
        scale = float(rows["scale"])
        x_SxBxD, held_BxD = (
            torch.from_numpy(rows[name].view(np.int16)).view(torch.bfloat16) for name in ("x_SxBxD", "held_BxD")
        )
    return x_SxBxD.to(DEVICE), held_BxD.to(DEVICE).float() * scale, scale


def read_params(folder: Path, n_members: int) -> list[dict[str, np.ndarray]]:
    """Each member's initial parameters, float32, by saejax's names."""
    with np.load(folder / "params.npz", allow_pickle=False) as params:
        stacked = {name: params[name] for name in params.files}
    return [{name: value[m] for name, value in stacked.items()} for m in range(n_members)]


def product_of(n_members: int, n_rows: int, d_in: int, d_sae: int, dtype: str) -> Callable[[], Sequence[Tensor]]:
    """A call that multiplies [B, D] and [D, F] for each member."""
    kind = getattr(torch, dtype)
    a_BxD = torch.randn(n_rows, d_in, device=DEVICE, dtype=kind)
    Ws = [torch.randn(d_in, d_sae, device=DEVICE, dtype=kind) for _ in range(n_members)]
    return lambda: [a_BxD @ W for W in Ws]
