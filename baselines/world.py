"""The processes of one run: one, or as many as ``accelerate launch`` or ``torchrun`` started.

Each process has its own device and its share of every step's batches; the sums of their gradients are those
of one process. The first alone writes files and prints.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


class World:
    """One process among ``size``, of which it is number ``rank``."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def join(cls) -> World:
        """Meet the other processes, if the environment tells of any."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size <= 1:
            return cls()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if torch.cuda.is_available():
            torch.cuda.set_device(local)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of ``tensors`` by its sum over all processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def share(self, items: Sequence[T]) -> list[T]:
        """The part of ``items`` that is this process's."""
        return list(items[self.rank :: self.size])

    def gather(self, mine: Sequence[T]) -> list[T]:
        """All processes' results for their shares, in the order of the whole."""
        if self.size == 1:
            return list(mine)
        parts: list[list[T] | None] = [None] * self.size
        distributed.all_gather_object(parts, list(mine))
        whole: list[T] = []
        longest = max(len(part or []) for part in parts)
        for place in range(longest):
            whole += [part[place] for part in parts if part and place < len(part)]
        return whole

    def leave(self) -> None:
        """Say goodbye to the other processes, once all have come this far."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()
