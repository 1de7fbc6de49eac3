"""What others have published, to stand beside what was measured here; in percent.

Kim et al., CVPR 2022, its tables; what others measured who ran LL-R again; and later methods in the
same setting. Methods are named as `finished.method_name` names them.
"""

from __future__ import annotations

from typing import NamedTuple

SETS = {"pascal": "VOC", "coco": "COCO", "nuswide": "NUS", "cub": "CUB"}  # columns, in order
_LINEAR = "LinearInit + "
LINEAR_EPOCHS = 25  # of the head alone, in LinearInit


# test mAP on one positive label an image: end to end on each set, then with LinearInit
_RESULTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "full labels": ((90.2, 78.0, 54.5, 32.9), (91.1, 77.2, 54.9, 34.0)),
    "AN": ((85.1, 64.1, 42.0, 19.1), (86.9, 68.7, 47.6, 20.9)),
    "WAN": ((86.5, 64.8, 46.3, 20.3), (87.1, 68.0, 47.5, 21.1)),
    "LSAN": ((86.7, 66.9, 44.9, 17.9), (86.5, 69.2, 50.5, 16.6)),
    "EPR": ((85.5, 63.3, 46.0, 20.0), (84.9, 66.8, 48.1, 21.2)),
    "ROLE": ((87.9, 66.3, 43.1, 15.0), (88.2, 69.0, 51.0, 16.8)),
    "LL-R": ((89.2, 71.0, 47.4, 19.5), (89.4, 71.9, 49.1, 21.5)),
    "LL-Ct": ((89.0, 70.5, 48.0, 20.4), (89.3, 71.6, 49.6, 21.8)),
    "LL-Cp": ((88.4, 70.7, 48.3, 20.1), (88.3, 71.0, 49.4, 21.4)),
}
# the same by others: later papers (Zhou et al. 2022; Kim et al. 2023)
_LATER = {
    "EM+APL": (89.2, 70.9, 47.6, 21.8),
    "BoostLU + LL-R": (89.3, 72.9, 49.6, 19.8),
}
# who ran LL-R again, end to end: from lowest to highest
_RERUNS = {
    "pascal": (87.8, 88.3),
    "coco": (70.1, 70.7),
    "nuswide": (48.0, 48.8),
    "cub": (19.0, 19.6),
}
OPENIMAGES_GROUPS = ("G1", "G2", "G3", "G4", "G5", "All")
OPENIMAGES = {
    "IU": (69.5, 70.3, 74.8, 79.2, 85.5, 75.9),
    "AN": (77.1, 78.7, 81.5, 84.1, 88.8, 82.0),
    "WAN": (71.8, 72.8, 76.3, 79.7, 84.7, 77.0),
    "LSAN": (68.4, 69.3, 73.7, 77.9, 85.6, 75.0),
    "LL-R": (77.4, 79.1, 82.0, 84.5, 89.5, 82.5),
    "LL-Ct": (77.7, 79.3, 82.1, 84.7, 89.4, 82.6),
    "LL-Cp": (77.6, 79.1, 81.9, 84.6, 89.4, 82.5),
}
# methods of the paper's OpenImages table that are not built here
OPENIMAGES_OTHERS = {
    "Curriculum": (70.4, 71.3, 76.2, 80.5, 86.8, 77.1),
    "IMCL": (71.0, 72.6, 77.6, 81.8, 87.3, 78.1),
}
POINTING = {  # share of hits, on VOC and COCO
    "AN": (78.9, 46.4),
    "WAN": (79.8, 47.7),
    "LSAN": (79.5, 49.1),
    "EPR": (80.2, 48.1),
    "ROLE": (82.5, 51.5),
    "LL-R": (83.7, 54.0),
    "LL-Ct": (83.7, 54.1),
    "LL-Cp": (83.5, 53.3),
}
# share of the labels whose loss is highest in epoch 1, and later; as printed
HIGHEST_LOSS = {
    "pascal": {"tp": (88.3, 11.7), "tn": (90.7, 9.3), "fn": (23.8, 72.2)},
    "coco": {"tp": (64.0, 36.0), "tn": (82.6, 17.4), "fn": (17.3, 82.7)},
}


class Published(NamedTuple):
    """What is known of a method on a data set from elsewhere."""

    paper: float | None  # Kim et al., or the later paper that brought the method
    reruns: tuple[float, float] | None = None  # the lowest and the highest of others' re-runs


def published(dataset: str, method: str) -> Published:
    """The published test mAP of a method on a data set, as far as there is one."""
    if dataset == "openimages" and method in OPENIMAGES:
        return Published(OPENIMAGES[method][-1])
    if dataset not in SETS:
        return Published(None)
    column = list(SETS).index(dataset)
    bare, is_linear = method.removeprefix(_LINEAR), method.startswith(_LINEAR)
    if bare in _RESULTS:
        reruns = _RERUNS.get(dataset) if method == "LL-R" else None
        return Published(_RESULTS[bare][is_linear][column], reruns)
    return Published(_LATER[method][column] if method in _LATER else None)


def methods_of(dataset: str) -> list[str]:
    """The methods with a number in the paper's table of that data set, in its order."""
    if dataset == "openimages":
        return list(OPENIMAGES)
    return [prefix + method for prefix in ("", _LINEAR) for method in _RESULTS]
