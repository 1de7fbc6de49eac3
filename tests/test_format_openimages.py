"""OpenImages to arrays: every label by hand, what is left out, bad files."""

import numpy as np
import pytest

from cli import UserError
from data.format_openimages import (
    pictures,
    rarity_groups,
    read_classes,
    read_openimages,
    read_verified,
)
from data.formatted import load_labels, write_formatted
from data.labels import is_sparse, sparse_labels, to_dense
from tests.open_images import CLASSES, HIGHEST, TRAINABLE, make_openimages, write_answers

TRAIN = {  # {image: (positive columns, negative columns)}
    "0000000000000c01": ([0], [1]),
    "0000000000000c02": ([0], [2]),
    "0000000000000c03": ([0, 3], []),
    "0000000000000c04": ([4], [0]),
    "0000000000000c05": ([1], []),
    "0000000000000c06": ([2], [4]),
    "0000000000000c07": ([5, 8], []),
    "0000000000000c08": ([9], []),
    "0000000000000c09": ([0], [9]),
    "0000000000000c0a": ([6], []),
    "0000000000000c0b": ([8, 9], []),
    HIGHEST: ([], [0, 2]),
}
VALIDATION = {
    "00000000000001a1": ([0], []),
    "00000000000001a2": ([2], [1]),
    "00000000000001a3": ([3], []),
    "00000000000001a4": ([], [4]),
    "00000000000001a5": ([7], []),
    "00000000000001a6": ([8], []),
}
TEST = {
    "00000000000001b1": ([0], []),
    "00000000000001b2": ([1], []),
    "00000000000001b3": ([2], [5]),
    "00000000000001b4": ([], [3]),
    "00000000000001b5": ([4, 6], []),
    "00000000000001b6": ([7], []),
    "00000000000001b7": ([9], [8]),
    "00000000000001b8": ([], [0]),
}
WORDS = "ImageID,Source,LabelName,Confidence"


@pytest.fixture
def folder(tmp_path):
    return make_openimages(tmp_path)


def annotations(folder, subset="train"):
    return folder / "2017_11" / subset / "annotations-human.csv"


def labelled(part):
    """The same form as TRAIN."""
    rows = to_dense(part.labels)
    columns = [(np.flatnonzero(r == 1).tolist(), np.flatnonzero(r == -1).tolist()) for r in rows]
    return {name[-20:-4].decode(): row for name, row in zip(part.images, columns, strict=True)}


def test_the_labels_are_those_counted_by_hand(folder):
    formatted = read_openimages(folder)
    assert labelled(formatted.train) == TRAIN
    assert labelled(formatted.dev) == VALIDATION
    assert labelled(formatted.val) == TEST
    assert formatted.truth == "partial"
    assert is_sparse(formatted.train.labels)
    assert formatted.train.labels.dtype == np.int8


def test_images_are_in_the_order_of_their_ids_and_named_by_their_subset(folder):
    formatted = read_openimages(folder)
    assert formatted.train.images.tolist() == [f"train/{i}.jpg".encode() for i in sorted(TRAIN)]
    assert formatted.dev.images[0] == b"validation/00000000000001a1.jpg"
    assert formatted.val.images[0] == b"test/00000000000001b1.jpg"
    assert all((folder / name.decode()).is_file() for name in formatted.train.images)


def test_classes_are_named_apart_in_the_order_of_the_trainable_ones(folder):
    assert read_openimages(folder).classes == CLASSES


def test_what_was_left_out_is_counted(folder):
    expected = (
        "train: 12 images, 14 positive and 7 negative labels (left out: 6 labels of other "
        "classes, 3 contradictions, 1 images without picture); dev: 6 images, 5 positive and 2 "
        "negative labels (left out: 1 labels of other classes, 1 contradictions, 0 images without "
        "picture); val: 8 images, 7 positive and 4 negative labels (left out: 0 labels"
    )
    assert expected in read_openimages(folder).source
    verified = read_verified(folder, "train", TRAINABLE)
    assert (verified.other_classes, verified.contradictions, len(verified.images)) == (6, 3, 13)


def test_an_image_without_picture_counts_where_none_is_needed(folder):
    formatted = read_openimages(folder, pictures_needed=False)
    without = {"0000000000000c0d": ([9], [3])}
    assert labelled(formatted.train) == TRAIN | without


def test_groups_are_fifths_of_the_classes_by_annotations_of_the_release(folder):
    """By class: 6 2 3 2 2 1 1 0 2 4, the image without picture included."""
    groups = {"G1": [5, 7], "G2": [1, 6], "G3": [3, 4], "G4": [2, 8], "G5": [0, 9]}
    assert read_openimages(folder).groups == groups
    assert read_openimages(folder, pictures_needed=False).groups == groups


def test_there_are_no_empty_groups():
    labels = sparse_labels(np.array([0, 0, 1]), np.array([0, 1, 0]), np.ones(3), (2, 3))
    assert rarity_groups(labels) == {"G1": [2], "G2": [1], "G3": [0]}


def test_it_is_the_same_without_the_2017_11_level(folder):
    expected = read_openimages(folder)
    for path in (folder / "2017_11").rglob("*.*"):
        path.rename(folder / path.relative_to(folder / "2017_11"))
    formatted = read_openimages(folder)
    assert labelled(formatted.train) == labelled(expected.train)
    assert formatted.source == expected.source


