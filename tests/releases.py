"""Tiny VOC, COCO, CUB and NUS-WIDE releases in their official raw layout, for tests.

Each holds 12 usable train and 8 usable val images (NUS-WIDE 14 and 9) and the oddities of the real
files. Called twice, a function writes the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from data.class_names import COCO, PASCAL

NUM_ATTRIBUTES = 312
# the official category ids of COCO leave gaps
COCO_CATEGORY_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
COCO_IDS = {
    "train": [9, 10, 25, 30, 64, 100, 109, 250, 1000, 2500, 30000, 581921],
    "val": [42, 73, 74, 133, 139, 420, 7300, 42000],
}
COCO_CROWD_ONLY, COCO_UNANNOTATED = 109, {"train": 71, "val": 500}
# airport, animal and so on in the real one, one a line as well
NUSWIDE_CONCEPTS = tuple(f"concept_{i:02d}" for i in range(81))
NUSWIDE_FOLDERS = ("actor", "administrative_assistant", "zoo")
NUSWIDE_UNLABELLED = (2, 11, 19)
LISTS = "VOCdevkit/VOC2012/ImageSets/Main"
PASCAL_DIFFICULT_ONLY = {"train": "2008_000900", "val": "2009_000900"}


def make_pascal(root: Path) -> Path:
    """Write root/pascal/VOCdevkit; the folder root/pascal.

    Both parts have an image with difficult objects alone, which makes 13 and 9 images in all.
    """
    rng = np.random.RandomState(0)
    release = root / "pascal" / "VOCdevkit" / "VOC2012"
    for part, year, count in (("train", 2008, 12), ("val", 2009, 8)):
        names = [f"{year}_{rng.randint(10) + 10 * i:06d}" for i in range(count)]
        flags = np.where(_some_positives(rng, count, len(PASCAL), 5), 1, -1)
        flags[:, -1] = rng.choice([0, -1], count)
        difficult = np.full((1, len(PASCAL)), -1)
        difficult[0, 14] = 0
        names.append(PASCAL_DIFFICULT_ONLY[part])
        _write_pascal_lists(release / "ImageSets" / "Main", part, names, [*flags, *difficult])
        for name in names:
            _write_picture(release / "JPEGImages" / f"{name}.jpg", rng)
    return root / "pascal"


def _write_pascal_lists(folder: Path, part: str, names: list[str], flags: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    for column, label in enumerate(PASCAL):
        lines = [f"{name} {row[column]:2d}\n" for name, row in zip(names, flags, strict=True)]
        (folder / f"{label}_{part}.txt").write_text("".join(lines))


def write_voc(folder: Path, images: list[str], flags: dict[str, list[int]], part: str) -> None:
    """Write lists of `images` alone, with the flags of {class: [flag, ...]}, all others -1."""
    table = np.full((len(images), len(PASCAL)), -1)
    for name, column in flags.items():
        table[:, PASCAL.index(name)] = column
    _write_pascal_lists(folder / LISTS, part, images, list(table))


def make_coco(root: Path) -> Path:
    """Write root/coco with its annotations and pictures; the folder root/coco.

    Both parts have an image without annotation; image 109 has a crowd and nothing else.
    """
    rng = np.random.RandomState(1)
    folder = root / "coco"
    for part, ids in COCO_IDS.items():
        listed = [*ids, COCO_UNANNOTATED[part]]
        rng.shuffle(listed)  # the official file is in no order either
        images = [_coco_image(part, image_id) for image_id in listed]
        for image in images:
            _write_picture(folder / f"{part}2014" / image["file_name"], rng)
        content = {
            "images": images,
            "annotations": _coco_annotations(rng, ids),
            "categories": [
                {"supercategory": "thing", "id": category_id, "name": name}
                for category_id, name in zip(COCO_CATEGORY_IDS, COCO, strict=True)
            ],
        }
        path = folder / "annotations" / f"instances_{part}2014.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def _coco_image(part: str, image_id: int) -> dict:
    name = f"COCO_{part}2014_{image_id:012d}.jpg"
    return {"license": 1, "file_name": name, "height": 32, "width": 40, "id": image_id}


def _coco_annotations(rng: np.random.RandomState, ids: list[int]) -> list[dict]:
    annotations: list[dict] = []
    for image_id, labels in zip(ids, _some_positives(rng, len(ids), 80, 8), strict=True):
        crowd = image_id == COCO_CROWD_ONLY
        columns = [40] if crowd else np.repeat(np.flatnonzero(labels), 2)
        outline = {"counts": [1280], "size": [32, 40]} if crowd else [[1, 1, 9.5, 1, 9.5, 9]]
        for column in columns:
            annotations.append(
                {
                    "segmentation": outline,
                    "area": 68.0,
                    "iscrowd": int(crowd),
                    "image_id": image_id,
                    "bbox": [1.0, 1.0, 8.5, 8.0],
                    "category_id": COCO_CATEGORY_IDS[column],
                    "id": 1000 + image_id * 10 + len(annotations),
                }
            )
    return [annotations[i] for i in rng.permutation(len(annotations))]


def make_cub(root: Path) -> Path:
    """Write root/cub/attributes.txt and root/cub/CUB_200_2011; the folder root/cub.

    Train and test alternate in images.txt, whose ids do not begin at 1; two lines of
    image_attribute_labels.txt have extra columns.
    """
    rng = np.random.RandomState(2)
    folder = root / "cub"
    release = folder / "CUB_200_2011"
    (release / "attributes").mkdir(parents=True, exist_ok=True)
    names = [f"{1 + i // 10:03d}.Bird/Bird_{i:04d}_{rng.randint(1000)}.jpg" for i in range(20)]
    training = [i % 5 not in (1, 3) for i in range(20)]
    _write_table(release / "images.txt", enumerate(names, start=5))
    _write_table(release / "train_test_split.txt", enumerate(map(int, training), start=5))
    attributes = [f"has_part_{i // 8}::colour_{i % 8}" for i in range(NUM_ATTRIBUTES)]
    _write_table(folder / "attributes.txt", enumerate(attributes, start=1))
    present = _some_positives(rng, len(names), NUM_ATTRIBUTES, 120)
    path = release / "attributes" / "image_attribute_labels.txt"
    path.write_text("".join(_cub_lines(rng, present)))
    for name in names:
        _write_picture(release / "images" / name, rng)
    return folder


def _cub_lines(rng: np.random.RandomState, present: np.ndarray) -> list[str]:
    certainty = rng.randint(1, 5, present.shape)
    seconds = rng.rand(*present.shape) * 9
    lines = [
        f"{row + 5} {column + 1} {int(label)} {certainty[row, column]} {seconds[row, column]:.3f}\n"
        for (row, column), label in np.ndenumerate(present)
    ]
    for number in (100, 2000):
        *start, time = lines[number].split()
        lines[number] = " ".join([*start, "0", "0", time]) + "\n"
    return lines


def make_nuswide(root: Path, spml: bool = False) -> Path:
    """Write root/nuswide with the lists and labels of the release; the folder root/nuswide.

    With `spml`, the arrays of a re-crawl in their stead: the same pictures, split otherwise. Both
    may be written into one root. Three images have no label; no two concepts are alike.
    """
    rng = np.random.RandomState(3)
    folder = root / "nuswide"
    images = [
        f"{NUSWIDE_FOLDERS[i % 3]}/{i // 3 + 1:04d}_{rng.randint(10**6, 10**9)}.jpg"
        for i in range(23)
    ]
    labels = _different_columns(rng, len(images), len(NUSWIDE_CONCEPTS))
    order = rng.permutation(len(images))
    for image in images:
        _write_picture(folder / "Flickr" / image, rng)
    if spml:
        crawled = rng.permutation(len(images))
        for part, rows in (("train", crawled[:14]), ("val", crawled[14:])):
            np.save(folder / f"formatted_{part}_images.npy", np.array(images)[rows])
            np.save(folder / f"formatted_{part}_labels.npy", labels[rows].astype(np.float64))
    else:
        parts = {"Train": np.sort(order[:14]), "Test": np.sort(order[14:]), "": np.arange(23)}
        _write_nuswide_release(folder, images, labels, parts)
    return folder


def _write_nuswide_release(
    folder: Path, images: list[str], labels: np.ndarray, parts: dict[str, np.ndarray]
) -> None:
    names = {
        "ConceptsList/Concepts81.txt": list(NUSWIDE_CONCEPTS),
        **{
            f"ImageList/{part}Imagelist.txt": [images[row].replace("/", "\\") for row in rows]
            for part, rows in parts.items()
        },
    }
    for part, rows in parts.items():
        place = f"TrainTestLabels/Labels_{{}}_{part}.txt" if part else "AllLabels/Labels_{}.txt"
        for concept, column in zip(NUSWIDE_CONCEPTS, labels.T, strict=True):
            names[f"Groundtruth/{place.format(concept)}"] = [str(column[row]) for row in rows]
    for name, lines in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def _different_columns(rng: np.random.RandomState, rows: int, columns: int) -> np.ndarray:
    """Labels {0, 1} [rows, columns], a few of them 1, no two columns alike or empty."""
    found: dict[bytes, np.ndarray] = {}
    while len(found) < columns:
        column = (rng.rand(rows) < 0.15).astype(np.int64)
        column[list(NUSWIDE_UNLABELLED)] = 0
        if column.any():
            found[column.tobytes()] = column
    return np.stack(list(found.values()), axis=1)


def _write_table(path: Path, rows: enumerate) -> None:
    path.write_text("".join(f"{number} {value}\n" for number, value in rows))


def _some_positives(rng: np.random.RandomState, rows: int, columns: int, used: int) -> np.ndarray:
    """Labels bool [rows, columns]: one to `used` // 2 positives among the first `used` columns."""
    labels = np.zeros((rows, columns), dtype=bool)
    for row in labels:
        row[rng.permutation(used)[: rng.randint(1, used // 2 + 1)]] = True
    return labels


def _write_picture(path: Path, rng: np.random.RandomState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.randint(0, 256, (4, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((40, 32), Image.Resampling.NEAREST).save(path, quality=90)
