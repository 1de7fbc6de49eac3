"""Decisions on suggested labels, written back: to the right labels, and to no others."""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import cli
from config import parse_args, read_config
from data.formatted import array_path
from data.labels import sparse_labels
from data.read import read_about, read_folder
from datasets import load_data, split_indices
from recipes import RECIPES
from tests import tiny
from tools import apply, decisions, suggestions

RECORD = Path(__file__).parents[1] / "results" / "digits" / "digits_LL-R_2.5_adam_0.001_seed1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on the tiny folder: its folder, and that of its data."""
    root = tmp_path_factory.mktemp("apply")
    folder = tiny.make_folder(root)
    _, run = tiny.train(folder, root, "--mod_scheme", "AN", "--num_epochs", "1")
    return run, folder


def hidden(folder, count):
    """The last unobserved labels of training images: row of the whole part, column, name, class."""
    labels, names = (
        np.load(array_path(folder, "train", kind)) for kind in ("labels_obs", "images")
    )
    rows, _ = split_indices(len(names), 0.2, 1200)
    found = [(row, column) for row in rows for column in np.flatnonzero(labels[row] == 0)]
    return [(row, column, str(names[row]), f"class {column}") for row, column in found[-count:]]


def exported(path, run, accepted, rejected=(), changes=()):
    """What the page exports of these decisions."""
    content = {
        "format": decisions.FORMAT, "run": str(run), "digest": "0" * 16,
        "data": suggestions.recorded_digests(run), "accepted": [of[2:] for of in accepted],
        "rejected": [of[2:] for of in rejected], **dict(changes),
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("flags", "value"), [([], -1), (["--rejected", "ignore"], 0)])
def test_decisions_change_their_labels_and_nothing_else(trained, tmp_path, capsys, flags, value):
    run, folder = trained
    *accepted, first, last = hidden(folder, 9)
    before = digests(folder)
    path = exported(tmp_path / "decisions.json", run, accepted, [first, last])
    out = tmp_path / "out"
    assert cli.run(apply.main, [str(path), "--out", str(out), *flags]) == 0
    assert "7 labels accepted and 2 rejected" in capsys.readouterr().out
    assert digests(folder) == before
    expected = np.load(array_path(folder, "train", "labels_obs"))
    for row, column, *_ in accepted:
        expected[row, column] = 1
    for row, column, *_ in (first, last):
        expected[row, column] = value
    np.testing.assert_array_equal(np.load(array_path(out, "train", "labels_obs")), expected)
    for part in ("train", "val"):
        for kind in ("images", "labels", "labels_obs")[: 2 if part == "train" else 3]:
            name = array_path(out, part, kind).name
            assert digests(out)[name] == before[name], name


def test_the_new_folder_is_trained_on_with_the_same_split(trained, tmp_path):
    run, folder = trained
    accepted = hidden(folder, 5)
    path = exported(tmp_path / "decisions.json", run, accepted)
    out = tmp_path / "out"
    assert cli.run(apply.main, [str(path), "--out", str(out)]) == 0
    old, new = (load_data(tiny.settings(place, tmp_path)) for place in (folder, out))
    assert [*old.train.names] == [*new.train.names]
    changed = np.argwhere(old.train.observed != new.train.observed)
    names = {(str(old.train.names[row]), f"class {column}") for row, column in changed}
    assert names == {(name, label) for _, _, name, label in accepted}
    np.testing.assert_array_equal(old.val.observed, new.val.observed)
    command = ["--config", str(run / "config.json"), "--dataset", str(out)]
    config = parse_args([*command, "--save_path", str(tmp_path), "--exp_name", "again"])
    assert tiny.run_train(config)["epochs_run"] == 1


@pytest.mark.parametrize("name", [*RECIPES, "new"])
def test_the_command_trains_on_the_new_folder_whatever_its_name(
    trained, tmp_path, monkeypatch, capsys, name
):
    run, folder = trained
    path = exported(tmp_path / "decisions.json", run, hidden(folder, 1))
    monkeypatch.chdir(tmp_path)
    assert cli.run(apply.main, [str(path), "--out", name]) == 0
    _, program, *flags = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert program == "main.py"
    assert parse_args(flags).dataset_dir.resolve() == tmp_path / name


