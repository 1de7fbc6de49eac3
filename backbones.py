"""Backbones: any image classifier of torchvision or timm up to its pooling, as one module.

Letters in shapes: B images, H x W pixels, D features, h x w places of the last map.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from cli import UserError, did_you_mean
from recipes import OWN_NET, TIMM

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_CLASSIFIERS = ("classifier", "fc", "head", "heads")  # torchvision's names of them
# what networks raise for images that are too small for them, or of no multiple of their patches
_MISFITS = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)


class Backbone(NamedTuple):
    """A network without its pooling and classifier."""

    module: nn.Module  # normalised float [B, 3, H, W] -> the last map, [B, D, h, w]
    num_features: int  # D
    places: int  # h * w for images of the size that it was built for
    mean: tuple[float, ...]  # by which pixels in 0..1 are normalised
    std: tuple[float, ...]
    dropped: tuple[str, ...]  # first parts of the classifier's keys in a file of weights


class PatchMap(nn.Module):
    """The encoded patches of torchvision's ViT as a map, so that all backbones are used alike.

    The class token takes part and is left out at the end: the mean over the places is the global
    pool of He et al., "Masked Autoencoders", CVPR 2022. State-dict keys are torchvision's.
    """

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.class_token = network.class_token
        self.conv_proj = network.conv_proj
        self.encoder = network.encoder

    def forward(self, images: Tensor) -> Tensor:
        """The map [B, D, h, w] of images [B, 3, H, W] of the size that it was built for."""
        patches = self.conv_proj(images)
        tokens = patches.flatten(2).transpose(1, 2)  # [B, h * w, D]
        first = self.class_token.expand(tokens.shape[0], -1, -1)  # len() would fix B in an export
        tokens = self.encoder(torch.cat([first, tokens], dim=1))[:, 1:]
        return tokens.transpose(1, 2).reshape(patches.shape)

    def resized(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state dict with its position embeddings interpolated to this image size."""
        name = "encoder.pos_embedding"
        wanted, given = self.encoder.pos_embedding, state.get(name)
        if not isinstance(given, Tensor) or given.dim() != 3:
            return state
        if given.shape[::2] != wanted.shape[::2] or not _is_square(given.shape[1] - 1):
            return state
        patch = self.conv_proj.kernel_size[0]
        image_size = math.isqrt(wanted.shape[1] - 1) * patch
        return {**state, **interpolate_embeddings(image_size, patch, OrderedDict({name: given}))}


class _NoMap(Exception):
    """A network's features are no single map."""


class TimmMap(nn.Module):
    """The last map of a network of timm, whether it makes maps or tokens."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The map [B, D, h, w] of images [B, 3, H, W]."""
        features = self.network.forward_features(images)
        if not isinstance(features, Tensor):
            raise _NoMap
        if features.dim() == 3:  # tokens [B, prefix + h * w, D]
            features = features[:, getattr(self.network, "num_prefix_tokens", 0) :]
            if not _is_square(features.shape[1]):
                raise _NoMap
            features = features.unflatten(1, (math.isqrt(features.shape[1]), -1))
        elif features.shape[1] == self.network.num_features:
            return features
        return features.permute(0, 3, 1, 2)  # from [B, h, w, D]


def build_backbone(arch: str, image_size: int) -> Backbone:
    """The backbone of that name, its weights new.

    Raises UserError for an unknown name, and an image size that it cannot take.
    """
    check_arch(arch)
    try:
        if arch == OWN_NET:
            return _measured(_resnet8(), image_size, ("fc", "head"))
        return (_of_timm if arch.startswith(TIMM) else _of_torchvision)(arch, image_size)
    except _NoMap:
        raise UserError(
            f"--arch {arch} makes no single map of features, which class maps need: choose another"
        ) from None
    except _MISFITS as error:
        raise UserError(
            f"--arch {arch} cannot take images of --image_size {image_size} ({_said(error)}): "
            f"give another size, its own is {_own_size(arch)}"
        ) from None


def check_arch(arch: str) -> None:
    """Raise UserError unless there is a backbone of that name here."""
    known = _names_of_timm(arch) if arch.startswith(TIMM) else _names()
    if arch not in known:
        raise UserError(
            f"--arch: {arch!r} is no backbone{did_you_mean(arch, known)} (known: {OWN_NET}, every "
            "classifier of torchvision.models such as resnet50 or vit_b_16, and timm.NAME)"
        )


def published(arch: str) -> list[str]:
    """The names of the published weights of a backbone. Raises UserError for an unknown one.

    Weights that want pixels normalised in another way than the others of their network are left
    out: how a model normalises follows from its `arch` alone, so that a run's file is enough.
    """
    check_arch(arch)
    if arch == OWN_NET:
        return []
    if arch.startswith(TIMM):
        return ["pretrained"] if _timm(arch).models.is_model_pretrained(_bare(arch)) else []
    known = torchvision.models.get_model_weights(arch)
    usual = _normalisation(known.DEFAULT)
    return [name for name, of in known.__members__.items() if _normalisation(of) == usual]


