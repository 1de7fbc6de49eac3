"""The tables beside that of results, and the published numbers that stand in them.

The numbers of the paper are copied by hand, from its tables and not from tools/published.py.
"""

import json

import numpy as np
import pytest

from cli import UserError
from config import parse_args
from datasets import load_data
from tests.records import epochs, write_history, write_run
from tests.tiny import make_folder
from tools.evidence_tables import groups, highest_loss, pointing, pointing_by_class
from tools.explained import Pointing, write_pointing
from tools.finished import find_runs, read_runs
from tools.published import OPENIMAGES_OTHERS, Published, methods_of, published
from tools.report_tables import is_as_published, results

GROUPS = {"G1": 60.0, "G2": 61.0, "G3": 62.5, "G4": 63.0, "G5": 64.0}


def at_recipe(folder, words, seed=1, **more):
    """A finished run of these words with all else as the recipe has it."""
    config = parse_args([*words.split(), "--seed", str(seed)])
    settings = {name: value for name, value in config.settings().items() if name != "seed"}
    annotated = {"train truth": "a" * 16, "train observed": "a" * 16}
    if config.dataset == "openimages":
        more = {"data": annotated, "drawn": None, **more}
    write_run(folder, seed, **{**settings, **more})


def dicts(table):
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


# what is published


@pytest.mark.parametrize(
    ("dataset", "method", "paper", "reruns"),
    [
        ("pascal", "LL-R", 89.2, (87.8, 88.3)),
        ("coco", "LL-R", 71.0, (70.1, 70.7)),
        ("nuswide", "LL-R", 47.4, (48.0, 48.8)),
        ("cub", "LL-R", 19.5, (19.0, 19.6)),
        ("pascal", "full labels", 90.2, None),
        ("coco", "AN", 64.1, None),
        ("nuswide", "WAN", 46.3, None),
        ("cub", "LSAN", 17.9, None),
        ("pascal", "EPR", 85.5, None),
        ("coco", "LL-Ct", 70.5, None),
        ("nuswide", "LL-Cp", 48.3, None),
        ("cub", "LinearInit + ROLE", 16.8, None),
        ("pascal", "LinearInit + LL-R", 89.4, None),
        ("coco", "LinearInit + full labels", 77.2, None),
        ("nuswide", "LinearInit + LSAN", 50.5, None),
        ("openimages", "LL-Ct", 82.6, None),
        ("openimages", "IU", 75.9, None),
        ("coco", "EM+APL", 70.9, None),
        ("nuswide", "BoostLU + LL-R", 49.6, None),
        ("digits", "LL-R", None, None),
        ("./mine", "LL-R", None, None),
        ("pascal", "IU", None, None),
        ("pascal", "linear LL-R", None, None),
        ("pascal", "LinearInit + EM+APL", None, None),
        ("openimages", "ROLE", None, None),
        ("openimages", "LinearInit + LL-R", None, None),
    ],
)
def test_published(dataset, method, paper, reruns):
    assert published(dataset, method) == Published(paper, reruns)


def test_the_methods_of_a_table_are_in_its_order():
    plain = ["full labels", "AN", "WAN", "LSAN", "EPR", "ROLE", "LL-R", "LL-Ct", "LL-Cp"]
    assert methods_of("cub") == [*plain, *(f"LinearInit + {name}" for name in plain)]
    assert methods_of("openimages") == ["IU", "AN", "WAN", "LSAN", "LL-R", "LL-Ct", "LL-Cp"]
    assert OPENIMAGES_OTHERS["IMCL"] == (71.0, 72.6, 77.6, 81.8, 87.3, 78.1)
    for dataset in ("pascal", "coco", "nuswide", "cub", "openimages"):
        assert all(published(dataset, method).paper for method in methods_of(dataset))


# beside results


def test_the_papers_number_stands_beside_a_run_that_was_trained_as_there(tmp_path):
    for seed in (1, 2):
        at_recipe(tmp_path / f"llr{seed}", "--dataset pascal --mod_scheme LL-R", seed)
    at_recipe(tmp_path / "lin", "--dataset pascal --mod_scheme ROLE --linear_init 25")
    at_recipe(tmp_path / "full", "--dataset pascal --mod_scheme AN --train_set_variant clean")
    found = {row["method"]: row for row in dicts(results(find_runs(tmp_path)))}
    assert (found["LL-R"]["paper"], found["LL-R"]["re-runs"]) == ("89.2", "87.8-88.3")
    assert (found["LL-R"]["test mAP"], found["LL-R"]["seeds"]) == ("91.5 ± 0.7", "1, 2")
    role, full = found["LinearInit + ROLE"], found["full labels"]
    assert (role["paper"], role["re-runs"]) == ("88.2", "")
    assert full["paper"] == "90.2"


