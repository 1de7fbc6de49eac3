"""What a backbone makes of all images, once: the linear phase trains the head on it, for seconds.

On disk a table of features is one .npy file for these images at this size, these weights and this
precision, which all runs of a sweep share. N images of a split, D features.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from cli import printable
from data.cache import TOGETHER, fingerprint, in_memory, on_disk, union
from hardware import Hardware
from image_files import ImageFiles
from loaders import Array, BatchOrder, batches, make_loader, progress
from models import ImageClassifier

_AT_ONCE = 32  # images; for every run the same: what one extracts is what another would, to the bit


def features_of(
    splits: Mapping[str, ImageFiles | Array],
    model: ImageClassifier,
    hardware: Hardware,
    folder: Path,
    num_workers: int,
) -> dict[str, Array]:
    """float32 [N, D] features of the images of train, val and test, kept in `folder`.

    Where they cannot be kept, a warning, and they are in memory alone. Raises UserError for an
    image that cannot be read.
    """
    found, warned, backbone = {}, False, _fingerprint(model, hardware)
    for names in TOGETHER:
        images, places = union([splits[name] for name in names])
        make = partial(_extracted, images, model, hardware, num_workers)
        try:
            path = folder / f"features_{backbone}_{fingerprint(images)}.npy"
            rows = on_disk(path, len(images), make)
        except OSError as error:
            if not warned:
                said = f"warning: the features are not kept for other runs: {error}"
                print(printable(said), file=sys.stderr)
            warned = True
            rows = in_memory(len(images), make)
        for name, own in zip(names, places, strict=True):
            found[name] = Array(rows).take(own)
    return found


def _fingerprint(model: ImageClassifier, hardware: Hardware) -> str:
    """A name for exactly this backbone, with its weights, in this precision, by this PyTorch."""
    facts = (
        2, torch.__version__, torchvision.__version__, torch.get_num_threads(),
        hardware.device.type, hardware.half, model.backbone,
    )  # fmt: skip
    digest = hashlib.sha256(" ".join(map(str, facts)).encode())
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        if not name.startswith("head."):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


@torch.inference_mode()
def _extracted(
    images: ImageFiles | Array, model: ImageClassifier, hardware: Hardware, num_workers: int
) -> Iterator[Tensor]:
    """float32 [B, D] features, batch by batch, in order."""
    model.eval()
    loader = make_loader(
        images, BatchOrder(len(images), _AT_ONCE), num_workers, hardware.pins_memory
    )
    for x, _ in progress(batches(loader, hardware.device), len(loader), "features"):
        with hardware.autocast():
            features = model.features(x)
        yield features.float().cpu()
