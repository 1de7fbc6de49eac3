"""What people get wrong: one line that names it, exit status 2, and nothing else is changed.

Every row runs in a folder of its own that holds a good data set, tiny/, and a finished run on it,
runs/run/. The row does its damage and gives its words, then the run would be overwritten.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import resource
import shlex
import shutil
import signal
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cli
import main
from config import parse_args
from data.formatted import PARTS, array_path
from datasets import load_data
from tests import tiny

TINY, RUN = Path("tiny"), Path("runs/run")
IMAGES, LABELS, OBSERVED = (
    array_path(TINY, "train", k) for k in ("images", "labels", "labels_obs")
)
VAL_IMAGES, VAL_LABELS = (array_path(TINY, "val", kind) for kind in ("images", "labels"))
ARRAYS = [array_path(TINY, p, k) for p in PARTS for k in ("images", "labels", "labels_obs")]
IMAGE = TINY / "train" / "00.png"
LAST, PREVIOUS, BEST = (RUN / name for name in ("last.pt", "last.previous.pt", "bestmodel.pt"))
CHECKPOINTS = (LAST, PREVIOUS)
CONFIG, SUMMARY, METRICS = (RUN / n for n in ("config.json", "summary.json", "metrics.csv"))
ABOUT = TINY / "dataset.json"
SETTINGS = (
    "--dataset tiny --save_path runs --exp_name run --arch resnet8 --use_pretrained false "
    "--image_size 16 --bsize 4 --num_epochs 3 --num_workers 0 --lr 1e-3 --delta_rel 10 "
    "--early_stop_drop 100"
)
SECONDS = 10  # the longest that a row may take
TERABYTES = 2**42
LONG = "a" * 5000  # no file can have such a name
MORE = "--resume --num_epochs 5"  # of a run that has 3
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")

Damage = Callable[[], object]


# Damage


def gone(*paths: Path) -> Damage:
    def damage() -> None:
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def holds(path: str | Path, content: str | bytes) -> Damage:
    data = content.encode() if isinstance(content, str) else content

    def damage() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)

    return damage


def cut(*paths: Path) -> Damage:
    return lambda: [p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]) for p in paths]


def flipped(path: Path) -> Damage:
    """One bit in the middle."""

    def damage() -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return damage


def folder(path: Path) -> Damage:
    return all_of(gone(path), path.mkdir)


def fifo(path: Path) -> Damage:
    return all_of(gone(path), lambda: os.mkfifo(path))


def array(path: Path, make: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """What `make` makes of the array that the file holds."""
    return lambda: np.save(path, make(np.load(path)), allow_pickle=True)


def entry(path: Path, value: float, dtype: str = "f8") -> Damage:
    """One label, of the image in row 7, is this value."""

    def change(labels: np.ndarray) -> np.ndarray:
        labels = labels.astype(dtype)
        labels[7, 1] = value
        return labels

    return array(path, change)


def about(**settings: Any) -> Damage:
    return holds(ABOUT, json.dumps(settings))


def tensors(path: Path, change: Callable[[dict], object]) -> Damage:
    """What `change` does to the dictionary that the checkpoint holds."""

    def damage() -> None:
        content = tiny.load(path)
        change(content)
        torch.save(content, path)

    return damage


def last(change: Callable[[dict], object]) -> Damage:
    return tensors(LAST, change)


def best(change: Callable[[dict], object]) -> Damage:
    return tensors(BEST, change)


def values(path: Path, **settings: Any) -> Damage:
    """These values in a .json file."""
    return lambda: path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def config(**settings: Any) -> Damage:
    return values(CONFIG, **settings)


def summary(**settings: Any) -> Damage:
    return values(SUMMARY, **settings)


def other_config(**settings: Any) -> Damage:
    """c.json, the run's settings with these."""
    return all_of(lambda: shutil.copy(CONFIG, "c.json"), values(Path("c.json"), **settings))


def a_class_less(*kinds: str) -> Damage:
    """A class less in these files of the val part."""
    return all_of(*(array(array_path(TINY, "val", k), lambda a: a[:, 1:]) for k in kinds))


def all_of(*damages: Damage) -> Damage:
    return lambda: [damage() for damage in damages]


def nothing() -> None:
    pass


class Bomb:
    """Whoever unpickles it makes a folder, which the test sees."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


def bomb(path: Path) -> Damage:
    content = np.array([Bomb()]) if path.suffix == ".npy" else {"model": Bomb()}
    write: Any = np.save if path.suffix == ".npy" else lambda p, c: torch.save(c, p)
    return lambda: write(path, content)


def header(path: Path, shape: str) -> Damage:
    """A .npy file that claims this shape and holds a few bytes."""
    text = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}"
    padded = text.ljust(117) + "\n"
    return holds(path, b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded.encode() + b"12")


def huge_png(path: Path, side: int = 60_000) -> Damage:
    """A PNG of a few bytes whose header claims so many pixels to a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        length, sum32 = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(kind + data))
        return length + kind + data + sum32

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return holds(path, b"\x89PNG\r\n\x1a\n" + size + pixels + chunk(b"IEND", b""))


def typed(text: str) -> Damage:
    """What standard input holds."""
    return lambda: setattr(sys, "stdin", io.StringIO(text))


def archive(path: str, *members: str) -> Damage:
    """A .tar with files of these names."""

    def damage() -> None:
        Path(path).parent.mkdir(parents=True)
        with tarfile.open(path, "w") as file:
            for name in members:
                file.addfile(tarfile.TarInfo(name), io.BytesIO())

    return damage


def npz() -> bytes:
    packed = io.BytesIO()
    np.savez(packed, labels=np.zeros((30, 4)))
    return packed.getvalue()


def every_image(damage: Callable[[Path], Damage]) -> Damage:
    return lambda: [damage(path)() for path in sorted(TINY.glob("*/*.png"))]


