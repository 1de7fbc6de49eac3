"""The official releases of the known data sets: what they hold, and where they come from.

Sizes in bytes and checksums are the published ones, or those that several projects agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.format_coco import read_coco
from data.format_cub import read_cub
from data.format_nuswide import HOW, read_nuswide
from data.format_openimages import read_openimages
from data.format_pascal import read_pascal
from data.formatted import Formatted
from data.web import Remote
from files import is_there

_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
_COCO = "http://images.cocodataset.org/"
_CUB = "https://data.caltech.edu/records/65de6-vp158/files/"
_NUS = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/"
_TOPS = ("2017_11", "")  # of the archives of OpenImages
_OPEN_IMAGES = "https://storage.googleapis.com/openimages/2017_11/"


@dataclass(frozen=True)
class Archive:
    """An archive of a release, which is unpacked in the folder of the set."""

    remote: Remote | None  # None: it can be had by hand alone
    contents: tuple[str, ...]  # what is there once it is unpacked
    unpacked: int = 0  # bytes that it takes then, roughly
    name: str = ""  # on the disk; the last part of its address where it has one
    tops: tuple[str, ...] = ("",)  # folders below which the contents may lie
    into: str = ""  # the folder to unpack it in

    def __post_init__(self) -> None:
        if self.remote:
            object.__setattr__(self, "name", self.remote.url.rpartition("/")[2])

    def is_unpacked(self, folder: Path) -> bool:
        """Whether all that it holds lies in `folder`; an empty folder is not it."""
        places = [[folder / top / content for top in self.tops] for content in self.contents]
        return all(any(map(_holds_something, place)) for place in places)


def _holds_something(path: Path) -> bool:
    return is_there(path) and (not path.is_dir() or any(path.iterdir()))


@dataclass(frozen=True)
class Release:
    """An official release: how it is read, what is in it, and where it comes from."""

    read: Callable[..., Formatted]
    site: str
    archives: tuple[Archive, ...] = ()
    sizes: tuple[int, int] | None = None  # images of train and val, where it is always the same
    classes: int = 0
    how: str = ""  # to get what no program can fetch

    @property
    def source(self) -> str:
        """The archives and where they come from, for people."""
        *others, last = (archive.name for archive in self.archives)
        listed = f"{', '.join(others)} and {last}" if others else last
        return f"{listed} from {self.site}"


def _nus_wide(name: str, content: str) -> Archive:
    """One of the archives of labels, of which nobody says whether they hold a top folder."""
    tops = (name, f"{name}/{name}", "", "NUS-WIDE", f"NUS-WIDE/{name}")
    return Archive(Remote(f"{_NUS}{name}.zip"), (content,), tops=tops, into=name)


RELEASES = {
    "pascal": Release(
        read_pascal,
        site=_VOC,
        archives=(
            Archive(
                Remote(
                    f"{_VOC}VOCtrainval_11-May-2012.tar",
                    1_999_639_040,
                    md5="6cd6e144f989b92b3379bac3b3de84fd",
                ),
                ("VOCdevkit/VOC2012/ImageSets/Main", "VOCdevkit/VOC2012/JPEGImages"),
                unpacked=2_100_000_000,
            ),
        ),
        sizes=(5717, 5823),
        classes=20,
    ),
    "coco": Release(
        read_coco,
        site="https://cocodataset.org/#download",
        archives=(
            Archive(
                Remote(
                    f"{_COCO}annotations/annotations_trainval2014.zip",
                    252_872_794,
                    sha256="031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
                ),
                (
                    "annotations/instances_train2014.json",
                    "annotations/instances_val2014.json",
                ),
                unpacked=1_200_000_000,
            ),
            Archive(
                Remote(
                    f"{_COCO}zips/train2014.zip",
                    13_510_573_713,
                    sha256="ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
                ),
                ("train2014",),
                unpacked=13_800_000_000,
            ),
            Archive(
                Remote(
                    f"{_COCO}zips/val2014.zip",
                    6_645_013_297,
                    sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
                ),
                ("val2014",),
                unpacked=6_800_000_000,
            ),
        ),
        sizes=(82081, 40137),
        classes=80,
    ),
    "cub": Release(
        read_cub,
        site="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        archives=(
            Archive(
                Remote(
                    f"{_CUB}CUB_200_2011.tgz",
                    1_150_585_339,
                    sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                ),
                ("CUB_200_2011/attributes/image_attribute_labels.txt", "CUB_200_2011/images"),
                unpacked=1_300_000_000,
            ),
        ),
        sizes=(5994, 5794),
        classes=312,
    ),
    "nuswide": Release(
        read_nuswide,
        site=f"{_NUS}NUS-WIDE.html",
        archives=(
            _nus_wide("ImageList", "TrainImagelist.txt"),
            _nus_wide("Groundtruth", "TrainTestLabels"),
            _nus_wide("ConceptsList", "Concepts81.txt"),
            Archive(None, ("Flickr",), name="Flickr.zip"),
        ),
        classes=81,
        how=HOW,
    ),
    "openimages": Release(
        read_openimages,
        site="https://github.com/openimages/dataset/blob/main/READMEV3.md",
        archives=(
            Archive(
                Remote(
                    f"{_OPEN_IMAGES}classes_2017_11.tar.gz",
                    303_055,
                    md5="3937f6dddf777ca912c816d5f6ffe06f",
                ),
                ("classes-trainable.txt", "class-descriptions.csv"),
                unpacked=1_000_000,
                tops=_TOPS,
            ),
            Archive(
                Remote(
                    f"{_OPEN_IMAGES}annotations_human_2017_11.tar.gz",
                    144_102_834,
                    md5="cdcbb5e9aba900530c85cb370564f599",
                ),
                (
                    "train/annotations-human.csv",
                    "validation/annotations-human.csv",
                    "test/annotations-human.csv",
                ),
                unpacked=973_137_920,
                tops=_TOPS,
            ),
            Archive(
                Remote(
                    f"{_OPEN_IMAGES}images_2017_11.tar.gz",
                    1_038_133_015,
                    md5="d840296342470becab9db7228bda86cc",
                ),
                (
                    "train/images.csv",
                    "validation/images.csv",
                    "test/images.csv",
                ),
                unpacked=3_362_037_760,
                tops=_TOPS,
            ),
        ),
        classes=5000,
    ),
}
