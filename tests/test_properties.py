"""Properties of whatever people and disks come up with, on examples that hypothesis draws.

Flags, label arrays and damaged files: each is understood exactly, or refused with a UserError.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shlex
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import cli
import main
from build import build_state, own_options
from checkpoint import State, read_checkpoint
from cli import UserError
from config import FLAGS, Config, command, parse_args, read_config
from data.arrays import load_array
from data.formatted import array_path
from datasets import load_data
from folder import LAST
from models import build_model, load_tensors
from phases import phases_of
from recipes import SCHEMES
from record import RunRecord
from tests import tiny
from tools import report

settings.register_profile(
    "stable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("stable")


# Flags


def within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: low <= value <= high


def among(words: str) -> tuple[str, str, Callable[[Any], bool]]:
    return words, "'' none_of_them " + words.split()[0].swapcase() + "_", words.split().__contains__


def optional(good: str, bad: str, obeys: Callable[[Any], bool]) -> tuple[Any, ...]:
    """The row of a setting that a run may do without."""
    return good, bad, lambda value: value is None or obeys(value)


PATHS = ("data/x ./é 'a b' /tmp/-", "''", lambda value: isinstance(value, str))
SWITCH = ("true False yes 0", "'' maybe 2", lambda value: value in (True, False))
SEED = ("0 7 4294967295", "-1 4294967296 1.5 0x1", within(0, 2**32 - 1))
SHARE = ("1 0.5 1e-9", "0 1.0001 -1 nan", lambda value: 0 < value <= 1)
PERCENT = ("0 0.2 100", "-0.1 100.1 nan inf", within(0, 100))
COUNT = ("1 10 1000000", "0 1000001 1e3", within(1, 10**6))
IMAGES = ("1 16 1048576", "0 1048577 1.5", within(1, 2**20))
WEIGHT = ("0 1e-3 1e6", "-1 nan inf 1e999", within(0, 1e6))
RATE = ("1 1e-5 1e6", "0 -1 nan inf 1e999 1000001", lambda value: 0 < value <= 1e6)
KNOWN = ("digits", "pascal", "coco", "nuswide", "cub")
TEXTS = ("dataset", "data_root", "weights", "save_path", "exp_name")
# of each flag: words that it takes, words that it refuses, what every value obeys
WORDS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "dataset": ("digits coco ./tiny /tmp/é", "digit nowhere", lambda v: v in KNOWN or "/" in v),
    "data_root": (PATHS[0], "", PATHS[2]),
    "image_size": ("8 224 4096", "7 4097 16.0 nan", within(8, 4096)),
    "flip": SWITCH,
    "num_workers": ("0 4 256", "-1 257 x", within(0, 256)),
    "cache": among("none memory disk"),
    "on_bad_image": among("stop skip"),
    "check_images": SWITCH,
    "val_frac": ("0.2 0.999 1e-3", "0 1 nan -0.5", lambda value: 0 < value < 1),
    "split_seed": SEED,
    "ss_frac_train": SHARE,
    "ss_frac_val": SHARE,
    "ss_seed": SEED,
    "train_set_variant": among("observed clean"),
    "val_set_variant": among("observed clean"),
    "fpc": optional("1 1000000000", "0 1.5 1000000001", within(1, 10**9)),
    "rps": optional("0.5 1e-3", "0 1 nan", lambda value: 0 < value < 1),
    "mod_scheme": among(" ".join(SCHEMES)),
    "delta_rel": PERCENT,
    "final_rate": optional(*PERCENT),
    "rate_base": among("unobserved all"),
    "expected_positives": optional(*RATE),
    "ls_coef": optional("0 0.1 0.5", "-0.1 0.51 nan", within(0, 0.5)),
    "em_alpha": optional(*RATE),
    "apl_start": optional(*COUNT),
    "apl_beta": optional(*WEIGHT),
    "gammas": optional(
        "0,4 1,2 0,1,2 0.5,100,1e-5", "'' 4, -1,4 nan,4 101,1 0;4",
        lambda value: len(value) in (2, 3) and all(0 <= number <= 100 for number in value),
    ),
    "clip": optional("0 0.05 0.999", "1 -0.1 nan", lambda value: 0 <= value < 1),
    "mode": optional(*among("selective ignore negative")),
    "topk": optional("0 5 1000000", "-1 1000001 1.5", within(0, 10**6)),
    "prior": optional(PATHS[0], "''", PATHS[2]),
    "prior_threshold": optional("0 0.05 1", "-0.1 1.1 nan", within(0, 1)),
    "arch": (
        "resnet18 vgg16 timm.vit_tiny resnet8", "'' a/b 'a b'",
        lambda value: bool(re.fullmatch(r"[A-Za-z0-9_.+-]{1,100}", value)),
    ),
    "use_pretrained": SWITCH,
    "weights": ("IMAGENET1K_V1 none ./file.pt", "", lambda value: isinstance(value, str)),
    "boostlu": ("1 5 1e6", "0.5 -5 nan inf", within(1, 1e6)),
    "freeze_feature_extractor": SWITCH,
    "use_feats": SWITCH,
    "optimizer": among("adam sgd"),
    "lr": RATE,
    "lr_mult": RATE,
    "weight_decay": WEIGHT,
    "momentum": ("0 0.9 0.999", "1 -0.1 nan", lambda value: 0 <= value < 1),
    "bsize": IMAGES,
    "num_epochs": ("0 1 10 1000000", "-1 1000001 1e3", within(0, 10**6)),
    "sync_bn": SWITCH,
    "early_stop_drop": ("100 3 0.1", "0 101 nan", lambda value: 0 < value <= 100),
    "amp": among("auto off bf16 fp16"),
    "seed": SEED,
    "linear_init": ("0 1 25 1000000", "-1 1000001 1e3", within(0, 10**6)),
    "linear_lr": optional(*RATE),
    "linear_bsize": optional(*IMAGES),
    "linear_scheme": optional(*among("same AN")),
    "device": among("auto cpu cuda"),
    "gpu_num": ("0 1024", "-1 1025 x", within(0, 1024)),
    "deterministic": SWITCH,
    "compile": SWITCH,
    "save_path": (PATHS[0], "", PATHS[2]),
    "exp_name": ("run é 'a b' ...", "'' . .. a/b 'a\\b'", lambda v: v and "/" not in v),
    "audit": among("means labels"),
    "tensorboard": SWITCH,
    "resume": SWITCH,
    "overwrite": SWITCH,
    "dry_run": SWITCH,
    "config": ("", "'' nowhere.json /tmp", lambda value: isinstance(value, str)),
}  # fmt: skip
# what the command line of a system can hold, lone surrogates for the bytes that are no UTF-8
any_text = st.text(st.characters(exclude_characters="\0"), max_size=8)
huge = st.sampled_from(["9" * 400, "9" * 5000, "1e99999", "-" + "9" * 400, "a" * 5000, "٣", "1_0"])


@st.composite
def command_lines(draw: Any, odd: Collection[str] = tuple(WORDS)) -> list[str]:
    """A few flags, most with values that they take; those in `odd` may hold any text.

    What one of them needs stands before it, unless another one says otherwise.
    """
    words: list[str] = []
    for name in draw(st.lists(st.sampled_from(sorted(WORDS)), max_size=5)):
        having = [scheme for scheme in SCHEMES if name in SCHEMES[scheme]]
        if having:
            words.insert(0, f"--mod_scheme={draw(st.sampled_from(having))}")
        if name in ("linear_lr", "linear_bsize", "linear_scheme"):
            words.insert(0, "--linear_init=3")
        good, bad = (shlex.split(listed) for listed in WORDS[name][:2])
        values = [st.sampled_from(good)] * 15 if good else []
        if name in odd:
            values += [any_text, huge, *([st.sampled_from(bad)] if bad else [])]
        if values:
            words.append(f"--{name}={draw(st.one_of(values))}")
    return words


def parsed(words: Sequence[str]) -> Config | None:
    """The settings, None where they are refused."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parse_args(words)
    except UserError:
        return None


