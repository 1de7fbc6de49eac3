"""Every setting of a run: its flag, help and range, and the best known recipe of each data set.

`parse_args(argv)` gives a frozen `Config` in which nothing is left open. What the command line
does not say comes from the saved run of `--config`, then from the recipe of the data set and
scheme, then from the defaults shown by `--help`. Nothing here imports torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cli import (
    Parser,
    UserError,
    boolean,
    choice,
    did_you_mean,
    flag,
    flags_parser,
    number,
    printable,
)
from files import read_json
from naming import run_name, written
from recipes import BACKBONES, OPTIMIZERS, OTHER_DATASETS, RECIPES, SCHEMES

BY_RECIPE = "by recipe"


def _dataset(text: str) -> str:
    """A known name, or a path, which always holds a slash so that the two are never confused."""
    if text in RECIPES:
        return text
    if os.path.isfile(_path(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is a file: give the folder that it lies in")
    if "/" in text or os.path.isdir(text):
        path = str(Path(text))
        return path if "/" in path else f"./{path}"
    rule = f"neither one of {', '.join(RECIPES)} nor an existing folder"
    raise argparse.ArgumentTypeError(f"{text!r} is {rule}{did_you_mean(text, RECIPES)}")


def _path(text: str) -> str:
    """The path of a file or folder, which need not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be the path of a file or folder")
    return text


def _folder_name(text: str) -> str:
    plain = text.isprintable() and not re.search(r"[/\\]", text) and len(os.fsencode(text)) <= 200
    if not plain or text in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} must be one folder name of 1 to 200 bytes")
    return text


_seed = number(int, 0, 2**32 - 1)
_share = number(above=0, high=1)
_inner_share = number(above=0, below=1)
_factor = number(above=0, high=1e6)
_pixels = number(int, 8, 4096)
_workers = number(int, 0, 256)
_caches = choice("none", "memory", "disk")
_variants = choice("observed", "clean")
_precisions = choice("auto", "off", "bf16", "fp16")

# names_run: the setting changes results, so it belongs in exp_name; saved: it is written down
_data = partial(flag, "data", names_run=True, saved=True)
_labels = partial(flag, "labels", names_run=True, saved=True)
_method = partial(flag, "method", names_run=True, saved=True)
_model = partial(flag, "model", names_run=True, saved=True)
_training = partial(flag, "training", names_run=True, saved=True)
_run = partial(flag, "run", names_run=False, saved=True)
_action = partial(flag, "run", names_run=False, saved=False)


