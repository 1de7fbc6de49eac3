"""A tiny data set in the formatted layout, and the fastest settings to train on it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.sparse import csr_array

from config import Config, parse_args
from data.arrays import npy, npz
from data.formatted import Formatted, Part, array_path, labels_file, write_formatted
from data.labels import Labels, sparse_labels
from data.observe import observe_labels
from files import write_atomically
from train import run_train

SCHEMES = ("AN", "LL-R", "LL-Ct", "LL-Cp")
NUM_CLASSES = 4
MANY_CLASSES, GRID = 60, 8  # of the sparse folder; a picture has 8 x 8 fields


def make_folder(root: Path, num_train: int = 30, num_val: int = 10) -> Path:
    """A formatted folder of 16x16 pictures: class k is a bright quarter k of the picture."""
    folder = root / "tiny"
    rng = np.random.RandomState(0)
    for part, count in (("train", num_train), ("val", num_val)):
        labels = (rng.rand(count, NUM_CLASSES) < 0.5).astype(np.int8)
        labels[labels.sum(1) == 0, 0] = 1
        names = [f"{part}/{i:02}.png" for i in range(count)]
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, row in zip(names, labels, strict=True):
            quarters = np.kron(row.reshape(2, 2), np.ones((8, 8)))[..., None] * [200, 150, 100]
            noisy = quarters + rng.randint(0, 50, (16, 16, 3))
            Image.fromarray(noisy.astype(np.uint8)).save(folder / name)
        write_array(array_path(folder, part, "images"), np.array(names))
        write_array(array_path(folder, part, "labels"), labels)
        write_array(array_path(folder, part, "labels_obs"), observe_labels(labels, 1, 0, 1200))
    return folder


def make_sparse_folder(root: Path) -> Path:
    """A formatted folder like OpenImages: sparse tables of what is annotated, `dev`, groups.

    Class k is a bright field k of the picture. The groups G1 to G5 hold 12 classes each.
    """
    folder = root / "sparse"
    rng = np.random.RandomState(1)
    parts = {}
    for part, count in (("train", 40), ("dev", 12), ("val", 15)):
        present = rng.rand(count, MANY_CLASSES) < 0.2
        names = [f"{part}/{i:02}.png" for i in range(count)]
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, row in zip(names, present, strict=True):
            fields = np.append(row, np.zeros(GRID**2 - MANY_CLASSES)).reshape(GRID, GRID)
            bright = np.kron(fields, np.ones((2, 2)))[..., None] * [200, 150, 100]
            noisy = bright + rng.randint(0, 50, (16, 16, 3))
            Image.fromarray(noisy.astype(np.uint8)).save(folder / name)
        rows, columns = np.nonzero(rng.rand(count, MANY_CLASSES) < 0.3)  # what is annotated
        values = np.where(present[rows, columns], 1, -1)
        labels = sparse_labels(rows, columns, values, present.shape)
        parts[part] = Part(np.array(names), labels)
    classes = tuple(f"thing {k}" for k in range(MANY_CLASSES))
    groups = {f"G{i + 1}": range(12 * i, 12 * i + 12) for i in range(5)}
    train, dev, val = parts.values()
    formatted = Formatted(train, val, classes, dev, truth="partial", groups=groups)
    write_formatted(folder, formatted, images=".", observed={})
    return folder


def settings(folder: Path | str, save_path: Path, *more: str) -> Config:
    """The settings of a run on that folder that takes a second."""
    flags = {
        "dataset": folder, "save_path": save_path, "arch": "resnet8", "use_pretrained": "false",
        "image_size": 16, "bsize": 4, "num_epochs": 3, "num_workers": 0, "lr": 1e-3,
        "delta_rel": 10, "early_stop_drop": 100, "exp_name": "run", "data_root": save_path,
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return parse_args([*words, *more])


def train(folder: Path | str, save_path: Path, *more: str) -> tuple[dict[str, Any], Path]:
    """The summary of such a run, and its folder."""
    config = settings(folder, save_path, *more)
    return run_train(config), config.run_dir


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one .npy file, whole or not at all."""
    write_atomically(path, npy(array))


def write_sparse(path: Path, table: csr_array) -> None:
    """Write one .npz file of a sparse table, whole or not at all."""
    write_atomically(path, npz(table))


def write_labels(folder: Path, part: str, kind: str, labels: Labels) -> None:
    """Write a table, .npy or .npz as it is dense or sparse; remove the file of the other kind."""
    ((path, write),) = labels_file(folder, part, kind, labels).items()
    write_atomically(path, write)
    path.with_suffix(".npz" if path.suffix == ".npy" else ".npy").unlink(missing_ok=True)


@contextlib.contextmanager
def locked_by_another(path: Path) -> Iterator[subprocess.Popen]:
    """Another process holds the lock of that file, until it is killed or this ends."""
    program = (
        "import sys, time, pathlib, files\n"
        "with files.locked(pathlib.Path(sys.argv[1]), wait=False):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def assert_same_tensors(ours: Any, theirs: Any, path: str = "") -> None:
    """Every tensor and plain value is exactly the same, times left out."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, Mapping):
        assert list(ours) == list(theirs), path
        for key in ours:
            if key not in ("seconds", "images_per_s"):
                assert_same_tensors(ours[key], theirs[key], f"{path}/{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), path
        for place, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same_tensors(*pair, f"{path}/{place}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), path
    else:
        assert ours == theirs, path


def load(path: Path) -> Any:
    """What a checkpoint holds."""
    return torch.load(path, weights_only=True)
