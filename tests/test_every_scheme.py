"""Every scheme on every kind of data set, end to end and after a linear phase.

A scheme joins by its place in recipes.SCHEMES, a data set by its place in recipes.RECIPES.
"""

import functools
import json
import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import losses
import result
import train as training
from data import digits, prepare
from priors import write_prior
from recipes import RECIPES, SCHEMES
from tests import releases, tiny
from tests.test_train import metrics
from tests.tiny import assert_same_tensors, load

KINDS = ("digits", "pascal", "openimages")  # in memory; files with dense, with sparse labels
OTHERS = [name for name in RECIPES if name not in KINDS]
STARTS = ("end to end", "LinearInit")


class Set(NamedTuple):
    """A tiny data set, the folder that holds its own, its classes."""

    name: str
    data_root: Path
    classes: tuple[str, ...]


class Whole(NamedTuple):
    """An undisturbed run."""

    summary: dict
    folder: Path
    untouched: list[bool]  # for each epoch, whether it left what people annotated as it was


def make(name, root):
    """The set in `root`, by the maker of its tiny release and the code that prepares it."""
    if name == "digits":
        return Set(name, root, digits.CLASSES)
    if name == "openimages":  # most labels unknown for good
        tiny.make_sparse_folder(root).rename(root / name)
    else:
        options = {"spml": True} if name == "nuswide" else {}
        getattr(releases, f"make_{name}")(root, **options)
        prepare.main([name, "--no_download", "--data_root", str(root)])
    about = json.loads((root / name / "dataset.json").read_text())
    return Set(name, root, tuple(about["classes"]))


def options_of(scheme, made):
    """Options with which a scheme does all it can in two epochs on this set."""
    options = []
    if "apl_start" in SCHEMES[scheme]:
        options += ["--apl_start", "1"]
    if "expected_positives" in SCHEMES[scheme] and made.name == "openimages":
        options += ["--expected_positives", "12"]
    if "prior" in SCHEMES[scheme] and made.name != "digits":
        path = made.data_root / "prior.csv"
        write_prior(path, made.classes, [0.1 * (k % 2) for k in range(len(made.classes))])
        options += ["--prior", str(path)]
    return options


def epochs_of(scheme):
    """How many epochs it takes until a resumed one would miss what the scheme has learned."""
    return 3 if losses.SCHEMES[scheme].permanent else 2


def words_of(start, scheme):
    """The flags of the phases, each as long."""
    linear = ("--linear_init", str(epochs_of(scheme))) if start == "LinearInit" else ()
    return ("--num_epochs", str(epochs_of(scheme)), *linear)


def stops_of(start, scheme):
    """The phase and epoch of each stop that is worth a try: late in a phase, or as one begins."""
    late = epochs_of(scheme)
    linear = [("linear", late), ("finetune", 1)] if start == "LinearInit" else []
    return [*linear, ("finetune", late)]


def stop_in(monkeypatch, phase, epoch, error=KeyboardInterrupt):
    """Let training be stopped in the middle of that epoch of that phase."""
    one_epoch = training.train_one_epoch

    def stopping(state, images, at, *rest):
        audit = one_epoch(state, images, at, *rest)
        if (state.phase.name, at) == (phase, epoch):
            raise error
        return audit

    monkeypatch.setattr(training, "train_one_epoch", stopping)