@dataclass(frozen=True)
class Config:
    """The resolved settings of one run; see `python main.py --help` for each."""

    dataset: str = _data(
        "digits",
        "a known set, or a folder that holds formatted_*.npy files",
        _dataset,
        "{" + ",".join(RECIPES) + "}|FOLDER",
    )
    data_root: str = _data(
        "data", "folder that holds the known sets", _path, "FOLDER", names_run=False
    )
    image_size: int = _data(448, "images are resized to a square of this side", _pixels, "PIXELS")
    flip: bool = _data(True, "flip training images left-right half of the time", boolean)
    num_workers: int = _data(4, "processes that read images", _workers, names_run=False)
    cache: str = _data(
        "none", "keep decoded images, on disk in DATA_ROOT/cache", _caches, names_run=False
    )
    on_bad_image: str = _data(
        "stop",
        "what to do about images that cannot be read; skip: look for them first, leave them out",
        choice("stop", "skip"),
        names_run=False,
    )
    check_images: bool = _data(
        False, "read every image once before training", boolean, names_run=False, saved=False
    )

    val_frac: float = _labels(0.2, "share of the training images kept for validation", _inner_share)
    split_seed: int = _labels(1200, "seed of the train/val split", _seed)
    ss_frac_train: float = _labels(1.0, "share of the training split to use", _share)
    ss_frac_val: float = _labels(1.0, "share of the validation split to use", _share)
    ss_seed: int = _labels(999, "seed of these two subsamplings", _seed)
    train_set_variant: str = _labels(
        "observed", "labels to train on; clean: all of them (full label)", _variants
    )
    val_set_variant: str = _labels(
        "clean", "labels that choose the epoch; observed: unobserved ones are negative", _variants
    )

    mod_scheme: str = _method("LL-R", "training scheme", choice(*SCHEMES))
    delta_rel: float = _method(
        BY_RECIPE,
        "share of the labels to reject or correct: this much more each epoch (LL-R, "
        "LL-Ct), or this much in each epoch (LL-Cp)",
        number(float, 0, 100),
        "PERCENT",
    )
    rate_base: str = _method(
        "unobserved",
        "what that is a share of: the unobserved labels of the batch, or all its "
        "labels (as in the authors' code)",
        choice("unobserved", "all"),
    )

    arch: str = _model("resnet50", "backbone", choice(*BACKBONES))
    use_pretrained: bool = _model(True, "start from pretrained weights", boolean)
    weights: str = _model(
        "IMAGENET1K_V1",
        "torchvision's name of them, or a file with a state dict",
        _path,
        "NAME|FILE",
    )
    freeze_feature_extractor: bool = _model(
        False, "train the head alone; batch-norm statistics are frozen too", boolean
    )
    use_feats: bool = _model(
        False, "train the head alone, on un-augmented features that are computed once", boolean
    )

    optimizer: str = _training(BY_RECIPE, "optimizer", choice(*OPTIMIZERS))
    lr: float = _training(BY_RECIPE, "learning rate of the backbone", _factor)
    lr_mult: float = _training(10.0, "the head's learning rate, in multiples of --lr", _factor)
    weight_decay: float = _training("0.001 (sgd), 0 (adam)", "L2 penalty", number(low=0, high=1e6))
    momentum: float = _training(0.9, "momentum of sgd", number(low=0, below=1))
    bsize: int = _training(16, "images in a mini-batch", number(int, 1, 2**20))
    num_epochs: int = _training(10, "passes over the training images", number(int, 1, 10**6))
    early_stop_drop: float = _training(
        3.0, "stop once val mAP is this far below its best; 100: never", number(above=0, high=100)
    )
    amp: str = _training("auto", "mixed precision; auto: bf16 on GPUs that have it", _precisions)

    seed: int = _training(0, "seed of the weights, the order of images and the flips", _seed)
    device: str = _run("auto", "where to compute", choice("auto", "cpu", "cuda"))
    gpu_num: int = _run(0, "which GPU", number(int, 0, 1024))
    deterministic: bool = _run(
        False, "the same weights every time on a GPU too, more slowly", boolean
    )
    save_path: str = _run("./results", "folder of the runs", _path, "FOLDER")
    exp_name: str = _run("from the settings", "the run's folder there", _folder_name, "NAME")
    tensorboard: bool = _run(False, "write TensorBoard event files too", boolean)
    resume: bool = _action(False, "go on from the last finished epoch, or start", boolean)
    overwrite: bool = _action(False, "start anew where a run lies already", boolean)
    dry_run: bool = _action(False, "print the resolved settings and stop", boolean)
    config: str = _action("", "start from a run's config.json; flags override it", _path, "FILE")

    @property
    def chosen_by(self) -> str:
        """The column of metrics.csv whose maximum chooses the epoch."""
        return "val_map" if self.val_set_variant == "clean" else "val_map_observed"

    @property
    def run_dir(self) -> Path:
        """The folder that holds everything the run writes."""
        return Path(self.save_path) / self.exp_name

    @property
    def dataset_dir(self) -> Path:
        """The folder that holds the formatted arrays."""
        return (
            Path(self.data_root) / self.dataset if self.dataset in RECIPES else Path(self.dataset)
        )

    @property
    def scheme_options(self) -> dict[str, Any]:
        """What `losses.build_scheme` takes beside the number of classes."""
        return {"name": self.mod_scheme, "delta_rel": self.delta_rel, "rate_base": self.rate_base}

    def settings(self) -> dict[str, Any]:
        """All settings of the run by name, those that only say what to do with it left out."""
        return {f.name: getattr(self, f.name) for f in FLAGS.values() if f.metadata["saved"]}