def fetch(arch: str, weights: str, image_size: int) -> Mapping[str, Tensor]:
    """Published weights, from the network or a cache on this disk, which others may write to.

    Raises UserError where they are not to be had.
    """
    if arch.startswith(TIMM):
        return _fetch_timm(arch, image_size)
    published = torchvision.models.get_model_weights(arch)[weights]
    try:
        return published.get_state_dict(check_hash=True, weights_only=True)
    except Exception as error:  # no network, a wrong hash, garbage in the cache
        raise UserError(
            f"--weights: {weights} of {arch} cannot be fetched ({_said(error)}): remove "
            f"{Path(torch.hub.get_dir(), 'checkpoints', Path(published.url).name)} if it is there, "
            "or give --weights FILE, or --use_pretrained false"
        ) from None


def _fetch_timm(arch: str, image_size: int) -> Mapping[str, Tensor]:
    try:
        return _create_timm(arch, image_size, pretrained=True).state_dict()
    except Exception as error:  # no network, a damaged file, of whichever package fetches it
        raise UserError(
            f"--weights: those of {arch} cannot be fetched ({_said(error)}): "
            "give --weights FILE, or --use_pretrained false"
        ) from None


def _measured(
    module: nn.Module,
    image_size: int,
    dropped: tuple[str, ...],
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Backbone:
    """The backbone, its sizes found with one black image.

    Raises _NoMap, or one of _MISFITS where images of that size do not fit.
    """
    with torch.no_grad():
        shape = module.eval()(torch.zeros(1, 3, image_size, image_size)).shape
    if len(shape) != 4 or not all(shape):
        raise ValueError("nothing is left of them")
    return Backbone(module.train(), shape[1], shape[2] * shape[3], mean, std, dropped)


def _of_torchvision(arch: str, image_size: int) -> Backbone:
    """The children of a network of torchvision up to its pooling, by their names."""
    options: dict[str, Any] = {}
    if arch.startswith("vit_"):
        options["image_size"] = image_size
    elif arch.startswith("maxvit_"):
        options["input_size"] = (image_size, image_size)
    elif arch in ("googlenet", "inception_v3"):
        options["init_weights"] = True  # what it does anyway, but not without a warning
    network = torchvision.models.get_model(arch, weights=None, **options)
    module = PatchMap(network) if isinstance(network, VisionTransformer) else _before_pool(network)
    kept = dict(module.named_children())
    dropped = tuple(name for name, _ in network.named_children() if name not in kept)
    return _measured(module, image_size, dropped, *_normalisation_of(arch))


def _before_pool(network: nn.Module) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in network.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d) or name in _CLASSIFIERS:
            break
        if not name.lower().startswith("aux"):  # a classifier at half the way
            parts[name] = nn.Sequential(*child) if isinstance(child, nn.ModuleList) else child
    if isinstance(network, DenseNet):
        parts["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(parts)


def _normalisation_of(arch: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of a network of torchvision, for pixels in 0..1."""
    if arch in ("googlenet", "inception_v3"):  # torchvision converts to these in the network
        return (0.5,) * 3, (0.5,) * 3
    return _normalisation(torchvision.models.get_model_weights(arch).DEFAULT)


def _normalisation(weights: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    given = weights.transforms.keywords
    return tuple(given.get("mean", IMAGENET_MEAN)), tuple(given.get("std", IMAGENET_STD))


def _timm(arch: str) -> Any:
    """The package of that name."""
    try:
        import timm
    except ImportError:
        raise UserError(f"--arch {arch} needs a package: pip install timm") from None
    return timm


def _of_timm(arch: str, image_size: int) -> Backbone:
    """A network of timm without its classifier, new."""
    given = _timm(arch).get_pretrained_cfg(_bare(arch))
    heads = [given.classifier] if isinstance(given.classifier, str) else given.classifier or []
    dropped = tuple(name.split(".")[0] for name in heads)
    module = _create_timm(arch, image_size, pretrained=False)
    return _measured(module, image_size, dropped, tuple(given.mean), tuple(given.std))


def _create_timm(arch: str, image_size: int, pretrained: bool) -> TimmMap:
    options = {"pretrained": pretrained, "num_classes": 0}
    create = _timm(arch).create_model
    try:
        return TimmMap(create(_bare(arch), img_size=image_size, **options))
    except TypeError as error:  # most networks take images of any size
        if "img_size" not in str(error):
            raise
    return TimmMap(create(_bare(arch), **options))


def _names() -> list[str]:
    return [*torchvision.models.list_models(module=torchvision.models), OWN_NET]


def _names_of_timm(arch: str) -> list[str]:
    """All names of timm, each of them also with the tags of its weights."""
    names = _timm(arch).list_models
    return [TIMM + name for name in {*names(), *names(include_tags=True)}]


def _bare(arch: str) -> str:
    return arch.removeprefix(TIMM)


def _own_size(arch: str) -> int:
    """The side of the images that a network is made for."""
    if arch.startswith(TIMM):
        return _timm(arch).get_pretrained_cfg(_bare(arch)).input_size[-1]
    if arch == OWN_NET:
        return 24
    return torchvision.models.get_model_weights(arch).DEFAULT.transforms.keywords["crop_size"]


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


def _is_square(count: int) -> bool:
    return count >= 0 and math.isqrt(count) ** 2 == count


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