def test_every_flag_has_a_row():
    assert list(WORDS) == list(FLAGS)


@pytest.mark.parametrize("name", WORDS)
def test_the_words_of_a_flag_are_taken_or_refused(name):
    good, bad, _ = WORDS[name]
    for word in shlex.split(good):
        FLAGS[name].metadata["parse"](word)
    for word in shlex.split(bad):
        with pytest.raises(UserError):
            parse_args([f"--{name}={word}"])


@settings(max_examples=300)
@given(words=command_lines())
def test_a_command_line_gives_values_in_their_ranges_or_a_user_error(words):
    config = parsed(words)
    event("taken" if config else "refused")
    if config:
        for name, (_, _, obeys) in WORDS.items():
            assert obeys(getattr(config, name)), name


@settings(max_examples=150)
@given(
    words=st.lists(any_text | huge | st.sampled_from(["--lr", "--", "-", "--=", "---"]), max_size=4)
)
def test_words_that_are_no_flags_are_a_user_error(words):
    with contextlib.suppress(SystemExit):  # --help
        parsed(words)


@settings(max_examples=150)
@given(words=command_lines())
def test_a_refused_command_line_costs_one_line(words):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run(main.main, [*words, "--dry_run=true"])
    err.seek(0)
    said = err.read()
    if status:
        assert status == 2
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert said[:-1].isprintable()
    else:
        assert all(line.startswith("note: ") for line in said.splitlines())