def test_what_is_written_is_read_back(folder, tmp_path):
    formatted = read_openimages(folder)
    write_formatted(tmp_path / "out", formatted, ".", {})
    labels = load_labels(tmp_path / "out" / "formatted_train_labels.npz")
    assert (labels != formatted.train.labels).nnz == 0
    assert (tmp_path / "out" / "formatted_dev_images.npy").exists()


def test_two_calls_write_the_same_bytes(folder, tmp_path):
    again = make_openimages(tmp_path / "again")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert len(files) == 2 + 3 * 2 + 14 + 6 + 8
    for name in files:
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_random_answers_agree_with_a_dictionary(folder):
    rng = np.random.RandomState(0)
    for _ in range(20):
        said = [
            (f"{rng.randint(6):016x}", f"{rng.randint(12)}{rng.choice(['+', '-'])}")
            for _ in range(rng.randint(1, 80))
        ]
        write_answers(folder, "train", (*said, ("00000000000000ff", "0+")))
        verified = read_verified(folder, "train", TRAINABLE)
        answers = {(f"{255:016x}", 0): {"+"}}
        for image, word in said:
            if int(word[:-1]) < 10:
                answers.setdefault((image, int(word[:-1])), set()).add(word[-1])
        clear = {key: min(both) for key, both in answers.items() if len(both) == 1}
        assert [f"{i:016x}" for i in verified.images] == sorted({image for image, _ in clear})
        rows, columns = verified.labels.nonzero()
        assert {
            (f"{verified.images[row]:016x}", column): {1: "+", -1: "-"}[
                verified.labels[row, column]
            ]
            for row, column in zip(rows, columns, strict=True)
        } == clear
        assert verified.contradictions == len(answers) - len(clear)
        assert verified.other_classes == sum(int(word[:-1]) >= 10 for _, word in said)


def test_blocks_end_where_lines_do(folder, monkeypatch):
    expected = labelled(read_openimages(folder).train)
    for size in (1, 7, 100):
        monkeypatch.setattr("data.format_openimages._BLOCK", size)
        assert labelled(read_openimages(folder).train) == expected


def test_windows_line_ends_and_empty_lines_are_no_matter(folder):
    expected = labelled(read_openimages(folder).train)
    path = annotations(folder)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert labelled(read_openimages(folder).train) == expected


def test_only_pictures_with_the_name_of_an_image_count(folder):
    for name in ("0000000000000C0D.jpg", "0000000000000c0d.png", "c0d.jpg", "a.0000.jpg"):
        (folder / "train" / name).touch()
    assert len(pictures(folder / "train")) == 14
    assert pictures(folder / "nowhere").size == 0


BAD_ROWS = {
    "few columns": b"0000000000000c01,verification,/m/t1",
    "many columns": b"0000000000000c01,verification,/m/t1,1,1",
    "confidence": b"0000000000000c01,verification,/m/t1,0.7",
    "no confidence": b"0000000000000c01,verification,/m/t1,",
    "a path for an id": b"../../../../etc/x,verification,/m/t1,1",
    "no hexadecimal id": b"0000_00000000c01,verification,/m/t1,1",
    "capitals": b"0000000000000C01,verification,/m/t1,1",
    "NUL": b"0000000000000c01,verification,/m/x\0,1",
    "no UTF-8": b"0000000000000c01,verification,/m/\xff,1",
}


@pytest.mark.parametrize("block", [60, 2**24])
@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named(folder, row, block, monkeypatch):
    monkeypatch.setattr("data.format_openimages._BLOCK", block)
    path = annotations(folder)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:5], row, *lines[5:]]))
    with pytest.raises(UserError, match=f"{path}, line 6"):
        read_openimages(folder)


@pytest.mark.parametrize("header", [b"", b"ImageID,LabelName,Confidence\n", b"c01,a,/m/t1,1\n"])
def test_a_missing_header_is_named(folder, header):
    path = annotations(folder, "test")
    path.write_bytes(header)
    with pytest.raises(UserError, match=f"{path}, line 1 must be {WORDS}"):
        read_openimages(folder)


def test_annotations_without_a_single_label_are_refused(folder):
    annotations(folder).write_text(f"{WORDS}\n")
    with pytest.raises(UserError, match="no image is left"):
        read_openimages(folder)


def test_a_folder_without_pictures_is_named(folder):
    (folder / "validation").rename(folder / "elsewhere")
    with pytest.raises(UserError, match="validation has no picture of the 6 images"):
        read_openimages(folder)


@pytest.mark.parametrize("name", ["classes-trainable.txt", "train/annotations-human.csv"])
def test_a_missing_file_is_named_where_the_release_has_it(folder, name):
    (folder / "2017_11" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"2017_11/{name}"):
        read_openimages(folder)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("/m/t1\n/m/t2\n/m/t1\n", "line 3: '/m/t1' is no class id, or is there twice"),
        ("<html>\n", "line 1: '<html>' is no class id"),
    ],
)
def test_a_wrong_list_of_classes_is_named(folder, text, fault):
    path = folder / "2017_11" / "classes-trainable.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}.*{fault}"):
        read_classes(folder)


@pytest.mark.parametrize(
    "row", [b"/m/t1\n", b"/m/t1,\xff\n", b"/m/t1,a\0b\n"], ids=["one column", "no UTF-8", "NUL"]
)
def test_a_bad_description_is_named(folder, row):
    path = folder / "2017_11" / "class-descriptions.csv"
    path.write_bytes(b"/m/t0,Car\n" + row)
    with pytest.raises(UserError, match=f"{path}, line 2"):
        read_classes(folder)
