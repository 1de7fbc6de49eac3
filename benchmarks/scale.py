"""How the cost of training grows: python -m benchmarks.scale

Four axes, each with the others at their defaults; a plain baseline beside ours, in turn.

images: from the formatted files of N images and 80 classes to labels in memory and an order of the
images. The baseline loads the arrays, draws a split and keeps floats; ours checks them, digests
them for the record, draws the official split and keeps bytes. `images_per_s` is N by the time that
this takes, `label_bytes` the memory of an image's labels, observed and true.

classes: what a step of LL-R costs beside the network, on a mini-batch of 64: labels, loss, its
gradient and, in ours alone, the audit of the labels. The baseline's labels come with the batch. A
CPU is brought into its fastest state before (`pairs.settle`).

pixels: JPEGs read in the main process, forward and backward of --arch, mini-batches of 8.

processes: whole runs of main.py by torchrun, --arch on decoded images of 112 pixels, mini-batches
of 32 in all. The baseline is one process. On a CPU each process has one thread; there are they,
too, where GPUs are fewer than processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

import cli
import words
from benchmarks import baseline
from benchmarks.flags import add_number, add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import alternate, compared, rates, settle
from benchmarks.photographs import make_folder, make_photographs, random_labels
from config import parse_args
from data.formatted import Formatted, Part, array_path, write_formatted
from data.observe import observe_labels
from datasets import load_data
from hardware import find_hardware
from image_files import BadImage, ImageFiles
from instrumentation import LabelAudit
from label_store import LabelStore
from loaders import BatchOrder
from losses import assume_negative_loss, build_scheme
from models import build_model
from record import RunRecord

NUM_CLASSES, NUM_IMAGES = 80, 1024  # where they are not what grows
BATCH, FEW = 64, 8  # images to a mini-batch, without and with their pixels
EPOCH, DELTA_REL = 5, 0.2
NUM_PICTURES = 16
_NUM_VAL = 16


def of_images(num_images: int, args: Namespace, place: Path) -> dict[str, Any]:
    """Setting up a set of so many images."""
    folder = place / f"images{num_images}"
    make_arrays(folder, num_images)

    def timed(load: Callable[[Path], object]) -> int:
        load(folder)
        return num_images

    row = _row(args, lambda: timed(load_plainly), lambda: timed(load_ours))
    floats = load_plainly(folder)
    store, kept = load_ours(folder)
    plain = sum(table.nbytes for table in floats) / len(floats[0])
    return {**row, "label_bytes": {"baseline": plain, "ours": store.nbytes() / kept}}


def make_arrays(folder: Path, num_images: int) -> None:
    """A formatted folder without the pictures."""
    folder.mkdir()
    rng = np.random.RandomState(0)
    train, val = (
        Part(np.array([f"{name}/{place:012}.jpg" for place in range(count)]),
             random_labels(rng, count, NUM_CLASSES))
        for name, count in (("train", num_images), ("val", _NUM_VAL))
    )  # fmt: skip
    observed = {"train": observe_labels(train.labels, 1, 0, 1200),
                "val": observe_labels(val.labels, 1, 0, 1200)}  # fmt: skip
    classes = tuple(f"class {column}" for column in range(NUM_CLASSES))
    write_formatted(folder, Formatted(train, val, classes), ".", observed)


def load_plainly(folder: Path) -> tuple[Tensor, Tensor]:
    """The observed and the true labels of the training images, float [N, K]."""
    arrays = [np.load(array_path(folder, "train", kind)) for kind in ("labels_obs", "labels")]
    np.load(array_path(folder, "train", "images"))
    order = np.random.RandomState(1200).permutation(len(arrays[0]))
    train = np.sort(order[: len(order) - len(order) // 5])
    observed, truth = (torch.from_numpy(array[train]).float() for array in arrays)
    torch.randperm(len(train)).tolist()
    return observed, truth


def load_ours(folder: Path) -> tuple[LabelStore, int]:
    """The labels of the training images, as a run keeps them, and how many images they are."""
    data = load_data(parse_args(["--dataset", str(folder)]))
    data.fingerprint()
    train = data.train
    next(iter(BatchOrder(len(train), BATCH, seed=0)))
    return LabelStore(train.labels("observed"), train.truth), len(train)


def of_classes(num_classes: int, args: Namespace, place: Path) -> dict[str, Any]:
    """Labels, loss and audit of so many classes."""
    device = find_hardware().device
    settle()
    truth = random_labels(np.random.RandomState(0), NUM_IMAGES, num_classes)
    observed = observe_labels(truth, 1, 0, 1200)
    store = LabelStore(observed, truth * 2 - 1, device)
    labels = torch.from_numpy(observed).float()
    torch.manual_seed(0)
    logits = torch.randn(BATCH, num_classes, device=device, requires_grad=True)
    return _row(args, lambda: step_plainly(logits, labels), lambda: step_ours(logits, store))


def step_plainly(logits: Tensor, labels: Tensor) -> int:
    """The steps of an epoch of the plain loop, without a network; the number of images."""
    rate = (EPOCH - 1) * DELTA_REL / 100
    for index in torch.randperm(NUM_IMAGES).split(BATCH):
        batch = default_collate([labels[place] for place in index.tolist()]).to(logits.device)
        loss, _ = baseline.modified_loss(logits, batch, "LL-R", rate)
        torch.autograd.grad(loss, logits)
        loss.item()
        logits.detach().sigmoid().cpu().numpy()
    return NUM_IMAGES


def step_ours(logits: Tensor, labels: LabelStore) -> int:
    """The steps of an epoch of ours, without a network; the number of images."""
    scheme = build_scheme("LL-R", num_classes=logits.shape[1], delta_rel=DELTA_REL)
    audit = LabelAudit(logits.device)
    for batch in BatchOrder(NUM_IMAGES, BATCH, seed=0):
        index = torch.as_tensor(batch, device=logits.device)
        observed, human = labels.observed(index), labels.human(index)
        out = scheme(logits, observed, epoch=EPOCH, index=index)
        torch.autograd.grad(out.loss, logits)
        loss = assume_negative_loss(logits.detach(), human)
        audit.update(out.loss, loss, human, labels.truth(index), out.selected)
    audit.result(NUM_IMAGES, None, labels.false_negatives())
    return NUM_IMAGES


def of_pixels(size: int, args: Namespace, place: Path) -> dict[str, Any]:
    """Reading and learning from images of that side."""
    paths, hardware = make_photographs(place / f"pixels{size}", NUM_PICTURES), find_hardware()
    plain = baseline.Photographs(paths, torch.zeros(NUM_PICTURES, NUM_CLASSES), size)
    files = ImageFiles(paths[0].parent, np.array([path.name for path in paths]), size)
    nets = [build_model(args.arch, NUM_CLASSES, image_size=size) for _ in range(2)]
    plain_net, net = (net.to(hardware.device) for net in (baseline.Net(nets[0]), nets[1]))

    def learn_plainly() -> int:
        with baseline.pytorch_defaults():
            for places in _places():
                images = default_collate([plain[place][0] for place in places])
                _learn(plain_net, plain_net(images.to(hardware.device)))
        return NUM_PICTURES

    def learn() -> int:
        for places in _places():
            images = _read(files, places)
            with hardware.autocast():
                logits = net(images.to(hardware.device))
            _learn(net, logits.float())
        return NUM_PICTURES

    return _row(args, learn_plainly, learn)


def _read(files: ImageFiles, places: list[int]) -> Tensor:
    """A mini-batch, uint8 [B, 3, H, W]."""
    batch = files.__getitems__(places)
    assert not isinstance(batch, BadImage), "the pictures are ours"
    return batch[0]


def _places() -> Iterator[list[int]]:
    return iter(BatchOrder(NUM_PICTURES, FEW, seed=0))


def _learn(net: torch.nn.Module, logits: Tensor) -> None:
    """A backward pass; no weight changes."""
    assume_negative_loss(logits, torch.zeros_like(logits)).mean().backward()
    net.zero_grad()


def of_processes(number: int, args: Namespace, place: Path) -> dict[str, Any]:
    """Runs of so many processes beside runs of one; the second of two epochs counts."""
    folder = make_folder(place / "set", make_photographs(place / "made", 64), 400, NUM_CLASSES)
    device = "cuda" if torch.cuda.device_count() >= number else "cpu"
    found = alternate(
        {
            "baseline": lambda: run_together(1, folder, args.arch, device),
            "ours": lambda: run_together(number, folder, args.arch, device),
        },
        args.pairs,
    )
    return {"device": device, **compared(found["baseline"], found["ours"])}


def run_together(number: int, folder: Path, arch: str, device: str) -> float:
    """Images per second of a run of so many processes."""
    flags = {"dataset": folder, "arch": arch, "use_pretrained": "false", "image_size": 112,
             "bsize": 32, "num_epochs": 2, "early_stop_drop": 100, "mod_scheme": "LL-Cp",
             "save_path": folder, "exp_name": "run", "data_root": folder,
             "cache": "disk", "device": device}  # fmt: skip
    given = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*start, f"--nproc_per_node={number}", "main.py", "--overwrite", *given], check=True,
        cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return RunRecord(folder / "run").read_metrics()[-1]["images_per_s"]


def _row(args: Namespace, plainly: Callable[[], int], ours: Callable[[], int]) -> dict[str, Any]:
    found = rates({"baseline": plainly, "ours": ours}, args.pairs, args.seconds)
    return compared(found["baseline"], found["ours"])


AXES: dict[str, Callable[[int, Namespace, Path], dict[str, Any]]] = {
    "images": of_images,
    "classes": of_classes,
    "pixels": of_pixels,
    "processes": of_processes,
}


def measure(args: Namespace) -> dict[str, Any]:
    """A row for every value of every axis."""
    found: dict[str, Any] = {axis: [] for axis in AXES}
    for axis, of_value in AXES.items():
        for value in getattr(args, axis):
            with tempfile.TemporaryDirectory(prefix="scale-") as place:
                found[axis].append({"value": value, **of_value(value, args, Path(place))})
    return found


def main(argv: Sequence[str]) -> None:
    """Measure how the cost of training grows with images, classes, pixels and processes."""
    parser = cli.Parser(prog="python -m benchmarks.scale", description=main.__doc__)
    images, classes, pixels = (1000, 10_000, 100_000), (20, 80, 312, 1000, 5000), (112, 224, 448)
    add_number(parser, "--images", "sizes of the set", images, 20, 10**7)
    add_number(parser, "--classes", "numbers of classes", classes, 2, 10**5)
    add_number(parser, "--pixels", "sides of the images", pixels, 8, 4096)
    add_number(parser, "--processes", "numbers of them", (2,), 1, 64)
    help = "backbone of pixels and processes (%(default)s)"
    parser.add_argument(
        "--arch", type=words.backbone, default="resnet18", metavar="NAME", help=help
    )
    add_pairs(parser, pairs=3, seconds=1.0)
    add_out(parser)
    args = parser.parse_args(argv)
    about = {"device": str(find_hardware()), "arch": args.arch, "pairs": args.pairs}
    publish({**about, **measure(args)}, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
