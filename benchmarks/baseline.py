"""What a researcher writes who wants large-loss training and nothing else, in our own words.

Images are decoded, resized, flipped and normalised one by one in the worker, labels come with them
as floats, and every step asks the device for its numbers: as the code of most papers does.

Letters in shapes: B images of a mini-batch, N of the training split, K classes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from backbones import IMAGENET_MEAN, IMAGENET_STD
from models import ImageClassifier

SCHEMES = ("AN", "LL-R", "LL-Ct", "LL-Cp")


class Photographs(Dataset):
    """Image files with their labels, float [N, K]."""

    def __init__(self, paths: Sequence[Path], labels: Tensor, size: int, flip: bool = True) -> None:
        self.paths, self.labels = paths, labels
        steps = [transforms.Resize((size, size)), transforms.ToTensor(),
                 transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]  # fmt: skip
        if flip:
            steps.insert(1, transforms.RandomHorizontalFlip())
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        with Image.open(self.paths[place]) as image:
            return self.transform(image.convert("RGB")), self.labels[place], place


class Pictures(Dataset):
    """Images in memory, normalised once, with their labels, float [N, K]."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        normalise = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.images, self.labels = normalise(images.float() / 255), labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        return self.images[place], self.labels[place], place


def make_loader(images: Photographs | Pictures, batch_size: int, num_workers: int) -> DataLoader:
    """Shuffled mini-batches; memory is pinned for a GPU, and workers stay, as ours do."""
    workers = num_workers if isinstance(images, Photographs) else 0
    return DataLoader(
        images,
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class Net(nn.Module):
    """The same network as ours, for images that are normalised already, in the usual layout."""

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        for parameter in self.parameters():
            parameter.data = parameter.data.contiguous()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, 3, H, W]."""
        return self.head(self.backbone(images).mean(dim=(2, 3)))


@contextlib.contextmanager
def pytorch_defaults() -> Iterator[None]:
    """The precision and the choice of algorithms that PyTorch starts with, whatever a run chose."""
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=False, allow_tf32=True
    ):
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)


def train_one_epoch(
    net: Net,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    scheme: str,
    rate: float,
    device: torch.device,
) -> tuple[float, np.ndarray]:
    """Take every image once; the mean loss, and the predictions, float [N, K].

    `rate`: the share of the unobserved labels whose loss is large. Those of LL-Cp become positive
    in the labels that come with the images.
    """
    net.train()
    losses, predictions = [], []
    for x, labels, place in loader:
        x, labels = x.to(device), labels.to(device)
        logits = net(x)
        loss, large = modified_loss(logits, labels, scheme, rate)
        if scheme == "LL-Cp":
            rows, columns = large.cpu().nonzero(as_tuple=True)
            labels_of(loader)[place[rows], columns] = 1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        predictions.append(logits.detach().sigmoid().cpu().numpy())
    return float(np.mean(losses)), np.concatenate(predictions)


def labels_of(loader: DataLoader) -> Tensor:
    """The labels that the images come with, float [N, K]."""
    images = loader.dataset
    assert isinstance(images, Photographs | Pictures)
    return images.labels


def modified_loss(
    logits: Tensor, labels: Tensor, scheme: str, rate: float
) -> tuple[Tensor, Tensor]:
    """The mean loss, and the unobserved labels whose loss is large, bool [B, K]."""
    unobserved = labels == 0
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    other = F.binary_cross_entropy_with_logits(logits, torch.ones_like(labels), reduction="none")
    k = math.ceil(rate * unobserved.sum().item())
    if scheme == "AN" or not k:
        return loss.mean(), torch.zeros_like(unobserved)
    candidates = loss.detach().masked_fill(~unobserved, -math.inf)
    threshold = candidates.flatten().topk(k).values[-1]
    large = candidates >= threshold
    instead = torch.zeros_like(loss) if scheme == "LL-R" else other
    return torch.where(large, instead, loss).mean(), large
