"""How fast training is, end to end: python -m benchmarks.throughput

    python -m benchmarks.throughput --images FOLDER --arch resnet50 --image_size 448 --bsize 64 \\
        --num_workers 4 --cache disk

Measures images per second of whole epochs, in turn: of a plain training loop (`baseline.py`, in
PyTorch's default precision), of ours, set up from the same command line as main.py, and of our
loop on one mini-batch that lies on the device already (synthetic). Both train the same network
with the same optimizer on the same images and labels; `--compile` and `--cache` are ours alone,
as are bf16 and the channels-last layout. Without weights, in the epoch number 5.

`share_of_synthetic`: how much of the speed is left once images must be read.
`share_of_matmul_rate`: the floating-point operations of the network's training, a second, as a
share of what a square bf16 product reaches on this GPU. `share_of_time`: the parts of our time that
go to forward, backward, the optimizer's step and all that is outside of these, on a CPU.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import cli
import words
from benchmarks import baseline
from benchmarks.flags import add_images, add_number, add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import compared, median, rates, ratio_of, rounded, seconds_of
from benchmarks.photographs import make_folder, make_photographs, photographs
from config import parse_args
from data.cache import Decoded
from image_files import Batch
from loaders import Array, BatchOrder, Purpose, epoch_rng
from models import build_model
from record import RunRecord
from run import Run, set_up
from train import train_one_epoch

EPOCH = 5  # whose rate of large losses both train with
PASSED_ON = ("arch", "image_size", "bsize", "num_workers", "cache", "mod_scheme")
_MADE = 64  # pictures that are made up; a larger set has each several times
_SIDE = 8192  # of the matrices whose product shows what a GPU can do
_TIMES = 20


def start(
    args: Namespace, place: Path, held: contextlib.ExitStack, more: Sequence[str] = ()
) -> Run:
    """Our run, ready for its first step, in the folder `place`; `more` flags are main.py's."""
    given = ["--save_path", str(place), "--data_root", str(place), "--exp_name", "run"]
    if args.dataset == "photographs":
        if args.images:
            paths = photographs(args.images)
        else:
            paths = make_photographs(place / "made", min(args.count, _MADE))
        folder = make_folder(place / "set", paths, args.count, args.classes)
        val_frac = max(0.02, 1.5 / args.count)  # one image at least
        given += ["--dataset", str(folder), "--use_pretrained", "false"]
        given += ["--val_frac", str(val_frac)]
    else:
        given += ["--dataset", "digits"]
    for name in PASSED_ON:
        if getattr(args, name) is not None:
            given += [f"--{name}", str(getattr(args, name))]
    given += ["--compile"] * args.compile
    with contextlib.redirect_stdout(sys.stderr):
        config = parse_args([*given, *more])
        run = set_up(config, RunRecord(config.run_dir), held)
        run.begin(run.phases[-1])
    return run


def train_ours(run: Run, images: Any) -> int:
    """Train one epoch of our run on the mini-batches of a loader; how many images it has."""
    config, flips = run.config, None
    if config.flip:
        flips = epoch_rng(config.seed, EPOCH, Purpose.FLIPS)
    train_one_epoch(run.state, images, EPOCH, flips, run.hardware)
    return images.batch_sampler.num_images


def plain_epoch(run: Run) -> Callable[[], int]:
    """An epoch of the plain loop, on the images of the run and with its settings."""
    config, phase, device = run.config, run.state.phase, run.hardware.device
    data = plain_images(run)
    torch.manual_seed(config.seed)
    size, classes = config.image_size, len(run.data.classes)
    net = baseline.Net(build_model(config.arch, classes, "none", False, size)).to(device)
    groups = [{"params": net.backbone.parameters(), "lr": phase.lr},
              {"params": net.head.parameters(), "lr": phase.lr * phase.lr_mult}]  # fmt: skip
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            groups, momentum=config.momentum, weight_decay=config.weight_decay
        )
    loader = baseline.make_loader(data, phase.bsize, config.num_workers)
    scheme, rate = config.mod_scheme, run.state.scheme.rate(EPOCH)

    def epoch() -> int:
        with baseline.pytorch_defaults():
            done = baseline.train_one_epoch(net, optimizer, loader, scheme, rate, device)
        return len(done[1])

    return epoch


def plain_images(run: Run) -> baseline.Photographs | baseline.Pictures:
    """The training images of the run, as the plain loop reads them."""
    config, images = run.config, run.data.train.images
    labels = torch.as_tensor(run.data.train.labels(config.train_set_variant)).float()
    if isinstance(images, Decoded):
        images = images.files.take(images.places.numpy())
    if isinstance(images, Array):
        return baseline.Pictures(images.rows[images.places], labels)
    paths = [images.folder / str(name) for name in images.names]
    return baseline.Photographs(paths, labels, config.image_size, config.flip)


