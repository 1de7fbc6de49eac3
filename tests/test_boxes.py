"""Boxes of objects: against fractions computed by hand, and files that are missing or damaged."""

import json

import numpy as np
import pytest

from cli import UserError
from data import digits
from data.boxes import ANNOTATIONS, boxes_of
from data.class_names import PASCAL
from tests import tiny

OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
)


def write_voc(folder, name, *objects, size=(200, 100), before=""):
    """The annotation of one image; an object is its name, whether it is difficult, its box."""
    path = folder / ANNOTATIONS / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = "".join(OBJECT.format(*found) for found in objects)
    path.write_text(
        f"{before}<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{held}</annotation>"
    )
    return path


def write_coco(folder, part="val", **changes):
    """A COCO file with a 200 x 100 image 7 and a 50 x 50 image 8, classes of ids 5 and 3."""
    content = {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100},
            {"id": 8, "file_name": "b.jpg", "width": 50, "height": 50},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [20, 10, 100.0, 50], "iscrowd": 0},
            {"image_id": 7, "category_id": 5, "bbox": [0, 0, 50, 25], "iscrowd": 1},
            {"image_id": 7, "category_id": 3, "bbox": [150, 50, 60, 60], "iscrowd": 0},
            {"image_id": 8, "category_id": 5, "bbox": [10, 10, 0, 5], "iscrowd": 0},
        ],
        **changes,
    }
    path = folder / "annotations" / f"instances_{part}2014.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def assert_boxes(found, expected):
    """The same columns in the same order, with the same boxes."""
    assert list(found) == list(expected)
    for column, boxes in expected.items():
        assert found[column].shape == (len(boxes), 4)
        np.testing.assert_allclose(found[column], boxes, atol=1e-12)


def test_pixels_of_voc_count_from_one_and_the_last_belongs_to_the_box(tmp_path):
    write_voc(tmp_path, "b", ("dog", 0, 21, 11, 120, 60), ("cat", 1, 1, 1, 200, 100))
    write_voc(tmp_path, "a", ("dog", 0, 1, 1, 1, 1), ("dog", 0, 101.0, 51.0, 200, 100))
    second, first = boxes_of("pascal", tmp_path, ["b.jpg", "a.jpg"], PASCAL)
    cat, dog = PASCAL.index("cat"), PASCAL.index("dog")
    assert_boxes(second, {cat: [(0, 0, 1, 1)], dog: [(0.1, 0.1, 0.6, 0.6)]})
    assert_boxes(first, {dog: [(0, 0, 0.005, 0.01), (0.5, 0.5, 1, 1)]})


def test_boxes_of_coco_are_cut_at_the_image_and_crowds_count(tmp_path):
    write_coco(tmp_path)
    names = ["val2014/b.jpg", "val2014/a.jpg"]
    empty, found = boxes_of("coco", tmp_path, names, ("dog", "cat"))
    assert empty == {}  # a box without a width is none
    assert_boxes(found, {0: [(0.1, 0.1, 0.6, 0.6), (0.75, 0.5, 1, 1)], 1: [(0, 0, 0.25, 0.25)]})


def test_coco_reads_the_file_of_the_folder_that_a_name_tells(tmp_path):
    write_coco(tmp_path)
    one = [{"image_id": 7, "category_id": 5, "bbox": [0, 0, 200, 100]}]
    write_coco(tmp_path, "train", annotations=one)
    names = ["val2014/a.jpg", "train2014/a.jpg"]
    val, train = boxes_of("coco", tmp_path, names, ("cat", "dog"))
    assert_boxes(train, {0: [(0, 0, 1, 1)]})
    assert list(val) == [0, 1]


def test_the_boxes_of_digits_are_those_of_its_canvases():
    names = ["val canvas 3", "train canvas 17"]
    found = boxes_of("digits", None, names, digits.CLASSES)
    for part, number, boxes in (("val", 3, found[0]), ("train", 17, found[1])):
        canvases = digits.compose(part)
        present = np.flatnonzero(canvases.labels[number])
        assert_boxes(boxes, {k: [canvases.boxes[number, k] / 24] for k in present})


def test_a_digit_lies_in_its_box_alone():
    (boxes,) = boxes_of("digits", None, ["val canvas 0"], digits.CLASSES)
    image = digits.compose("val").images[0, 0].copy()
    for (box,) in boxes.values():
        x0, y0, x1, y1 = np.round(box * 24).astype(int)
        assert image[y0:y1, x0:x1].max() > 128
        image[y0:y1, x0:x1] = 0
    assert image.max() == 0


def test_names_of_digits_are_those_that_training_uses(tmp_path):
    from datasets import load_data

    data = load_data(tiny.settings("digits", tmp_path))
    for split in data.splits.values():
        names = split.names[:5].tolist()
        for boxes, labels in zip(
            boxes_of("digits", tmp_path, names, data.classes), split.truth, strict=False
        ):
            assert list(boxes) == np.flatnonzero(labels == 1).tolist()


