"""What a network makes of the images of a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hardware import Hardware
from image_files import ImageFiles
from loaders import Array, DealtOrder, Loader, batches, make_loader, progress
from processes import ALONE, Processes

AT_ONCE = 2  # times the training batch: without gradients more images fit
MOST_AT_ONCE = 128  # lest one of many processes get the whole of their mini-batch


@torch.inference_mode()
def evaluate(
    forward: Callable[[Tensor], Tensor],
    images: DataLoader,
    hardware: Hardware,
    then: Callable[[], object] | None = None,
    for_all: bool = True,
) -> Tensor:
    """What `forward` makes of every image, float [N, ...] on the CPU, in the order of the split.

    A module is put into evaluation mode. Several processes share the images out, each has it all
    in the end; not `for_all`: the first alone, the others nothing, [0, ...]. `then`: as in
    `batches`.
    """
    if isinstance(forward, nn.Module):
        forward.eval()
    order = images.batch_sampler
    assert isinstance(order, DealtOrder)
    results, done = torch.empty(0), 0
    for x, _ in progress(batches(images, hardware.device, then), len(images), "evaluate"):
        with hardware.autocast():
            result = forward(x).float()
        if not done:  # filled in place: to join the parts at the end would take twice the memory
            results = result.new_empty((sum(map(len, order)), *result.shape[1:]))
        results[done : done + len(result)] = result
        done += len(result)
    return order.processes.gather(results.cpu(), order.lengths, for_all)


def evaluation_loader(
    images: ImageFiles | Array,
    batch_size: int,
    num_workers: int,
    hardware: Hardware,
    processes: Processes = ALONE,
) -> Loader:
    """A loader of the images in their order; `batch_size` is that of training."""
    order = DealtOrder(len(images), min(AT_ONCE * batch_size, MOST_AT_ONCE), processes)
    return make_loader(images, order, num_workers, hardware.pins_memory)
