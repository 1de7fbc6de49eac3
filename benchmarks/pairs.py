"""Two ways of doing the same, measured in turn: what disturbs the machine disturbs both."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # in malloc.h


def alternate(measures: Mapping[str, Callable[[], float]], pairs: int) -> dict[str, list[float]]:
    """What each of them measures, one after the other, `pairs` times."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(pairs):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def rates(
    epochs: Mapping[str, Callable[[], int]], pairs: int, seconds: float
) -> dict[str, list[float]]:
    """The speed of each epoch, in turn, after one of each that does not count.

    An epoch tells how many images it took; `seconds`: see `rate`.
    """
    for epoch in epochs.values():
        epoch()
    measures = {name: partial(rate, epoch, seconds) for name, epoch in epochs.items()}
    return alternate(measures, pairs)


def rate(epoch: Callable[[], int], seconds: float) -> float:
    """Images per second, over as many epochs as fill so many seconds, one at least."""
    synchronize()
    start, images, passed = time.perf_counter(), 0, 0.0
    while not images or passed < seconds:
        images += epoch()
        synchronize()
        passed = time.perf_counter() - start
    return images / passed


def seconds_of(step: Callable[[], object]) -> float:
    """How long it takes, with all that it leaves to the GPU."""
    synchronize()
    start = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait until the GPU, if there is one, has done all that it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def settle() -> None:
    """Bring a CPU into one state, whatever is measured first: for steps of a few milliseconds.

    The C library of Linux keeps what is freed, up to 32 MB a piece: fresh pages cost more than a
    cross-entropy. And on some CPUs PyTorch's log1p is ten times slower until a power was taken.
    """
    import torch

    with contextlib.suppress(OSError, AttributeError):  # another system has another library
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_TRIM_THRESHOLD, 2**30)
        library.mallopt(_MMAP_THRESHOLD, 2**25)
    torch.full((1000,), 0.3).pow(torch.full((1000,), 0.7))


def compared(baseline: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """Medians of the images per second, and how many times as many ours are, pair by pair."""
    return {
        "baseline_images_per_s": median(baseline),
        "ours_images_per_s": median(ours),
        **ratio_of(ours, baseline),
    }


def ratio_of(measured: Sequence[float], beside: Sequence[float]) -> dict[str, Any]:
    """The ratio of two measurements, pair by pair, and the median of these."""
    ratios = [a / b for a, b in zip(measured, beside, strict=True)]
    return {"ratio": median(ratios), "ratios": [rounded(ratio) for ratio in ratios]}


def median(values: Sequence[float]) -> float:
    """The median in four digits."""
    return rounded(statistics.median(values))


def rounded(value: float) -> float:
    """The value in four digits: more were not measured."""
    return float(f"{value:.4g}")
