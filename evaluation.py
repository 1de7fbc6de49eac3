"""What a network makes of the images of a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hardware import Hardware
from loaders import Array, BatchOrder, ImageFiles, batches, make_loader, progress

AT_ONCE = 2  # times the training batch: without gradients more images fit


@torch.inference_mode()
def evaluate(forward: Callable[[Tensor], Tensor], images: DataLoader, hardware: Hardware) -> Tensor:
    """What `forward` makes of every image, float [N, ...] on the CPU, in the order of the split.

    A module is put into evaluation mode.
    """
    if isinstance(forward, nn.Module):
        forward.eval()
    results, done = torch.empty(0), 0
    for x, _ in progress(batches(images, hardware.device), len(images), "evaluate"):
        with hardware.autocast():
            result = forward(x).float()
        if not done:  # filled in place: to join the parts at the end would take twice the memory
            order = images.batch_sampler
            assert isinstance(order, BatchOrder)
            results = result.new_empty((order.num_images, *result.shape[1:]))
        results[done : done + len(result)] = result
        done += len(result)
    return results.cpu()


def evaluation_loader(
    images: ImageFiles | Array, batch_size: int, num_workers: int, hardware: Hardware
) -> DataLoader:
    """A loader of the images in their order; `batch_size` is that of training."""
    order = BatchOrder(len(images), AT_ONCE * batch_size)
    return make_loader(images, order, num_workers, hardware.pins_memory)
