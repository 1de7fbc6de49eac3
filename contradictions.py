"""Settings that are right alone and wrong together: a line for each, that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli import UserError
from naming import written
from recipes import OPTIONS, OWN_NET, SCHEMES, TIMM
from settings import FLAGS

NO_OPTION: dict[str, Any] = {name: None for name in OPTIONS}
NO_OPTION |= {"delta_rel": 0.0, "rate_base": "unobserved"}  # part of every record and name
LINEAR = ("linear_lr", "linear_bsize", "linear_scheme")
DIGITS_ALONE = ("fpc", "rps")
SELECTIVE = ("topk", "prior", "prior_threshold")  # of CSL in that mode alone


def check_given(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise UserError for flags of which one makes the other meaningless."""
    if given.get("use_pretrained") is False and given.get("weights", "none") != "none":
        raise UserError("--weights contradicts --use_pretrained false: drop one of them")
    if "final_rate" in given and "delta_rel" in given:
        raise UserError("--final_rate contradicts --delta_rel: drop one of them")
    _check_options(given, values)
    if not values.get("linear_init"):
        for name in LINEAR:
            if name in values:
                raise UserError(f"--{name} is of the linear phase: give --linear_init EPOCHS too")


def _check_options(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise UserError for an option that the scheme does not have."""
    scheme = values.get("mod_scheme", FLAGS["mod_scheme"].metadata["default"])
    asked = {name for name in OPTIONS if values.get(name, NO_OPTION[name]) != NO_OPTION[name]}
    needed = {name: name for name in asked - {"delta_rel"}}  # a note says what becomes of that
    if values.get("final_rate") is not None:
        needed["final_rate"] = "delta_rel"
    for name, option in needed.items():
        if option not in SCHEMES[scheme]:
            having = ", ".join(other for other in SCHEMES if option in SCHEMES[other])
            raise UserError(f"--{name}: {scheme} has no such option, only {having}: drop it")
    mode = values.get("mode", "selective")
    idle = [name for name in SELECTIVE if name in given and mode != "selective"]
    if idle:
        raise UserError(f"--{idle[0]} is of --mode selective, not of {mode}: drop it")
    if "prior_threshold" in given and values.get("prior") is None:
        raise UserError("--prior_threshold is that of a prior: give --prior FILE too")


def check_together(values: Mapping[str, Any]) -> None:
    """Raise UserError for settings that are right alone and wrong together."""
    if values["use_pretrained"] and values["weights"] == "none":
        raise UserError("--weights none contradicts --use_pretrained true: drop one of them")
    if values["arch"] == OWN_NET and values["weights"] == "IMAGENET1K_V1":
        raise UserError(
            f"--use_pretrained: no weights are published for {OWN_NET}: "
            "give --weights FILE or --use_pretrained false"
        )
    if values["sync_bn"] and values["arch"].startswith(TIMM):
        raise UserError("--sync_bn: timm's batch norms may hold activations, which it would drop: "
                        "leave it out, or take an --arch of torchvision")  # fmt: skip
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
    given = [name for name in DIGITS_ALONE if values[name] is not None]
    if len(given) > 1:
        raise UserError("--fpc and --rps contradict each other: give one of them")
    if given and values["dataset"] != "digits":
        name = given[0]
        raise UserError(
            f"--{name}: only digits is drawn while it is composed: draw the labels of a folder "
            f"with python -m data.observe FOLDER --{name} {written(values[name])}"
        )