def test_what_has_moved_is_named(trained, tmp_path, capsys):
    """The data by --dataset, the run by --run."""
    run, folder = (shutil.copytree(place, tmp_path / place.name) for place in trained)
    path = exported(tmp_path / "decisions.json", run, hidden(folder, 1))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": str(tmp_path / "gone")}))
    run = run.rename(tmp_path / "moved")
    words = [str(path), "--out", str(tmp_path / "out")]
    for flag, now in (("--run", run), ("--dataset", folder)):
        assert cli.run(apply.main, words) == 2
        error = capsys.readouterr().err
        assert f"say by {flag} where it is" in error.replace("is now", "is")
        assert error.count("\n") == 1
        words += [flag, str(now)]
    assert cli.run(apply.main, words) == 0, capsys.readouterr().err
    assert read_about(tmp_path / "out")["images"] == str(folder)


def test_several_files_say_together_what_one_would(trained, tmp_path, capsys):
    run, folder = trained
    *accepted, twice, rejected = hidden(folder, 5)
    parts = [
        exported(tmp_path / "a.json", run, [*accepted, twice]),
        exported(tmp_path / "b.json", run, [twice], [rejected]),
    ]
    whole = exported(tmp_path / "whole.json", run, [*accepted, twice], [rejected])
    for name, paths in (("parts", parts), ("whole", [whole])):
        words = [*map(str, paths), "--out", str(tmp_path / name)]
        assert cli.run(apply.main, words) == 0, capsys.readouterr().err
        assert "4 labels accepted and 1 rejected" in capsys.readouterr().out
    parts, whole = (digests(tmp_path / name) for name in ("parts", "whole"))
    assert parts.pop("dataset.json") != whole.pop("dataset.json")  # it holds the folder's name
    assert parts == whole


def test_files_that_do_not_go_together_are_refused(trained, tmp_path, capsys):
    run, folder = trained
    first, second = hidden(folder, 2)
    ours = exported(tmp_path / "a.json", run, [first])
    for changes, said in (
        ({"accepted": [], "rejected": [first[2:]]}, f"{first[3]!r} of {first[2]!r} is accepted in"),
        ({"data": {"classes": "0"}}, "are of different data"),
        ({"run": "elsewhere"}, "are of different runs"),
    ):
        theirs = exported(tmp_path / "b.json", run, [second], changes=changes)
        words = [str(ours), str(theirs), "--out", str(tmp_path / "out")]
        assert cli.run(apply.main, words) == 2
        error = capsys.readouterr().err
        assert all(word in error for word in (said, str(ours), str(theirs)))
        assert error.count("\n") == 1
    assert cli.run(apply.main, [*words, "--accept_top", "1"]) == 2
    assert "takes one suggestions.csv, not 2 files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.run(apply.main, [*words, "--run", str(run)]) == 0, "it says which run is meant"


def test_sparse_labels_change_as_dense_ones_do():
    dense = np.array([[1, 0, 0], [0, -1, 0]], np.int8)
    sparse = sparse_labels(*np.nonzero(dense), dense[np.nonzero(dense)], dense.shape)
    places = [(1, 2), (0, 1)]
    expected = [[1, 1, 0], [0, -1, 1]]
    for labels in (dense, sparse):
        found = apply.changed(labels, places, 1)
        assert np.array_equal(found if labels is dense else found.toarray(), expected)
        with pytest.raises(cli.UserError, match="'b' of 'x' is observed already"):
            apply._check_unobserved(labels, [(1, 2), (1, 1)], [("x", "c"), ("x", "b")])
    assert dense.tolist() == sparse.toarray().tolist() == [[1, 0, 0], [0, -1, 0]]


def test_what_is_known_stays_with_partial_truth_and_groups(tmp_path):
    folder = tiny.make_sparse_folder(tmp_path)
    _, run = tiny.train(folder, tmp_path, "--mod_scheme", "AN", "--num_epochs", "1")
    before = read_folder(folder, str(folder))
    empty = np.flatnonzero(before.train.truth[[3]].toarray()[0] == 0)[0]
    pair = (3, empty, str(before.train.names[3]), f"thing {empty}")
    path = exported(tmp_path / "decisions.json", run, [pair])
    out = tmp_path / "out"
    assert cli.run(apply.main, [str(path), "--out", str(out)]) == 0
    after = read_folder(out, str(out))
    assert (after.train.truth != before.train.truth).nnz == 0
    assert np.argwhere((after.train.observed != before.train.observed).toarray()).tolist() == [
        [3, empty]
    ]
    assert (after.dev.observed != before.dev.observed).nnz == 0
    assert (after.groups, after.classes) == (before.groups, before.classes)


