"""tools.evaluate in full: its numbers, its files, other data sets."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

import cli
from data.formatted import array_path
from evaluation import evaluate as outputs
from tests import tiny
from tools import evaluate, loading
from tools.figure_ap import draw_ap
from tools.measured import Measured, measure, rules_of
from tools.metrics import best_thresholds, probabilities


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    return tiny.train(tiny.make_folder(root), root / "results", "--num_epochs", "1")[1]


@pytest.fixture
def other(run_dir, tmp_path):
    """Another folder of the same classes and images."""
    return shutil.copytree(run_dir.parents[1] / "tiny", tmp_path / "other")


@pytest.fixture
def called(capfd):
    """Calls the tool: its exit status, what it prints and what it says on stderr."""

    def call(*words):
        capfd.readouterr()
        status = cli.run(evaluate.main, [str(word) for word in words])
        return (status, *capfd.readouterr())

    return call


def in_json(called, path, *words):
    assert called(*words, "--json", path)[0] == 0
    return json.loads(path.read_text())


def seen(run_dir, split):
    """The scores and labels of a split of the run."""
    parser = cli.Parser()
    loading.add_arguments(parser)
    run = loading.load(parser.parse_args([str(run_dir)]))
    chosen = run.data.splits[split]
    return probabilities(outputs(run.model, run.loader(chosen), run.hardware).numpy()), chosen


def test_the_numbers_are_those_of_scikit_learn(run_dir, called, tmp_path):
    scores, split = seen(run_dir, "test")
    truth, middle = split.truth == 1, np.median(scores)
    found = in_json(called, tmp_path / "a.json", run_dir, "--threshold", middle)
    for name, columns in (("fixed", scores >= middle),
                          ("val", scores >= best_thresholds(*chosen_on_val(run_dir)))):  # fmt: skip
        for average, keys in (("micro", ("OP", "OR", "OF1")), (None, None)):
            theirs = precision_recall_fscore_support(
                truth, columns, average=average, zero_division=0
            )[:3]
            if keys:
                ours = [found["overall"][name][key] for key in keys]
            else:
                kinds = [f"{name}_{kind}" for kind in ("precision", "recall", "f1")]
                ours = [[one[kind] for one in found["classes"]] for kind in kinds]
            assert np.array(ours) == pytest.approx(100 * np.array(theirs))
    ap = [100 * average_precision_score(truth[:, k], scores[:, k]) for k in range(4)]
    assert [one["ap"] for one in found["classes"]] == pytest.approx(ap)
    assert found["map"] == pytest.approx(np.mean(ap))
    assert [one["positives"] for one in found["classes"]] == truth.sum(axis=0).tolist()


def chosen_on_val(run_dir):
    scores, split = seen(run_dir, "val")
    return scores, split.truth


def test_thresholds_are_chosen_on_the_labels_that_chose_the_epoch_never_on_test(
    run_dir, called, tmp_path
):
    thresholds = {}
    for variant in ("clean", "observed"):
        copy = shutil.copytree(run_dir, tmp_path / variant)
        config = json.loads((copy / "config.json").read_text())
        config["val_set_variant"] = variant
        (copy / "config.json").write_text(json.dumps(config))
        for split in ("test", "train", "val"):
            found = in_json(called, tmp_path / "a.json", copy, "--split", split)
            assert found["val_labels"] == variant
            got = [one["val_threshold"] for one in found["classes"]]
            assert thresholds.setdefault(variant, got) == got
        scores, val = seen(run_dir, "val")
        labels = val.truth if variant == "clean" else val.observed_or_negative
        assert np.float32(thresholds[variant]).tolist() == best_thresholds(scores, labels).tolist()
    assert thresholds["clean"] != thresholds["observed"]


def test_full_prints_the_numbers_before_the_line_of_always(run_dir, called, tmp_path):
    plain = called(run_dir)[1]
    status, out, err = called(run_dir, "--full", "--per_class", "--top_k", 2, "--threshold", 0.4,
                              "--json", tmp_path / "a.json")  # fmt: skip
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] + "\n" == plain
    assert len(lines) == 1 + 4 + 1 + 5 + 1
    assert " ".join(lines[0].split()) == "class AP P at 0.4 R F1 P chosen on val R F1"
    assert " ".join(lines[5].split()) == "CP CR CF1 OP OR OF1"
    overall = json.loads((tmp_path / "a.json").read_text())["overall"]
    titles = ("at 0.4", "at 0.4, top 2", "chosen on val", "chosen on val, top 2", "top 2 always")
    for line, title, numbers in zip(lines[6:11], titles, overall.values(), strict=True):
        assert line.startswith(f"{title} ")
        shown = [float(word) for word in line[len("chosen on val, top 2") :].split()]
        assert shown == pytest.approx([*numbers.values()], abs=5e-4)


def test_csv_has_a_row_a_class(run_dir, called, tmp_path):
    called(run_dir, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = json.loads((tmp_path / "a.json").read_text())["classes"]
    assert [row["class"] for row in rows] == [f"class {k}" for k in range(4)]
    for row, one in zip(rows, classes, strict=True):
        assert row == {name: str(value) for name, value in one.items()}


def test_another_set_of_the_same_classes(run_dir, other, called):
    assert called(run_dir, "--dataset", other) == called(run_dir)
    (other / "dataset.json").write_text('{"groups": {"first": [0, 1]}}')
    status, out, err = called(run_dir, "--dataset", other, "--split", "train", "--full")
    assert (status, err) == (0, "")
    assert out.splitlines()[-2].startswith("first mAP : ")
    assert out.splitlines()[-1].endswith("on 30 images")  # no val is cut from it


def test_partial_truth_counts_what_is_annotated_alone(run_dir, other, called, tmp_path):
    path = other / "formatted_val_labels.npy"
    labels = np.load(path) * 2 - 1
    labels[::2, :2] = 0
    labels[:, 3] = 0
    for part in ("train", "val"):
        array = labels if part == "val" else np.load(other / "formatted_train_labels.npy") * 2 - 1
        tiny.write_array(other / f"formatted_{part}_labels.npy", array)
    (other / "dataset.json").write_text('{"truth": "partial"}')
    scores, _ = seen(run_dir, "test")
    middle = np.median(scores)
    words = (run_dir, "--dataset", other, "--threshold", middle)
    found = in_json(called, tmp_path / "a.json", *words)
    assert [one["annotated"] for one in found["classes"]] == [5, 5, 10, 0]
    assert found["classes"][3]["ap"] is None
    assert found["classes"][3]["fixed_f1"] is None
    chosen, known = scores >= middle, labels != 0
    hits = (chosen & (labels == 1)).sum()
    assert found["overall"]["fixed"]["OP"] == pytest.approx(100 * hits / (chosen & known).sum())
    assert found["overall"]["fixed"]["OR"] == pytest.approx(100 * hits / (labels == 1).sum())
    called(*words, "--csv", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines()[4].startswith("class 3,0,0,,")


def test_where_the_runs_own_data_is_gone_no_threshold_is_chosen(run_dir, other, called, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dataset": "./gone"}))
    assert called(copy, "--dataset", other) == called(run_dir)
    words = (copy, "--dataset", other, "--full", "--json", tmp_path / "a.json")
    status, out, err = called(*words)
    assert (status, err.count("\n")) == (0, 1)
    assert "warning: no thresholds are chosen on the run's val images" in err
    assert "chosen on val" not in out
    assert json.loads((tmp_path / "a.json").read_text())["val_labels"] is None


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_the_figure_has_the_kind_of_its_ending(run_dir, called, tmp_path, kind):
    path = tmp_path / f"ap.{kind}"
    assert called(run_dir, "--figure", path) == called(run_dir)
    assert path.read_bytes()[:4] in (b"\x89PNG", b"%PDF")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("count", "columns"), [(81, 2), (500, 3)])
def test_the_figure_of_so_many_classes(tmp_path, count, columns):
    ap = np.random.RandomState(0).rand(count) * 100
    ap[0] = np.nan  # left out: of 81 classes 80 are drawn
    classes = [f"class {k}" for k in range(count)]
    draw_ap(Measured(classes, 50.0, ap, {}, {}, {}), "title", tmp_path / "ap.png")
    with Image.open(tmp_path / "ap.png") as image:
        assert image.width == pytest.approx(110 * max(6, 5 * columns), abs=2)
        assert image.height == pytest.approx(110 * (1.5 + 0.19 * min(40, max(9, count))), abs=25)


def test_of_the_rules_those_with_a_top_k_predict_at_most_so_many():
    logits = np.random.RandomState(0).randn(50, 6).astype(np.float32)
    labels = np.where(np.random.RandomState(1).rand(50, 6) < 0.3, 1, -1).astype(np.int8)
    found = measure(logits, labels, "abcdef", {}, rules_of(0.3, 2, np.full(6, 0.6, np.float32)))
    predicted = {name: counts.predicted.sum() for name, counts in found.counts.items()}
    likely = (probabilities(logits) >= 0.3).sum(axis=1)
    assert predicted["fixed"] == likely.sum()
    assert predicted["fixed_top_k"] == np.minimum(likely, 2).sum()
    assert predicted["top_k"] == 100
    assert predicted["val"] < predicted["fixed"]


WRONG = [
    ("{other}", "holds no run"),
    ("{run} --dataset {other}/train", "formatted_train_images.npy is missing"),
    ("{run} --dataset nowhere", "'nowhere' is neither"),
    ("{run} --dataset digits", "leave the flag out"),
    ("{run} --dataset {other} --split val", "no val images of its own"),
    ("{run} --threshold 1.01", "--threshold: 1.01"),
    ("{run} --threshold x", "--threshold: 'x'"),
    ("{run} --top_k 0", "--top_k: 0"),
    ("{run} --figure a.svg", "must end in .png or .pdf"),
    ("{run} --csv {other}", "cannot write"),
    ("{run} --json {other}", "cannot write"),
]


@pytest.mark.parametrize("words", ["--json {at}", "--csv {at}", "--figure {at}/a.npy/a.png"])
def test_where_nothing_can_be_written_nothing_is_computed(
    run_dir, called, tmp_path, monkeypatch, words
):
    (tmp_path / "a.npy").touch()
    monkeypatch.setattr(loading, "load_model", None)
    assert_one_line(called(run_dir, *words.format(at=tmp_path).split()), "cannot write ")


def test_a_top_k_of_more_than_there_are_is_recorded_as_it_is_used(run_dir, called, tmp_path):
    found, same = (in_json(called, tmp_path / "a.json", run_dir, "--top_k", k) for k in (10**6, 4))
    assert found == same
    assert found["top_k"] == 4


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_a_mistake_is_one_line(run_dir, other, called, words, says):
    assert_one_line(called(*(w.format(run=run_dir, other=other) for w in words.split())), says)


def assert_one_line(answer, says):
    status, out, err = answer
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert says in err


def test_other_classes_are_refused(run_dir, other, called):
    (other / "dataset.json").write_text('{"classes": ["class 0", "cat", "class 2", "class 3"]}')
    answer = called(run_dir, "--dataset", other)
    assert_one_line(answer, "number 1 is 'cat', of the run 'class 1'")
    (other / "dataset.json").unlink()
    for name in ("train_labels", "train_labels_obs", "val_labels", "val_labels_obs"):
        path = other / f"formatted_{name}.npy"
        tiny.write_array(path, np.load(path)[:, :3])
    assert_one_line(called(run_dir, "--dataset", other), "it has 3, the run 4")


def test_a_set_without_positive_labels_is_refused(run_dir, other, called):
    tiny.write_array(other / "formatted_val_labels.npy", np.zeros((10, 4), np.int8))
    assert_one_line(called(run_dir, "--dataset", other), "no label of the test images is positive")


def test_an_ap_that_no_network_could_change_is_warned_of(tmp_path, capsys):
    """Where positives alone are known, every AP is 100: of any network."""
    folder = tiny.make_folder(tmp_path)
    observed = np.load(array_path(folder, "train", "labels_obs"))
    tiny.write_labels(folder, "train", "labels", observed)
    truth = np.load(array_path(folder, "val", "labels"))
    tiny.write_labels(folder, "val", "labels", (2 * truth - 1).astype(np.int8))
    (folder / "dataset.json").write_text('{"truth": "partial"}')
    _, run = tiny.train(folder, tmp_path, "--num_epochs", "1", "--val_set_variant", "observed")
    capsys.readouterr()
    assert cli.run(evaluate.main, [str(run), "--split", "train"]) == 0
    said = capsys.readouterr()
    assert said.out == "Train mAP : 100.000 on 24 images\n"
    assert "warning: train: 4 of 4 classes" in said.err
    assert "without a negative label, of which AP is always 100" in said.err