# The test


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with the good data set and the finished run."""
    root = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        tiny.make_folder(root)
        assert cli.run(main.main, shlex.split(SETTINGS)) == 0
    return root


@pytest.fixture
def place(good, tmp_path, monkeypatch):
    """A copy of it, the working directory."""
    copy = tmp_path / "place"
    shutil.copytree(good, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return copy


def everything() -> dict[str, object]:
    """The bytes of every file in the working directory, and what there is beside files."""
    paths = sorted(p for p in Path().glob("**/*") if p.suffix != ".lock")  # locks may stay
    return {str(p): p.read_bytes() if p.is_file() else p.stat().st_mode for p in paths}


def status_of(words: str) -> int:
    """The exit status of training with these words, or of the module that they begin with."""
    tool, _, rest = words.partition(" ")
    if tool == "main" or tool.startswith(("tools.", "data.")):
        return cli.run(importlib.import_module(tool).main, shlex.split(rest))
    action = "" if "--resume" in words else "--overwrite"
    return cli.run(main.main, shlex.split(f"{SETTINGS} {words} {action}"))


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Fail what waits for ever."""

    def expired(number: int, frame: object) -> None:
        raise AssertionError(f"still waiting after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def assert_refused(capfd, words: str, *says: str) -> None:
    before = everything()
    capfd.readouterr()
    with time_limit():
        status = status_of(words)
    error = capfd.readouterr().err
    assert status == 2, error
    assert error.startswith("error: "), error
    assert error.count("\n") == 1, error
    for word in says:
        assert word in error
    for word in ("Traceback", "allow_pickle", "weights_only"):
        assert word not in error
    after = everything()
    assert list(after) == list(before)
    assert [path for path in after if after[path] != before[path]] == []


# Wrong flags: the words, and what the message must contain

FLAGS = [
    ("--lrr 1", "--lrr", "did you mean --lr?"),
    ("--LR 1", "--LR", "did you mean --lr?"),
    ("--zzz", "--zzz", "--help"),
    ("--num_epoch 3", "did you mean --num_epochs?"),
    ("stray", "'stray'", "--flag value"),
    ("--lr", "--lr: expected one argument"),
    ("--lr 0", "--lr: 0", "> 0"),
    ("--lr -1", "--lr: -1", "> 0"),
    ("--lr nan", "--lr: nan", "> 0"),
    ("--lr inf", "--lr: inf", "> 0"),
    ("--lr 1e999", "--lr: 1e999", "> 0"),
    ("--lr ''", "--lr: ''", "a number"),
    ("--lr 1,5", "--lr: '1,5'", "a number"),
    ("--lr_mult 0", "--lr_mult: 0", "> 0"),
    ("--weight_decay -1e-9", "--weight_decay: -1e-9", ">= 0"),
    ("--momentum 1", "--momentum: 1", "< 1"),
    ("--bsize 0", "--bsize: 0", ">= 1"),
    ("--bsize 1048577", "--bsize: 1048577", "<= 1048576"),
    ("--bsize 2.5", "--bsize: '2.5'", "a whole number"),
    ("--num_epochs -1", "--num_epochs: -1", ">= 0"),
    ("--num_epochs 0 --linear_init 0", "--num_epochs 0", "--linear_init EPOCHS"),
    ("--num_epochs 1e3", "--num_epochs: '1e3'", "a whole number"),
    ("--image_size 7", "--image_size: 7", ">= 8"),
    ("--image_size 4097", "--image_size: 4097", "<= 4096"),
    ("--num_workers -1", "--num_workers: -1", ">= 0"),
    ("--num_workers 257", "--num_workers: 257", "<= 256"),
    ("--val_frac 0", "--val_frac: 0", "> 0"),
    ("--val_frac 1", "--val_frac: 1", "< 1"),
    ("--ss_frac_train 0", "--ss_frac_train: 0", "> 0"),
    ("--ss_frac_val 1.1", "--ss_frac_val: 1.1", "<= 1"),
    ("--split_seed -1", "--split_seed: -1", ">= 0"),
    ("--ss_seed 4294967296", "--ss_seed: 4294967296", "<= 4294967295"),
    ("--seed x", "--seed: 'x'", "a whole number"),
    (f"--seed {'9' * 5000}", "--seed", "whole number"),
    ("--delta_rel -1", "--delta_rel: -1", ">= 0"),
    ("--delta_rel 101", "--delta_rel: 101", "<= 100"),
    ("--early_stop_drop 0", "--early_stop_drop: 0", "> 0"),
    ("--gpu_num -1", "--gpu_num: -1", ">= 0"),
    ("--mod_scheme LLR", "--mod_scheme: 'LLR'", "did you mean LL-R?"),
    ("--arch resnet500", "--arch: 'resnet500'", "did you mean resnet50?"),
    ("--arch timm.no_such_net", "--arch", "timm"),
    ("--boostlu 0", "--boostlu: 0", ">= 1"),
    ("--boostlu 5 --use_feats", "--boostlu 5", "--use_feats"),
    ("--linear_init 1 --use_feats", "--use_feats", "--linear_init"),
    ("--linear_lr 1", "--linear_lr", "--linear_init EPOCHS"),
    ("--linear_init 1 --linear_bsize 0", "--linear_bsize: 0", ">= 1"),
    ("--linear_init 1 --linear_scheme LL-R", "--linear_scheme: 'LL-R'", "same, AN"),
    ("--fpc 5", "--fpc", "only digits", "python -m data.observe FOLDER --fpc 5"),
    ("--rps 0.5", "--rps", "only digits", "python -m data.observe FOLDER --rps 0.5"),
    ("--mod_scheme ASL --gammas 0,1,2", "--gammas 0,1,2", "2 numbers, as in 0,4"),
    ("--mod_scheme ASL --gammas x,y", "--gammas: 'x'", "a number"),
    ("--mod_scheme EM --clip 0.1", "--clip: EM", "only ASL, CSL", "drop it"),
    ("--mod_scheme CSL --delta_rel 0 --prior nowhere.csv", "--prior", "nowhere.csv"),
    (f"--mod_scheme CSL --delta_rel 0 --prior {IMAGE}", "--prior", str(IMAGE)),
    ("--mod_scheme CSL --delta_rel 0 --prior tiny", "--prior", "tiny"),
    ("--mod_scheme CSL --delta_rel 0 --prior ''", "--prior: ''", "path"),
    (f"--mod_scheme CSL --delta_rel 0 --prior {LONG}", "--prior", "File name too long"),
    ("--optimizer adamw", "--optimizer: 'adamw'", "did you mean adam?"),
    ("--rate_base some", "--rate_base: 'some'", "unobserved, all"),
    ("--amp fp8", "--amp: 'fp8'", "bf16"),
    ("--device gpu", "--device: 'gpu'", "cuda"),
    ("--cache ram", "--cache: 'ram'", "memory"),
    ("--on_bad_image ignore", "--on_bad_image: 'ignore'", "stop, skip"),
    ("--train_set_variant all", "--train_set_variant: 'all'", "observed, clean"),
    ("--val_set_variant true", "--val_set_variant: 'true'", "observed, clean"),
    ("--flip maybe", "--flip: 'maybe'", "true", "false"),
    ("--flip ''", "--flip: ''", "true", "false"),
    ("--exp_name a/b", "--exp_name: 'a/b'", "one folder name"),
    ("--exp_name ..", "--exp_name: '..'", "one folder name"),
    ("--exp_name ''", "--exp_name: ''", "one folder name"),
    ("--exp_name 'a\nb'", "--exp_name: 'a\\nb'", "one folder name"),
    ("--exp_name '\x1b[31m'", "--exp_name: '\\x1b[31m'", "one folder name"),
    ("--exp_name '\udcff'", "--exp_name: '\\udcff'", "one folder name"),
    (f"--exp_name {'a' * 201}", "--exp_name", "200 bytes"),
    ("--dataset pascall", "--dataset: 'pascall'", "did you mean pascal?"),
    ("--dataset ''", "--dataset: ''", "folder"),
    ("--dataset ./nowhere", "nowhere/formatted_train_images.npy is missing"),
    (f"--dataset {LABELS}", "--dataset", "is a file"),
    ("--dataset coco --data_root tiny", "python -m data.prepare coco --data_root tiny"),
    ("--resume --overwrite", "--resume", "--overwrite", "give one of them"),
    ("--use_pretrained true --weights none", "--weights none", "--use_pretrained true"),
    ("--weights x.pt", "--weights", "--use_pretrained false", "drop one"),
    ("--use_pretrained true", "--use_pretrained", "resnet8", "--weights FILE"),
    ("--use_pretrained true --weights nowhere.pt", "--weights", "nowhere.pt"),
    ("--use_pretrained true --weights tiny", "--weights", "tiny"),
    ("--device cpu --amp fp16", "--amp fp16", "bf16 or off"),
    ("--config nowhere.json", "--config", "nowhere.json"),
    ("--config tiny", "--config", "tiny"),
    (f"--config {IMAGE}", "--config", str(IMAGE)),
    ("--config ''", "--config"),
    (f"--dataset {LONG}", "--dataset", "nor an existing folder"),
    (f"--dataset ./{LONG}", "File name too long"),
    (f"--data_root {LONG} --dataset pascal", "File name too long"),
    (f"--config {LONG}", "--config", "File name too long"),
    (f"--save_path {LONG}", "File name too long"),
    (f"--use_pretrained true --weights {LONG}", "--weights"),
    ("--save_path tiny/formatted_train_labels.npy", "tiny/formatted_train_labels.npy"),
    ("--save_path tiny/formatted_train_labels.npy/x/y", "tiny/formatted_train_labels.npy"),
    ("--data_root nowhere --dataset pascal", "python -m data.prepare pascal --data_root nowhere"),
    ("--num_epochs 3 --resume false", "runs/run", "--resume", "--overwrite", "--exp_name"),
]


@pytest.mark.parametrize(
    ("words", "says"), [(w, s) for w, *s in FLAGS], ids=[r[0][:60] for r in FLAGS]
)
def test_a_wrong_flag(place, capfd, words, says):
    assert_refused(capfd, words, *says)


# Wrong files: a name, the damage, the words, and what the message must contain

CONFIGS = [
    ("text", holds("c.json", "lr: 1"), "--config", "c.json"),
    ("bytes", holds("c.json", b"\xff\xfe\x00{"), "--config", "c.json"),
    ("list", holds("c.json", "[]"), "--config", "c.json"),
    ("unknown setting", holds("c.json", '{"lrr": 1}'), "--config", "c.json", "did you mean lr?"),
    ("a value of another type", holds("c.json", '{"lr": [1]}'), "--config", "--lr", "one value"),
    ("a value out of range", holds("c.json", '{"lr": 0}'), "--config", "--lr", "> 0"),
    ("an action", holds("c.json", '{"overwrite": true}'), "--config", "overwrite"),
    ("deep", holds("c.json", '{"lr": ' + "[" * 100_000), "--config", "c.json"),
    ("a huge number", holds("c.json", '{"seed": ' + "9" * 5000 + "}"), "--config", "c.json"),
]

EVERY_ARRAY = [
    ("empty", lambda path: holds(path, "")),
    ("cut", lambda path: cut(path)),
    ("text", lambda path: holds(path, "1 0 0 1\n")),
    ("npz", lambda path: holds(path, npz())),
    ("pickled", lambda path: holds(path, pickle.dumps([[0, 1]]))),
    ("objects", lambda path: array(path, lambda a: a.astype(object))),
    ("bomb", bomb),
    ("terabytes", lambda path: header(path, f"({TERABYTES}, 4)")),
    ("a negative size", lambda path: header(path, "(-1, -4)")),
    ("a long header", lambda path: header(path, f"(2, {' ' * 30_000})")),
    ("no tuple", lambda path: header(path, "2")),
    ("code", lambda path: header(path, "(__import__('os').mkdir('exploded'),)")),
    ("a folder", folder),
]  # fmt: skip

OBSERVED_ONLY = "--val_set_variant observed"
DATA = [
    ("images missing", gone(IMAGES), IMAGES.name, "data/README.md"),
    ("labels missing", gone(LABELS), LABELS.name, "data/README.md"),
    ("val images missing", gone(VAL_IMAGES), VAL_IMAGES.name, "data/README.md"),
    ("val labels missing", gone(VAL_LABELS), VAL_LABELS.name, "data/README.md"),
    ("observed missing", gone(OBSERVED), "labels_obs.npy", "python -m data.observe tiny"),
    ("labels [N]", array(LABELS, np.ravel), LABELS.name, "[N, K]"),
    ("labels [N, K, 1]", array(LABELS, lambda a: a[..., None]), LABELS.name, "[N, K]"),
    ("labels []", array(LABELS, lambda a: a[0, 0]), LABELS.name, "[N, K]"),
    ("images [N, 1]", array(IMAGES, lambda a: a[:, None]), IMAGES.name, "names [N]"),
    ("images of numbers", array(IMAGES, lambda a: np.arange(30)), IMAGES.name, "names [N]"),
    ("structured", array(LABELS, lambda a: a.view("i1,i1,i1,i1")), LABELS.name, "[N, K]"),
    ("complex", array(LABELS, lambda a: a.astype(complex)), LABELS.name, "complex"),
    ("dates", array(LABELS, lambda a: a.astype("M8[s]")), LABELS.name, "datetime"),
    ("texts", array(LABELS, lambda a: a.astype(str)), LABELS.name, "<U"),
    ("NaN", entry(LABELS, np.nan), LABELS.name, "nan", "label"),
    ("inf", entry(LABELS, np.inf), LABELS.name, "inf", "label"),
    ("2", entry(LABELS, 2), LABELS.name, "2", "label"),
    ("0.5", entry(LABELS, 0.5), LABELS.name, "0.5", "label"),
    ("255", entry(LABELS, 255, "u1"), LABELS.name, "255", "label"),
    ("-1 in full truth", entry(LABELS, -1, "i1"), LABELS.name, "-1", "partial"),
    ("2 observed", entry(OBSERVED, 2, "i1"), OBSERVED.name, "2", "label"),
    ("NaN observed", entry(OBSERVED, np.nan), OBSERVED.name, "nan", "label"),
    ("NaN in val", entry(VAL_LABELS, np.nan), VAL_LABELS.name, "nan", "label"),
    ("2 in partial truth", all_of(about(truth="partial"), entry(LABELS, 2)), LABELS.name, "2"),
    ("a label row too few", array(LABELS, lambda a: a[1:]), LABELS.name, "29", "30"),
    ("an image too few", array(IMAGES, lambda a: a[1:]), LABELS.name, "30", "29"),
    ("an observed row too few", array(OBSERVED, lambda a: a[1:]), OBSERVED.name, "29", "30"),
    ("a column too few", array(LABELS, lambda a: a[:, 1:]), "columns", "3", "4"),
    ("a val column too few", array(VAL_LABELS, lambda a: a[:, 1:]), "columns", "3", "4"),
    ("fewer classes in val", a_class_less("labels", "labels_obs"), "columns", "train labels have 4", "val labels 3"),
    ("an observed column too few", array(OBSERVED, lambda a: a[:, 1:]), OBSERVED.name, "3", "4"),
    ("no images", all_of(*(array(p, lambda a: a[:0]) for p in ARRAYS)), "formatted_train", "empty"),
    ("no classes", array(LABELS, lambda a: a[:, :0]), LABELS.name, "empty"),
    ("an empty name", array(IMAGES, lambda a: np.append(a[1:], "")), IMAGES.name, "name"),
    ("a name with NUL", array(IMAGES, lambda a: np.append(a[1:], "a\0b")), IMAGES.name, "name"),
    ("names of UTF-8 bytes", array(IMAGES, lambda a: np.char.encode(np.char.add(a, "é"), "utf8")), IMAGES.name, "ASCII"),
    ("no positive in val", array(LABELS, np.zeros_like), "positive", "val images", "--val_frac"),
    ("no positive in test", array(VAL_LABELS, np.zeros_like), "positive", VAL_LABELS.name),
    ("truth none", about(truth="none"), "--val_set_variant observed"),
    ("about: text", holds(ABOUT, "name: x"), "dataset.json"),
    ("about: bytes", holds(ABOUT, b"\xff\xfe{"), "dataset.json"),
    ("about: empty", holds(ABOUT, ""), "dataset.json"),
    ("about: deep", holds(ABOUT, "[" * 100_000), "dataset.json"),
    ("about: a list", holds(ABOUT, "[]"), "dataset.json", "object"),
    ("about: a folder", ABOUT.mkdir, "dataset.json"),
    ("about: misspelt key", about(turth="none"), "dataset.json", "turth", "truth"),
    ("about: classes a text", about(classes="abcd"), "dataset.json", "classes"),
    ("about: classes numbers", about(classes=[1, 2, 3, 4]), "dataset.json", "classes"),
    ("about: classes twice", about(classes=["a", "b", "c", "a"]), "dataset.json", "different"),
    ("about: too few classes", about(classes=["a", "b", "c"]), "3 class names", "4"),
    ("about: no classes", about(classes=[]), "dataset.json", "classes"),
    ("about: images a number", about(images=3), "dataset.json", "images"),
    ("about: images elsewhere", about(images="nowhere"), "tiny/nowhere"),
    ("about: images with NUL", about(images="a\0b"), "dataset.json", "images"),
    ("about: unknown truth", about(truth="half"), "dataset.json", "full or partial or none"),
    ("about: truth a list", about(truth=[]), "dataset.json", "full or partial or none"),
    ("about: a fifo", lambda: os.mkfifo(ABOUT), "dataset.json"),
    ("labels a fifo", fifo(LABELS), LABELS.name),
]  # fmt: skip

WORDED = [
    ("val_frac too small", nothing, "--val_frac 0.001", "--val_frac", "0 to validate on"),
    ("val_frac too large", nothing, "--val_frac 0.999", "--val_frac", "0 to train"),
    ("ss_frac_train too small", nothing, "--ss_frac_train 0.001", "--ss_frac_train", "0 to train"),
    ("ss_frac_val too small", nothing, "--ss_frac_val 0.001", "--ss_frac_val", "0 to validate on"),
    ("truth none, trained clean", about(truth="none"), f"--train_set_variant clean {OBSERVED_ONLY}", "--train_set_variant observed"),
    ("truth none, nothing observed", all_of(about(truth="none"), gone(OBSERVED)), OBSERVED_ONLY, OBSERVED.name),
    ("a long image name", array(IMAGES, lambda a: np.append(a[1:], LONG)), "--check_images", "1 of 40 images"),
    ("a mini-batch of one pixel", nothing, "--arch resnet18 --bsize 23", "--bsize", "--image_size"),
]  # fmt: skip

BAD_IMAGES = [
    ("missing", gone, "is missing"),
    ("empty", lambda path: holds(path, ""), "empty"),
    ("cut", cut, "cannot be read"),
    ("text", lambda path: holds(path, "hello"), "no image"),
    ("a folder", folder, "no regular file"),
    ("fifo", fifo, "no regular file"),
    ("huge", huge_png, "pixels"),
]  # fmt: skip

WEIGHTS = "--use_pretrained true --weights runs/run/bestmodel.pt"
RUNS = [
    ("weights of another arch", nothing, f"--arch resnet18 {WEIGHTS}", "bestmodel.pt", "does not fit"),
    ("weights cut", cut(BEST), WEIGHTS, "bestmodel.pt", "damaged"),
    ("weights a bomb", bomb(BEST), WEIGHTS, "bestmodel.pt"),
    ("weights text", holds(BEST, "hello"), WEIGHTS, "bestmodel.pt", "damaged"),
    ("weights a list", lambda: torch.save([1], BEST), WEIGHTS, "bestmodel.pt", "list"),
    ("weights not tensors", lambda: torch.save({"model": {"a": 1}}, BEST), WEIGHTS, "bestmodel.pt"),
    ("another lr", nothing, "--resume --lr 1", "--resume", "--lr 0.001", "--lr 1", "--exp_name"),
    ("another scheme", nothing, "--resume --mod_scheme LL-Ct", "--mod_scheme LL-R", "--exp_name"),
    ("another seed", nothing, "--resume --seed 5", "--seed 0", "--seed 5", "--exp_name"),
    ("several", nothing, "--resume --seed 5 --lr 1 --flip false", "--seed 5", "--lr 1", "--flip false"),
    ("fewer epochs", nothing, "--resume --num_epochs 2", "--num_epochs 3", "--num_epochs 2"),
    ("other labels, finished", array(LABELS, lambda a: 1 - a), "--resume", "--resume", "train truth", "--exp_name"),
    ("summary.json a folder", folder(SUMMARY), "--resume", "summary.json"),
    ("train.log a folder", folder(RUN / "train.log"), "", "train.log"),
    ("last.pt a folder", folder(LAST), "", "last.pt"),
    ("config.json a folder", folder(CONFIG), "", "config.json"),
    ("NUL in save_path", other_config(save_path="a\0b"), "main --config c.json", "--config", "save_path"),
    ("a path that is no UTF-8", nothing, "main --dataset '/\udcff'", "formatted_train_images.npy"),
    ("a summary that waits", fifo(SUMMARY), "--resume", "summary.json"),
    ("a line break in weights", nothing, "main --dataset tiny --weights 'a\nb'", "--weights"),
    ("NUL in dataset", other_config(dataset="./a\0b"), "main --config c.json --overwrite", "--config", "--dataset"),
    ("a file for a folder", holds("runs/file", ""), "--exp_name file", "runs/file"),
]  # fmt: skip

# damage to a run that is to have more epochs
RESUMED = [
    ("other labels", array(LABELS, lambda a: 1 - a), "--resume", "train truth", "runs/run", "--exp_name"),
    ("other names", array(IMAGES, np.flip), "--resume", "image", "runs/run", "--exp_name"),
    ("other classes", about(classes=list("abcd")), "--resume", "class", "runs/run"),
    ("config.json text", holds(CONFIG, "x"), "config.json", "--overwrite"),
    ("config.json cut", cut(CONFIG), "config.json", "--overwrite"),
    ("config.json gone", gone(CONFIG), "config.json", "--overwrite"),
    ("config.json a list", holds(CONFIG, "[]"), "config.json", "--overwrite"),
    ("config.json deep", holds(CONFIG, "[" * 100_000), "config.json", "--overwrite"),
    ("config.json num_epochs", config(num_epochs="x"), "num_epochs"),
    ("config.json environment", config(environment=3), "config.json"),
    ("config.json data", config(environment={"data": 3}), "--resume"),
    ("config.json resumed", config(environment={"resumed": 3}), "config.json"),
    ("checkpoints cut", cut(*CHECKPOINTS), "last.pt", "last.previous.pt", "--overwrite"),
    ("checkpoints of a bit", all_of(*map(flipped, CHECKPOINTS)), "last.pt", "--overwrite"),
    ("checkpoints empty", all_of(*(holds(p, "") for p in CHECKPOINTS)), "last.pt", "--overwrite"),
    ("checkpoints gone", gone(*CHECKPOINTS), "--resume", "runs/run", "--overwrite"),
    ("checkpoints folders", all_of(*map(folder, CHECKPOINTS)), "last.pt is no plain file", "--exp_name"),
    ("checkpoints bombs", all_of(*map(bomb, CHECKPOINTS)), "last.pt", "--overwrite"),
    ("a raw bomb", all_of(*(holds(p, pickle.dumps(Bomb())) for p in CHECKPOINTS)), "last.pt"),
    ("of another model", last(lambda c: c["model"].popitem()), "last.pt", "--overwrite"),
    ("model None", last(lambda c: c.update(model=None)), "last.pt", "--overwrite"),
    ("model a list", last(lambda c: c.update(model=[1])), "last.pt", "--overwrite"),
    ("model numbers", last(lambda c: c["model"].update({"head.bias": 3})), "last.pt"),
    ("no model", last(lambda c: c.pop("model")), "last.pt", "--overwrite"),
    ("no labels", last(lambda c: c.update(labels={})), "last.pt", "--overwrite"),
    ("labels of others", last(lambda c: c["labels"].update(corrected=torch.zeros(2, 2))), "last.pt"),
    ("no optimizer", last(lambda c: c.update(optimizer={})), "last.pt", "--overwrite"),
    ("optimizer of other shapes", last(lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(5))), "last.pt"),
    ("optimizer a text", last(lambda c: c["optimizer"]["state"].update({0: "x"})), "last.pt"),
    ("optimizer state halved", last(lambda c: c["optimizer"]["state"][0].pop("exp_avg")), "last.pt"),
    ("optimizer of another lr", last(lambda c: c["optimizer"]["param_groups"][0].update(lr="x")), "last.pt"),
    ("rows a text", last(lambda c: c.update(rows="abc")), "last.pt", "--overwrite"),
    ("rows None", last(lambda c: c.update(rows=None)), "last.pt", "--overwrite"),
    ("rows of numbers", last(lambda c: c.update(rows=[1, 2, 3])), "last.pt", "--overwrite"),
    ("rows without val_map", last(lambda c: c["rows"][1].pop("val_map")), "last.pt"),
    ("a val_map of text", last(lambda c: c["rows"][1].update(val_map="x")), "last.pt"),
    ("seconds of text", last(lambda c: c["rows"][1].update(seconds="x")), "last.pt"),
    ("epochs out of order", last(lambda c: c["rows"].reverse()), "last.pt", "--overwrite"),
    ("no epochs", last(lambda c: c.update(rows=[])), "last.pt", "--overwrite"),
    (
        "the best lost",
        all_of(last(lambda c: c["rows"][0].update(val_map=99.9)), cut(BEST)),
        "bestmodel.pt", "--overwrite",
    ),
    (
        "the best of another epoch",
        all_of(
            last(lambda c: [row.update(val_map=90.0 / row["epoch"]) for row in c["rows"]]),
            best(lambda c: c.update(epoch=2)),
        ),
        "bestmodel.pt", "--overwrite",
    ),
    ("config.json a fifo", fifo(CONFIG), "config.json"),
    ("a text in a row", last(lambda c: c["rows"][1].update(lr="x")), "last.pt"),
    ("a negative step", last(lambda c: c["optimizer"]["state"][0].update(step=torch.tensor(-5.0))), "last.pt"),
    ("optimizer without betas", last(lambda c: c["optimizer"]["param_groups"][0].pop("betas")), "last.pt"),
    ("scheme of another", last(lambda c: c.update(scheme={"x": torch.zeros(2)})), "last.pt"),
    ("config.json lr", config(lr=[1]), "--lr"),
]  # fmt: skip

