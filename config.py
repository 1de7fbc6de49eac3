"""From a command line, or a saved run, to settings in which nothing is left open.

What the command line does not say comes from the saved run of `--config`, then from the recipe of
the data set and scheme, then from the defaults shown by `--help`. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli import Parser, UserError, did_you_mean, flags_parser, printable
from files import read_json
from naming import run_name, written
from recipes import OPTIMIZERS, OPTIONS, OWN_NET, RECIPES, SCHEMES, TIMM, recipe
from settings import FLAGS, Config

_NO_OPTION: dict[str, Any] = {name: None for name in OPTIONS}
_NO_OPTION |= {"delta_rel": 0.0, "rate_base": "unobserved"}  # part of every record and name
_LINEAR = ("linear_lr", "linear_bsize", "linear_scheme")
_DIGITS_ALONE = ("fpc", "rps")


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
    settings = config.settings()
    lines = []
    for group in dict.fromkeys(f.metadata["group"] for f in FLAGS.values()):
        names = [name for name in settings if FLAGS[name].metadata["group"] == group]
        lines += [group] * bool(names)
        for name in names:
            mark = "*" if name in unusual else " "
            lines.append(f"  {mark} {name:<26}{written(settings[name])}")
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
        "loss schemes of Kim et al., CVPR 2022, or a method they are compared with. What is\n"
        "not given comes from the recipe of the data set and scheme, then from the defaults below.",
        epilog="A true|false flag is written --flag, --flag true or --flag false.\n"
        f"{_of_digits()}\n"
        "Example: python main.py --dataset digits --mod_scheme LL-R",
    )


def _of_digits() -> str:
    plain = {name: value for name, value in RECIPES["digits"].items() if name != "schemes"}
    listed = ", ".join(f"{name} {written(value)}" for name, value in plain.items())
    return textwrap.fill(f"digits, the default set, has defaults of its own: {listed}.", width=80)


def _read_saved(path: str) -> dict[str, Any]:
    """The settings in a run's config.json, each checked as its flag would be."""
    saved = read_json(Path(path))
    saved.pop("environment", None)
    for name in saved:
        if name not in FLAGS or not FLAGS[name].metadata["saved"]:
            raise UserError(f"{path}: there is no setting {name!r}{did_you_mean(name, FLAGS)}")
    words = [f"--{name}={written(value)}" for name, value in saved.items()]
    return vars(_parser().parse_args(words))


def _resolve(given: dict[str, Any], saved: dict[str, Any]) -> tuple[Config, list[str]]:
    saved = _still_meant(given, saved)
    values = {**saved, **given}
    _check_given(given, values)
    if "weights" in given:
        values["use_pretrained"] = given.get("use_pretrained", given["weights"] != "none")
    filled = {**_by_recipe(values), **values}
    notes = _notes(given, values, filled)
    if not filled["use_pretrained"]:
        filled["weights"] = "none"
    if filled["final_rate"] is not None:
        filled["delta_rel"] = _delta_of(filled)
    if "delta_rel" not in SCHEMES[filled["mod_scheme"]]:
        filled["delta_rel"] = 0.0
    filled = {**filled, **{n: v for n, v in _of_linear_phase(filled).items() if n not in values}}
    _check(filled)
    config = Config(**{**filled, "exp_name": values.get("exp_name", "")})
    if not config.exp_name:
        config = dataclasses.replace(config, exp_name=_exp_name(config))
    return config, notes