class Synthetic:
    """A loader of one mini-batch, which lies on the device, as often as an epoch has steps."""

    def __init__(self, run: Run) -> None:
        size, num_images, device = run.config.image_size, len(run.data.train), run.hardware.device
        count = min(run.state.phase.bsize, num_images)
        self.images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, device=device)
        self.batch_sampler = BatchOrder(count * max(num_images // count, 1), count)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        return ((self.images, places) for places in self.batch_sampler.whole())


def measure(run: Run, pairs: int, seconds: float) -> dict[str, Any]:
    """Images per second of the plain loop, of ours, and of ours without reading any image."""
    ours = partial(train_ours, run, run.loaders["train"])
    epochs: dict[str, Callable[[], int]] = {
        "baseline": plain_epoch(run),
        "ours": ours,
        "synthetic": partial(train_ours, run, Synthetic(run)),
    }
    found = rates(epochs, pairs, seconds)
    speed = compared(found["baseline"], found["ours"])
    flops = training_flops(run)
    return {
        **speed,
        "synthetic_images_per_s": median(found["synthetic"]),
        "share_of_synthetic": ratio_of(found["ours"], found["synthetic"])["ratio"],
        "training_gflops_per_image": rounded(flops / 1e9),
        **_beside_a_product(run.hardware.device, flops * speed["ours_images_per_s"]),
        "share_of_time": share_of_time(run, ours),
    }


def _beside_a_product(device: torch.device, flops_per_s: float) -> dict[str, float | None]:
    """How much of what a bf16 product reaches on a GPU the training reaches."""
    if device.type != "cuda":
        return {"bf16_matmul_tflops": None, "share_of_matmul_rate": None}
    matrix = torch.randn(_SIDE, _SIDE, dtype=torch.bfloat16, device=device)
    times = [seconds_of(lambda: matrix @ matrix) for _ in range(_TIMES)]
    reached = 2 * _SIDE**3 / sorted(times)[_TIMES // 2]
    return {
        "bf16_matmul_tflops": rounded(reached / 1e12),
        "share_of_matmul_rate": rounded(flops_per_s / reached),
    }


def training_flops(run: Run) -> float:
    """Floating-point operations of forward and backward of the network, by the image."""
    images = Synthetic(run).images
    model, count = run.state.model, min(len(images), 2)
    with FlopCounterMode(display=False) as counter:
        model(images[:count]).sum().backward()
    model.zero_grad()
    return counter.get_total_flops() / count


def share_of_time(run: Run, epoch: Callable[[], int]) -> dict[str, float] | None:
    """The parts of an epoch's time that go to forward, backward, optimizer and the rest.

    None on a GPU: there, these only start what runs later.
    """
    if run.hardware.device.type == "cuda":
        return None
    state, spent = run.state, dict.fromkeys(("forward", "backward", "optimizer"), 0.0)

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            result = function(*arguments, **options)
            spent[part] += time.perf_counter() - begun
            return result

        return call

    with (
        mock.patch.object(state.net, "forward", timed("forward", state.net.forward)),
        mock.patch.object(Tensor, "backward", timed("backward", Tensor.backward)),
        mock.patch.object(state.optimizer, "step", timed("optimizer", state.optimizer.step)),
    ):
        whole = seconds_of(epoch)
    shares = {part: rounded(seconds / whole) for part, seconds in spent.items()}
    return {**shares, "outside": rounded(1 - sum(spent.values()) / whole)}


def parse_flags(argv: Sequence[str]) -> Namespace:
    """The flags. Raises UserError for pictures and digits at once."""
    parser = cli.Parser(prog="python -m benchmarks.throughput", description=main.__doc__)
    sets = cli.choice("digits", "photographs")
    parser.add_argument("--dataset", type=sets, metavar="{digits,photographs}",
                        help="photographs: JPEGs with random labels, made up or of --images "
                        "(digits)")  # fmt: skip
    add_images(parser)
    help = "training and val images of photographs; pictures are taken again if fewer"
    add_number(parser, "--count", help, 1024, 8, 10**6)
    add_number(parser, "--classes", "of photographs", 80, 2, 10**5)
    help = "backbone, as in main.py (by the data set)"
    parser.add_argument("--arch", type=words.backbone, metavar="NAME", help=help)
    add_number(parser, "--image_size", "pixels, as in main.py", None, 8, 4096)
    add_number(parser, "--bsize", "images in a mini-batch, as in main.py", None, 2, 2**20)
    add_number(parser, "--num_workers", "processes that read images, of both", 4, 0, 256)
    parser.add_argument("--cache", type=cli.choice("none", "memory", "disk"), default="none",
                        metavar="{none,memory,disk}", help="of ours (%(default)s)")  # fmt: skip
    parser.add_argument("--mod_scheme", type=cli.choice(*baseline.SCHEMES), default="LL-R",
                        metavar="{" + ",".join(baseline.SCHEMES) + "}",
                        help="of both (%(default)s)")  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="give ours --compile")
    add_pairs(parser, pairs=5, seconds=3.0)
    add_out(parser)
    args = parser.parse_args(argv)
    if args.images and args.dataset == "digits":
        raise cli.UserError("--images: digits has its own: leave --dataset digits out")
    args.dataset = args.dataset or ("photographs" if args.images else "digits")
    return args


def main(argv: Sequence[str]) -> None:
    """Measure how fast training is, end to end: a plain loop beside ours."""
    args = parse_flags(argv)
    with tempfile.TemporaryDirectory(prefix="throughput-") as place, contextlib.ExitStack() as held:
        run = start(args, Path(place), held)
        config = run.config
        about = {
            "device": str(run.hardware),
            **{name: getattr(config, name) for name in (*PASSED_ON, "optimizer")},
            "dataset": args.dataset,
            "images": len(run.data.train),
            "classes": len(run.data.classes),
            "pairs": args.pairs,
        }
        publish({**about, **measure(run, args.pairs, args.seconds)}, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
