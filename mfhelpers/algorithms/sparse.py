"""Sparse matrices in PyTorch, and row by row arithmetic."""

from __future__ import annotations

import warnings

import torch

LANES = 8  # sampled_addmm is slow for rows shorter than a register of the processor


def csr_tensor(
    starts: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, shape: tuple[int, int]
) -> torch.Tensor:
    """`torch.sparse_csr_tensor`, without its notices that such tensors are new and unchecked: they are made right here."""
    with warnings.catch_warnings():
        # PyTorch says so once a process, at the first matrix of this kind; on a GPU, of the second, though it was told
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta|Sparse invariant checks are")
        return torch.sparse_csr_tensor(starts, columns, values, size=shape, check_invariants=False)


def no_sparse_products(kind: str) -> str | None:
    """Why an algorithm that needs them cannot run on a kind of device; None where it can."""
    return None if kind in ("cpu", "cuda") else "has no sparse products"


def row_dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dim=1, keepdim=True)


def row_ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a / b, and 0 where a row has nothing left to solve."""
    return torch.where(b > 0, a / b, 0)