def test_digits_become_files_with_the_first_suggestions_accepted(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(RECORD / "config.json", run)
    data = load_data(read_config(run / "config.json"))
    rows, columns = np.nonzero(data.train.observed == 0)
    pairs = [
        (str(data.train.names[row]), data.classes[column])
        for row, column in zip(rows[::700], columns[::700], strict=True)
    ]
    about = {
        "run": str(run),
        "digest": suggestions.digest_of(str(run), pairs),
        "data": suggestions.recorded_digests(run),
    }
    table = [{"image": image, "label": label, "score": "0.5"} for image, label in pairs]
    suggestions.write_table(tmp_path, table, about)
    out, words = tmp_path / "out", [str(tmp_path / suggestions.CSV), "--accept_top"]
    assert cli.run(apply.main, [*words, "99", "--out", str(out)]) == 2
    assert cli.run(apply.main, [*words, "20", "--out", str(out)]) == 0, capsys.readouterr().err
    found = load_data(parse_args(["--config", str(run / "config.json"), "--dataset", str(out)]))
    expected = data.train.observed.copy()
    expected[rows[::700][:20], columns[::700][:20]] = 1
    np.testing.assert_array_equal(found.train.observed, expected)
    for split in ("train", "val", "test"):
        ours, theirs = found.splits[split], data.splits[split]
        np.testing.assert_array_equal(ours.truth, theirs.truth)
        places = [0, len(ours) - 1]
        assert (ours.images.__getitems__(places)[0] == theirs.images.__getitems__(places)[0]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {}}, "are not those of the run"),
        ({"format": "another"}, "is not what the page of tools.suggest exports"),
        ({"accepted": [["train/00.png"]]}, "is not what the page of tools.suggest exports"),
        ({"accepted": [["nowhere.png", "class 0"]]}, "'nowhere.png' is no training image"),
        ({"run": "nowhere"}, "nowhere holds no run"),
        ({"accepted": []}, "there is no decision"),
        ("twice", "decides on a label more than once"),
        ("class", "'no class' is no class of this data"),
        ("observed", "is observed already"),
        ("val", "is no training image"),
        ("elsewhere", "--out"),
        ("csv", "say by --accept_top how many"),
        ("data", "train observed are not those of the decisions"),
    ],
)
def test_what_does_not_belong_is_refused_in_one_line(trained, tmp_path, capsys, change, said):
    run, folder = trained
    (pair,) = hidden(folder, 1)
    out, path, pairs, more = tmp_path / "out", tmp_path / "decisions.json", [pair], {}
    names = np.load(array_path(folder, "train", "images"))
    train, val = split_indices(len(names), 0.2, 1200)
    seen = np.load(array_path(folder, "train", "labels_obs"))[train[0]].argmax()
    if isinstance(change, dict):
        more = change
    elif change == "twice":
        pairs = [pair, pair]
    elif change == "class":
        pairs = [(0, 0, str(names[train[0]]), "no class")]
    elif change == "observed":
        pairs = [(0, 0, str(names[train[0]]), f"class {seen}")]
    elif change == "val":
        pairs = [(0, 0, str(names[val[0]]), "class 0")]
    elif change == "elsewhere":
        out = folder
    elif change == "csv":
        path = tmp_path / "suggestions.csv"
    elif change == "data":
        copied = tmp_path / "run"
        shutil.copytree(run, copied)
        settings = json.loads((copied / "config.json").read_text())
        shutil.copytree(folder, tmp_path / "tiny")
        labels = np.load(array_path(tmp_path / "tiny", "train", "labels_obs"))
        labels[train[0], seen] = 0
        tiny.write_array(array_path(tmp_path / "tiny", "train", "labels_obs"), labels)
        settings["dataset"] = str(tmp_path / "tiny")
        (copied / "config.json").write_text(json.dumps(settings))
        run = copied
    exported(path, run, pairs, changes=more)
    before = digests(folder)
    assert cli.run(apply.main, [str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert digests(folder) == before
    assert not (tmp_path / "out").exists()