@pytest.mark.parametrize(
    "words",
    ["--delta_rel 0.5", "--lr 0.001", "--optimizer adam", "--num_workers 1", "--data_root x"],
)
def test_what_was_searched_for_or_changes_nothing_takes_no_paper_away(tmp_path, words):
    at_recipe(tmp_path / "run", f"--dataset pascal --mod_scheme LL-R {words}")
    (row,) = dicts(results(find_runs(tmp_path)))
    assert row["paper"] == "89.2"


@pytest.mark.parametrize(
    "words",
    [
        "--dataset pascal --arch resnet101",
        "--dataset pascal --num_epochs 20",
        "--dataset pascal --image_size 224",
        "--dataset pascal --ss_frac_train 0.5",
        "--dataset pascal --val_set_variant observed",
        "--dataset pascal --weights none",
        "--dataset pascal --amp off",
        "--dataset pascal --linear_init 10",
        "--dataset pascal --train_set_variant clean",
        "--dataset pascal --mod_scheme IU",
        "--dataset digits",
        "--dataset ./pascal",
    ],
)
def test_other_settings_and_sets_stand_alone(tmp_path, words):
    at_recipe(tmp_path / "run", words, val_map_observed=50.0)
    (row,) = dicts(results(find_runs(tmp_path)))
    assert not {"paper", "re-runs"} & row.keys()


@pytest.mark.parametrize(
    "drawn", [{"fpc": 3, "seed": 1200}, {"num_pos": 1, "num_neg": 0, "seed": 7}, None]
)
def test_runs_on_other_labels_stand_alone(tmp_path, drawn):
    at_recipe(tmp_path / "run", "--dataset pascal", drawn=drawn)
    assert "paper" not in results(find_runs(tmp_path)).head


def test_openimages_is_used_as_it_is_annotated(tmp_path):
    at_recipe(tmp_path / "a", "--dataset openimages --mod_scheme LL-Ct")
    drawn = {"num_pos": 1, "num_neg": 0, "seed": 1200}
    at_recipe(tmp_path / "b", "--dataset openimages --mod_scheme AN", data={}, drawn=drawn)
    found = {row["method"]: row["paper"] for row in dicts(results(find_runs(tmp_path)))}
    assert found == {"LL-Ct": "82.6", "AN": ""}


@pytest.mark.parametrize(
    ("words", "published_"),
    [("--dataset pascal", True), ("--dataset openimages", True), ("--dataset digits", False),
     ("--dataset ./pascal", False)],
)  # fmt: skip
def test_what_is_trained_as_in_the_paper_is_on_one_of_its_sets(tmp_path, words, published_):
    at_recipe(tmp_path / "run", words)
    (run,) = read_runs(tmp_path)
    assert is_as_published(run) is published_


# groups of classes


def write_groups(folder, seed=1, words="--dataset openimages --mod_scheme LL-R", groups=None):
    maps = {name: value + seed for name, value in GROUPS.items()} if groups is None else groups
    at_recipe(folder, words, seed, test_map_groups=maps)


def test_groups_of_classes_with_the_papers_row_beneath(tmp_path):
    for seed in (1, 2, 3):
        write_groups(tmp_path / str(seed), seed)
    write_groups(tmp_path / "other", words="--dataset openimages --mod_scheme LL-R --delta_rel 9")
    at_recipe(tmp_path / "without", "--dataset pascal --mod_scheme AN")
    table = groups(read_runs(tmp_path))
    assert table.head == ("method", "setting", *GROUPS, "All", "seeds", "command")
    ours, papers, other = table.rows
    command = "python main.py --dataset openimages --mod_scheme LL-R"
    assert ours == (
        "LL-R", "delta_rel 0.02", "62.0 ± 1.0", "63.0 ± 1.0", "64.5 ± 1.0", "65.0 ± 1.0",
        "66.0 ± 1.0", "92.0 ± 1.0", "1, 2, 3", f"{command} --seed 1",
    )  # fmt: skip
    assert papers == ("LL-R (paper)", "", "77.4", "79.1", "82.0", "84.5", "89.5", "82.5", "", "")
    assert other[:3] == ("LL-R", "delta_rel 9", "61.0")
    assert other[-1] == f"{command} --delta_rel 9 --seed 1"


@pytest.mark.parametrize(
    ("words", "groups_"),
    [
        ("--dataset ./openimages --mod_scheme LL-R", None),
        ("--dataset pascal --mod_scheme LL-R", None),
        ("--dataset openimages --mod_scheme LL-R --arch resnet50", None),
        ("--dataset openimages --mod_scheme ROLE --expected_positives 3", None),
        ("--dataset openimages --mod_scheme LL-R", {"rare": 1.0, "usual": 2.0}),
        ("--dataset openimages --mod_scheme LL-R", {**GROUPS, "G6": 1.0}),
    ],
)
def test_no_row_of_the_paper_beneath_other_runs(tmp_path, words, groups_):
    write_groups(tmp_path / "run", words=words, groups=groups_)
    assert len(groups(read_runs(tmp_path)).rows) == 1


