"""What a machine fails at, told to the user in one line with the setting that helps."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

import torch

from cli import OwnTrouble, UserError

_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.I)
_NO_WORKER = re.compile(r"DataLoader worker \(pid|shared memory|open files|unable to mmap", re.I)
_NO_COMPILER = re.compile(r"C\+\+ compiler|C compiler|working triton", re.I)
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_NOT_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")


@contextlib.contextmanager
def explained(bsize: int, image_size: int, num_workers: int) -> Iterator[None]:
    """Turn lack of memory, dead loader workers and the like into a UserError.

    The arguments are the settings that it advises to lower. What it does not know passes.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())
        short = said[:160] + ("..." if len(said) > 160 else "")
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or _NO_MEMORY.search(said):
            raise OwnTrouble(
                f"out of memory: lower --bsize (it is {bsize}) or --image_size (it is "
                f"{image_size}), which starts another run ({short or 'no more is known'})"
            ) from error
        if _NO_WORKER.search(said) or getattr(error, "errno", None) in _SHORTAGES:
            raise OwnTrouble(
                "a process that reads images has died, or found no memory: lower --num_workers "
                f"(it is {num_workers}; 0 reads in the main process) ({short})"
            ) from error
        if _NO_COMPILER.search(said):
            raise UserError(
                f"--compile: PyTorch finds no compiler to do so here: leave it out ({short})"
            ) from error
        if found := _NOT_DETERMINISTIC.search(said):
            raise UserError(
                f"--deterministic: PyTorch has no deterministic {found[1]} on this device: "
                "leave the flag out"
            ) from error
        raise
