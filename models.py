"""The image classifier: backbone, global average pool, linear head.

Letters in shapes: B images, H x W pixels, K classes, D features, h x w places of the last map.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from cli import UserError
from files import read_file

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_COUNTER = "num_batches_tracked"  # of a batch norm; not in files of early PyTorch releases


class Head(nn.Linear):
    """A linear layer that computes in float32 even under autocast: coarser scores would tie."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits [..., K] of features [..., D]."""
        with torch.autocast("cuda" if features.is_cuda else "cpu", enabled=False):
            return super().forward(features.float())


class ImageClassifier(nn.Module):
    """Logits of every class for uint8 images, and where in the image they come from."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, num_features: int, num_classes: int, frozen: bool = False
    ) -> None:
        """`backbone` maps float [B, 3, H, W] to [B, D, h, w]; frozen, it is never trained and
        its batch norms keep their statistics."""
        super().__init__()
        self.backbone = backbone
        self.head = Head(num_features, num_classes)
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            buffer = torch.tensor(values).view(1, 3, 1, 1) * 255
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of uint8 images [B, 3, H, W]."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The average of the last feature map, [B, D]."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map of the backbone, [B, D, h, w]."""
        images = images.contiguous(memory_format=torch.channels_last)
        normal = (images.float() - self.mean) / self.std
        return self.backbone(normal)

    def class_maps(self, images: Tensor) -> Tensor:
        """Class activation maps [B, K, h, w]: the head as a 1x1 convolution.

        Zhou et al., CVPR 2016. Their mean over h and w is the logits.
        """
        return self.head(self.feature_map(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def train(self, mode: bool = True) -> ImageClassifier:
        """Training mode, except for a frozen backbone, which stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def build_model(
    arch: str, num_classes: int, weights: str = "none", frozen: bool = False
) -> ImageClassifier:
    """A classifier on that backbone, its head new.

    `weights`: "none", torchvision's name of weights, or a file with a state dict of the backbone
    (torchvision's, or a run's bestmodel.pt). Raises UserError where they are not to be had.
    """
    from_file = weights != "none" and weights not in _published(arch)
    if from_file and not os.path.isfile(weights):
        known = ", ".join(_published(arch)) or "none"
        raise UserError(
            f"--weights: {weights!r} is no file and no weights of {arch} (published: {known})"
        )
    backbone, num_features = _backbone(arch, "none" if from_file else weights)
    if from_file:
        try:
            load_backbone(backbone, Path(weights))
        except UserError as error:
            raise UserError(f"--weights: {error}") from None
    model = ImageClassifier(backbone, num_features, num_classes, frozen)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Fill the backbone from a file; a classifier in the file is left out.

    Raises UserError, naming the keys, where they do not fit.
    """
    state = load_tensors(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    state = {_backbone_key(str(key)): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if key.split(".")[0] not in ("fc", "head")}
    wanted = backbone.state_dict()
    unfit = {
        "missing": [key for key in wanted if key not in state and not key.endswith(_COUNTER)],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            key
            for key in wanted
            if key in state and getattr(state[key], "shape", None) != wanted[key].shape
        ],
    }
    if any(unfit.values()):
        told = "; ".join(
            f"{len(keys)} {what}: {_some(keys)}" for what, keys in unfit.items() if keys
        )
        raise UserError(f"{path} does not fit the backbone: {told}")
    backbone.load_state_dict(state, strict=False)


class Damaged(UserError):
    """A file that is not what it should be, as against one that cannot be read."""


def load_tensors(path: Path) -> dict[str, Any]:
    """The dictionary of tensors, on the CPU, and plain values in a file, never unpickled.

    Raises UserError for one that cannot be read, and Damaged for one that is damaged, be it by one
    bit, or holds anything else.
    """
    file = io.BytesIO(read_file(path))
    try:
        if zipfile.is_zipfile(file):  # as torch writes since 1.6; it leaves the checksums unread
            with zipfile.ZipFile(file) as archive:
                if archive.testzip():
                    raise zipfile.BadZipFile
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that it then refuses
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # garbage makes the unpickler fail in every way there is
        raise Damaged(f"{path} is damaged, or holds more than tensors: not loaded") from None
    if not isinstance(state, dict):
        raise Damaged(f"{path} holds a {type(state).__name__} where a state dict belongs")
    return state


def parameter_groups(
    model: ImageClassifier, scheme: nn.Module, lr: float, lr_mult: float
) -> list[dict[str, Any]]:
    """The optimizer's groups: backbone at lr, head at lr_mult * lr, the scheme at its own factor.

    A scheme with parameters says its factor as `lr_factor`. Frozen parameters are left out.
    """
    parts: list[tuple[str, Iterator[nn.Parameter], float]] = [
        ("backbone", model.backbone.parameters(), lr),
        ("head", model.head.parameters(), lr * lr_mult),
        ("scheme", scheme.parameters(), lr * getattr(scheme, "lr_factor", 1.0)),
    ]
    groups = []
    for name, parameters, rate in parts:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            groups.append({"params": trained, "lr": rate, "name": name})
    return groups


def _backbone(arch: str, weights: str) -> tuple[nn.Module, int]:
    """The backbone [B, 3, H, W] -> [B, D, h, w] and D."""
    if arch == "resnet8":
        return _resnet8(), 128
    network = torchvision.models.get_model(arch, weights=None)
    if weights != "none":
        network.load_state_dict(_fetch(arch, weights))
    parts = list(network.named_children())
    return nn.Sequential(OrderedDict(parts[:-2])), network.fc.in_features


def _fetch(arch: str, weights: str) -> dict[str, Tensor]:
    """Published weights, from the network or PyTorch's cache, which others may write to."""
    published = torchvision.models.get_model_weights(arch)[weights]
    try:
        return published.get_state_dict(check_hash=True, weights_only=True)
    except Exception as error:  # no network, a wrong hash, garbage in the cache
        said = " ".join(str(error).split())[:160]
        raise UserError(
            f"--weights: {weights} of {arch} cannot be fetched ({said}): remove "
            f"{Path(torch.hub.get_dir(), 'checkpoints', Path(published.url).name)} if it is there, "
            "or give --weights FILE, or --use_pretrained false"
        ) from None


def _resnet8() -> nn.Module:
    """A narrow ResNet for small images: a 3x3 stem, then one block each at 32, 64, 128 channels."""
    stem = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
    )
    blocks = [
        BasicBlock(inner, outer, stride, _shortcut(inner, outer, stride))
        for inner, outer, stride in ((32, 32, 1), (32, 64, 2), (64, 128, 2))
    ]
    return nn.Sequential(stem, *blocks)


def _shortcut(inner: int, outer: int, stride: int) -> nn.Module | None:
    if stride == 1 and inner == outer:
        return None
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))


def _published(arch: str) -> list[str]:
    """torchvision's names of the weights of a backbone."""
    return [] if arch == "resnet8" else list(torchvision.models.get_model_weights(arch).__members__)


def _backbone_key(key: str) -> str:
    for prefix in ("module.", "backbone."):
        key = key.removeprefix(prefix)
    return key


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
