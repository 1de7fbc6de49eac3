"""Which setting of a method is chosen: by validation mAP over the seeds that all have."""

import functools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import parse_args
from tests.records import write_run
from tools import tables
from tools.choice import Choice, best_alone, choose
from tools.finished import Run, find_runs
from tools.report_tables import results

PRIOR = "--mod_scheme CSL --delta_rel 0 --prior"  # the file need not be there


@functools.cache
def config(words, seed):
    return parse_args([*f"--dataset digits {words}".split(), "--seed", str(seed)])


def group(words, maps, tests=None, **data):
    """The runs of a setting with these validation mAPs by seed; of test mAPs those, or 50."""
    summaries = {
        seed: {"val_map": value, "val_map_observed": 100 - value, "test_map": 50.0}
        for seed, value in maps.items()
    }
    for seed, value in (tests or {}).items():
        summaries[seed]["test_map"] = value
    return [Run(config(words, seed), each, data, None) for seed, each in summaries.items()]


def test_validation_chooses_where_test_disagrees():
    one = group("--delta_rel 1", {1: 80.0, 2: 82.0}, {1: 99.0, 2: 99.0})
    two = group("--delta_rel 2", {1: 90.0, 2: 73.0}, {1: 10.0, 2: 10.0})
    assert choose([one, two]) == [Choice((0, 1), 1, (1, 2))]  # means 81 and 81.5
    assert best_alone([one, two]) == [two]
    assert best_alone([two, one]) == [two]


def test_only_seeds_that_all_settings_have_count():
    one = group("--delta_rel 1", {1: 80.0, 2: 80.0, 3: 100.0})
    two = group("--delta_rel 2", {1: 85.0, 2: 79.0, 4: 0.0})
    assert choose([one, two]) == [Choice((0, 1), 1, (1, 2))]  # 80 and 82; by all of them 86.7, 54.7
    three = group("--delta_rel 3", {2: 79.5})
    assert choose([one, two, three]) == [Choice((0, 1, 2), 0, (2,))]
    assert best_alone([one, two, three]) == [one]


def test_without_a_common_seed_none_is_chosen():
    one, two = group("--delta_rel 1", {1: 80.0}), group("--delta_rel 2", {2: 90.0})
    assert choose([one, two]) == [Choice((0, 1), None, ())]
    assert best_alone([one, two]) == [one, two]


def test_of_equal_settings_the_first_is_chosen():
    same = [group(f"--delta_rel {delta}", {1: 80.0}) for delta in (3, 1, 2)]
    assert choose(same) == [Choice((0, 1, 2), 0, (1,))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("--delta_rel 1", "--delta_rel 2"),
        ("--lr 0.001", "--lr 0.002"),
        ("--optimizer adam --lr 0.1", "--optimizer sgd --lr 0.1"),
        ("--weight_decay 0", "--weight_decay 0.1"),
        ("--optimizer sgd --momentum 0.8", "--optimizer sgd --momentum 0.9"),
        ("--boostlu 2", "--boostlu 5"),
        ("--linear_init 2 --linear_lr 1", "--linear_init 2 --linear_lr 2"),
        ("--mod_scheme LSAN --ls_coef 0.1", "--mod_scheme LSAN --ls_coef 0.2"),
        ("--mod_scheme ROLE", "--mod_scheme ROLE --expected_positives 2"),
        ("--mod_scheme EM+APL --apl_beta 0.1", "--mod_scheme EM+APL --apl_start 3"),
        ("--mod_scheme ASL --gammas 0,1", "--mod_scheme ASL --clip 0.1"),
        ("--mod_scheme CSL --topk 1", "--mod_scheme CSL --topk 2"),
        (f"{PRIOR} a.csv --prior_threshold 0.1", f"{PRIOR} a.csv --prior_threshold 0.2"),
    ],
)
def test_what_may_be_tuned_is_chosen(one, other):
    groups = [group(one, {1: 1.0}), group(other, {1: 2.0})]
    assert choose(groups) == [Choice((0, 1), 1, (1,))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "--mod_scheme LL-Ct"),
        ("", "--dataset coco"),
        ("", "--arch resnet18"),
        ("", "--image_size 32"),
        ("", "--ss_frac_train 0.5"),
        ("", "--ss_seed 1"),
        ("", "--split_seed 1"),
        ("", "--fpc 3"),
        ("", "--num_epochs 24"),
        ("", "--bsize 64"),
        ("", "--flip"),
        ("", "--boostlu 5"),
        ("", "--linear_init 2"),
        ("", "--use_feats"),
        ("", "--rate_base all"),
        ("", "--val_set_variant observed"),
        ("--mod_scheme AN", "--mod_scheme AN --train_set_variant clean"),
        ("--mod_scheme CSL", "--mod_scheme CSL --mode ignore"),
        (f"{PRIOR} a.csv", f"{PRIOR} b.csv"),
        ("--linear_init 2 --linear_scheme same", "--linear_init 2 --linear_scheme AN"),
    ],
)
def test_another_experiment_is_no_rival(one, other):
    groups = [group(one, {1: 1.0}), group(other, {1: 2.0})]
    assert choose(groups) == []
    assert best_alone(groups) == groups


