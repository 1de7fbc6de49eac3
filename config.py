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
from contradictions import (
    DIGITS_ALONE,
    LINEAR,
    NO_OPTION,
    SELECTIVE,
    check_given,
    check_together,
)
from files import is_there, read_json
from naming import run_name, written
from recipes import OPTIMIZERS, OPTIONS, RECIPES, SCHEMES, TIMM, recipe
from settings import FLAGS, Config

_BELONGINGS: dict[str, Sequence[str]] = {  # what a saved run forgets once a setting is another
    "dataset": (*DIGITS_ALONE, "expected_positives", "prior"),
    "fpc": ("rps",),
    "rps": ("fpc",),
    "optimizer": ("lr", "weight_decay", "linear_lr"),
    "mod_scheme": ("delta_rel", "gammas", "clip"),
    "mode": SELECTIVE,
    "use_pretrained": ("weights",),
    "arch": ("weights",),
}


def parse_args(argv: Sequence[str]) -> Config:
    """The resolved settings of a command line.

    Raises UserError, one line that names the flag, for anything that cannot be right; prints a
    note on stderr where a value was chosen that the user may not expect.
    """
    config, notes = resolve(argv)
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    return config


def resolve(argv: Sequence[str]) -> tuple[Config, list[str]]:
    """The resolved settings of a command line, and the notes on them. Raises as `parse_args`."""
    given = vars(_parser().parse_args(argv))
    try:
        saved = _read_saved(given["config"]) if given.get("config") else {}
    except UserError as error:
        raise UserError(f"--config: {error}") from None
    return _resolve(given, saved)


def config_of(run_dir: str | Path) -> Config:
    """The settings of the run in a folder. Raises UserError where there is none."""
    path = Path(run_dir) / "config.json"
    if not is_there(path):
        raise UserError(f"{run_dir} holds no run (no config.json)")
    return read_config(path)


def read_config(path: str | Path) -> Config:
    """The settings of a run from its config.json. Raises UserError where they are not right."""
    return _resolve({}, _read_saved(str(path)))[0]


def describe(config: Config) -> str:
    """The settings as a table, a group at a time; `*` marks what differs from the recipe."""
    differing = dict(unusual(config))
    absent = set(OPTIONS) - SCHEMES[config.mod_scheme].keys()
    settings = {name: value for name, value in config.settings().items() if name not in absent}
    lines = []
    for group in dict.fromkeys(f.metadata["group"] for f in FLAGS.values()):
        names = [name for name in settings if FLAGS[name].metadata["group"] == group]
        lines += [group] * bool(names)
        for name in names:
            mark = "*" if name in differing else " "
            lines.append(f"  {mark} {name:<26}{written(settings[name])}")
    lines += ["* differs from the recipe", f"folder: {config.run_dir}"]
    return "\n".join(map(printable, lines))


def command(config: Config) -> str:
    """The shortest command line that gives these settings."""
    words = ["python", "main.py", "--dataset", config.dataset, "--mod_scheme", config.mod_scheme]
    for name, value in unusual(config):
        words += flag_words(name, value)
    return shlex.join(words)