def test_a_group_that_is_unknown_has_an_empty_cell(tmp_path):
    """Of a seed too; so has a group that only other runs have."""
    some = {"a": None, "b": 50.0, "c": None}
    write_groups(tmp_path / "1", 1, "--dataset ./mine --mod_scheme AN", some)
    write_groups(tmp_path / "2", 2, "--dataset ./mine --mod_scheme AN", {**some, "c": 70.0})
    write_groups(tmp_path / "3", 1, "--dataset ./mine --mod_scheme WAN", {"d": 1.0})
    write_groups(tmp_path / "4", 1, "--dataset ./mine --mod_scheme WAN --bsize 8", {"d": 2.0})
    table = groups(read_runs(tmp_path))
    assert table.head[:7] == ("method", "setting", "a", "b", "c", "d", "All")
    assert [row[:6] for row in table.rows] == [
        ("AN", "", "", "50.0 ± 0.0", "70.0", ""),
        ("WAN", "", "", "", "", "1.0"),
        ("WAN", "bsize 8", "", "", "", "2.0"),
    ]


@pytest.mark.parametrize("damage", [None, 3, [1, 2], {}])
def test_runs_without_groups_are_told_so(tmp_path, damage):
    at_recipe(tmp_path / "run", "--dataset openimages", test_map_groups=damage)
    with pytest.raises(UserError, match="no run has groups of classes, as those on openimages"):
        groups(read_runs(tmp_path))


# the pointing game


def play(folder, seed, hits, words="--dataset pascal --mod_scheme LL-R", split="test"):
    at_recipe(folder, words, seed)
    game = Pointing(split, best_of(folder), 10, {"cat": (hits, 10), "dog": (1, 2)})
    write_pointing(folder, game)


def best_of(folder):
    return json.loads((folder / "summary.json").read_text())["best_epoch"]


def test_pointing(tmp_path):
    """Totals 7 and 9 of 12; means of the classes 55 and 65."""
    play(tmp_path / "a", 1, 6)
    play(tmp_path / "b", 2, 8)
    play(tmp_path / "an", 1, 0, "--dataset pascal --mod_scheme AN")
    play(tmp_path / "other", 1, 0, "--dataset pascal --mod_scheme LL-Ct --arch resnet18")
    play(tmp_path / "coco", 1, 0, "--dataset coco --mod_scheme LL-Cp")
    play(tmp_path / "cub", 1, 0, "--dataset cub --mod_scheme LL-Cp")
    at_recipe(tmp_path / "c", "--dataset pascal --mod_scheme LL-R", 3)
    play(tmp_path / "d", 4, 10, split="val")
    table = pointing(read_runs(tmp_path))
    assert [(row["data set"], row["method"], row["paper"]) for row in dicts(table)] == [
        ("coco", "LL-Cp", "53.3"), ("cub", "LL-Cp", ""),
        ("pascal", "AN", "78.9"), ("pascal", "LL-R", "83.7"), ("pascal", "LL-Ct", ""),
    ]  # fmt: skip
    assert table.rows[3] == (
        "pascal", "LL-R", "delta_rel 0.2", "66.7 ± 11.8", "60.0 ± 7.1", "83.7", "1, 2",
        "python main.py --dataset pascal --mod_scheme LL-R --seed 1 && python -m tools.explain "
        "results/pascal_LL-R_0.2_sgd_0.005_seed1",
    )  # fmt: skip
    own = tmp_path / "own"
    play(own / "run", 1, 5, "--dataset digits")
    assert pointing(read_runs(own)).head[:3] == ("method", "setting", "all")
    assert "paper" not in pointing(read_runs(own)).head


def test_pointing_by_class(tmp_path):
    """A column for each row of the table above, also where two would have the same name."""
    play(tmp_path / "a", 1, 6)
    play(tmp_path / "b", 2, 8)
    play(tmp_path / "other", 1, 0, "--dataset pascal --mod_scheme LL-R --arch resnet18")
    play(tmp_path / "coco", 1, 10, "--dataset coco --mod_scheme LL-R --delta_rel 0.2")
    table = pointing_by_class(read_runs(tmp_path))
    assert table.head == (
        "class", "coco LL-R delta_rel 0.2", "pascal LL-R delta_rel 0.2",
        "pascal LL-R delta_rel 0.2; arch resnet18",
    )  # fmt: skip
    assert table.rows == [
        ("cat", "100.0", "70.0 ± 14.1", "0.0"), ("dog", "50.0", "50.0 ± 0.0", "50.0")
    ]  # fmt: skip