FLAGS = {f.name: f for f in dataclasses.fields(Config)}


def parse_args(argv: Sequence[str]) -> Config:
    """The resolved settings of a command line.

    Raises UserError, one line that names the flag, for anything that cannot be right; prints a
    note on stderr where a value was chosen that the user may not expect.
    """
    given = vars(_parser().parse_args(argv))
    try:
        saved = _read_saved(given["config"]) if given.get("config") else {}
    except UserError as error:
        raise UserError(f"--config: {error}") from None
    config, notes = _resolve(given, saved)
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    return config


def read_config(path: str | Path) -> Config:
    """The settings of a run from its config.json. Raises UserError where they are not right."""
    return _resolve({}, _read_saved(str(path)))[0]


def describe(config: Config) -> str:
    """The settings as a table, a group at a time; `*` marks what differs from the recipe."""
    unusual = dict(_unusual(config))
    lines = []
    for group in dict.fromkeys(f.metadata["group"] for f in FLAGS.values()):
        lines.append(group)
        for name, f in FLAGS.items():
            if f.metadata["group"] == group and f.metadata["saved"]:
                mark = "*" if name in unusual else " "
                lines.append(f"  {mark} {name:<26}{written(getattr(config, name))}")
    lines += ["* differs from the recipe", f"folder: {config.run_dir}"]
    return "\n".join(map(printable, lines))


def command(config: Config) -> str:
    """The shortest command line that gives these settings."""
    words = ["python", "main.py", "--dataset", config.dataset, "--mod_scheme", config.mod_scheme]
    for name, value in _unusual(config):
        text = written(value)
        words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return shlex.join(words)


def _parser() -> Parser:
    return flags_parser(
        Config,
        prog="main.py",
        usage="python main.py [--flag value ...]",
        description="Train a multi-label classifier on partly annotated images, with the large-\n"
        "loss schemes of Kim et al., CVPR 2022. What is not given comes from the recipe of the\n"
        "data set and scheme, then from the defaults below.",
        epilog="A true|false flag is written --flag, --flag true or --flag false.\n"
        f"{_of_digits()}\n"
        "Example: python main.py --dataset digits --mod_scheme LL-R",
    )


def _of_digits() -> str:
    plain = {name: value for name, value in RECIPES["digits"].items() if name != "delta_rel"}
    listed = ", ".join(f"{name} {written(value)}" for name, value in plain.items())
    return textwrap.fill(f"digits, the default set, has defaults of its own: {listed}.", width=80)


def _read_saved(path: str) -> dict[str, Any]:
    """The settings in a run's config.json, each checked as its flag would be."""
    saved = read_json(Path(path))
    saved.pop("environment", None)
    for name in saved:
        if name not in FLAGS or not FLAGS[name].metadata["saved"]:
            raise UserError(f"{path}: there is no setting {name!r}{did_you_mean(name, FLAGS)}")
    return vars(_parser().parse_args([f"--{name}={value}" for name, value in saved.items()]))