def watch_labels(monkeypatch):
    """A list of whether the epochs that are trained from now on leave the human labels alone."""
    one_epoch, untouched = training.train_one_epoch, []

    def watched(state, images, *rest):
        everything = torch.arange(images.batch_sampler.num_images)
        human, truth = state.labels.human(everything), state.labels.truth(everything)
        audit = one_epoch(state, images, *rest)
        observed = state.labels.observed(everything)
        untouched.append(
            torch.equal(state.labels.human(everything), human)
            and torch.equal(state.labels.truth(everything), truth)
            and torch.equal(observed[human != 0], human[human != 0])
        )
        return audit

    monkeypatch.setattr(training, "train_one_epoch", watched)
    return untouched


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Fewer canvases of digits, composed once, and no picture of curves, which others look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "NUM_TRAIN", 60)
        patch.setattr(digits, "NUM_TEST", 40)
        patch.setattr(digits, "compose", functools.cache(digits.compose))
        patch.setattr(result, "draw_curves", lambda *args: None)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A function that makes a set, once."""
    return functools.cache(lambda name: make(name, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module")
def trained(sets):
    """A function that trains a scheme on one of the sets."""

    def train(kind, scheme, save_path, *more):
        made = sets(kind)
        words = ("--mod_scheme", scheme, "--data_root", str(made.data_root), "--bsize", "8")
        return tiny.train(made.name, save_path, *words, *options_of(scheme, made), *more)

    return train


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    """A function for an undisturbed run, made once."""

    @functools.cache
    def run(kind, scheme, start):
        with pytest.MonkeyPatch.context() as patch:
            untouched = watch_labels(patch)
            done = trained(kind, scheme, tmp_path_factory.mktemp("whole"), *words_of(start, scheme))
        return Whole(*done, untouched)

    return run


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_runs_and_resumes_exactly(
    trained, whole, tmp_path, monkeypatch, scheme, kind, start
):
    undisturbed = whole(kind, scheme, start)
    words, stops = words_of(start, scheme), stops_of(start, scheme)
    place = list(SCHEMES).index(scheme) + KINDS.index(kind)  # the stops take turns
    with monkeypatch.context() as patch:
        stop_in(patch, *stops[place % len(stops)])
        with pytest.raises(KeyboardInterrupt):
            trained(kind, scheme, tmp_path, *words)
    summary, resumed = trained(kind, scheme, tmp_path, *words, "--resume")

    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(resumed / name), load(undisturbed.folder / name))
    assert metrics(resumed) == metrics(undisturbed.folder)
    assert_same_tensors(summary, undisturbed.summary)
    assert json.loads((resumed / "summary.json").read_text()) == summary


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_its_losses_are_numbers_and_no_annotation_changes(whole, scheme, kind, start):
    run = whole(kind, scheme, start)
    rows = metrics(run.folder)
    length = epochs_of(scheme)
    linear = ["linear"] * length if start == "LinearInit" else []
    assert [row["phase"] for row in rows] == [*linear, *["finetune"] * length]
    assert all(math.isfinite(float(row["train_loss"])) for row in rows)
    assert all(0 < float(row["val_map"]) <= 100 for row in rows)
    assert 0 < run.summary["test_map"] <= 100
    assert run.untouched == [True] * len(rows)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_schemes_have_learned_is_in_the_checkpoint(whole, kind, start):
    def checkpoint(scheme):
        return load(whole(kind, scheme, start).folder / "last.pt")

    estimated = checkpoint("ROLE")["scheme"]["estimator"]
    soft = checkpoint("EM+APL")["scheme"]["soft_labels"]
    assert estimated.shape == soft.shape
    assert estimated.unique().numel() > 0.5 * estimated.numel()
    assert 0.4 < (soft >= 0).float().mean() < 0.9
    labels, rows = (checkpoint("LL-Cp")[part] for part in ("labels", "rows"))
    sparse = "columns" in labels
    assert sparse == (kind == "openimages")
    corrected = len(labels["columns"]) if sparse else int(labels["corrected"].sum())
    assert corrected == sum(row["selected"] for row in rows if row["phase"] == "finetune") > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains_with_boost_lu(trained, whole, tmp_path, scheme):
    summary, run_dir = trained("digits", scheme, tmp_path, "--boostlu", "5", "--num_epochs", "1")
    (row,) = metrics(run_dir)
    assert math.isfinite(float(row["train_loss"]))
    assert 0 < summary["test_map"] <= 100
    assert training.load_run(run_dir)[0].boost == 5
    plain = metrics(whole("digits", scheme, "end to end").folder)[0]
    assert row["train_loss"] != plain["train_loss"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains_on_the_other_sets_too(trained, tmp_path, scheme):
    """The schemes take turns: each of them on one of the sets."""
    kind = OTHERS[list(SCHEMES).index(scheme) % len(OTHERS)]
    summary, run_dir = trained(kind, scheme, tmp_path, "--num_epochs", "1", "--linear_init", "1")
    assert all(math.isfinite(float(row["train_loss"])) for row in metrics(run_dir))
    assert 0 < summary["test_map"] <= 100
