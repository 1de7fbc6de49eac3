"""Files of sparse tables: what is written is read back, and nothing else is trusted."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy.sparse import csr_array, save_npz

from cli import UserError
from data.arrays import load_array, load_sparse
from tests.test_properties import damaged, settings  # the same examples every time
from tests.tiny import write_array, write_sparse

DENSE = np.array([[1, 0, -1, 0], [0, 0, 0, 0], [0, 1, 1, -1]], np.int8)
TABLE = csr_array(DENSE)
MEMBERS = {
    "format": np.array(b"csr"),
    "shape": np.array([3, 4]),
    "data": np.array([1, -1, 1, 1, -1], np.int8),
    "indices": np.array([0, 2, 1, 2, 3], np.int32),
    "indptr": np.array([0, 2, 2, 5], np.int32),
}


def write_members(path, **changes):
    """The table's file with other members, or without those that are None."""
    members = {**MEMBERS, **changes}
    np.savez(path, **{name: array for name, array in members.items() if array is not None})
    return path


def refusal(path):
    """What is said of the file: one line, which begins with its path."""
    with pytest.raises(UserError) as caught:
        load_sparse(path)
    line = str(caught.value)
    assert line.startswith(f"{path} ")
    assert line.isprintable()
    return line


# Round trips


@pytest.mark.parametrize("dtype", [np.int8, bool, np.uint16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (5, 70_000), (0, 4), (4, 0)])
def test_a_sparse_table_is_read_back(tmp_path, dtype, shape):
    table = csr_array(shape, dtype=dtype)
    if 0 not in shape:
        table = csr_array(([1, 1], ([0, shape[0] - 1], [shape[1] - 1, 0])), shape, dtype=dtype)
        table.sum_duplicates()
    write_sparse(tmp_path / "t.npz", table)
    again = load_sparse(tmp_path / "t.npz")
    assert again.shape == shape
    assert again.dtype == dtype
    assert again.indptr.tolist() == table.indptr.tolist()
    assert again.indices.tolist() == table.indices.tolist()
    assert again.data.tolist() == table.data.tolist()


@pytest.mark.parametrize("array", [DENSE, DENSE.T, DENSE[:0], np.array(["a", "bc"]), np.float64(3)])
def test_a_dense_array_is_read_back(tmp_path, array):
    write_array(tmp_path / "a.npy", array)
    again = load_array(tmp_path / "a.npy")
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_what_scipy_writes_is_read(tmp_path):
    """Compressed too, which is what save_npz does unless told otherwise."""
    for compressed in (True, False):
        save_npz(tmp_path / "t.npz", TABLE, compressed=compressed)
        np.testing.assert_array_equal(load_sparse(tmp_path / "t.npz").toarray(), DENSE)


def test_an_array_that_was_read_is_its_readers_own(tmp_path):
    table = load_sparse(write_members(tmp_path / "t.npz"))
    for part in (table.data, table.indices, table.indptr):
        assert part.flags.writeable


def test_entries_in_any_order_are_put_in_order(tmp_path):
    changes = {"indices": MEMBERS["indices"][[1, 0, 4, 2, 3]]}
    changes["data"] = MEMBERS["data"][[1, 0, 4, 2, 3]]
    table = load_sparse(write_members(tmp_path / "t.npz", **changes))
    assert table.indices.tolist() == MEMBERS["indices"].tolist()
    assert table.data.tolist() == MEMBERS["data"].tolist()
    assert table.has_canonical_format


def test_entries_of_0_are_dropped(tmp_path):
    zeros = np.array([1, 0, 0, 1, -1], np.int8)
    table = load_sparse(write_members(tmp_path / "t.npz", data=zeros))
    assert table.data.tolist() == [1, 1, -1]
    assert table.indices.tolist() == [0, 2, 3]
    assert table.indptr.tolist() == [0, 1, 1, 3]


@pytest.mark.parametrize("dtype", ["i1", "i8", "u4", ">i4"])
def test_positions_may_be_whole_numbers_of_any_kind(tmp_path, dtype):
    changes = {name: MEMBERS[name].astype(dtype) for name in ("indices", "indptr", "shape")}
    table = load_sparse(write_members(tmp_path / "t.npz", **changes))
    np.testing.assert_array_equal(table.toarray(), DENSE)


# Bad members: what is in the file instead, words of the error


class Touch:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


