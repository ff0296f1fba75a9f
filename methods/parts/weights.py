"""Tensors of a file that others wrote: nothing in it is ever executed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from bench.errors import BenchError
from bench.inputs import InputFile
from bench.models.portable import is_safetensors

WRAPPERS = ("state_dict", "model")
"""Entries of a training checkpoint that hold its weights (DynACL test_LF.py, AdvCL finetuning_advCL_SLF.py)."""
WRAPPED = "module."
"""What DataParallel puts before every name."""


def read_weights(file: InputFile) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, or of one that `torch.save` wrote, on the CPU.

    Of a training checkpoint those of its entry `state_dict` or `model`; names lose a leading `module.`.

    Raises:
        BenchError: if it is no such file, holds more than tensors and plain data, or no tensor at all.
        StageError: if it was changed since the sweep was planned.
    """
    content = file.read()
    stored = _safetensors(file, content) if is_safetensors(content) else _pickled(file, content)
    weights = next((stored[name] for name in WRAPPERS if isinstance(stored.get(name), Mapping)), stored)
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        held = ", ".join(map(str, list(stored)[:5])) or "nothing"
        raise BenchError(
            f"file '{file.path}' holds no weights: it holds {held}. Give one that holds a network's state_dict, by "
            f"itself or under {' or '.join(WRAPPERS)}."
        )
    return {name.removeprefix(WRAPPED): value for name, value in tensors.items()}


def _safetensors(file: InputFile, content: bytes) -> Mapping[str, Any]:
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise _unreadable(file, error) from error


def _pickled(file: InputFile, content: bytes) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):
            stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # What a damaged file raises, its damage decides.
        raise (_code(file) if "Unsupported global" in str(error) else _unreadable(file, error)) from error
    if isinstance(stored, Mapping):
        return stored
    raise _unreadable(file, TypeError(f"it holds a {type(stored).__name__}, not a mapping of names to tensors"))


def _code(file: InputFile) -> BenchError:
    return BenchError(
        f"file '{file.path}' holds Python objects beside its tensors, and loading them could run any code, so it was "
        f"not loaded. Where you trust it, keep the weights alone: torch.save(torch.load(FILE, weights_only=False)"
        f"['state_dict'], NEW), and give NEW."
    )


def _unreadable(file: InputFile, error: Exception) -> BenchError:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return BenchError(
        f"file '{file.path}' cannot be read as weights ({reason}): give a .safetensors file, or one that torch.save "
        f"wrote; an archive is unpacked first."
    )