def test_runs_that_played_on_other_classes_share_a_table(tmp_path):
    play(tmp_path / "a", 1, 6)
    play(tmp_path / "b", 1, 8, "--dataset pascal --mod_scheme AN")
    game = Pointing("test", best_of(tmp_path / "b"), 10, {"cow": (1, 4), "dog": (0, 0)})
    write_pointing(tmp_path / "b", game)
    table = pointing_by_class(read_runs(tmp_path))
    assert table.rows == [("cow", "25.0", ""), ("dog", "", "50.0"), ("cat", "", "60.0")]


@pytest.mark.parametrize("make", [pointing, pointing_by_class])
def test_runs_without_a_game_are_told_how_to_play(tmp_path, make):
    play(tmp_path / "run", 1, 5, split="val")
    with pytest.raises(UserError, match=r"no run has a pointing.json: python -m tools.explain RUN"):
        make(read_runs(tmp_path))


# the epoch of the highest loss


@pytest.fixture(scope="module")
def pascal(tmp_path_factory):
    """A tiny folder in pascal's place: the folder of the sets, and its data."""
    root = tmp_path_factory.mktemp("sets")
    folder = make_folder(root).rename(root / "pascal")
    (folder / "dataset.json").write_text(json.dumps({"classes": [*"abcd"], "images": "."}))
    return root, load_data(parse_args(["--dataset", "pascal", "--data_root", str(root)]))


def write_kept(folder, pascal, seed, late, words=""):
    """A run of 3 epochs; of every kind each `late`-th label has its highest loss in a later one."""
    root, data = pascal
    words = f"--dataset pascal --mod_scheme AN --data_root {root} {words}"
    rows = epochs(val_map=[50.0, 60.0, 70.0])
    at_recipe(folder, words, seed, data=data.fingerprint(), metrics=rows)
    truth, human = data.train.truth, data.train.observed
    loss = np.ones((3, *truth.shape), np.float32)
    loss[0] = 2
    for kind in ((truth == 1) & (human == 1), truth == -1, (truth == 1) & (human == 0)):
        rows, columns = np.nonzero(kind)
        loss[1 + rows[::late] % 2, rows[::late], columns[::late]] = 3
    write_history(folder, loss)


def share(count, late):
    """The share (%) of so many labels of which every `late`-th is counted."""
    return 100 * -(-count // late) / count


def test_highest_loss(tmp_path, pascal):
    write_kept(tmp_path / "a", pascal, 1, late=2)
    write_kept(tmp_path / "b", pascal, 2, late=4)
    at_recipe(tmp_path / "c", "--dataset pascal --mod_scheme LL-R")
    table = highest_loss(read_runs(tmp_path))
    assert table.head == (
        "labels", "epoch 1", "later", "paper: epoch 1", "paper: later", "seeds", "command"
    )  # fmt: skip
    rows = {row[0]: row for row in table.rows}
    train = pascal[1].train
    counts = {
        "true positives": (train.observed == 1).sum(),
        "true negatives": (train.truth == -1).sum(),
        "false negatives": ((train.truth == 1) & (train.observed == 0)).sum(),
    }
    printed = {
        "true positives": ("88.3", "11.7"),
        "true negatives": ("90.7", "9.3"),
        "false negatives": ("23.8", "72.2"),
    }
    assert list(rows) == list(counts)
    for kind, count in counts.items():
        later = [share(count, 2), share(count, 4)]
        std = np.std(later, ddof=1)
        _, first, after, *paper, seeds, command = rows[kind]
        assert first == f"{100 - np.mean(later):.1f} ± {std:.1f}"
        assert after == f"{np.mean(later):.1f} ± {std:.1f}"
        assert (tuple(paper), seeds) == (printed[kind], "1, 2")
        assert command == "python main.py --dataset pascal --mod_scheme AN --seed 1 --audit labels"


def test_the_data_may_have_moved(tmp_path, pascal):
    write_kept(tmp_path / "a", pascal, 1, late=2, words="--data_root nowhere")
    with pytest.raises(UserError, match="nowhere/pascal"):
        highest_loss(read_runs(tmp_path))
    assert len(highest_loss(read_runs(tmp_path), str(pascal[0])).rows) == 3


def test_other_settings_have_no_column_of_the_paper(tmp_path, pascal):
    write_kept(tmp_path / "a", pascal, 1, late=2, words="--arch resnet18")
    table = highest_loss(read_runs(tmp_path))
    assert table.head == ("labels", "epoch 1", "later", "seeds", "command")
    assert "--arch resnet18" in table.rows[0][-1]


def test_runs_that_kept_no_labels_are_told_to(tmp_path):
    at_recipe(tmp_path / "run", "--dataset pascal --mod_scheme AN")
    with pytest.raises(UserError, match="train it with --audit labels"):
        highest_loss(read_runs(tmp_path))