BAD = [
    ({"format": np.array(b"csc")}, "it holds the format b'csc', not csr"),
    ({"format": np.array("coo")}, "it holds the format 'coo', not csr"),
    ({"format": np.array([1, 2])}, "not csr"),
    ({"shape": np.array([-3, 4])}, r"its shape is \(-3, 4\)"),
    ({"shape": np.array([3, -4])}, r"its shape is \(3, -4\)"),
    ({"shape": np.array([3, 2**40])}, r"its shape is \(3, 1099511627776\)"),
    ({"shape": np.array([2**62, 2**62])}, "its shape is"),
    ({"shape": np.array([3, 2**63], np.uint64)}, "its shape is"),
    ({"shape": np.array([3])}, r"its shape is \(3,\)"),
    ({"shape": np.array([3, 4, 1])}, r"its shape is \(3, 4, 1\)"),
    ({"shape": np.array([])}, "no list of whole numbers"),
    ({"shape": np.array([np.nan, 4])}, "no list of whole numbers"),
    ({"shape": np.array([4, 4])}, "indptr does not fit"),
    ({"shape": np.array([3, 3])}, "not all columns of the table"),
    ({"indices": np.array([0, 2, 1, 2, 4])}, "not all columns of the table"),
    ({"indices": np.array([0, 2, 1, 2, 2**32 + 3])}, "not all columns of the table"),
    ({"indices": np.array([0, 2, 1, 2, -1])}, "not all columns of the table"),
    ({"indices": np.array([0, 2, 1, 2])}, "indptr does not fit"),
    ({"indices": np.array([[0, 2, 1, 2, 3]])}, "no list of whole numbers"),
    ({"indices": np.array(list("02123"))}, "no list of whole numbers"),
    ({"indices": np.array([0, 2, 1, 3, 3])}, "a row holds an entry twice"),
    ({"indices": np.array([0, 2, 3, 2, 3])}, "a row holds an entry twice"),  # unsorted as well
    ({"indptr": np.array([0, 3, 2, 5])}, "indptr does not fit"),
    ({"indptr": np.array([0, 2**40, 2**40, 5])}, "indptr does not fit"),
    ({"indptr": np.array([0, 2, 2, 6])}, "indptr does not fit"),
    ({"indptr": np.array([1, 2, 2, 5])}, "indptr does not fit"),
    ({"indptr": np.array([0, 2, 5])}, "indptr does not fit"),
    ({"indptr": np.array([], np.int32)}, "indptr does not fit"),
    ({"data": np.array([1, 1, 1, 1], np.int8)}, "4 values in 5 places"),
    ({"data": np.array(1)}, "its data is no list of numbers"),
    ({"data": np.ones(5, complex)}, "its data is no list of numbers"),
    ({"data": np.ones(5, np.float16)}, "dtype not compatible"),
    ({"data": np.array([Touch()] * 5)}, "it holds pickled Python objects, which could run code"),
    ({"format": np.array(Touch())}, "it holds pickled Python objects"),
    *(({name: None}, "it lacks a member") for name in MEMBERS),
]


@pytest.mark.parametrize(("changes", "words"), BAD)
def test_a_bad_member_is_one_line(tmp_path, monkeypatch, changes, words):
    monkeypatch.chdir(tmp_path)
    path = write_members(tmp_path / "t.npz", **changes)
    line = refusal(path)
    with pytest.raises(UserError, match=words):
        load_sparse(path)
    assert line.endswith("; make it again")
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    "shape",
    [
        np.array([np.inf, 4]),
        np.array([3.7, 4]),
        np.array(["3", "4"]),
        np.array([3, 4], "M8[s]"),
        np.array([(3, 4)], [("a", "i4"), ("b", "i4")]),
    ],
    ids=["infinite", "fraction", "text", "time", "record"],
)
def test_a_shape_of_no_whole_numbers_is_one_line(tmp_path, shape):
    refusal(write_members(tmp_path / "t.npz", shape=shape))


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([0, 2, 1, 2.5, 3])},
        {"indptr": np.array([0, 2.5, 2.5, 5])},
        {"indptr": np.array([False, True, True, True])},
    ],
)
def test_positions_of_no_whole_numbers_are_one_line(tmp_path, changes):
    refusal(write_members(tmp_path / "t.npz", **changes))


def test_positions_beyond_an_empty_table_are_one_line(tmp_path):
    """In a process of its own: reading there may end it."""
    indptr = np.array([0, 50_000, 90_000, 0], np.int32)
    empty = {"data": np.zeros(0, np.int8), "indices": np.zeros(0, np.int32), "indptr": indptr}
    path = write_members(tmp_path / "t.npz", **empty)
    program = "import sys, pathlib, data.arrays as a; a.load_sparse(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "cli.UserError: " in run.stderr


# Bad files