@settings(max_examples=200)
@given(words=command_lines(odd=TEXTS))
def test_the_shortest_command_gives_the_same_settings(words):
    config = parsed(words)
    assume(config)
    again = parse_args(shlex.split(command(config))[2:])
    for name, flag in FLAGS.items():
        if flag.metadata["names_run"]:
            assert getattr(again, name) == getattr(config, name), name


@settings(max_examples=200)
@given(words=command_lines(odd=TEXTS))
@example(words=["--weights=\x1f"])
@example(words=["--dataset=/\udcff"])
def test_the_settings_of_a_run_are_read_back(words):
    config = parsed(words)
    assume(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({**config.settings(), "environment": {"torch": "1"}}))
        assert read_config(path).settings() == config.settings()
        assert parse_args(["--config", str(path)]).settings() == config.settings()


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=200)
@given(saved=st.dictionaries(st.sampled_from(sorted(WORDS)), anything, max_size=3) | anything)
def test_a_config_file_of_anything_is_a_user_error_or_in_range(saved):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(saved))
        config = parsed(["--config", str(path)])
    if config:
        for name, (_, _, obeys) in WORDS.items():
            assert obeys(getattr(config, name)), name


# Labels

NUM_TRAIN, NUM_TEST = 8, 4
LEGAL = {"full": (0, 1), "partial": (-1, 0, 1)}
numeric = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?"),
)
odd_dtypes = st.one_of(
    arrays.complex_number_dtypes(endianness="?"),
    arrays.unicode_string_dtypes(max_len=3),
    arrays.byte_string_dtypes(max_len=3),
    arrays.datetime64_dtypes(endianness="?"),
    arrays.timedelta64_dtypes(endianness="?"),
    arrays.nested_dtypes(max_itemsize=64),
    st.just(np.dtype(object)),
)


@st.composite
def label_tables(draw: Any, rows: int, columns: int, truth: str) -> np.ndarray:
    """Labels as they should be, of any numeric dtype."""
    dtype = draw(numeric)
    legal = [value for value in LEGAL[truth] if value >= 0 or dtype.kind in "if"]
    labels = draw(arrays.arrays(np.int8, (rows, columns), elements=st.sampled_from(legal)))
    if draw(st.integers(0, 9)):
        labels[:, draw(st.integers(0, columns - 1))] = 1  # without a positive there is no mAP
    return np.array(labels, dtype, order=draw(st.sampled_from("CF")))


@st.composite
def odd_labels(draw: Any, rows: int, columns: int, truth: str) -> np.ndarray:
    """Labels of another dtype or shape, or with a value that is none, or not everywhere."""
    labels = draw(label_tables(rows, columns, truth))
    kind = draw(st.sampled_from(["dtype", "shape", "value"]))
    if kind == "dtype":
        return np.zeros((rows, columns), draw(odd_dtypes))
    if kind == "shape":
        return np.resize(labels, draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)))
    value = draw(st.sampled_from([-1, 2, 100, 0.5, math.nan, math.inf, 1e-7, -0.0]))
    changed = labels.astype(draw(st.sampled_from(["f2", "f8", ">f4"])))
    changed[draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))] = value
    return changed


def legible(labels: np.ndarray, rows: int, truth: str) -> bool:
    """Whether the table holds a legal label for every image and class."""
    if labels.dtype.kind not in "biuf" or labels.ndim != 2 or len(labels) != rows:
        return False
    return all(value in LEGAL[truth] for value in labels.ravel().tolist())