COCO_FILE = "coco/annotations/instances_train2014.json"


def coco(*damages: Damage) -> Damage:
    """A release of which all is there, but for the damage."""
    val = holds(COCO_FILE.replace("train", "val"), "{}")
    pictures = (holds(f"coco/{part}2014/a.jpg", "") for part in ("train", "val"))
    return all_of(*damages, val, *pictures)


def drawn_anew() -> None:
    """A folder that looks prepared."""
    holds("coco/dataset.json", "{}")()
    holds("coco/formatted_train_images.npy", "")()


VOC = "pascal/VOCtrainval_11-May-2012.tar"
TOOLS = [
    ("no run", nothing, "tools.evaluate runs", "runs holds no run"),
    ("no folder", nothing, "tools.evaluate nowhere", "nowhere holds no run"),
    ("a long name", nothing, f"tools.evaluate {LONG}", "File name too long"),
    ("wrong split", nothing, "tools.evaluate runs/run --split dev", "--split", "test, val, train"),
    ("no GPU of that number", nothing, "tools.evaluate runs/run --gpu_num -1", "--gpu_num"),
    ("data elsewhere", nothing, "tools.evaluate runs/run --device gpu", "--device"),
    ("no runs to report", nothing, "tools.report tiny", "tiny", "summary.json"),
    ("no folder to report", nothing, "tools.report nowhere", "nowhere"),
    ("report: a long name", nothing, f"tools.report {LONG}", "there is no folder"),
    ("report: a file", nothing, f"tools.report {LABELS}", LABELS.name),
    ("report: no page", nothing, "tools.report runs --write no.md", "--write", "no.md"),
    ("report: no markers", holds("p.md", "hello"), "tools.report runs --write p.md", "p.md", "<!-- runs -->"),
    ("report: page not text", holds("p.md", b"\xff"), "tools.report runs --write p.md", "p.md"),
    ("report: markers reversed", holds("p.md", "<!-- /runs -->\n<!-- runs -->\n"), "tools.report runs --write p.md", "p.md"),
    ("report: another program's settings", all_of(gone(SUMMARY), holds(CONFIG, '{"model": 1}')), "tools.report runs", "config.json", "there is no setting 'model'"),
    ("report: two folders without runs", nothing, "tools.report tiny tiny", "tiny holds no finished run"),
    ("report: a list of wrong runs", holds("tiny/runs.txt", "--mod_scheme LLR"), "tools.report tiny", "line 1: --mod_scheme", "did you mean LL-R?"),
    ("report: unknown table", nothing, "tools.report runs --table result", "--table: 'result'", "did you mean results?"),
    ("report: unknown form", nothing, "tools.report runs --format html", "--format: 'html'", "markdown, latex, csv"),
    ("report: no game was played", nothing, "tools.report runs --table pointing", "pointing.json", "python -m tools.explain RUN"),
    ("report: no groups", nothing, "tools.report runs --table groups", "openimages"),
    ("report: no labels kept", nothing, "tools.report runs --table highest_loss", "--mod_scheme AN --audit labels"),
    ("report: nothing finished", gone(SUMMARY), "tools.report runs --table highest_loss", "--mod_scheme AN --audit labels"),
    ("report: a damaged game", holds(RUN / "pointing.json", "{}"), "tools.report runs --table pointing", "pointing.json", "python -m tools.explain runs/run"),
    ("report: no pictures", nothing, "tools.report runs --html p.html --pictures tiny", "--pictures", "tiny"),
    ("no runs to draw", nothing, "tools.figures best_last tiny", "tiny", "summary.json"),
    ("nothing finished to draw", gone(SUMMARY), "tools.figures best_last runs", "no run below runs is finished", "tools.report"),
    ("figures: unknown kind", nothing, "tools.figures bestlast runs", "KIND: 'bestlast'", "did you mean best_last?"),
    ("figures: no kind", nothing, "tools.figures", "are required: KIND"),
    ("figures: no folder", nothing, "tools.figures best_last", "are required: RESULTS"),
    ("figures: no labels kept", nothing, "tools.figures single_labels runs", "--mod_scheme AN --audit labels"),
    ("figures: no maps", nothing, "tools.figures maps runs", "maps.npz", "tools.explain"),
    ("figures: --out below a file", nothing, f"tools.figures best_last runs --out {LABELS}/x.png", LABELS.name),
    ("figures: --out a folder", nothing, "tools.figures best_last runs --out tiny", "tiny"),
    ("explain: no boxes", nothing, "tools.explain runs/run", "where the objects are is known of pascal, coco, digits"),
    ("explain: no run", nothing, "tools.explain runs", "runs"),
    ("explain: not finished", gone(SUMMARY), "tools.explain runs/run", "--resume"),
    ("explain: no folder", nothing, "tools.explain nowhere", "nowhere"),
    ("explain: unknown split", nothing, "tools.explain runs/run --split dev", "--split: 'dev'", "test, val, train"),
    ("explain: no examples", nothing, "tools.explain runs/run --examples 0", "--examples: 0", ">= 1"),
    ("todo: no results", nothing, "tools.todo --dataset digits", "are required"),
    ("todo: no data set", nothing, "tools.todo runs", "--dataset"),
    ("todo: unknown flag", nothing, "tools.todo runs --dataset digits --seed 1", "--seed"),
    ("todo: below a file", typed("--seed 1\n"), f"tools.todo {LABELS} --dataset digits", "runs.txt"),
    ("todo: a long name", typed("--seed 1\n"), f"tools.todo {LONG} --dataset digits", "File name too long"),
    ("todo: a folder for the list", all_of(Path("runs/runs.txt").mkdir, typed("--seed 1\n")), "tools.todo runs --dataset digits", "runs.txt"),
    ("todo: a list that waits", all_of(lambda: os.mkfifo("runs/runs.txt"), typed("--seed 1\n")), "tools.todo runs --dataset digits", "runs.txt is no regular file"),
    ("digit singles: below a file", nothing, f"data.digit_singles --out {LABELS}", LABELS.name),
    ("digit singles: a long name", nothing, f"data.digit_singles --out {LONG}", "File name too long"),
    ("digit singles: a stray word", nothing, "data.digit_singles tiny", "'tiny'"),
    ("unknown set", nothing, "data.prepare pascall", "'pascall'", "did you mean pascal?"),
    ("no set", nothing, "data.prepare", "are required: DATASET"),
    ("digits need none", nothing, "data.prepare digits", "digits", "python main.py"),
    ("nuswide has none", nothing, "data.prepare nuswide", "TrainImagelist.txt is missing: get it as described above"),
    ("openimages missing", nothing, "data.prepare openimages --no_download", "classes_2017_11.tar.gz is missing"),
    ("another set's flag", nothing, "data.prepare coco --difficult ignore", "--difficult is for pascal alone"),
    ("openimages drawn", nothing, "data.prepare openimages --num_pos 2", "without a draw"),
    ("prepared already", drawn_anew, "data.prepare coco --data_root . --fpc 3 --no_download", "data.observe coco", "--overwrite"),
    ("pascal missing", nothing, "data.prepare pascal --data_root nowhere --no_download", "nowhere/pascal", "VOCtrainval"),
    ("coco missing", nothing, "data.prepare coco --data_root nowhere --no_download", "annotations_trainval2014.zip", "nowhere/coco"),
    ("cub missing", nothing, "data.prepare cub --data_root nowhere --no_download", "nowhere/cub", "CUB_200_2011.tgz"),
    ("coco text", coco(holds(COCO_FILE, "hello")), "data.prepare coco --data_root .", COCO_FILE),
    ("coco a list", coco(holds(COCO_FILE, "[]")), "data.prepare coco --data_root .", COCO_FILE),
    ("coco deep", coco(holds(COCO_FILE, "[" * 100_000)), "data.prepare coco --data_root .", COCO_FILE),
    ("coco bytes", coco(holds(COCO_FILE, b"\xff\xfe")), "data.prepare coco --data_root .", COCO_FILE),
    ("coco a folder", coco(lambda: Path(COCO_FILE, "held").mkdir(parents=True)), "data.prepare coco --data_root .", COCO_FILE),
    ("coco a fifo", coco(holds(COCO_FILE, ""), fifo(Path(COCO_FILE))), "data.prepare coco --data_root .", COCO_FILE),
    ("a tar that climbs", archive(VOC, "../evil"), "data.prepare pascal --data_root .", VOC, "evil"),
    ("a tar of text", holds(VOC, "hello"), "data.prepare pascal --data_root .", VOC),
    ("observe a long name", nothing, f"data.observe {LONG}", "File name too long"),
    ("prepare below a long name", nothing, f"data.prepare coco --data_root {LONG}", "File name too long"),
    ("prepare below a file", nothing, f"data.prepare coco --data_root {LABELS}", LABELS.name),
    ("observe digits", nothing, "data.observe digits", "digits"),
    ("observe nothing", nothing, "data.observe nowhere", "nowhere"),
    ("observe a misspelt set", nothing, "data.observe ccoo", "ccoo", "did you mean coco?"),
    ("observe too many", nothing, "data.observe tiny --num_pos -2", "--num_pos", ">= -1"),
    ("observe partial", entry(LABELS, -1, "i1"), "data.observe tiny", LABELS.name, "-1"),
    ("observe NaN", entry(LABELS, np.nan), "data.observe tiny", LABELS.name, "nan"),
    ("observe NaN in val", entry(VAL_LABELS, np.nan), "data.observe tiny", VAL_LABELS.name, "nan"),
    ("observe missing", gone(VAL_LABELS), "data.observe tiny", VAL_LABELS.name, "missing"),
    ("observe a bomb", bomb(LABELS), "data.observe tiny", LABELS.name),
    ("observe texts", array(LABELS, lambda a: a.astype(str)), "data.observe tiny", LABELS.name),
    ("observe terabytes", header(LABELS, f"({TERABYTES}, 4)"), "data.observe tiny", LABELS.name),
]  # fmt: skip