def test_runs_on_other_labels_are_no_rivals():
    one = group("--delta_rel 1", {1: 1.0}, **{"train observed": "ab"})
    other = group("--delta_rel 2", {1: 2.0}, **{"train observed": "cd"})
    assert choose([one, other]) == []
    unused = group("--delta_rel 2", {1: 2.0}, **{"train observed": "ab", "test observed": "cd"})
    assert choose([one, unused]) == [Choice((0, 1), 1, (1,))]


def test_where_observed_labels_choose_the_epoch_they_choose_the_setting():
    words = "--val_set_variant observed --delta_rel"
    one, two = group(f"{words} 1", {1: 20.0}), group(f"{words} 2", {1: 30.0})
    assert choose([one, two]) == [Choice((0, 1), 0, (1,))]  # 80 and 70 on observed labels


def test_several_methods_are_chosen_from_one_by_one():
    groups = [
        group("--mod_scheme AN", {1: 99.0}),
        group("--delta_rel 1", {1: 1.0}),
        group("--mod_scheme LL-Ct --delta_rel 1", {1: 5.0}),
        group("--delta_rel 2", {1: 2.0}),
        group("--mod_scheme LL-Ct --delta_rel 2", {1: 4.0}),
    ]
    assert choose(groups) == [Choice((1, 3), 3, (1,)), Choice((2, 4), 2, (1,))]
    assert best_alone(groups) == [groups[0], groups[2], groups[3]]


maps = st.dictionaries(st.integers(0, 4), st.integers(0, 100).map(float), min_size=1)


@given(st.lists(maps, min_size=2, max_size=4))
def test_the_choice_is_the_highest_mean_over_the_common_seeds(found):
    groups = [group(f"--delta_rel {place}", each) for place, each in enumerate(found)]
    ((places, best, seeds),) = choose(groups)
    assert places == tuple(range(len(found)))
    assert seeds == tuple(seed for seed in range(5) if all(seed in each for each in found))
    if not seeds:
        assert best is None
        return
    means = [statistics.mean(each[seed] for seed in seeds) for each in found]
    assert best == means.index(max(means))
    assert best_alone(groups) == [groups[best]]


# what is shown of it


def write(folder, delta, seed, val, test=50.0, **more):
    write_run(folder / f"{delta}_{seed}_{more}", seed, delta_rel=delta, val_map=val, test_map=test,
              **more)  # fmt: skip


def test_the_table_shows_the_choice_and_says_how_it_was_made(tmp_path):
    for seed in (1, 2):
        write(tmp_path, 1.0, seed, 80.0, test=99.0)
        write(tmp_path, 2.0, seed, 90.0, test=10.0)
    write(tmp_path, 2.0, 3, 0.0)
    write_run(tmp_path / "an", mod_scheme="AN", lr=2e-3)
    table = results(find_runs(tmp_path))
    assert [row[0] for row in table.rows] == ["AN", "LL-R", "LL-R"]
    assert table.strong == {2}
    (note,) = table.notes
    assert note.endswith("the one with the highest val mAP (seeds 1, 2).")
    assert tables.markdown(table).count("| **LL-R** | delta_rel 2 |") == 1
    best = results(find_runs(tmp_path), best=True)
    assert [row[:2] for row in best.rows] == [("AN", ""), ("LL-R", "delta_rel 2")]
    assert (best.strong, best.notes) == (frozenset(), ())


def test_choices_by_different_seeds_are_said_in_one_line(tmp_path):
    for delta in (1.0, 2.0):
        write(tmp_path, delta, 1, 80.0)
        write(tmp_path, delta, 2, 80.0, mod_scheme="LL-Ct")
    (note,) = results(find_runs(tmp_path)).notes
    assert note.endswith("val mAP over the seeds of all.")


def test_a_method_without_a_common_seed_is_named(tmp_path):
    write(tmp_path, 1.0, 1, 80.0)
    write(tmp_path, 2.0, 2, 90.0)
    table = results(find_runs(tmp_path))
    assert table.strong == frozenset()
    assert table.notes == ("LL-R: no seed is common to all of its settings, so none is chosen.",)
    assert len(results(find_runs(tmp_path), best=True).rows) == 2
