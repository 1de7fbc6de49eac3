"""The embedded data set: what lies on a canvas is what its labels and boxes say."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data import digits

COUNTS = {"train": 3000, "val": 1500}


@pytest.fixture(scope="module")
def canvases():
    return {part: digits.compose(part) for part in COUNTS}


@pytest.fixture(scope="module")
def digit_of():
    """The digit of each of scikit-learn's scans, by its pixels at 255 for white."""
    scans, names = load_digits(return_X_y=True)
    pixels = (scans / 16 * 255).round().astype(np.uint8)
    by_pixels = {scan.tobytes(): int(name) for scan, name in zip(pixels, names, strict=True)}
    assert len(by_pixels) == 1797
    return by_pixels


def scans_on(part):
    """(digit, pixels) of every box."""
    for image, boxes in zip(part.images, part.boxes, strict=True):
        for digit, (x0, y0, x1, y1) in enumerate(boxes):
            if x0 >= 0:
                yield digit, image[0, y0:y1, x0:x1].tobytes()


@pytest.mark.parametrize("part", COUNTS)
def test_shapes_and_types(canvases, part):
    images, labels, boxes = canvases[part]
    count = COUNTS[part]
    assert (images.shape, images.dtype) == ((count, 3, 24, 24), np.uint8)
    assert (labels.shape, labels.dtype) == ((count, 10), np.int8)
    assert (boxes.shape, boxes.dtype) == ((count, 10, 4), np.int16)
    assert digits.CLASSES == tuple("0123456789")
    assert (images == images[:, :1]).all()  # grey
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize("part", COUNTS)
def test_two_to_four_digits_each_with_its_box(canvases, part):
    _, labels, boxes = canvases[part]
    assert np.unique(labels).tolist() == [0, 1]
    assert np.unique(labels.sum(1)).tolist() == [2, 3, 4]
    assert ((boxes >= 0).all(2) == (labels == 1)).all()
    assert (boxes[labels == 0] == -1).all()
    frequency = labels.mean(0)
    assert frequency.min() > 0.25  # 3 of 10, evenly
    assert frequency.max() < 0.35


@pytest.mark.parametrize("part", COUNTS)
def test_a_box_holds_a_scan_of_its_digit(canvases, digit_of, part):
    assert all(digit_of[pixels] == digit for digit, pixels in scans_on(canvases[part]))


@pytest.mark.parametrize("part", COUNTS)
def test_nothing_lies_outside_the_boxes_nor_in_two_of_them(canvases, part):
    for image, boxes in zip(*canvases[part][::2], strict=True):
        covered = np.zeros((24, 24), int)
        for x0, y0, x1, y1 in boxes[boxes[:, 0] >= 0]:
            assert 0 <= x0 < x1 <= 24
            assert 0 <= y0 < y1 <= 24
            covered[y0:y1, x0:x1] += 1
        assert covered.max() == 1
        assert not image[:, covered == 0].any()


@pytest.mark.parametrize("part", COUNTS)
def test_each_digit_keeps_to_its_cell_and_all_places_occur(canvases, part):
    boxes = canvases[part].boxes
    corners = boxes[boxes[:, :, 0] >= 0][:, :2]
    assert (corners // 12 == (corners + 7) // 12).all()
    assert np.unique(corners % 12).tolist() == [0, 1, 2, 3, 4]
    assert len(np.unique(corners, axis=0)) == 100  # 4 cells of 5 x 5 shifts


def test_train_and_test_share_no_scan(canvases):
    train, test = ({pixels for _, pixels in scans_on(canvases[part])} for part in COUNTS)
    assert not train & test
    assert 0.95 * 1078 < len(train) <= 1078  # 60 % of the scans
    assert 0.95 * 719 < len(test) <= 719


@pytest.mark.parametrize(
    ("part", "expected"), [("train", "19c9a0951d7e197f"), ("val", "49b2ff8f7f91b8e2")]
)
def test_the_canvases_are_always_the_same(canvases, part, expected):
    """Every result in README.md is on these canvases."""
    np.random.seed(99)
    again = digits.compose(part)
    for first, second in zip(canvases[part], again, strict=True):
        np.testing.assert_array_equal(first, second)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in again)).hexdigest()
    assert digest[:16] == expected
