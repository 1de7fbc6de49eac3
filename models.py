"""The image classifier: backbone, global average pool, linear head.

Letters in shapes: B images, H x W pixels, K classes, D features, h x w places of the last map.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import IMAGENET_MEAN, IMAGENET_STD, PatchMap, build_backbone, fetch, published
from cli import UserError
from files import read_file

_COUNTER = "num_batches_tracked"  # of a batch norm; not in files of early PyTorch releases
# torchvision's names of today for what its published files call otherwise
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"mlp\.linear_1\."), "mlp.0."),
    (re.compile(r"mlp\.linear_2\."), "mlp.3."),
)


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
        self,
        backbone: nn.Module,
        num_features: int,
        num_classes: int,
        frozen: bool = False,
        boost: float = 1.0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        places: int = 0,
    ) -> None:
        """`backbone` maps float [B, 3, H, W] to [B, D, h, w]; frozen, it is never trained and
        its batch norms keep their statistics. `boost` is the factor of `boost_lu`; `mean` and
        `std` normalise pixels in 0..1; `places` is h * w, where it is known."""
        super().__init__()
        self.backbone = backbone
        self.head = Head(num_features, num_classes)
        self.boost = boost
        self.places = places
        self.freeze(frozen)
        for name, values in (("mean", mean), ("std", std)):
            buffer = torch.tensor(values).view(1, 3, 1, 1) * 255
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of uint8 images [B, 3, H, W]."""
        if self.boost == 1:
            return self.head(self.features(images))
        return self.class_maps(images).mean(dim=(2, 3))

    def features(self, images: Tensor) -> Tensor:
        """The average of the last feature map, [B, D]."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map of the backbone, [B, D, h, w]."""
        images = images.contiguous(memory_format=torch.channels_last)
        normal = (images.float() - self.mean) / self.std
        return self.backbone(normal)

    def class_maps(self, images: Tensor) -> Tensor:
        """Class activation maps [B, K, h, w]: the head as a 1x1 convolution, boosted.

        Zhou et al., CVPR 2016. Their mean over h and w is the logits.
        """
        maps = self.head(self.feature_map(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return maps if self.boost == 1 else boost_lu(maps, self.boost)

    def freeze(self, frozen: bool) -> None:
        """Train the backbone no longer, or again; it joins an optimizer by `parameter_groups`."""
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> ImageClassifier:
        """Training mode, except for a frozen backbone, which stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def boost_lu(maps: Tensor, factor: float) -> Tensor:
    """Class maps [B, K, h, w] whose positive values are multiplied by a factor of at least 1.

    BoostLU: max(M, factor * M). Kim et al., "Bridging the Gap between Model Explanations in
    Partially Annotated Multi-label Classification", CVPR 2023.
    """
    return torch.maximum(maps, factor * maps)


def build_model(
    arch: str,
    num_classes: int,
    weights: str = "none",
    frozen: bool = False,
    image_size: int = 224,
    boost: float = 1.0,
) -> ImageClassifier:
    """A classifier of images of that size on that backbone, its head new.

    `weights`: "none", a name of published weights, or a file with a state dict of the network
    (torchvision's or timm's, or a run's bestmodel.pt). Raises UserError where they are not to be
    had, and for a backbone that is unknown or cannot take images of that size.
    """
    names = published(arch)
    if weights not in ("none", *names) and not os.path.isfile(weights):
        known = ", ".join(names) or "none"
        raise UserError(
            f"--weights: {weights!r} is no file and no weights of {arch} (published: {known})"
        )
    backbone = build_backbone(arch, image_size)
    if weights in names:
        state = fetch(arch, weights, image_size)
        fill(backbone.module, state, backbone.dropped, f"--weights: {weights} of {arch}")
    elif weights != "none":
        try:
            load_backbone(backbone.module, Path(weights), backbone.dropped)
        except UserError as error:
            raise UserError(f"--weights: {error}") from None
    sizes, normal = (backbone.num_features, num_classes), (backbone.mean, backbone.std)
    model = ImageClassifier(backbone.module, *sizes, frozen, boost, *normal, backbone.places)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_backbone(backbone: nn.Module, path: Path, dropped: tuple[str, ...]) -> None:
    """Fill the backbone from a file; a classifier in the file, of these names, is left out.

    Raises UserError, naming the keys, where they do not fit.
    """
    state = load_tensors(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    fill(backbone, state, dropped, str(path))


def fill(
    module: nn.Module, state: Mapping[Any, Any], dropped: tuple[str, ...], source: str
) -> None:
    """Load a state dict of the network or of a run into its backbone, without the classifier.

    Raises UserError, naming `source` and the keys, where they do not fit.
    """
    wanted = module.state_dict()
    state = _of_the_backbone(state, dropped, wanted)
    if isinstance(module, PatchMap):
        state = module.resized(state)
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
        raise UserError(f"{source} does not fit the backbone: {told}")
    module.load_state_dict(state, strict=False)


def _of_the_backbone(
    state: Mapping[Any, Any], dropped: tuple[str, ...], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """The entries of the backbone, from the state dict of a whole network or of a run's model."""
    named = {str(key).removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith("backbone.") for key in named):
        named = {key: value for key, value in named.items() if key.split(".")[0] != "head"}
    own = {_key_of_today(k.removeprefix("backbone."), wanted): v for k, v in named.items()}
    return {k: v for k, v in own.items() if k in wanted or k.split(".")[0] not in dropped}


def _key_of_today(key: str, wanted: Mapping[str, Any]) -> str:
    renamed = key
    for pattern, today in _RENAMED:
        renamed = pattern.sub(today, renamed)
    return next((name for name in (key, renamed, f"network.{key}") if name in wanted), key)


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

    A scheme with parameters says its factor as `lr_factor`; they are labels, no weights, and do
    not decay. Frozen parameters are left out.
    """
    parts: list[tuple[str, Iterator[nn.Parameter], float]] = [
        ("backbone", model.backbone.parameters(), lr),
        ("head", model.head.parameters(), lr * lr_mult),
        ("scheme", scheme.parameters(), lr * getattr(scheme, "lr_factor", 1.0)),
    ]
    groups: list[dict[str, Any]] = []
    for name, parameters, rate in parts:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            decay = {"weight_decay": 0.0} if name == "scheme" else {}
            groups.append({"params": trained, "lr": rate, "name": name, **decay})
    return groups


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
