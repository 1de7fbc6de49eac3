"""PASCAL VOC 2012: what becomes of objects that are difficult."""

import numpy as np
import pytest

from cli import UserError
from data.class_names import PASCAL
from data.format_pascal import read_pascal
from tests.releases import LISTS, PASCAL_DIFFICULT_ONLY, make_pascal, write_voc


@pytest.fixture
def by_hand(tmp_path):
    """Unsorted; c has a difficult person beside its dog, b difficult objects alone."""
    train = {"person": [1, 0, 0, 1], "dog": [-1, 1, -1, 1], "tvmonitor": [-1, -1, 0, -1]}
    write_voc(tmp_path, ["d", "c", "b", "a"], train, "train")
    write_voc(tmp_path, ["f", "e"], {"aeroplane": [1, 1], "cat": [0, -1]}, "val")
    return tmp_path


def labels_of(formatted, part, row):
    """{value: names of the classes} of one image, but for the commonest value."""
    labels = formatted.parts[part].labels[row].tolist()
    return {
        value: [name for name, label in zip(PASCAL, labels, strict=True) if label == value]
        for value in set(labels) - {max(labels, key=labels.count)}
    }


def test_difficult_objects_are_negative_as_in_the_official_code(by_hand):
    formatted = read_pascal(by_hand)
    assert (formatted.truth, formatted.source) == ("full", "")
    assert formatted.train.images.tolist() == ["a.jpg", "c.jpg", "d.jpg"]
    assert labels_of(formatted, "train", 1) == {1: ["dog"]}
    assert set(np.unique(formatted.train.labels)) == {0, 1}
    assert repr(read_pascal(by_hand, difficult="negative")) == repr(formatted)


def test_difficult_objects_can_be_left_unannotated(by_hand):
    formatted = read_pascal(by_hand, difficult="ignore")
    assert formatted.truth == "partial"
    assert formatted.source == "PASCAL VOC 2012, difficult objects not annotated"
    assert labels_of(formatted, "train", 0) == {1: ["dog", "person"]}
    assert labels_of(formatted, "train", 1) == {1: ["dog"], 0: ["person"]}
    assert labels_of(formatted, "train", 2) == {1: ["person"]}
    assert labels_of(formatted, "val", 0) == {1: ["aeroplane"]}
    assert labels_of(formatted, "val", 1) == {1: ["aeroplane"], 0: ["cat"]}
    assert formatted.train.labels.dtype == np.int8


def test_the_choice_changes_neither_images_nor_positives(tmp_path):
    folder = make_pascal(tmp_path)
    negative, ignore = read_pascal(folder), read_pascal(folder, difficult="ignore")
    assert negative.classes == ignore.classes
    for name, part in negative.parts.items():
        other = ignore.parts[name]
        assert f"{PASCAL_DIFFICULT_ONLY[name]}.jpg" not in other.images
        np.testing.assert_array_equal(part.images, other.images)
        np.testing.assert_array_equal(part.labels == 1, other.labels == 1)
        assert set(np.unique(other.labels)) == {-1, 0, 1}


def test_zeros_are_the_flags_of_the_lists(tmp_path):
    folder = make_pascal(tmp_path)
    formatted = read_pascal(folder, difficult="ignore")
    for name, part in formatted.parts.items():
        for column, label in enumerate(PASCAL):
            rows = map(str.split, (folder / LISTS / f"{label}_{name}.txt").read_text().splitlines())
            flags = {f"{image}.jpg": int(flag) for image, flag in rows}
            assert part.labels[:, column].tolist() == [flags[image] for image in part.images]


@pytest.mark.parametrize("difficult", ["negative", "ignore"])
def test_lists_without_a_positive_are_refused(tmp_path, difficult):
    for images, flags in (([], {}), (["a"], {"dog": [0]})):
        write_voc(tmp_path, images, flags, "train")
        with pytest.raises(UserError, match=r"aeroplane_train\.txt leaves no labelled image"):
            read_pascal(tmp_path, difficult)
