"""The names that the command line knows, and the best known settings of each data set."""

from __future__ import annotations

from typing import Any

# Every scheme with its options and the values that its authors start from (docs/methods.md).
# None: not to be had without the data set, be it by its recipe, its labels or a file.
SCHEMES: dict[str, dict[str, Any]] = {
    "AN": {},
    "IU": {},
    "WAN": {},
    "LSAN": {"ls_coef": 0.1},
    "EPR": {"expected_positives": None},
    "ROLE": {"expected_positives": None},
    "EM": {"em_alpha": 0.1},
    "EM+APL": {"em_alpha": 0.1, "apl_start": 5, "apl_beta": 0.9},
    "ASL": {"gammas": (0.0, 4.0), "clip": 0.05},
    "CSL": {
        "mode": "selective",
        "gammas": (0.0, 1.0, 2.0),
        "clip": 0.0,
        "topk": 5,
        "prior": None,
        "prior_threshold": 0.05,
    },
    "LL-R": {"delta_rel": 0.2, "rate_base": "unobserved"},
    "LL-Ct": {"delta_rel": 0.2, "rate_base": "unobserved"},
    "LL-Cp": {"delta_rel": 0.2, "rate_base": "unobserved"},
}
OPTIONS = tuple(dict.fromkeys(name for options in SCHEMES.values() for name in options))

OWN_NET, TIMM = "resnet8", "timm."  # our network for small images; the prefix of timm's names

# The best settings of Kim et al. (issue 4 of their repository), by scheme where they are one's own;
# em_alpha and apl_* are those of Zhou et al., who train otherwise. delta_rel in percent per epoch.
# digits: the best val mAP of three values each on seed 0, scripts/tune_methods.sh; its
# prior_threshold, a choice of ours, lies between the priors of its classes.
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {
        "arch": OWN_NET,
        "use_pretrained": False,
        "image_size": 24,
        "flip": False,
        "optimizer": "adam",
        "lr": 1e-3,
        "bsize": 32,
        "num_epochs": 12,
        "early_stop_drop": 100.0,
        "expected_positives": 3.0,
        "schemes": {
            "AN": {"lr": 2e-3},
            "IU": {"lr": 5e-4},
            "WAN": {"lr": 2e-3},
            "EPR": {"lr": 2e-3},
            "ROLE": {"lr": 2e-3},
            "EM": {"em_alpha": 0.05},
            "ASL": {"gammas": (0.0, 1.0)},
            "CSL": {"topk": 1, "prior_threshold": 0.5},
            "LL-R": {"delta_rel": 2.5},
            "LL-Ct": {"delta_rel": 2.0},
            "LL-Cp": {"delta_rel": 1.0},
        },
    },
    "pascal": {
        "optimizer": "sgd",
        "lr": 5e-3,
        "expected_positives": 1.5,
        "em_alpha": 0.2,
        "apl_start": 5,
        "apl_beta": 0.02,
        "schemes": {
            "LL-R": {"delta_rel": 0.2},
            "LL-Ct": {"delta_rel": 0.2},
            "LL-Cp": {"delta_rel": 0.1},
        },
    },
    "coco": {
        "optimizer": "adam",
        "lr": 1e-5,
        "expected_positives": 2.9,
        "em_alpha": 0.1,
        "apl_start": 5,
        "apl_beta": 0.9,
        "schemes": {
            "LL-R": {"delta_rel": 0.4},
            "LL-Ct": {"delta_rel": 0.2},
            "LL-Cp": {"delta_rel": 0.2},
        },
    },
    "nuswide": {
        "optimizer": "adam",
        "lr": 1e-5,
        "expected_positives": 1.9,
        "em_alpha": 0.1,
        "apl_start": 4,
        "apl_beta": 0.2,
        "schemes": {
            "LL-R": {"delta_rel": 0.4},
            "LL-Ct": {"delta_rel": 0.2},
            "LL-Cp": {"delta_rel": 0.2},
        },
    },
    "cub": {
        "optimizer": "adam",
        "lr": 7.5e-5,
        "expected_positives": 31.4,
        "em_alpha": 0.01,
        "apl_start": 3,
        "apl_beta": 0.4,
        "schemes": {
            "LL-R": {"delta_rel": 0.4},
            "LL-Ct": {"delta_rel": 0.4},
            "LL-Cp": {"delta_rel": 0.2},
        },
    },
    # The paper names neither; a choice of ours, not tuned: coco's, with delta_rel divided by 20,
    # because a class is positive in that much fewer of the images (docs/data.md).
    "openimages": {
        "arch": "resnet101",
        "optimizer": "adam",
        "lr": 1e-5,
        "schemes": {
            "LL-R": {"delta_rel": 0.02},
            "LL-Ct": {"delta_rel": 0.01},
            "LL-Cp": {"delta_rel": 0.01},
        },
    },
}
_OTHER_DATASETS = "coco"  # whose recipe a folder of the user's own takes
OPTIMIZERS = {
    "adam": {"lr": 1e-5, "weight_decay": 0.0},
    "sgd": {"lr": 5e-3, "weight_decay": 1e-3},
}


def recipe(dataset: str, scheme: str) -> dict[str, Any]:
    """What is known to be best for the scheme on that data set: settings and the own options.

    A folder of the user's own has no known number of positives.
    """
    known = RECIPES.get(dataset, RECIPES[_OTHER_DATASETS])
    own = SCHEMES[scheme]
    shared = {name: value for name, value in known.items() if name in own or name not in OPTIONS}
    best = {**own, **shared, **known["schemes"].get(scheme, {})}
    del best["schemes"]
    if dataset not in RECIPES and "expected_positives" in own:
        best["expected_positives"] = None
    return {**best, "weight_decay": OPTIMIZERS[best["optimizer"]]["weight_decay"]}
