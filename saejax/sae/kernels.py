"""Pallas kernels for NVIDIA GPUs: the sparse decoder, its two gradients, and the k-th largest value.

    decode      y_b = Σ_k v_bk W[i_bk]                   kernels_sparse.py
    pick        ⟨rows_b, W[i_bk]⟩                        its gradient with respect to v
    accumulate  out_f = Σ_{b, k: i_bk = f} v_bk rows_b   its gradient with respect to W
    kth_largest, kth_largest_of_all                      kernels_selection.py: what top-k and batch-top-k keep

All are pure functions of arrays, work under `jit` and `vmap` (Pallas' own rule: one more axis of the grid, and an operand that
members share is not copied), sum in float32, in an order that depends on shapes and indices alone: no atomics. None has a
derivative of its own. `interpret=True` runs them as XLA operations, on any machine.

They are written for Pallas' Triton backend, since what they do is to load rows at indices that are data, under masks: one
operation there. Mosaic GPU is made for tiles that the tensor memory accelerator moves: each row would be a copy of its own into
shared memory, its width a multiple of 128, masks by hand. jax 0.10 and 0.11, those that this package allows, have both; 0.11
warns (DeprecationWarning, "jax-pallas-triton") that Triton's will go, and then these five functions have to be written again.
TPUs have other paths.

Source: the sparse kernels follow the plan of Gao et al. 2024, "Scaling and evaluating sparse autoencoders", appendix D.2,
whose transposed product is made with atomics, and here with a sort.
"""

from saejax.sae.kernels_selection import kth_largest, kth_largest_of_all
from saejax.sae.kernels_sparse import accumulate, decode, pick

__all__ = ["accumulate", "decode", "kth_largest", "kth_largest_of_all", "pick"]