def test_what_is_no_zip_file_is_one_line(tmp_path):
    path = tmp_path / "t.npz"
    assert "it is no regular file" in refusal(path)
    for content in (b"", b"some text\n", b"PK\x03\x04", bytes(range(200))):
        path.write_bytes(content)
        assert "File is not a zip file" in refusal(path)
    np.save(tmp_path / "a.npy", DENSE)
    (tmp_path / "a.npy").rename(path)
    assert "File is not a zip file" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "it is no regular file" in refusal(path)


def test_a_truncated_file_is_one_line(tmp_path):
    path = write_members(tmp_path / "t.npz")
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        refusal(path)


def places_of_members(path):
    """Where the contents of the members begin and end in the file, by name."""
    places, raw = {}, path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            lengths = raw[info.header_offset + 26 : info.header_offset + 30]
            names = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            first = info.header_offset + 30 + names
            places[info.filename.removesuffix(".npy")] = (first, first + info.compress_size)
    return places


@pytest.mark.parametrize("name", MEMBERS)
def test_a_flipped_bit_of_a_member_is_one_line(tmp_path, name):
    path = write_members(tmp_path / "t.npz")
    first, end = places_of_members(path)[name]
    whole = path.read_bytes()
    for place in (first, first + 20, (first + end) // 2, end - 1):
        for bit in (0, 6):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            path.write_bytes(content)
            assert f"Bad CRC-32 for file '{name}.npy'" in refusal(path)


def test_a_header_that_asks_for_more_than_its_member_holds_is_one_line(tmp_path):
    path = write_members(tmp_path / "t.npz")
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["data.npy"] = contents["data.npy"].replace(b"(5,)", b"(9,)")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    assert "speaks of 9 bytes of data, it holds 5" in refusal(path)


def damaged_file(tmp_path, data, compressed):
    """A file with the table, then damaged somehow."""
    packed = io.BytesIO()
    save_npz(packed, TABLE, compressed=compressed)
    path = tmp_path / "t.npz"
    path.write_bytes(data.draw(damaged(packed.getvalue())))
    return path


def assert_refused_or_unharmed(path):
    table, line = None, f"{path} "
    try:
        table = load_sparse(path)
    except UserError as error:
        line = str(error)
    event("refused" if table is None else "unharmed")
    assert line.startswith(f"{path} ")
    assert line.isprintable()
    if table is not None:
        np.testing.assert_array_equal(table.toarray(), DENSE)


@settings(max_examples=400)
@given(data=st.data())
def test_a_damaged_table_is_noticed(tmp_path, data):
    """Whatever bit or byte changes: refused in one line, or exactly what was written."""
    assert_refused_or_unharmed(damaged_file(tmp_path, data, compressed=False))


@settings(max_examples=400)
@given(data=st.data())
def test_a_damaged_compressed_table_is_noticed(tmp_path, data):
    assert_refused_or_unharmed(damaged_file(tmp_path, data, compressed=True))


@settings(max_examples=200)
@given(content=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"PK\3\4" + b))
def test_random_bytes_are_no_table(tmp_path, content):
    path = tmp_path / "t.npz"
    path.write_bytes(content)
    refusal(path)


numbers = st.sampled_from([0, 1, 2, 3, 4, 5, -1, 127, -128, 2**31 - 1, 2**31, 2**40, -(2**63)])


columns = st.lists(st.integers(0, 3), max_size=6) | st.lists(numbers, max_size=6)
cuts = st.lists(st.integers(0, 6), min_size=2, max_size=2).map(sorted)


@settings(max_examples=400)
@given(shape=st.just([3, 4]) | st.lists(numbers, max_size=3), indices=columns, data=st.data())
def test_any_numbers_give_a_proper_table_or_one_line(tmp_path, shape, indices, data):
    proper = cuts.map(lambda places: [0, *places, len(indices)])
    indptr = data.draw(proper | st.lists(numbers, max_size=5))
    kinds = {"shape": shape, "indices": indices, "indptr": indptr}
    members = {name: np.array(values, np.int64) for name, values in kinds.items()}
    path = write_members(tmp_path / "t.npz", data=np.ones(len(indices), np.int8), **members)
    try:
        table = load_sparse(path)
    except UserError:
        event("refused")
        return
    event("taken")
    assert list(table.shape) == shape
    entries = [
        (row, column)
        for row in range(shape[0])
        for column in table.indices[table.indptr[row] : table.indptr[row + 1]].tolist()
    ]
    assert entries == sorted(set(entries))
    assert all(0 <= column < shape[1] for _, column in entries)