EVALUATED = [
    ("config.json cut", cut(CONFIG), "config.json"),
    ("best missing", gone(BEST), "bestmodel.pt"),
    ("best cut", cut(BEST), "bestmodel.pt", "damaged"),
    ("best of a bit", flipped(BEST), "bestmodel.pt", "damaged"),
    ("best a bomb", bomb(BEST), "bestmodel.pt"),
    ("best a folder", folder(BEST), "bestmodel.pt"),
    ("no classes", best(lambda c: c.pop("classes")), "bestmodel.pt", "classes"),
    ("classes a text", best(lambda c: c.update(classes="abcd")), "bestmodel.pt"),
    ("classes too few", best(lambda c: c["classes"].pop()), "bestmodel.pt"),
    ("classes too many", best(lambda c: c["classes"].append("x")), "bestmodel.pt"),
    ("model a number", best(lambda c: c.update(model=3)), "bestmodel.pt"),
    ("model a key short", best(lambda c: c["model"].popitem()), "bestmodel.pt"),
    ("model of NaN", best(lambda c: c["model"]["head.bias"].fill_(float("nan"))), "finite"),
    ("data of other classes", about(classes=list("abcd")), "runs/run", "classes"),
    ("data gone", gone(TINY), "tiny"),
]  # fmt: skip

