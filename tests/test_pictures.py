"""Which pictures are there."""

import os

import numpy as np
import pytest

from data.pictures import missing_pictures


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "train/b.jpg", "train/deep/c.jpg", "train/ü.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


NAMES = ["a.jpg", "b.jpg", "train/b.jpg", "train/x.jpg", "train/deep/c.jpg", "no/d.jpg"]


def test_the_places_of_missing_pictures_in_their_order(folder):
    assert missing_pictures(folder, NAMES) == [1, 3, 5]
    assert missing_pictures(folder, []) == []
    assert missing_pictures(folder / "nowhere", NAMES) == [0, 1, 2, 3, 4, 5]


def test_names_may_be_bytes_and_arrays(folder):
    assert missing_pictures(folder, [name.encode() for name in NAMES]) == [1, 3, 5]
    assert missing_pictures(folder, np.array(NAMES)) == [1, 3, 5]
    assert missing_pictures(folder, np.array(NAMES, dtype="S")) == [1, 3, 5]
    assert missing_pictures(folder, ["train/ü.jpg", "train/ü.jpg".encode()]) == []


def test_other_ways_to_write_a_path_do(folder):
    odd = ["./a.jpg", "train//b.jpg", "train/../a.jpg", str(folder / "a.jpg"), "/a.jpg"]
    assert missing_pictures(folder, odd) == [4]


def test_names_that_no_file_can_have_are_missing(folder):
    assert missing_pictures(folder, ["\ud800/x.jpg", "a\0/b", "l" * 5000, "a.jpg/b"]) == [
        0,
        1,
        2,
        3,
    ]


def test_each_folder_is_listed_once(folder, monkeypatch):
    asked = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: asked.append(path) or listdir(path))
    missing_pictures(folder, NAMES * 50)
    assert len(asked) == 4


def test_a_file_that_only_the_disk_finds_is_there(folder, monkeypatch):
    """As where it does not tell capital letters from small ones."""
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: exists(str(path).lower()))
    assert missing_pictures(folder, ["A.JPG", "B.JPG"]) == [1]