def flag_words(name: str, value: Any) -> list[str]:
    """A flag with its value, as words of a command line."""
    text = written(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


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
    return textwrap.fill(
        f"digits, the default set, has defaults of its own: {listed}; some schemes have more of "
        "their own there (--dry_run shows what a command takes).",
        width=80,
    )


def _read_saved(path: str) -> dict[str, Any]:
    """The settings in a run's config.json, each checked as its flag would be."""
    saved = read_json(Path(path))
    saved.pop("environment", None)
    known = [name for name, flag in FLAGS.items() if flag.metadata["saved"]]
    for name in saved:
        if name not in known:
            raise UserError(f"{path}: there is no setting {name!r}{did_you_mean(name, known)}")
        if isinstance(saved[name], list) and not hasattr(FLAGS[name].metadata["parse"], "several"):
            raise UserError(f"{path}: --{name}: {saved[name]} is not one value")
    words = [f"--{name}={written(value)}" for name, value in saved.items()]
    return vars(_parser().parse_args(words))


def _resolve(given: dict[str, Any], saved: dict[str, Any]) -> tuple[Config, list[str]]:
    saved = _still_meant(given, saved)
    values = {**saved, **given}
    check_given(given, values)
    if "weights" in given:
        values["use_pretrained"] = given.get("use_pretrained", given["weights"] != "none")
    filled = {**_by_recipe(values), **values}
    filled.update(dict.fromkeys(_idle(filled)))
    notes = _notes(given, values, filled)
    if not filled["use_pretrained"]:
        filled["weights"] = "none"
    if filled["final_rate"] is not None:
        filled["delta_rel"] = _delta_of(filled)
    if "delta_rel" not in SCHEMES[filled["mod_scheme"]]:
        filled["delta_rel"] = 0.0
    filled = {**filled, **{n: v for n, v in _of_linear_phase(filled).items() if n not in values}}
    check_together(filled)
    config = Config(**{**filled, "exp_name": values.get("exp_name", "")})
    if not config.exp_name:
        config = dataclasses.replace(config, exp_name=_exp_name(config))
    return config, notes


def _still_meant(given: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The saved settings without those that belonged to one the command line changes."""
    if not (saved and given):
        return saved
    before = _resolve({}, saved)[0]
    changed = {name for name, value in given.items() if value != getattr(before, name)}
    derived = {**_of_linear_phase(vars(before)), "exp_name": _exp_name(before)}
    dropped = {name for name, value in derived.items() if getattr(before, name) == value}
    dropped.update(*(_BELONGINGS.get(name, ()) for name in changed))
    if changed & {"dataset", "mod_scheme"}:
        dropped |= _of_the_recipe(before, given.get("mod_scheme", before.mod_scheme), saved)
    if "final_rate" in given:
        dropped.add("delta_rel")
    if given.get("linear_init") == 0:
        dropped.update(LINEAR)
    return {name: value for name, value in saved.items() if name not in dropped}


def _of_the_recipe(before: Config, scheme: str, saved: Mapping[str, Any]) -> set[str]:
    """What was saved as the recipe had it, or the new scheme has not: nobody chose it for that."""
    usual, other = (recipe(before.dataset, name) for name in (before.mod_scheme, scheme))
    unchosen = {name for name, value in usual.items() if saved.get(name) == value}
    foreign = set(OPTIONS) - SCHEMES[scheme].keys()
    return foreign | {n for n in unchosen if n in OPTIONS or usual[n] != other.get(n)}


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
    share = filled["delta_rel"] * (filled["linear_init"] - 1)
    if scheme in ("LL-R", "LL-Ct") and filled["linear_scheme"] != "AN" and share > 20:
        notes.append(
            f"the linear phase ends with {min(share, 100):g} % of the labels: --linear_scheme AN "
            "selects none there"
        )
    if scheme == "EM+APL" and filled["apl_start"] >= filled["num_epochs"]:
        notes.append(
            f"--apl_start {filled['apl_start']} with {filled['num_epochs']} epochs: no label gets "
            "a soft one, this is EM"
        )
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
    filled.update({**NO_OPTION, "final_rate": None, "fpc": None, "rps": None, "exp_name": ""})
    filled.update(dict.fromkeys(LINEAR))
    best = recipe(filled["dataset"], filled["mod_scheme"])
    filled.update(best)
    if values.get("optimizer", best["optimizer"]) != best["optimizer"]:
        filled.update(OPTIMIZERS[values["optimizer"]], optimizer=values["optimizer"])
    if str(values.get("arch")).startswith(TIMM):
        filled["weights"] = "pretrained"
    return filled


def _idle(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of CSL that change nothing."""
    if values["mode"] != "selective":
        return SELECTIVE
    return ("prior_threshold",) if values["prior"] is None else ()


def _of_linear_phase(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a linear phase does unless it is told; nothing where there is none."""
    if not values["linear_init"]:
        return {}
    learning = {"linear_lr": values["lr"] * values["lr_mult"], "linear_bsize": values["bsize"]}
    return {**learning, "linear_scheme": "same"}


def _usual(config: Config) -> dict[str, Any]:
    """What the recipe says for the data set and scheme, and what goes with other settings."""
    names = ("dataset", "mod_scheme", "optimizer", "arch")
    usual = _by_recipe({name: getattr(config, name) for name in names})
    usual["optimizer"] = recipe(config.dataset, config.mod_scheme)["optimizer"]
    usual.update(_of_linear_phase(vars(config)), **dict.fromkeys(_idle(vars(config))))
    if not config.use_pretrained:
        usual["weights"] = "none"
    return usual


def unusual(config: Config) -> Iterator[tuple[str, Any]]:
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
    others = {name: value for name, value in unusual(config) if name not in main}
    return run_name(main, others)