def meaning(value: float, truth: str) -> int:
    """1 positive, -1 negative, 0 unknown."""
    return {0: -1, 1: 1}[int(value)] if truth == "full" else int(value)


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5),
    min_size=NUM_TRAIN + NUM_TEST, max_size=NUM_TRAIN + NUM_TEST, unique=True,
)  # fmt: skip


@settings(max_examples=300)
@given(data=st.data(), truth=st.sampled_from(["full", "partial", "none"]), names=names)
def test_labels_are_exactly_those_of_the_files_or_refused(data, truth, names):
    columns = data.draw(st.integers(1, 4))
    sizes = {"train": NUM_TRAIN, "val": NUM_TEST}
    listed = {"train": np.array(names[:NUM_TRAIN]), "val": np.array(names[NUM_TRAIN:])}
    if all(name.isascii() for name in names) and data.draw(st.booleans()):
        listed = {part: np.char.encode(listed[part], "ascii") for part in listed}
    kinds = {"labels": truth, "labels_obs": "partial"}
    if truth == "none":
        del kinds["labels"]
    keys = [(part, kind) for part in sizes for kind in kinds]
    culprit = data.draw(st.sampled_from([None, *keys]))
    files = {}
    for part, kind in keys:
        tables = odd_labels if (part, kind) == culprit else label_tables
        files[part, kind] = data.draw(tables(sizes[part], columns, kinds[kind]))
    legal = all(legible(a, sizes[part], kinds[kind]) for (part, kind), a in files.items())
    legal &= len({array.shape[1:] for array in files.values()}) == 1

    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "set"
        folder.mkdir()
        (folder / "dataset.json").write_text(json.dumps({"truth": truth}))
        for part in sizes:
            np.save(array_path(folder, part, "images"), listed[part])
        for (part, kind), array in files.items():
            np.save(array_path(folder, part, kind), array, allow_pickle=True)
        variant = "observed" if truth == "none" else "clean"
        config = tiny.settings(
            folder, Path(root), "--val_set_variant", variant, "--val_frac", "0.4"
        )
        loaded, error = None, ""
        try:
            loaded = load_data(config)
        except UserError as refusal:
            error = str(refusal)
    event("loaded" if loaded else "refused")
    assert legal or error
    if loaded is None:
        assert not legal or "is positive" in error or "known to be negative" in error, error
        return
    assert sorted([*loaded.train.names, *loaded.val.names]) == sorted(names[:NUM_TRAIN])
    assert list(loaded.test.names) == names[NUM_TRAIN:]
    for split, part in ((loaded.train, "train"), (loaded.val, "train"), (loaded.test, "val")):
        in_file = names[:NUM_TRAIN] if part == "train" else names[NUM_TRAIN:]
        for place, name in enumerate(split.names):
            row = in_file.index(name)
            observed = [meaning(v, "partial") for v in files[part, "labels_obs"][row].tolist()]
            assert split.observed is not None
            assert split.observed[place].tolist() == observed
            if split.truth is not None:
                known = [meaning(v, truth) for v in files[part, "labels"][row].tolist()]
                assert split.truth[place].tolist() == known
        assert (split.truth is None) == (truth == "none")


