"""The draw of the observed labels, and its command."""

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

import cli
from cli import UserError
from data import observe
from data.draw import Draw
from data.formatted import DRAWING, array_path, check_whole, labels_path, load_labels
from data.labels import is_sparse, to_dense
from data.observe import drawn, observe_labels, read_record, redraw
from tests.tiny import write_labels

LABELS = (np.random.RandomState(5).rand(40, 7) < 0.4).astype(np.int8)
PARTIAL = np.random.RandomState(6).choice([-1, 0, 1], (60, 5), p=[0.3, 0.5, 0.2]).astype(np.int8)
TABLES = arrays(
    np.int8,
    st.tuples(st.integers(0, 12), st.integers(1, 5)),
    elements=st.sampled_from([-1, 0, 1]),
    fill=st.nothing(),
)
WAYS = {
    "per image": Draw(2, 1, seed=3),
    "all positives": Draw(-1, 0, seed=3),
    "fpc": Draw(fpc=4, seed=3),
    "rps": Draw(rps=0.4, seed=3),
    "share": Draw(share=0.3, seed=3),
}
every_way = pytest.mark.parametrize("draw", WAYS.values(), ids=WAYS.keys())


def transcribed(labels, num_pos, num_neg, seed, negative=0):
    """The official draw, written down a second time with plain lists."""
    rng = np.random.RandomState(seed)
    observed = [[0] * len(row) for row in labels.tolist()]
    for i, row in enumerate(labels.tolist()):
        positives = [j for j, value in enumerate(row) if value == 1]
        negatives = [j for j, value in enumerate(row) if value == negative]
        rng.shuffle(positives)
        rng.shuffle(negatives)
        for j in positives if num_pos == -1 else positives[:num_pos]:
            observed[i][j] = 1
        for j in negatives if num_neg == -1 else negatives[:num_neg]:
            observed[i][j] = -1
    return np.array(observed)


@pytest.mark.parametrize(("num_pos", "num_neg"), [(1, 0), (0, 0), (2, 3), (-1, 1), (1, -1)])
@pytest.mark.parametrize("seed", [0, 1200])
def test_the_draw_is_the_official_one(num_pos, num_neg, seed):
    observed = observe_labels(LABELS, num_pos, num_neg, seed)
    assert observed.dtype == np.int8
    np.testing.assert_array_equal(observed, transcribed(LABELS, num_pos, num_neg, seed))


def test_the_draw_of_seed_1200_is_committed():
    labels = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    expected = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(observe_labels(labels, 1, 0, 1200), expected)


def test_one_positive_an_image_is_kept_and_no_label_is_invented():
    observed = observe_labels(LABELS, 1, 2, 3)
    assert ((observed == 1).sum(1) == LABELS.max(1)).all()
    assert ((observed == -1).sum(1) == np.minimum(2, (LABELS == 0).sum(1))).all()
    assert (LABELS[observed == 1] == 1).all()
    assert (LABELS[observed == -1] == 0).all()


def test_everything_observed_is_the_truth():
    np.testing.assert_array_equal(observe_labels(LABELS, -1, -1, 0), np.where(LABELS == 1, 1, -1))


def test_only_the_seed_decides():
    first = observe_labels(LABELS, 1, 0, 7)
    np.random.seed(99)
    np.testing.assert_array_equal(first, observe_labels(LABELS.astype(float), 1, 0, 7))
    assert (first != observe_labels(LABELS, 1, 0, 8)).any()


def folder_with(path, train, val):
    path.mkdir(parents=True, exist_ok=True)
    for part, labels in (("train", train), ("val", val)):
        np.save(path / f"formatted_{part}_labels.npy", labels, allow_pickle=True)
    return path


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_draws_each_part_with_a_stream_of_its_own(tmp_path, capsys):
    folder = folder_with(tmp_path / "coco", LABELS, LABELS[:9])
    flags = ["--num_pos", "2", "--num_neg", "1", "--seed", "5"]
    assert cli.run(observe.main, ["coco", "--data_root", str(tmp_path), *flags]) == 0
    for part, labels in (("train", LABELS), ("val", LABELS[:9])):
        written = np.load(folder / f"formatted_{part}_labels_obs.npy")
        np.testing.assert_array_equal(written, transcribed(labels, 2, 1, 5))
    positives = (transcribed(LABELS, 2, 1, 5) == 1).sum()
    assert f"40 images x 7 classes, observed: {positives} positive and" in capsys.readouterr().out


