"""Whether exported files answer what their model does: python -m benchmarks.export

Builds each network with weights drawn at random, the same each time, exports it as tools.export
does, and compares its logits with those of either file, on every JPEG of a folder and its
sub-folders. Prints, and writes with --out, the largest difference of a logit.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cli
import words
from benchmarks.flags import add_images, add_number
from benchmarks.output import add_out, publish
from benchmarks.photographs import make_photographs, photographs
from cli import UserError
from folder import EXPORTED
from image_files import BadImage, read_image
from models import build_model
from tools.exported import Predict, check_packages, packed, predictor

ARCHS = ("resnet18", "resnet50", "vit_b_32", "convnext_tiny")
NUM_CLASSES, AT_ONCE = 80, 16  # classes as in COCO, images of a mini-batch


def read_images(paths: Sequence[Path], size: int) -> Tensor:
    """All the images, uint8 [B, 3, size, size]. Raises UserError for one that cannot be read."""
    try:
        return torch.stack([read_image(path, size) for path in paths])
    except BadImage as error:
        raise UserError(f"--images: {error.path} {error.reason}: take it out") from None


@torch.inference_mode()
def logits_of(predict: Predict, images: Tensor) -> Tensor:
    """The logits [B, K] of images uint8 [B, 3, S, S], in mini-batches."""
    return torch.cat([predict(part) for part in images.split(AT_ONCE)])


def compare(arch: str, images: Tensor) -> dict[str, Any]:
    """The largest logit of a network, and by how much those of its files differ at most."""
    torch.manual_seed(0)
    size = images.shape[-1]
    model = build_model(arch, NUM_CLASSES, image_size=size).eval()
    ours = logits_of(model, images)
    found: dict[str, Any] = {"largest_logit": _rounded(ours.abs().max())}
    for format in EXPORTED:
        content = packed(model, size, format, {"arch": arch})
        theirs = logits_of(predictor(content, format), images)
        found[format] = {
            "megabytes": round(len(content) / 1e6, 1),
            "largest_difference": _rounded((ours - theirs).abs().max()),
        }
    return found


def _rounded(value: Tensor) -> float:
    return float(f"{float(value):.2g}")


def main(argv: Sequence[str]) -> None:
    """Compare the logits of networks with those of the files that tools.export writes of them."""
    parser = cli.Parser(prog="python -m benchmarks.export", description=main.__doc__)
    add_images(parser)
    add_number(parser, "--count", "photographs that are made up", 8, 1, 10**6)
    add_number(parser, "--image_size", "pixels to a side", 224, 8, 4096)
    parser.add_argument("--arch", type=words.backbone, nargs="+", default=ARCHS, metavar="NAME",
                        help=f"networks ({' '.join(ARCHS)})")  # fmt: skip
    add_out(parser)
    args = parser.parse_args(argv)
    check_packages("onnx")
    with tempfile.TemporaryDirectory(prefix="export-") as place:
        paths = photographs(args.images) if args.images else make_photographs(
            Path(place), args.count
        )  # fmt: skip
        images = read_images(paths, args.image_size)
    versions = {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")}
    about = {**versions, "images": len(images), "image_size": args.image_size}
    publish({**about, "networks": {arch: compare(arch, images) for arch in args.arch}}, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