def _still_meant(given: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The saved settings without those that belonged to one the command line changes."""
    if not (saved and given):
        return saved
    dropped: set[str] = set()
    before = _resolve({}, saved)[0]
    belongings: dict[str, Sequence[str]] = {
        "dataset": _DIGITS_ALONE,
        "fpc": ("rps",),
        "rps": ("fpc",),
        "optimizer": ("lr", "weight_decay"),
        "mod_scheme": OPTIONS,
        "use_pretrained": ("weights",),
        "arch": ("weights",),
    }
    if given.get("final_rate") is not None:
        dropped.add("delta_rel")
    if given.get("linear_init") == 0:
        dropped.update(_LINEAR)
    for name, followers in belongings.items():
        if given.get(name, getattr(before, name)) != getattr(before, name):
            dropped.update(followers)
    derived = {**_of_linear_phase(vars(before)), "exp_name": _exp_name(before)}
    dropped.update(name for name, value in derived.items() if getattr(before, name) == value)
    return {name: value for name, value in saved.items() if name not in dropped}


def _check_given(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise UserError for flags of which one makes the other meaningless."""
    if given.get("use_pretrained") is False and given.get("weights", "none") != "none":
        raise UserError("--weights contradicts --use_pretrained false: drop one of them")
    if "final_rate" in given and "delta_rel" in given:
        raise UserError("--final_rate contradicts --delta_rel: drop one of them")
    _check_options(values)
    if not values.get("linear_init"):
        for name in _LINEAR:
            if name in values:
                raise UserError(f"--{name} is of the linear phase: give --linear_init EPOCHS too")


def _check_options(values: Mapping[str, Any]) -> None:
    """Raise UserError for an option that the scheme does not have."""
    scheme = values.get("mod_scheme", FLAGS["mod_scheme"].metadata["default"])
    asked = {name for name in OPTIONS if values.get(name, _NO_OPTION[name]) != _NO_OPTION[name]}
    needed = {name: name for name in asked - {"delta_rel"}}  # a note says what becomes of that
    if values.get("final_rate") is not None:
        needed["final_rate"] = "delta_rel"
    for name, option in needed.items():
        if option not in SCHEMES[scheme]:
            having = ", ".join(other for other in SCHEMES if option in SCHEMES[other])
            raise UserError(f"--{name}: {scheme} has no such option, only {having}: drop it")


def _notes(
    given: Mapping[str, Any], values: Mapping[str, Any], filled: Mapping[str, Any]
) -> list[str]:
    """What the user may not expect, a line each."""
    notes = []
    usual = recipe(filled["dataset"], filled["mod_scheme"])["optimizer"]
    scheme = filled["mod_scheme"]
    if "lr" not in values and filled["optimizer"] != usual:
        notes.append(
            f"--optimizer {filled['optimizer']} without --lr: using its default, {filled['lr']:g}"
        )
    if given.get("delta_rel") and "delta_rel" not in SCHEMES[scheme]:
        delta = f"--delta_rel {given['delta_rel']:g}"
        notes.append(f"{scheme} selects no labels by their loss: {delta} is not used")
    if filled["optimizer"] != "sgd" and filled["momentum"] != FLAGS["momentum"].metadata["default"]:
        notes.append(f"{filled['optimizer']} takes no --momentum: it is not used")
    return notes


def _delta_of(values: Mapping[str, Any]) -> float:
    """The delta_rel that reaches the final rate in the last epoch."""
    name = "num_epochs" if values["num_epochs"] or not values["linear_init"] else "linear_init"
    if values[name] < 2:
        raise UserError(
            f"--final_rate: nothing is modified in the first of {values[name]} epochs: "
            f"give --{name} 2 or more"
        )
    return values["final_rate"] / (values[name] - 1)


def _by_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting for the data set, scheme and optimizer in `values`, by recipe or default."""
    filled = {name: f.metadata["default"] for name, f in FLAGS.items()}
    filled.update({n: v for n, v in values.items() if n in ("dataset", "mod_scheme")})
    filled.update({**_NO_OPTION, "final_rate": None, "fpc": None, "rps": None, "exp_name": ""})
    filled.update(dict.fromkeys(_LINEAR))
    best = recipe(filled["dataset"], filled["mod_scheme"])
    filled.update(best)
    if values.get("optimizer", best["optimizer"]) != best["optimizer"]:
        filled.update(OPTIMIZERS[values["optimizer"]], optimizer=values["optimizer"])
    if str(values.get("arch")).startswith(TIMM):
        filled["weights"] = "pretrained"
    return filled


def _of_linear_phase(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a linear phase does unless it is told; nothing where there is none."""
    if not values["linear_init"]:
        return {}
    learning = {"linear_lr": values["lr"] * values["lr_mult"], "linear_bsize": values["bsize"]}
    return {**learning, "linear_scheme": "same"}


def _check(values: Mapping[str, Any]) -> None:
    """Raise UserError for settings that are right alone and wrong together."""
    if values["use_pretrained"] and values["weights"] == "none":
        raise UserError("--weights none contradicts --use_pretrained true: drop one of them")
    if values["arch"] == OWN_NET and values["weights"] == "IMAGENET1K_V1":
        raise UserError(
            f"--use_pretrained: no weights are published for {OWN_NET}: "
            "give --weights FILE or --use_pretrained false"
        )
    if values["resume"] and values["overwrite"]:
        raise UserError("--resume and --overwrite contradict each other: give one of them")
    gammas, usual = values["gammas"], SCHEMES[values["mod_scheme"]].get("gammas")
    if usual and len(gammas) != len(usual):
        raise UserError(
            f"--gammas {written(gammas)}: {values['mod_scheme']} needs {len(usual)} numbers, "
            f"as in {written(usual)}"
        )
    _check_phases(values)
    _check_digits(values)


def _check_phases(values: Mapping[str, Any]) -> None:
    if not (values["num_epochs"] or values["linear_init"]):
        raise UserError("--num_epochs 0 trains nothing: give 1 or more, or --linear_init EPOCHS")
    if values["use_feats"] and values["linear_init"]:
        raise UserError("--use_feats is a linear phase alone: give --linear_init without it")
    alone = values["linear_scheme"] == "AN" != values["mod_scheme"] and not values["num_epochs"]
    if alone:
        raise UserError("--linear_scheme AN trains AN alone where there is no fine-tuning: "
                        "give --mod_scheme AN, or --num_epochs 1 or more")  # fmt: skip
    if values["boostlu"] != 1 and (values["use_feats"] or not values["num_epochs"]):
        raise UserError(
            f"--boostlu {values['boostlu']:g} needs the maps that a linear phase averages: "
            "give --num_epochs 1 or more, without --use_feats"
        )


def _check_digits(values: Mapping[str, Any]) -> None:
    given = [name for name in _DIGITS_ALONE if values[name] is not None]
    if len(given) > 1:
        raise UserError("--fpc and --rps contradict each other: give one of them")
    if given and values["dataset"] != "digits":
        name = given[0]
        raise UserError(
            f"--{name}: only digits is drawn while it is composed: draw the labels of a folder "
            f"with python -m data.observe FOLDER --{name} {written(values[name])}"
        )


def _usual(config: Config) -> dict[str, Any]:
    """What the recipe says for the data set and scheme, and what goes with other settings."""
    names = ("dataset", "mod_scheme", "optimizer", "arch")
    usual = _by_recipe({name: getattr(config, name) for name in names})
    usual["optimizer"] = recipe(config.dataset, config.mod_scheme)["optimizer"]
    usual.update(_of_linear_phase(vars(config)))
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