@pytest.mark.parametrize("name", ["test canvas 3", "val canvas 1500", "val canvas -1", "canvas"])
def test_digits_has_no_other_canvas(name):
    with pytest.raises(UserError, match="no image"):
        boxes_of("digits", None, [name], digits.CLASSES)


@pytest.mark.parametrize("dataset", ["nuswide", "cub", "openimages", "/some/folder"])
def test_other_data_sets_have_no_boxes(tmp_path, dataset):
    with pytest.raises(UserError, match=r"pascal, coco, digits alone, not of") as error:
        boxes_of(dataset, tmp_path, [], ())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dataset", "name"), [("pascal", "a.jpg"), ("coco", "val2014/a.jpg")])
def test_a_missing_file_is_said_with_what_to_do(tmp_path, dataset, name):
    with pytest.raises(UserError, match=r"is missing: .*data/README.md") as error:
        boxes_of(dataset, tmp_path, [name], ("cat",))
    assert "\n" not in str(error.value)


BOMB = '<!DOCTYPE a [<!ENTITY b "0"><!ENTITY c "&b;&b;&b;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_with_entities_is_refused_in_any_encoding(tmp_path, encoding):
    path = write_voc(tmp_path, "a", ("dog", 0, 1, 1, 9, 9), before=BOMB)
    path.write_bytes(path.read_text().encode(encoding))
    with pytest.raises(UserError, match=r"DOCTYPE|no UTF-8"):
        boxes_of("pascal", tmp_path, ["a.jpg"], PASCAL)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("<width>200</width>", "", "no size/width"),
        ("<width>200</width>", "<width>0</width>", "its size is 0 x 100"),
        ("<width>200</width>", "<width>nan</width>", "no number"),
        ("<xmin>21</xmin>", "<xmin>left</xmin>", "'left', no number"),
        ("<xmin>21</xmin>", "<xmin>121</xmin>", "before it begins"),
        ("<xmin>21</xmin>", "", "no bndbox/xmin"),
        ("<name>dog</name>", "<name> </name>", "object has no name"),
        ("</annotation>", "", "no XML"),
    ],
)
def test_a_damaged_voc_file_is_one_line(tmp_path, old, new, fault):
    path = write_voc(tmp_path, "a", ("dog", 0, 21, 11, 120, 60))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=fault) as error:
        boxes_of("pascal", tmp_path, ["a.jpg"], PASCAL)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_does_not_lead_out_of_the_folder(tmp_path):
    write_voc(tmp_path, "a", ("dog", 0, 1, 1, 100, 100))
    (boxes,) = boxes_of("pascal", tmp_path, ["../../../a.jpg"], PASCAL)
    assert_boxes(boxes, {PASCAL.index("dog"): [(0, 0, 0.5, 1)]})


def test_an_object_of_no_class_is_said(tmp_path):
    write_voc(tmp_path, "a", ("dragon", 0, 1, 1, 9, 9))
    with pytest.raises(UserError, match="'dragon', which is no class"):
        boxes_of("pascal", tmp_path, ["a.jpg"], PASCAL)


IMAGE = {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}
ENTRY = {"image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 5]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"images": None}, "no list of images"),
        ({"images": [{**IMAGE, "width": 0}]}, r"images\[0\] has the width 0"),
        ({"images": [{**IMAGE, "height": True}]}, r"images\[0\] has the height True"),
        ({"images": [{**IMAGE, "file_name": ["a"]}]}, r"images\[0\] has the file_name"),
        ({"images": []}, "does not know the image 'a.jpg'"),
        ({"images": [7]}, "no record"),
        ({"categories": [{"id": 5}]}, r"categories\[0\] has the name None"),
        ({"categories": []}, "unknown category 5"),
        ({"annotations": [{**ENTRY, "bbox": [0, 0, 5]}]}, "has the bbox"),
        ({"annotations": [{**ENTRY, "bbox": [0, 0, -5, 5]}]}, "has the bbox"),
        ({"annotations": [{**ENTRY, "bbox": [0, 0, float("nan"), 5]}]}, "has the bbox"),
        ({"annotations": [{**ENTRY, "bbox": [0, 0, 10**400, 5]}]}, "has the bbox"),
        ({"annotations": [{**ENTRY, "image_id": "7"}]}, "has the image_id"),
    ],
)
def test_a_damaged_coco_file_is_one_line(tmp_path, changes, fault):
    path = write_coco(tmp_path, **{"annotations": [ENTRY], **changes})
    with pytest.raises(UserError, match=fault) as error:
        boxes_of("coco", tmp_path, ["val2014/a.jpg"], ("cat", "dog"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_of_another_folder_is_said(tmp_path):
    write_coco(tmp_path)
    with pytest.raises(UserError, match=r"'test2014' .* neither train2014 nor val2014"):
        boxes_of("coco", tmp_path, ["test2014/a.jpg"], ("cat", "dog"))