REPORTED = [
    ("summary cut", cut(SUMMARY), "summary.json"),
    ("summary deep", holds(SUMMARY, "[" * 100_000), "summary.json"),
    ("summary empty", holds(SUMMARY, "{}"), "summary.json"),
    ("val_map a text", summary(val_map="x"), "summary.json", "val_map"),
    ("val_map None", summary(val_map=None), "summary.json", "val_map"),
    ("a huge number", summary(test_map=10**400), "summary.json", "test_map"),
    ("no config", gone(CONFIG), "config.json"),
    ("config of else", holds(CONFIG, "{}\n{}"), "config.json"),
]  # fmt: skip

DRAWN = [
    ("no metrics", gone(METRICS), "metrics.csv"),
    ("metrics text", holds(METRICS, "a,b\n1\n"), "metrics.csv"),
    ("metrics bytes", holds(METRICS, b"\xff\xfe\0"), "metrics.csv"),
    ("metrics empty", holds(METRICS, ""), "metrics.csv"),
    ("metrics cut", cut(METRICS), "metrics.csv"),
    ("metrics a folder", folder(METRICS), "metrics.csv"),
]  # fmt: skip

ROWS = [
    *((f"config: {name}", damage, "--config c.json", *says) for name, damage, *says in CONFIGS),
    *(
        (f"{path.stem}: {name}", damage(path), "", path.name)
        for path in ARRAYS
        for name, damage in EVERY_ARRAY
    ),
    *((f"data: {name}", damage, "", *says) for name, damage, *says in DATA),
    *((f"data: {name}", *rest) for name, *rest in WORDED),
    *(
        (f"image in training, {workers}: {name}", damage(IMAGE), workers, str(IMAGE), says)
        for workers in ("--num_workers 0", "--num_workers 2")
        for name, damage, says in BAD_IMAGES
    ),
    *(
        (
            f"image checked, {workers}: {name}",
            damage(IMAGE),
            f"--check_images {workers}",
            str(IMAGE),
            "1 of 40 images",
            "--on_bad_image skip",
        )
        for workers in ("--num_workers 0", "--num_workers 2")
        for name, damage, _ in BAD_IMAGES
    ),
    *(
        (f"all images skipped: {name}", every_image(damage), "--on_bad_image skip", "tiny", "image")
        for name, damage, _ in BAD_IMAGES
    ),
    *((f"run: {name}", *rest) for name, *rest in RUNS),
    *((f"resumed: {name}", damage, MORE, *says) for name, damage, *says in RESUMED),
    *((f"evaluated: {name}", d, "tools.evaluate runs/run", *says) for name, d, *says in EVALUATED),
    *((f"reported: {name}", d, "tools.report runs", *says) for name, d, *says in REPORTED),
    *((f"drawn: {name}", d, "tools.figures best_last runs", *says) for name, d, *says in DRAWN),
    *((f"tool: {name}", *rest) for name, *rest in TOOLS),
]


