"""What a set of the size of OpenImages V3 costs: python -m benchmarks.openimages

Makes up metadata of that size in the official format, without pictures. Prints, and writes with
--out: seconds and peak memory of the formatting, memory of the labels and of LL-Cp's corrections,
milliseconds of a mini-batch's labels, seconds until a training process could take its first step.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cli
from benchmarks.output import add_out, publish

SUBSETS = {"train": 1.0, "validation": 0.0125, "test": 0.0375}  # images, as a share of train's
BATCH = 256


def make_release(folder: Path, images: int, classes: int, rows: int) -> None:
    """Write a release with these numbers in `folder`: ids, classes and answers are random.

    Some classes are thousands of times as frequent as others, some images have 20 times the labels
    of others.
    """
    release = folder / "2017_11"
    release.mkdir(parents=True)
    names = [f"/m/{column:05x}" for column in range(classes)]
    (release / "classes-trainable.txt").write_text("".join(f"{name}\n" for name in names))
    described = (f"{name},Class {column}\n" for column, name in enumerate(names))
    (release / "class-descriptions.csv").write_text("".join(described))
    frequency = 1 / np.arange(1, classes + 1)
    rng = np.random.default_rng(0)
    for subset, share in SUBSETS.items():
        (folder / subset).mkdir()
        (release / subset).mkdir()
        with (release / subset / "annotations-human.csv").open("w") as file:
            file.write("ImageID,Source,LabelName,Confidence\n")
            for block in _blocks(rng, round(share * images), rows / images, frequency, names):
                file.write(block)


def _blocks(
    rng: np.random.Generator, images: int, per_image: float, frequency: np.ndarray, names: list[str]
) -> Iterator[str]:
    """The rows of a subset, a hundred thousand images at a time."""
    ids = np.sort(rng.integers(0, 2**63, images))
    for chunk in np.array_split(ids, max(images // 100_000, 1)):
        weights = rng.lognormal(0, 0.8, len(chunk))
        counts = rng.poisson(per_image * weights / np.exp(0.32)) + (rng.random(len(chunk)) < 0.1)
        columns = rng.choice(len(names), counts.sum(), p=frequency / frequency.sum())
        answers = rng.integers(0, 2, counts.sum()).tolist()
        rows = zip(np.repeat(chunk, counts).tolist(), columns.tolist(), answers, strict=True)
        yield "".join(f"{i:016x},verification,{names[k]},{answer}\n" for i, k, answer in rows)


def measure_prepare(folder: Path) -> dict[str, Any]:
    """Format the release, as data.prepare does once pictures are there."""
    from data.format_openimages import read_openimages
    from data.labels import count
    from data.prepare import write

    formatted = read_openimages(folder, pictures_needed=False)
    write(folder, formatted, ".", None)
    labels = formatted.train.labels
    annotated = count(labels, 1) + count(labels, -1)
    return {"images": labels.shape[0], "labels": annotated, "classes": labels.shape[1]}


def measure_labels(folder: Path, per_image: int) -> dict[str, Any]:
    """Look labels up, and correct `per_image` of them for every image, as an epoch of LL-Cp."""
    import torch

    from data.formatted import labels_path, load_labels
    from label_store import LabelStore

    table = load_labels(labels_path(folder, "train", "labels"))
    store, (num_images, num_classes) = LabelStore(table, table), table.shape
    human = store.nbytes()
    batches = torch.randperm(num_images).split(BATCH)
    selected = [torch.zeros(BATCH, num_classes, dtype=torch.bool) for _ in range(64)]
    for mask in selected:
        columns = torch.rand(BATCH, num_classes).topk(per_image).indices
        mask.scatter_(1, columns, True)

    def look_up(place: int) -> None:
        index = batches[place % len(batches)]
        store.observed(index)
        store.human(index)
        store.truth(index)

    def correct(place: int) -> None:
        index = batches[place]
        store.correct(index, selected[place % len(selected)][: len(index)])

    before = _milliseconds(look_up, range(500))
    correcting = _milliseconds(correct, range(len(batches)))
    fresh = store.nbytes()
    start = time.perf_counter()
    look_up(0)
    ordering = time.perf_counter() - start
    corrections = int(store.corrections())
    return {
        "human_labels_MiB": human / 2**20,
        "corrections": corrections,
        "bytes_a_new_correction": (fresh - human) / corrections,
        "bytes_a_correction": (store.nbytes() - human) / corrections,
        "seconds_to_order_them_once_an_epoch": ordering,
        "batch_ms_look_up": before,
        "batch_ms_look_up_with_corrections": _milliseconds(look_up, range(500)),
        "batch_ms_correct": correcting,
        "threads": torch.get_num_threads(),
    }


def _milliseconds(step: Callable[[int], None], places: range) -> float:
    """The median time of a step."""
    times = []
    for place in places:
        start = time.perf_counter()
        step(place)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure_start(folder: Path) -> dict[str, Any]:
    """All that main.py does before the first step, with a small network."""
    start = time.perf_counter()
    from config import parse_args
    from record import RunRecord
    from run import set_up

    words = f"--dataset openimages --arch resnet18 --use_pretrained false --mod_scheme LL-Cp \
        --save_path {folder / 'results'} --exp_name run --data_root {folder.parent}"
    config = parse_args(words.split())
    with contextlib.ExitStack() as held, contextlib.redirect_stdout(sys.stderr):
        set_up(config, RunRecord(config.run_dir), held)
    return {"seconds_to_the_first_step": time.perf_counter() - start}


def _alone(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What it measures in a process of its own, with that process's time and peak memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (measure, arguments))


def _measured(measure: Callable[..., dict[str, Any]], arguments: Sequence[Any]) -> dict[str, Any]:
    start = time.perf_counter()
    found = measure(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    return {**found, "seconds": time.perf_counter() - start, "peak_memory_GiB": peak}


def main(argv: Sequence[str]) -> None:
    """Measure what a set of the size of OpenImages V3 costs, on made-up metadata."""
    count = cli.number(int, 10)
    parser = cli.Parser(prog="python -m benchmarks.openimages", description=main.__doc__)
    parser.add_argument("--images", type=count, default=3_400_000, help="(%(default)s)")
    parser.add_argument("--classes", type=count, default=5000, help="(%(default)s)")
    parser.add_argument("--rows", type=count, default=30_000_000, help="of labels (%(default)s)")
    parser.add_argument("--corrections", type=cli.number(int, 1), default=10,
                        help="of each image, by LL-Cp (%(default)s)")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="for 3 GB of files, removed at the end")
    add_out(parser)
    args = parser.parse_args(argv)
    place = Path(tempfile.mkdtemp(prefix="openimages-", dir=args.folder))
    folder = place / "openimages"
    try:
        make_release(folder, args.images, args.classes, args.rows)
        result = {
            "prepare": _alone(measure_prepare, folder),
            "labels": _alone(measure_labels, folder, args.corrections),
            "start": _alone(measure_start, folder),
        }
    finally:
        shutil.rmtree(place)
    publish(result, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