# Damaged files


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The content with a bit flipped, bytes inserted, overwritten or cut out, or its end lost."""
    place = draw(st.integers(0, len(content) - 1))
    kind = draw(st.sampled_from(["flip", "insert", "overwrite", "remove", "cut"]))
    if kind == "flip":
        flipped = content[place] ^ (1 << draw(st.integers(0, 7)))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    new = draw(st.binary(min_size=1, max_size=8))
    kept = place if kind == "insert" else place + len(new)
    return content[:place] + (b"" if kind == "remove" else new) + content[kept:]


def refused(read: Callable[[], Any]) -> bool:
    """Whether `read` raises UserError; anything else that it raises passes."""
    try:
        read()
    except UserError:
        return True
    return False


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("run")
    _, folder = tiny.train(tiny.make_folder(root), root / "runs", "--num_epochs", "2")
    return folder


@settings(max_examples=200)
@given(
    content=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"\x93NUMPY\1\0" + b)
)
@example(b"\x93NUMPY\1\0\x76\0{'descr': '|O', 'fortran_order': False, 'shape': (9,), }" + b" " * 60)
def test_random_bytes_are_no_files(tmp_path, run_dir, content):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    (tmp_path / "config.json").write_bytes(content)
    (tmp_path / "metrics.csv").write_bytes(content)
    record = RunRecord(tmp_path)
    reads: list[Callable[[], Any]] = [
        lambda: load_array(path),
        lambda: load_tensors(path),
        lambda: read_config(path),
        record.read_config,
        record.read_summary,
        record.read_metrics,
    ]
    for read in reads:
        refused(read)
    assert refused(lambda: load_tensors(path))


@settings(max_examples=200)
@given(data=st.data(), labels=arrays.arrays(np.int8, (5, 3), elements=st.integers(-1, 1)))
def test_a_damaged_array_is_refused_or_as_long(tmp_path, data, labels):
    path = tmp_path / "labels.npy"
    np.save(path, labels)
    content = path.read_bytes()
    changed = data.draw(damaged(content))
    path.write_bytes(changed)
    if content.startswith(changed) and len(changed) < len(content):
        assert refused(lambda: load_array(path))
    else:
        refused(lambda: load_array(path))


def state_of(run_dir) -> State:
    """The state of that run before its first epoch."""
    config = read_config(run_dir / "config.json")
    data, (phase,) = load_data(config), phases_of(config)
    model = build_model(config.arch, len(data.classes), image_size=config.image_size)
    return build_state(config, data, own_options(config, data), model, phase, [])


def take_up(state: State, folder: Path) -> None:
    """Go on from the checkpoint in the folder."""
    found = read_checkpoint(folder)
    assert found
    state.take(found)


@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_checkpoint_is_noticed(tmp_path, data):
    """Whatever bit or byte changes: refused, or exactly what was written."""
    content = small_checkpoint()
    path = tmp_path / LAST
    path.write_bytes(data.draw(damaged(content)))
    try:
        loaded = load_tensors(path)
    except UserError:
        event("refused")
        return
    event("unharmed")
    tiny.assert_same_tensors(loaded, torch.load(io.BytesIO(content), weights_only=True))


def small_checkpoint() -> bytes:
    """A file as last.pt is one, that quickly shows what happens to any of its bits."""
    packed = io.BytesIO()
    content = {"model": {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)},
               "rows": [{"epoch": 1, "val_map": 50.5, "phase": "linear"}]}  # fmt: skip
    torch.save(content, packed)
    return packed.getvalue()


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_checkpoint_is_never_resumed_from(tmp_path, run_dir, data):
    state = state_of(run_dir)
    take_up(state, run_dir)
    (tmp_path / LAST).write_bytes(data.draw(damaged((run_dir / LAST).read_bytes())))
    if refused(lambda: take_up(state, tmp_path)):
        event("refused")
        return
    event("unharmed")
    whole = tiny.load(run_dir / LAST)
    tiny.assert_same_tensors(state.model.state_dict(), whole["model"])
    tiny.assert_same_tensors(state.rows, whole["rows"])


@settings(max_examples=200)
@given(data=st.data(), name=st.sampled_from(["config.json", "summary.json", "metrics.csv"]))
def test_a_damaged_record_is_read_or_refused(tmp_path, run_dir, data, name):
    for file in ("config.json", "summary.json", "metrics.csv"):
        (tmp_path / file).write_bytes((run_dir / file).read_bytes())
    (tmp_path / name).write_bytes(data.draw(damaged((run_dir / name).read_bytes())))
    record = RunRecord(tmp_path)
    for read in (record.read_config, record.read_summary, record.read_metrics):
        refused(read)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run(report.main, [str(tmp_path)])
    err.seek(0)
    assert status in (0, 2)
    assert err.read().count("\n") == status // 2


@settings(max_examples=200)
@given(data=st.data())
def test_a_summary_of_anything_is_reported_or_refused(tmp_path, run_dir, data):
    """Each value of the file replaced in turn by one of any type."""
    (tmp_path / "config.json").write_bytes((run_dir / "config.json").read_bytes())
    summary = json.loads((run_dir / "summary.json").read_text())
    summary[data.draw(st.sampled_from(sorted(summary)))] = data.draw(anything)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(report.main, [str(tmp_path)]) in (0, 2)