@pytest.mark.parametrize(
    ("damage", "words", "says"),
    [(d, w, s) for _, d, w, *s in ROWS],
    ids=[str(row[0]) for row in ROWS],
)
def test_wrong_files(place, capfd, damage, words, says):
    damage()
    assert_refused(capfd, words, *says)


# What a row cannot say


@NO_GPU
def test_a_gpu_that_is_not_there(place, capfd):
    assert_refused(capfd, "--device cuda", "--device cuda", "--device cpu or auto")


def test_images_for_which_there_is_no_memory(place, capfd):
    """150 GB of pixels; the limit makes sure that the system refuses them."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, hard))
    try:
        assert_refused(capfd, "--dataset digits --image_size 4096", "memory", "--image_size")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(
    "damage", [BAD_IMAGES[0], BAD_IMAGES[2], BAD_IMAGES[6]], ids=lambda row: row[0]
)
def test_bad_images_are_left_out_and_no_label_shifts(place, damage):
    names, labels, observed = (np.load(path) for path in (IMAGES, LABELS, OBSERVED))
    damage[1](IMAGE)()
    words = f"{SETTINGS} --on_bad_image skip --overwrite"
    assert cli.run(main.main, shlex.split(words)) == 0
    assert json.loads((SUMMARY).read_text())["skipped_images"] == 1

    data = load_data(parse_args(shlex.split(words)), decode_once=True)
    seen = [*data.train.names, *data.val.names]
    assert sorted(seen) == sorted(names[1:])
    row_of = {name: place for place, name in enumerate(names)}
    for split in (data.train, data.val):
        rows = [row_of[name] for name in split.names]
        assert (split.truth == 2 * labels[rows] - 1).all()
        assert (split.observed == observed[rows]).all()
        for place, name in enumerate(split.names):
            pixels = split.images.__getitems__([place])[0][0]
            assert (pixels.permute(1, 2, 0).numpy() == np.array(Image.open(TINY / name))).all()


def test_a_learning_rate_that_ruins_the_loss(place, capfd):
    """The message says where, and a run that has epochs keeps them."""
    words = f"{SETTINGS} --exp_name high --lr 1e6 --optimizer sgd --weight_decay 1e6"
    assert cli.run(main.main, shlex.split(words)) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    for word in ("error: epoch 1", "step ", "--lr", "1e+06", "train/"):
        assert word in error
    assert not (Path("runs") / "high" / "bestmodel.pt").exists()


def test_a_loss_that_is_ruined_later_leaves_the_epochs_before(place, capfd):
    checkpoint = tiny.load(LAST)
    checkpoint["model"]["head.weight"].fill_(3e38)
    torch.save(checkpoint, LAST)
    kept = {path: path.read_bytes() for path in (LAST, PREVIOUS, BEST)}
    capfd.readouterr()
    assert status_of(MORE) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    for word in ("error: epoch 4", "step ", "--lr", "train/", "epochs 1 to 3 are kept", "--resume"):
        assert word in error
    assert {path: path.read_bytes() for path in kept} == kept
    assert len((METRICS).read_text().splitlines()) == 4
