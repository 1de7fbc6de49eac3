"""Suggested labels: the score by hand, what the tool writes, what it refuses, what docs say."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from benchmarks.suggestions import tables
from datasets import split_indices
from evaluation import evaluate
from hardware import find_hardware
from label_history import read_history
from tests import tiny
from tools import suggest, suggestions
from tools.report import insert
from tools.tables import markdown
from train import load_run

ROOT = Path(__file__).parents[1]


def loss_of(p):
    return -np.log1p(-np.asarray(p, float))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("suggest")
    _, found = tiny.train(tiny.make_folder(root), root, "--mod_scheme", "LL-R", "--audit", "labels")
    return found


@pytest.fixture
def suggested(run_dir, tmp_path, capsys):
    """A function that runs the tool with more flags: the rows that it writes, and what it says."""

    def suggested(*more, run=run_dir):
        out = tmp_path / "out"
        status = cli.run(suggest.main, [str(run), "--out", str(out), *more])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        with (out / suggestions.CSV).open(newline="") as file:
            return list(csv.DictReader(file)), printed.out

    return suggested


# The score


def test_the_score_is_the_mean_probability_weighted_by_the_squared_epoch():
    loss = loss_of([[[0.5, 0.0]], [[0.25, 1 - 1e-7]], [[0.1, 0.5]]])
    expected = [[(0.5 + 4 * 0.25 + 9 * 0.1) / 14, (0 + 4 * 1 + 9 * 0.5) / 14]]
    np.testing.assert_allclose(suggestions.score(loss), expected, rtol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_the_score_is_a_probability_and_of_one_epoch_that_one_itself(epochs):
    loss = np.random.RandomState(epochs).gamma(1, 3, (epochs, 20, 5)).astype(np.float16)
    loss[-1, 0] = np.finfo(np.float16).max
    found = suggestions.score(loss)
    assert found.shape == (20, 5)
    assert 0 <= found.min() <= found.max() <= 1
    if epochs == 1:
        np.testing.assert_allclose(found, suggestions.probabilities(loss[0]))


def test_early_is_the_first_half():
    loss = loss_of([[0.2], [0.4], [0.9]])
    np.testing.assert_allclose(suggestions.early_score(loss), [0.3], rtol=1e-5)


def test_only_unobserved_labels_are_ranked_and_ties_stay_in_order():
    scores = np.array([[0.5, 0.9, 0.5], [0.5, 0.7, 0.1]])
    unobserved = np.array([[True, False, True], [True, True, True]])
    found = suggestions.rank(scores, unobserved)
    order = [(1, 1), (0, 0), (0, 2), (1, 0), (1, 2)]
    assert list(zip(found.row.tolist(), found.column.tolist(), strict=True)) == order
    found = suggestions.rank(scores, unobserved, columns=[2])
    assert (found.row.tolist(), found.score.tolist()) == ([0, 1], [0.5, 0.1])


def test_what_is_printed_of_a_ranking():
    """Labels of unknown truth count for nothing."""
    truth = np.array([[1, -1, 0, 1, -1]], np.int8)
    ranking = suggestions.Ranked(np.zeros(5, int), np.arange(5), np.arange(5, 0, -1) / 5)
    lines = list(suggest.measured(ranking, 3, truth))
    assert lines == [
        "Precision at 3 : 50.00 %", "Average precision : 83.33 %",
        "Recall : 50.00 % (1 of 2 missing)",
    ]  # fmt: skip
    assert list(suggest.measured(ranking, 3, None)) == []
    assert list(suggest.measured(ranking, 3, -np.abs(truth))) == []


# The tool


def test_the_table_says_what_the_history_and_the_model_say(suggested, run_dir):
    rows, said = suggested("--top", "7")
    assert len(rows) == 7
    assert "Precision at 7 : " in said
    model, _, classes = load_run(run_dir)
    history = read_history(run_dir, "finetune", 3, (24, 4))
    evidence = suggestions.read_evidence(run_dir)
    names = evidence.data.train.names.tolist()
    images = evidence.data.train.images.__getitems__(range(24))[0]
    with torch.inference_mode():
        final = model(images).sigmoid().numpy()
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        at = names.index(row["image"]), classes.index(row["label"])
        assert evidence.unobserved[at]
        assert int(row["truth"]) == evidence.truth[at]
        p = 1 - np.exp(-history.loss[:, at[0], at[1]].astype(float))
        assert float(row["score"]) == pytest.approx((p * [1, 4, 9]).sum() / 14, abs=1e-4)
        assert float(row["early_score"]) == pytest.approx(p[:2].mean(), abs=1e-4)
        assert float(row["final_score"]) == pytest.approx(final[at], abs=1e-4)
        when = 1 + np.flatnonzero(history.selected[:, at[0], at[1]])
        assert row["epochs_selected"] == str(len(when))
        assert row["first_epoch_selected"] == (str(when[0]) if len(when) else "")


def test_class_maps_are_those_of_the_suggested_classes(run_dir):
    """Whatever the order in which the images come, and however many classes are of one."""
    args = suggest._parser().parse_args([str(run_dir)])
    run = suggest.loading.load(args)
    chosen = suggestions.Ranked(np.array([9, 2, 9, 20]), np.array([3, 0, 1, 2]), np.zeros(4))
    hardware = find_hardware("cpu", 0, "off")
    every = evaluate(run.model.class_maps, run.loader(run.data.train), hardware).numpy()
    expected = every[chosen.row, chosen.column]
    np.testing.assert_allclose(suggest._maps_of(run, chosen), expected, atol=1e-5)


def test_without_weights_the_history_alone_does(suggested, run_dir, tmp_path):
    with_weights, _ = suggested("--top", "9")
    bare = tmp_path / "bare"
    shutil.copytree(run_dir, bare, ignore=shutil.ignore_patterns("*.pt"))
    rows, _ = suggested("--top", "9", run=bare)
    same = ("image", "label", "score", "early_score", "epochs_selected", "truth")
    assert [[row[name] for name in same] for row in rows] == [
        [row[name] for name in same] for row in with_weights
    ]
    page = (tmp_path / "out" / "index.html").read_text()
    assert '"maps":null' in page


def test_filters(suggested):
    everything, _ = suggested()
    rows, _ = suggested("--label", "class 1", "class 3")
    assert rows == [row for row in everything if row["label"] in ("class 1", "class 3")]
    least = everything[4]["score"]
    rows, _ = suggested("--min_score", f"{float(least) - 1e-6}")
    assert rows == everything[: len(rows)]
    assert len(rows) >= 5


def test_where_the_truth_is_unknown_nothing_is_measured(suggested, tmp_path, capsys):
    folder = tiny.make_folder(tmp_path)
    (folder / "dataset.json").write_text('{"truth": "none"}')
    more = ("--val_set_variant", "observed", "--audit", "labels", "--mod_scheme", "AN")
    _, run = tiny.train(folder, tmp_path, *more, "--num_epochs", "1")
    capsys.readouterr()
    rows, said = suggested(run=run)
    assert {(row["truth"], row["epochs_selected"]) for row in rows} == {("", "")}
    assert said.count("\n") == 1


def spoil(path):
    """What the image of a run that is copied to this path becomes."""
    path.write_bytes(path.read_bytes()[:40])


@pytest.fixture
def copied(run_dir, tmp_path):
    """The run and its data, both elsewhere: their folders."""
    run, folder = shutil.copytree(run_dir, tmp_path / "run"), tmp_path / "data"
    shutil.copytree(run_dir.parent / "tiny", folder)
    return run, folder


def test_data_that_has_moved_is_named_by_a_flag(suggested, copied, capsys):
    run, folder = copied
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": str(folder.parent / "gone")}))
    assert cli.run(suggest.main, [str(run)]) == 2
    error = capsys.readouterr().err
    assert f"gone, the data of {run}, is missing: say by --dataset where it is" in error
    assert error.count("\n") == 1
    assert suggested("--dataset", str(folder), run=run) == suggested()


def test_an_image_that_cannot_be_read_is_passed_over(suggested, copied, tmp_path, capsys):
    """Its suggestions stay, without picture, class map, and what the best model makes of it."""
    run, folder = copied
    whole, _ = suggested("--top", "30", "--dataset", str(folder), run=run)
    name = whole[0]["image"]
    spoil(folder / name)
    words = [str(run), "--top", "30", "--dataset", str(folder), "--out", str(tmp_path / "out")]
    assert cli.run(suggest.main, words) == 0
    error = capsys.readouterr().err
    assert error.startswith(f"bad image: {folder / name} is no image")
    assert error.count("\n") == 1
    rows, _ = suggested("--top", "30", "--dataset", str(folder), run=run)
    loss = suggestions.read_evidence(run, None, str(folder)).history.loss[-1]
    names = np.load(folder / "formatted_train_images.npy")
    at = (split_indices(len(names), 0.2, 1200)[0] == np.flatnonzero(names == name)[0]).argmax()
    assert len(rows) == len(whole) == 30
    for row, before in zip(rows, whole, strict=True):
        final, expected = float(row.pop("final_score")), float(before.pop("final_score"))
        if row["image"] == name:
            expected = suggestions.probabilities(loss[at, int(row["label"][-1])])
        assert final == pytest.approx(expected, abs=2e-6)
        assert row == before
    page = (tmp_path / "out" / "index.html").read_text()
    told = content_of(page)
    (bad,) = (image for image in told["images"] if image["name"] == name)
    assert bad["picture"][0] == ""
    for item in told["items"]:
        assert (item["map"] == "") == (told["images"][item["image"]] is bad)


def content_of(page):
    """What a page is told."""
    return json.loads(re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_where_no_image_can_be_read_there_are_suggestions(suggested, copied):
    run, folder = copied
    expected = [(row["image"], row["label"]) for row in suggested()[0]]
    for path in (folder / "train").iterdir():
        path.unlink()
    rows, _ = suggested("--dataset", str(folder), run=run)
    assert [(row["image"], row["label"]) for row in rows] == expected


def test_a_run_that_left_images_out_is_read_as_it_was_trained(suggested, tmp_path):
    """More of its images being damaged now."""
    folder = tiny.make_folder(tmp_path)
    rows, _ = split_indices(30, 0.2, 1200)
    first, second = np.load(folder / "formatted_train_images.npy")[rows[:2]]
    spoil(folder / first)
    more = ("--audit", "labels", "--num_epochs", "1", "--on_bad_image", "skip")
    _, run = tiny.train(folder, tmp_path, *more)
    rows, _ = suggested(run=run)
    spoil(folder / second)
    assert [row["image"] for row in suggested(run=run)[0]] == [row["image"] for row in rows]
    assert first not in {row["image"] for row in rows}
    assert second in {row["image"] for row in rows}


def test_an_unfinished_run_says_what_it_lacks(run_dir, tmp_path, capsys):
    def said():
        assert cli.run(suggest.main, [str(run), "--out", str(tmp_path / "out")]) == 0
        return capsys.readouterr().err.splitlines()

    run = shutil.copytree(run_dir, tmp_path / "run")
    assert said() == []
    (run / "summary.json").unlink()
    (run / "bestmodel.pt").unlink()
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[:3]))
    assert said() == [
        "note: the run has not finished: 2 of 3 epochs",
        "note: no bestmodel.pt: no class maps, final_score is that of the last epoch",
    ]


@pytest.mark.parametrize(
    ("damage", "flags", "said"),
    [
        ("labels", [], "is missing: train the run with --audit labels"),
        ("config.json", [], "holds no run"),
        ("metrics.csv", [], "metrics.csv is missing"),
        ("", ["--label", "clas 1"], "'clas 1' is no class, did you mean class 1?"),
        ("", ["--min_score", "1"], "no unobserved label scores as much"),
        ("", ["--top", "0"], "--top: 0 must be a whole number >= 1"),
        ("", ["--out", str(Path(__file__).parent)], "tests holds something else"),
        ("data", [], "train observed are not those of"),
        ("data", [], "restore them, or say by --dataset or --data_root where they are"),
    ],
)
def test_mistakes_cost_one_line(run_dir, tmp_path, capsys, damage, flags, said):
    bad = tmp_path / "bad"
    shutil.copytree(run_dir, bad)
    if damage == "labels":
        shutil.rmtree(bad / damage)
    elif damage == "data":
        content = json.loads((bad / "config.json").read_text())
        content["environment"]["data"]["train observed"] = "0" * 16
        (bad / "config.json").write_text(json.dumps(content))
    elif damage:
        (bad / damage).unlink()
    assert cli.run(suggest.main, [str(bad), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_where_nothing_can_be_written_nothing_is_computed(run_dir, monkeypatch, capsys):
    monkeypatch.setattr(suggestions, "read_evidence", None)
    out = Path(__file__) / "x"
    assert cli.run(suggest.main, [str(run_dir), "--out", str(out)]) == 2
    assert capsys.readouterr() == ("", f"error: cannot write {out}: Not a directory\n")


# What the page says


def test_the_tables_of_the_page_are_those_of_the_record():
    page = (ROOT / "docs" / "suggest.md").read_text()
    result = json.loads((ROOT / "docs" / "suggest.json").read_text())
    for name, table in tables(result).items():
        assert insert(page, name, markdown(table)) == page, name


def test_the_score_is_as_good_as_plain_confidence_but_in_a_run_of_ll_ct():
    found = json.loads((ROOT / "docs" / "suggest.json").read_text())["scores"]
    ours = found["mean p weighted by epoch^2 (the score)"]
    plain = found["p of the last epoch (plain confidence)"]
    for method in ("AN", "LL-R", "LL-Cp"):
        means = [np.mean(kind[method]["average precision"]) for kind in (ours, plain)]
        assert means[0] >= means[1], method
    more = np.subtract(*(kind["LL-Ct"]["average precision"] for kind in (ours, plain)))
    assert more.round(1).tolist() == [-4.7, 1.3, 0.9], "as the page says"


def test_the_readme_says_what_the_record_says_of_a_second_run():
    found = json.loads((ROOT / "docs" / "suggest.json").read_text())["after"]["test_map"]
    before, after = (np.mean([*found[name].values()]) for name in ("before_AN", "after_3000_AN"))
    said = f"3,000 suggestions taken over unseen lift AN from {before:.1f} to {after:.1f}"
    assert said in (ROOT / "README.md").read_text(encoding="utf-8")