def test_the_command_takes_the_path_of_any_folder(tmp_path):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    assert cli.run(observe.main, [str(folder)]) == 0
    written = np.load(folder / "formatted_val_labels_obs.npy")
    np.testing.assert_array_equal(written, transcribed(LABELS, 1, 0, 1200))


BAD_LABELS = {
    "partial truth": (LABELS - 1, "the value -1 is neither 0 nor 1"),
    "not a number": (LABELS.astype(float) * np.nan, "the value nan"),
    "one row": (LABELS[0], "must be a table [images, classes]"),
    "text": (LABELS.astype(str), "must be a table [images, classes]"),
    "pickled": (LABELS.astype(object), "no plain .npy array"),
}


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS.keys())
def test_bad_labels_cost_one_line_and_no_file(tmp_path, capsys, labels, message):
    folder = folder_with(tmp_path / "mine", LABELS, labels)
    before = files_in(folder)
    assert cli.run(observe.main, [str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "formatted_val_labels.npy" in error
    assert files_in(folder) == before


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00{}"]
)
def test_a_damaged_file_costs_one_line(tmp_path, capsys, content):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    (folder / "formatted_train_labels.npy").write_bytes(content)
    assert cli.run(observe.main, [str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "formatted_train_labels.npy is no plain .npy array" in error


WRONG_FLAGS = {
    "unknown set": (["cocoa"], "did you mean coco?"),
    "composed set": (["digits"], "composed in memory"),
    "negative count": (["coco", "--num_pos", "-2"], "-2 must be a whole number >= -1"),
    "seed too large": (["coco", "--seed", str(2**32)], "--seed"),
    "no labels": (["coco"], "formatted_train_labels.npy is missing: make it with python -m data.p"),
    "no folder": (["pascal"], "pascal: make it with python -m data.prepare pascal --data_root"),
    "long name": (["a" * 300], "cannot be reached: File name too long"),
    "two ways": (["coco", "--fpc", "3", "--rps", "0.5"], "--fpc and --rps are two ways to draw"),
    "FPC and a count": (["coco", "--num_pos", "1", "--fpc", "3"], "--fpc and --num_pos are two"),
    "share and a count": (["coco", "--share", "1", "--num_neg", "0"], "--share and --num_neg are"),
    "none of a class": (["coco", "--fpc", "0"], "--fpc: 0 must be a whole number >= 1"),
    "nothing dropped": (["coco", "--rps", "0"], "--rps: 0 must be a number > 0 and < 1"),
    "all dropped": (["coco", "--rps", "1"], "--rps: 1 must be a number > 0 and < 1"),
    "a share of nothing": (["coco", "--share", "0"], "--share: 0 must be a number > 0 and <= 1"),
    "more than all": (["coco", "--share", "1.1"], "--share: 1.1 must be a number > 0 and <= 1"),
}


@pytest.mark.parametrize(("argv", "message"), WRONG_FLAGS.values(), ids=WRONG_FLAGS.keys())
def test_a_wrong_command_costs_one_line(tmp_path, capsys, argv, message):
    (tmp_path / "coco").mkdir()
    assert cli.run(observe.main, [*argv, "--data_root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert argv[0] == "cocoa" or "did you mean" not in error


def test_a_library_caller_gets_a_value_error():
    with pytest.raises(UserError, match="the value 2 is neither 0 nor 1"):
        observe_labels(LABELS * 2, 1, 0, 0)


@every_way
@given(table=TABLES)
@settings(deadline=None, derandomize=True, database=None, max_examples=40)
def test_a_kept_label_is_true_and_dense_and_sparse_agree(draw, table):
    before, sparse = table.copy(), csr_array(table)
    dense = draw(table, "partial")
    assert dense.dtype == np.int8
    assert ((dense == 0) | (dense == table)).all()
    twin = draw(sparse, "partial")
    assert is_sparse(twin)
    assert twin.dtype == np.int8
    assert (twin.data != 0).all()
    np.testing.assert_array_equal(twin.toarray(), dense)
    np.testing.assert_array_equal(table, before)
    np.testing.assert_array_equal(sparse.toarray(), before)


@every_way
def test_a_partial_table_that_knows_all_is_drawn_as_the_full_one(draw):
    partial = np.where(LABELS == 1, 1, -1)
    np.testing.assert_array_equal(draw(partial, "partial"), draw(LABELS))
    np.testing.assert_array_equal(draw(np.asfortranarray(LABELS)), draw(LABELS.astype(bool)))


def test_of_a_partial_table_the_official_draw_takes_known_labels_alone():
    expected = transcribed(PARTIAL, 1, 2, 9, negative=-1)
    np.testing.assert_array_equal(Draw(1, 2, seed=9)(PARTIAL, "partial"), expected)
    expected = transcribed(LABELS, 1, 2, 9)
    np.testing.assert_array_equal(Draw(1, 2, seed=9)(LABELS, "full"), expected)


@every_way
def test_a_sparse_table_is_drawn_from_in_any_order_with_or_without_stored_zeros(draw):
    rows, columns = np.indices(PARTIAL.shape).reshape(2, -1)[:, ::-1]
    ends = np.bincount(rows, minlength=60).cumsum()
    backwards = columns.reshape(60, 5)[::-1].ravel()
    values = PARTIAL[rows[::-1], backwards]
    table = csr_array((values, backwards, np.concatenate([[0], ends])), shape=PARTIAL.shape)
    np.testing.assert_array_equal(table.toarray(), PARTIAL)
    found = draw(table, "partial")
    np.testing.assert_array_equal(found.toarray(), draw(PARTIAL, "partial"))


@every_way
def test_the_seed_decides_in_every_way(draw):
    first = draw(LABELS)
    np.random.seed(99)
    np.testing.assert_array_equal(first, draw(LABELS))
    if draw.num_pos != -1:
        other = Draw(**{**draw.record(), "seed": 4})
        assert (first != other(LABELS)).any()


@pytest.mark.parametrize("number", [1, 4, 1000])
def test_fpc_keeps_so_many_of_each_class_or_all(number):
    observed = Draw(fpc=number)(PARTIAL, "partial")
    for value in (1, -1):
        available = (PARTIAL == value).sum(axis=0)
        expected = np.minimum(number, available)
        np.testing.assert_array_equal((observed == value).sum(axis=0), expected)
    huge = Draw(fpc=10**30)(PARTIAL, "partial")
    np.testing.assert_array_equal(huge, PARTIAL)


def test_fpc_of_a_small_table_by_hand():
    labels = np.array([[1, 0, -1], [0, 0, -1], [-1, 0, 0]])
    observed = Draw(fpc=1)(labels, "partial")
    assert observed[:, :2].tolist() == [[1, 0], [0, 0], [-1, 0]]
    assert sorted(observed[:, 2].tolist()) == [-1, 0, 0]
    assert observed[2, 2] == 0


@pytest.mark.parametrize(("share", "kept"), [(0.5, 2), (0.3, 2), (0.7, 4), (0.05, 0), (1, 5)])
def test_a_share_is_exact(share, kept):
    labels = np.array([[1, 0, -1], [0, 1, 0], [-1, 0, 1]])  # 5 are known; 2.5 is rounded to 2
    assert (Draw(share=share)(labels, "partial") != 0).sum() == kept
    observed = Draw(share=share)(LABELS)
    assert (observed != 0).sum() == round(share * LABELS.size)


@pytest.mark.parametrize("dropped", [0.1, 0.5, 0.9])
def test_rps_drops_as_many_as_its_probability_says(dropped):
    labels = (np.random.RandomState(0).rand(500, 40) < 0.1).astype(np.int8)
    observed = Draw(rps=dropped)(labels)
    for value, kind in ((1, labels == 1), (-1, labels == 0)):
        n = kind.sum()
        bound = 4 * np.sqrt(n * dropped * (1 - dropped))
        assert abs((observed == value).sum() - n * (1 - dropped)) < bound
    assert len(set((observed != 0).sum(axis=1).tolist())) > 5  # not so many of every image


@pytest.mark.parametrize(
    ("way", "chance"),
    [({"fpc": 1}, 1 / 5), ({"rps": 0.7}, 0.3), ({"share": 0.4}, 0.4), ({"num_pos": 1}, 1 / 2)],
)
def test_each_label_is_kept_as_often_as_every_other(way, chance):
    labels = np.ones((5, 2), dtype=np.int8)
    kept = sum(Draw(**way, seed=seed)(labels).astype(int) for seed in range(1000))
    assert (abs(kept - 1000 * chance) < 5 * np.sqrt(1000 * chance * (1 - chance))).all()


NAMED = [
    (Draw(), {"num_pos": 1, "num_neg": 0, "seed": 1200}, "1 positive and 0 negative labels of e"),
    (Draw(-1, 2), {"num_pos": -1, "num_neg": 2, "seed": 1200}, "all positive and 2 negative label"),
    (
        Draw(fpc=1000, seed=7),
        {"fpc": 1000, "seed": 7},
        "up to 1,000 positive and 1,000 negative labels o",
    ),
    (
        Draw(rps=0.5),
        {"rps": 0.5, "seed": 1200},
        "each label dropped with probability 0.5, seed 1200",
    ),
    (Draw(share=0.1), {"share": 0.1, "seed": 1200}, "10% of the known labels, seed 1200"),
]


@pytest.mark.parametrize(("draw", "record", "text"), NAMED)
def test_a_draw_says_what_it_is(draw, record, text):
    assert draw.record() == record
    assert Draw(**record) == draw
    assert str(draw).startswith(text)
    assert str(draw).endswith(f", seed {record['seed']}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fpc": 0}, {"fpc": 2.5}, {"fpc": "3"}, {"fpc": True}, {"rps": 1.0}, {"rps": float("nan")},
        {"share": 0}, {"share": 1.01}, {"num_pos": -2}, {"num_neg": None}, {"seed": -1},
        {"seed": 2**32}, {"fpc": 3, "share": 0.5}, {"rps": 0.5, "num_neg": 2},
    ],
)  # fmt: skip
def test_what_is_no_draw_is_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Draw(**wrong)


def test_labels_of_no_use_are_refused():
    with pytest.raises(UserError, match="truth is 'none', there is nothing to draw from"):
        Draw()(LABELS, "none")
    with pytest.raises(UserError, match="a sparse table does not hold the negatives"):
        Draw()(csr_array(LABELS), "full")
    with pytest.raises(UserError, match="the value 2 is none of -1, 0 and 1"):
        Draw()(csr_array(LABELS * 2), "partial")


def parts_in(folder, *parts):
    return {part: load_labels(labels_path(folder, part, "labels_obs")) for part in parts}


def partial_folder(path, *parts, sparse=True):
    path.mkdir()
    for part in parts:
        write_labels(path, part, "labels", csr_array(PARTIAL) if sparse else PARTIAL)
    (path / "dataset.json").write_text('{"truth": "partial"}')
    return path


@every_way
@pytest.mark.parametrize("sparse", [True, False])
def test_all_parts_are_drawn_and_written_in_their_own_kind(tmp_path, draw, sparse):
    folder = partial_folder(tmp_path / "x", "train", "val", "dev", sparse=sparse)
    observed = redraw(folder, draw)
    assert list(observed) == ["train", "val", "dev"]
    for labels in parts_in(folder, *observed).values():
        assert is_sparse(labels) == sparse
        np.testing.assert_array_equal(to_dense(labels), draw(PARTIAL, "partial"))
    assert drawn(folder, parts_in(folder, *observed)) == draw.record() == read_record(folder)


def test_a_part_without_labels_costs_one_line_and_no_file(tmp_path, capsys):
    folder = partial_folder(tmp_path / "x", "train", "val")
    np.save(array_path(folder, "dev", "images"), np.array(["a.jpg"]))
    before = files_in(folder)
    assert cli.run(observe.main, [str(folder)]) == 2
    assert "formatted_dev_labels.npy is missing" in capsys.readouterr().err
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("about", "flags", "message"),
    [
        ('{"truth": "none"}', [], "truth none, there is nothing to draw from"),
        ('{"truth": "half"}', [], "truth is 'half', not full or partial or none"),
        ("{}", ["--num_pos", "0"], "0 negative labels of each image, seed 1200: none of the"),
        ("{}", ["--share", "0.001"], "0.1% of the known labels, seed 1200: none of the"),
    ],
)
def test_a_draw_of_nothing_costs_one_line_and_no_file(tmp_path, capsys, about, flags, message):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    redraw(folder, Draw())
    (folder / "dataset.json").write_text(about)
    before = files_in(folder)
    assert cli.run(observe.main, [str(folder), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert files_in(folder) == before


def test_openimages_is_partial_without_being_told(tmp_path):
    folder = partial_folder(tmp_path / "openimages", "train", "val")
    (folder / "dataset.json").unlink()
    assert cli.run(observe.main, ["openimages", "--data_root", str(tmp_path)]) == 0


def test_labels_replaced_by_hand_are_of_no_known_draw(tmp_path):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    assert read_record(folder) is None
    assert drawn(folder, {"train": LABELS, "val": LABELS}) is None
    observed = redraw(folder, Draw(fpc=2))
    assert drawn(folder, observed) == {"fpc": 2, "seed": 1200}
    assert drawn(folder, {"train": observed["train"]}) is None
    assert drawn(folder, {**observed, "dev": observed["val"]}) is None
    other = observed["val"].copy()
    other[0, 0] = 1 - abs(other[0, 0])
    assert drawn(folder, {**observed, "val": other}) is None
    assert drawn(folder, {}) is None


GARBAGE = [
    {}, {"draw": {"fpc": 2, "seed": 1}}, {"draw": [], "digests": {"train": "a"}},
    {"draw": {"fpc": 2}, "digests": {"train": "a"}},
    {"draw": {"fpc": 2, "rps": 0.5, "seed": 1}, "digests": {"train": "a"}},
    {"draw": {"fpc": 2.5, "seed": 1}, "digests": {"train": "a"}},
    {"draw": {"fpc": None, "seed": 1}, "digests": {"train": "a"}},
    {"draw": {"number": 2, "seed": 1}, "digests": {"train": "a"}},
    {"draw": {"fpc": 2, "seed": "1"}, "digests": {"train": "a"}},
    {"draw": {"fpc": 2, "seed": 1}, "digests": ["train"]},
    {"draw": {"fpc": 2, "seed": 1}, "digests": {"train": 1}},
    {"draw": {"fpc": 2, "seed": 1}, "digests": {}},
    {"draw": {"fpc": 2, "seed": 1}, "digests": {"train": "a"}, "more": 1},
]  # fmt: skip


@pytest.mark.parametrize("content", [*map(json.dumps, GARBAGE), "[]", "\xff", '{"draw": '])
def test_a_damaged_record_costs_one_line_until_the_next_draw(tmp_path, content):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    (folder / "observed.json").write_text(content)
    for read in (read_record, lambda folder: drawn(folder, {"train": LABELS})):
        with pytest.raises(UserError, match=r"observed\.json"):
            read(folder)
    assert drawn(folder, redraw(folder, Draw())) == Draw().record()


def test_the_command_tells_what_is_observed_and_which_images_have_no_label(tmp_path, capsys):
    labels = np.eye(8, 3, dtype=np.int8)
    folder = folder_with(tmp_path / "mine", labels, labels)
    np.save(array_path(folder, "val", "images"), [f"{row}\n.jpg" for row in range(8)])
    assert cli.run(observe.main, [str(folder), "--fpc", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "up to 1 positive and 1 negative labels of each class, seed 1200"
    counts = "8 images x 3 classes, observed: 3 positive and 3 negative labels, 25% of all"
    assert [line for line in out if counts in line] == [out[1], out[3]]
    observed = np.load(folder / "formatted_val_labels_obs.npy")
    bare = np.flatnonzero(~observed.any(axis=1))
    assert out[2] == f"  {len(bare)} images without any label: " + named(bare, "row {}")
    assert out[4] == f"  {len(bare)} images without any label: " + named(bare, "{}\\n.jpg")


def named(rows, form):
    return ", ".join(form.format(row) for row in rows)


def test_of_many_images_without_a_label_five_are_named(tmp_path, capsys):
    folder = folder_with(tmp_path / "mine", np.eye(20, 2), np.eye(20, 2))
    assert cli.run(observe.main, [str(folder)]) == 0
    names = "  18 images without any label: row 2, row 3, row 4, row 5, row 6, ..."
    assert capsys.readouterr().out.splitlines().count(names) == 2


def strikes(monkeypatch, number, strike):
    """The `number`-th time that something is flushed to disk, `strike` happens instead."""
    flush, calls = os.fsync, iter(range(number))

    def flushes(handle):
        if next(calls, None) is None:
            strike()
        flush(handle)

    monkeypatch.setattr(os, "fsync", flushes)


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("ending", ["full", "killed"])
def test_a_draw_is_all_there_or_not_at_all(tmp_path, monkeypatch, ending, number):
    """Four files are flushed, then the folder before and after they take their places."""
    folder = partial_folder(tmp_path / "x", "train", "val", "dev")
    old, new = Draw(seed=1), Draw(fpc=3, seed=2)
    before, after = redraw(folder, old), new(csr_array(PARTIAL), "partial")
    if ending == "full":
        strikes(monkeypatch, number, full)
        with pytest.raises(UserError, match="No space left on device"):
            redraw(folder, new)
        monkeypatch.undo()
    elif not (child := os.fork()):
        strikes(monkeypatch, number, lambda: os._exit(9))
        try:
            redraw(folder, new)
        finally:
            os._exit(0)
    else:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found = parts_in(folder, *before)
    is_new = {(labels != after).nnz == 0 for labels in found.values()}
    assert is_new == {number >= 5}
    assert drawn(folder, found) == (new if number >= 5 else old).record()
    half = number == 5 or (number == 4 and ending == "killed")
    assert (folder / DRAWING).exists() == half
    if half:
        with pytest.raises(UserError, match="is half drawn, that was stopped: python -m data"):
            check_whole(folder)
    assert drawn(folder, redraw(folder, new)) == new.record()
    check_whole(folder)
    if ending == "full":
        assert not list(folder.glob(".*"))
