"""Every setting of a run: its flag, its help, its range, and which other settings it belongs to.

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import words
from cli import boolean, choice, flag, number
from naming import written
from recipes import OPTIMIZERS, RECIPES, SCHEMES

BY_RECIPE = "by recipe"


def _usual(option: str) -> str:
    """What the schemes that have the option take for it, for the help."""
    values = {name: written(own[option]) for name, own in SCHEMES.items() if option in own}
    if len({*values.values()}) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{value} ({name})" for name, value in values.items())


_seed = number(int, 0, 2**32 - 1)
_share = number(above=0, high=1)
_inner_share = number(above=0, below=1)
_factor = number(above=0, high=1e6)
_weight = number(low=0, high=1e6)
_percent = number(float, 0, 100)
_whole = number(int, 0, 10**6)
_images = number(int, 1, 2**20)
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
_linear = partial(flag, "linear phase (LinearInit)", names_run=True, saved=True)
_run = partial(flag, "run", names_run=False, saved=True)
_action = partial(flag, "run", names_run=False, saved=False)


@dataclass(frozen=True)
class Config:
    """The resolved settings of one run; see `python main.py --help` for each.

    An option that the scheme does not have is None, and so are those of a linear phase where there
    is none; `expected_positives` None is to be taken from the labels.
    """

    dataset: str = _data(
        "digits",
        "a known set, or a folder that holds formatted_*.npy files",
        words.dataset,
        "{" + ",".join(RECIPES) + "}|FOLDER",
    )
    data_root: str = _data(
        "data", "folder that holds the known sets", words.path, "FOLDER", names_run=False
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
    fpc: int | None = _labels(
        "1 positive an image",
        "digits: keep N positives and N negatives of each class (a folder: data.observe)",
        number(int, 1, 10**9),
    )
    rps: float | None = _labels(
        "1 positive an image",
        "digits: drop each label with this probability (a folder: data.observe)",
        _inner_share,
        "SHARE",
    )

    mod_scheme: str = _method("LL-R", "training scheme", choice(*SCHEMES))
    delta_rel: float = _method(
        BY_RECIPE,
        "LL-*: share of the labels to reject or correct: this much more each epoch (LL-R, "
        "LL-Ct), or this much in each epoch (LL-Cp)",
        _percent,
        "PERCENT",
    )
    final_rate: float | None = _method(
        "from delta_rel",
        "LL-*: the sum of these shares in the last epoch of the fine-tuning, instead of "
        "--delta_rel, for any number of epochs: delta_rel = final_rate / (num_epochs - 1)",
        _percent,
        "PERCENT",
        names_run=False,
        saved=False,
    )
    rate_base: str = _method(
        "unobserved",
        "LL-*: what that is a share of: the unobserved labels of the batch, or all its "
        "labels (as in the authors' code)",
        choice("unobserved", "all"),
    )
    expected_positives: float | None = _method(
        "by recipe, else the mean of the clean val labels",
        "EPR, ROLE: positive labels of an image",
        _factor,
    )
    ls_coef: float | None = _method(
        _usual("ls_coef"), "LSAN: by how much labels are smoothed", number(float, 0, 0.5)
    )
    em_alpha: float | None = _method(
        BY_RECIPE, "EM, EM+APL: weight of the entropy of unobserved labels", _factor
    )
    apl_start: int | None = _method(
        BY_RECIPE, "EM+APL: the epoch that gives the first soft labels", number(int, 1, 10**6)
    )
    apl_beta: float | None = _method(BY_RECIPE, "EM+APL: weight of the soft labels", _weight)
    gammas: tuple[float, ...] | None = _method(
        _usual("gammas"),
        "ASL: focus on positive, negative labels; CSL: on positive, negative, unobserved ones",
        words.numbers(_percent),
        "N,N[,N]",
    )
    clip: float | None = _method(
        _usual("clip"),
        "ASL, CSL: probability below which a negative costs nothing",
        number(low=0, below=1),
    )
    mode: str | None = _method(
        "selective",
        "CSL: what becomes of unobserved labels",
        choice("selective", "ignore", "negative"),
    )
    topk: int | None = _method(
        _usual("topk"), "CSL: how many likely unobserved labels an image are ignored", _whole
    )
    prior: str | None = _method(
        "none", "CSL: table of the classes' priors, by tools.prior", words.path, "FILE"
    )
    prior_threshold: float | None = _method(
        _usual("prior_threshold"),
        "CSL: unobserved labels of classes with a higher prior are ignored",
        number(low=0, high=1),
    )

    arch: str = _model(
        "resnet50",
        "backbone: a classifier of torchvision, timm.NAME where timm is installed, or resnet8",
        words.backbone,
        "NAME",
    )
    use_pretrained: bool = _model(True, "start from pretrained weights", boolean)
    weights: str = _model(
        "IMAGENET1K_V1",
        "torchvision's name of them (of a timm.NAME: pretrained), or a file with a state dict",
        words.path,
        "NAME|FILE",
    )
    boostlu: float = _model(
        1.0,
        "factor of the positive places of a class's map, 5 in BoostLU; 1: plain average pooling",
        number(low=1, high=1e6),
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
    weight_decay: float = _training("0.001 (sgd), 0 (adam)", "L2 penalty", _weight)
    momentum: float = _training(0.9, "momentum of sgd", number(low=0, below=1))
    bsize: int = _training(16, "images in a mini-batch", _images)
    num_epochs: int = _training(
        10, "passes over the training images; 0: the linear phase alone", _whole
    )
    sync_bn: bool = _training(
        False, "batch norm over the whole mini-batch where several GPUs share it", boolean
    )
    early_stop_drop: float = _training(
        3.0, "stop once val mAP is this far below its best; 100: never", number(above=0, high=100)
    )
    amp: str = _training("auto", "mixed precision; auto: bf16 on GPUs that have it", _precisions)
    seed: int = _training(0, "seed of the weights, the order of images and the flips", _seed)

    linear_init: int = _linear(
        0, "passes over fixed, un-augmented features that train the head first; 25 in LinearInit; "
        "the features are kept in DATA_ROOT/cache",
        _whole, "EPOCHS",
    )  # fmt: skip
    linear_lr: float | None = _linear("lr * lr_mult", "learning rate of the head there", _factor)
    linear_bsize: int | None = _linear("bsize", "images in a mini-batch there", _images)
    linear_scheme: str | None = _linear(
        "same", "scheme there: that of the fine-tuning, or AN", choice("same", "AN")
    )

    device: str = _run("auto", "where to compute", choice("auto", "cpu", "cuda"))
    gpu_num: int = _run(0, "which GPU", number(int, 0, 1024))
    deterministic: bool = _run(
        False, "the same weights every time on a GPU too, more slowly", boolean
    )
    compile: bool = _run(
        False, "compile the network first: minutes at the start, then faster steps", boolean
    )
    save_path: str = _run("./results", "folder of the runs", words.path, "FOLDER")
    exp_name: str = _run("from the settings", "the run's folder there", words.folder_name, "NAME")
    audit: str = _run(
        "means",
        "what is kept of the training labels: means by epoch, or the loss of every label too, in "
        "the folder labels of the run, 2 bytes a label and epoch",
        choice("means", "labels"),
    )
    tensorboard: bool = _run(False, "write TensorBoard event files too", boolean)
    resume: bool = _action(False, "go on from the last finished epoch, or start", boolean)
    overwrite: bool = _action(False, "start anew where a run lies already", boolean)
    dry_run: bool = _action(False, "print the resolved settings and stop", boolean)
    config: str = _action(
        "", "start from a run's config.json; flags override it", words.path, "FILE"
    )

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
    def options(self) -> dict[str, Any]:
        """The options of the scheme, by name; None where one is left open."""
        return {name: getattr(self, name) for name in SCHEMES[self.mod_scheme]}

    def settings(self) -> dict[str, Any]:
        """All settings of the run by name, less what it has not, and what to do with the run."""
        saved = (name for name, f in FLAGS.items() if f.metadata["saved"])
        values = {name: getattr(self, name) for name in saved}
        return {name: value for name, value in values.items() if value is not None}


FLAGS = {f.name: f for f in dataclasses.fields(Config)}
