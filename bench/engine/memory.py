"""The largest memory that a piece of work took, and what it looks like when there is too little of it."""

from __future__ import annotations

import resource

import torch


def forget_peak_memory(device: str) -> None:
    """Start to look for a new peak, where the device allows it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def held_memory_mb(device: str) -> float:
    """What tensors take on a GPU now, in MiB; 0 on a CPU, where nobody counts."""
    return torch.cuda.memory_allocated(device) / 2**20 if device.startswith("cuda") else 0.0


def peak_memory_mb(device: str) -> float:
    """Of the device on a GPU; else of this process, whatever it did before. In MiB."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def released(device: str) -> bool:
    """Give memory that torch keeps for later back to a GPU, for other processes to use; on a CPU there is none.

    Returns:
        whether the device still answers: after some errors a GPU is lost to a process for good.
    """
    if device.startswith("cuda"):
        try:
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
        except RuntimeError:
            return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: on a GPU, in torch's CPU allocator (a mere RuntimeError), or in Python."""
    on_cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return on_cpu or isinstance(error, torch.OutOfMemoryError | MemoryError)