def _resolve(given: dict[str, Any], saved: dict[str, Any]) -> tuple[Config, list[str]]:
    notes: list[str] = []
    saved = _still_meant(given, saved)
    values = {**saved, **given}
    if given.get("use_pretrained") is False and given.get("weights", "none") != "none":
        raise UserError("--weights contradicts --use_pretrained false: drop one of them")
    if "weights" in given:
        values["use_pretrained"] = given.get("use_pretrained", given["weights"] != "none")
    filled = {**_recipe(values), **values}
    usual = _recipe({"dataset": filled["dataset"]})["optimizer"]
    if "lr" not in values and filled["optimizer"] != usual:
        notes.append(
            f"--optimizer {filled['optimizer']} without --lr: using its default, {filled['lr']:g}"
        )
    if filled["mod_scheme"] == "AN":
        if given.get("delta_rel"):
            notes.append(f"AN selects no labels: --delta_rel {given['delta_rel']:g} is not used")
        filled["delta_rel"] = 0.0
    if filled["optimizer"] != "sgd" and filled["momentum"] != FLAGS["momentum"].metadata["default"]:
        notes.append(f"{filled['optimizer']} takes no --momentum: it is not used")
    if not filled["use_pretrained"]:
        filled["weights"] = "none"
    _check(filled)
    config = Config(**{**filled, "exp_name": values.get("exp_name", "")})
    if not config.exp_name:
        config = dataclasses.replace(config, exp_name=_exp_name(config))
    return config, notes


def _still_meant(given: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The saved settings without those that belonged to one the command line changes."""
    if not saved:
        return {}
    dropped: set[str] = set()
    before = Config(**{**_recipe(saved), **saved})
    belongings = {
        "optimizer": ("lr", "weight_decay"),
        "mod_scheme": ("delta_rel",),
        "use_pretrained": ("weights",),
    }
    for name, followers in belongings.items():
        if given.get(name, getattr(before, name)) != getattr(before, name):
            dropped.update(followers)
    if before.exp_name == _exp_name(before):
        dropped.add("exp_name")
    return {name: value for name, value in saved.items() if name not in dropped}


def _recipe(values: dict[str, Any]) -> dict[str, Any]:
    """Every setting for the data set, scheme and optimizer in `values`, by recipe or default."""
    filled = {name: f.metadata["default"] for name, f in FLAGS.items()}
    filled.update({n: v for n, v in values.items() if n in ("dataset", "mod_scheme")})
    recipe = RECIPES.get(filled["dataset"], RECIPES[OTHER_DATASETS])
    filled.update(recipe)
    filled["delta_rel"] = recipe["delta_rel"].get(filled["mod_scheme"], 0.0)
    filled.update(weight_decay=OPTIMIZERS[recipe["optimizer"]]["weight_decay"], exp_name="")
    if values.get("optimizer", recipe["optimizer"]) != recipe["optimizer"]:
        filled.update(OPTIMIZERS[values["optimizer"]], optimizer=values["optimizer"])
    return filled


def _check(values: dict[str, Any]) -> None:
    """Raise UserError for settings that are right alone and wrong together."""
    if values["use_pretrained"] and values["weights"] == "none":
        raise UserError("--weights none contradicts --use_pretrained true: drop one of them")
    if values["arch"] == "resnet8" and values["weights"] == "IMAGENET1K_V1":
        raise UserError(
            "--use_pretrained: no weights are published for resnet8: "
            "give --weights FILE or --use_pretrained false"
        )
    if values["resume"] and values["overwrite"]:
        raise UserError("--resume and --overwrite contradict each other: give one of them")


def _usual(config: Config) -> dict[str, Any]:
    """What the recipe says for the data set and scheme, and what goes with the optimizer."""
    chosen = {name: getattr(config, name) for name in ("dataset", "mod_scheme", "optimizer")}
    usual = _recipe(chosen)
    usual["optimizer"] = _recipe({"dataset": config.dataset})["optimizer"]
    if not config.use_pretrained:
        usual["weights"] = "none"
    return usual


def _unusual(config: Config) -> Iterator[tuple[str, Any]]:
    """The settings that change results and differ from the recipe, but data set and scheme."""
    usual = _usual(config)
    for name, f in FLAGS.items():
        value = getattr(config, name)
        matters = f.metadata["names_run"] and name not in ("dataset", "mod_scheme")
        if matters and value != usual[name]:
            yield name, value


def _exp_name(config: Config) -> str:
    """A folder name that two runs share only if all settings that matter are the same."""
    names = ("dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "seed")
    main = {name: getattr(config, name) for name in names}
    others = {name: value for name, value in _unusual(config) if name not in main}
    return run_name(main, others)
