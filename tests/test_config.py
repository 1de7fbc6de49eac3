"""Settings: the authors' recipes and flags, what a wrong command line costs, names of runs."""

import dataclasses
import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cli
import config
from cli import UserError
from config import FLAGS, parse_args, read_config
from losses import SCHEMES as LOSSES
from losses import build_scheme, options_of
from recipes import OPTIONS, SCHEMES

REPOSITORY = Path(__file__).parent.parent


def short(*argv):
    """The settings of a run on VOC with LL-R and these flags."""
    return parse_args(["--dataset", "pascal", "--mod_scheme", "LL-R", *argv])


# Recipes and defaults

# the paper's best settings: optimizer, lr, delta_rel of LL-R, LL-Ct and LL-Cp
RECIPES = {
    "pascal": ("sgd", 5e-3, 0.2, 0.2, 0.1),
    "coco": ("adam", 1e-5, 0.4, 0.2, 0.2),
    "nuswide": ("adam", 1e-5, 0.4, 0.2, 0.2),
    "cub": ("adam", 7.5e-5, 0.4, 0.4, 0.2),
}


@pytest.mark.parametrize("dataset", RECIPES)
def test_the_authors_best_settings(dataset):
    optimizer, lr, *delta_rels = RECIPES[dataset]
    pairs = zip(("LL-R", "LL-Ct", "LL-Cp", "AN"), [*delta_rels, 0], strict=True)
    for scheme, delta_rel in pairs:
        got = parse_args(["--dataset", dataset, "--mod_scheme", scheme])
        assert (got.optimizer, got.lr, got.delta_rel) == (optimizer, lr, delta_rel), scheme
        assert got.weight_decay == (1e-3 if optimizer == "sgd" else 0)
        assert (got.momentum, got.lr_mult, got.image_size) == (0.9, 10, 448)
        assert (got.bsize, got.num_epochs, got.early_stop_drop) == (16, 10, 3)
        assert (got.flip, got.weights, got.rate_base) == (True, "IMAGENET1K_V1", "unobserved")


# PAPER.md, sections 2 and 4: positives of an image, alpha of EM, w and beta of APL
METHODS = {
    "pascal": (1.5, 0.2, 5, 0.02),
    "coco": (2.9, 0.1, 5, 0.9),
    "nuswide": (1.9, 0.1, 4, 0.2),
    "cub": (31.4, 0.01, 3, 0.4),
}


@pytest.mark.parametrize("dataset", METHODS)
def test_the_settings_of_the_other_methods(dataset):
    def options(scheme):
        return parse_args(["--dataset", dataset, "--mod_scheme", scheme]).options

    positives, alpha, start, beta = METHODS[dataset]
    assert options("EPR") == options("ROLE") == {"expected_positives": positives}
    assert options("EM") == {"em_alpha": alpha}
    assert options("EM+APL") == {"em_alpha": alpha, "apl_start": start, "apl_beta": beta}
    assert options("LSAN") == {"ls_coef": 0.1}
    assert options("ASL") == {"gammas": (0, 4), "clip": 0.05}
    assert options("CSL") == {
        "mode": "selective", "gammas": (0, 1, 2), "clip": 0, "topk": 5,
        "prior": None, "prior_threshold": None,
    }  # fmt: skip
    given = parse_args(["--dataset", dataset, "--mod_scheme", "CSL", "--prior", "prior.csv"])
    assert given.prior_threshold == 0.05
    assert options("AN") == options("IU") == options("WAN") == {}


def test_digits_has_three_positives_an_image():
    assert parse_args(["--mod_scheme", "EPR"]).expected_positives == 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_folder_takes_the_recipe_of_coco(tmp_path, scheme):
    """But how many positives an image of it has is not known."""
    mine, coco = (
        parse_args(["--dataset", dataset, "--mod_scheme", scheme])
        for dataset in (str(tmp_path), "coco")
    )
    unlike = {name for name in FLAGS if getattr(mine, name) != getattr(coco, name)}
    unknown = {"expected_positives"} if scheme in ("EPR", "ROLE") else set()
    assert unlike == {"dataset", "exp_name"} | unknown
    assert mine.expected_positives is None


OFFICIAL_DEFAULTS = {
    "ss_seed": 999,
    "ss_frac_train": 1.0,
    "ss_frac_val": 1.0,
    "use_feats": False,
    "val_frac": 0.2,
    "split_seed": 1200,
    "train_set_variant": "observed",
    "val_set_variant": "clean",
    "arch": "resnet50",
    "freeze_feature_extractor": False,
    "use_pretrained": True,
    "num_epochs": 10,
    "save_path": "./results",
    "num_workers": 4,
    "gpu_num": 0,
    "bsize": 16,
    "lr": 1e-5,
    "lr_mult": 10,
}


def test_official_defaults():
    settings = parse_args(["--dataset", "coco"]).settings()
    assert {name: settings[name] for name in OFFICIAL_DEFAULTS} == OFFICIAL_DEFAULTS


# every flag of the official command line, as it is written there
OFFICIAL_FLAGS = [
    ("--ss_seed 7", 7),
    ("--ss_frac_train 0.5", 0.5),
    ("--ss_frac_val 0.25", 0.25),
    ("--val_frac 0.3", 0.3),
    ("--split_seed 5", 5),
    ("--train_set_variant clean", "clean"),
    ("--train_set_variant observed", "observed"),
    ("--val_set_variant clean", "clean"),
    ("--arch resnet50", "resnet50"),
    ("--num_epochs 3", 3),
    ("--save_path ./elsewhere", "./elsewhere"),
    ("--exp_name my_run", "my_run"),
    ("--num_workers 0", 0),
    ("--gpu_num 2", 2),
    ("--dataset pascal", "pascal"),
    ("--dataset coco", "coco"),
    ("--dataset nuswide", "nuswide"),
    ("--dataset cub", "cub"),
    ("--optimizer adam", "adam"),
    ("--optimizer sgd", "sgd"),
    ("--bsize 8", 8),
    ("--lr 1e-5", 1e-5),
    ("--lr_mult 10", 10),
    ("--mod_scheme LL-R", "LL-R"),
    ("--mod_scheme LL-Ct", "LL-Ct"),
    ("--mod_scheme LL-Cp", "LL-Cp"),
    ("--delta_rel 0.2", 0.2),
    *[
        (f"--{name}{text}", value)
        for name in ("use_feats", "freeze_feature_extractor", "use_pretrained")
        for text, value in (("", True), (" true", True), (" True", True), (" false", False))
    ],
]


@pytest.mark.parametrize(("words", "value"), OFFICIAL_FLAGS)
def test_official_flags(words, value):
    argv = words.split()
    for written in (argv, ["=".join(argv)]):
        assert getattr(short(*written), argv[0][2:]) == value
        # a boolean without a value may stand before another flag
        assert short(*written, "--seed", "3").seed == 3


def test_digits_needs_no_data_and_no_flag():
    digits = parse_args([])
    assert (digits.dataset, digits.mod_scheme, digits.weights) == ("digits", "LL-R", "none")


@pytest.mark.parametrize(
    ("dataset", "flags", "expected", "note"),
    [
        ("coco", "--optimizer sgd", ("sgd", 5e-3, 1e-3), "--optimizer sgd without --lr: .* 0.005"),
        (
            "pascal",
            "--optimizer adam",
            ("adam", 1e-5, 0),
            "--optimizer adam without --lr: .* 1e-05",
        ),
        ("cub", "--optimizer sgd", ("sgd", 5e-3, 1e-3), "0.005"),
        ("coco", "--optimizer sgd --lr 0.1", ("sgd", 0.1, 1e-3), None),
        ("pascal", "--optimizer adam --lr 0.1", ("adam", 0.1, 0), None),
        ("pascal", "--lr 0.1", ("sgd", 0.1, 1e-3), None),
        ("pascal", "", ("sgd", 5e-3, 1e-3), None),
        ("coco", "--optimizer sgd --weight_decay 0 --lr 1", ("sgd", 1, 0), None),
    ],
)
def test_optimizer_and_lr_are_a_pair(capsys, dataset, flags, expected, note):
    got = parse_args(["--dataset", dataset, *flags.split()])
    assert (got.optimizer, got.lr, got.weight_decay) == expected
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(f"note: .*{note}.*\n" if note else "", printed.err)


@pytest.mark.parametrize(
    ("dataset", "optimizer", "lr"), [("pascal", "sgd", 5e-3), ("cub", "adam", 7.5e-5)]
)
def test_the_recipes_own_optimizer_keeps_the_recipes_rate(dataset, optimizer, lr):
    assert parse_args(["--dataset", dataset, "--optimizer", optimizer]).lr == lr


def test_a_scheme_that_selects_nothing_says_so(capsys):
    got = short("--mod_scheme", "AN", "--delta_rel", "0.5")
    assert got.delta_rel == 0
    assert capsys.readouterr().err == (
        "note: AN selects no labels by their loss: --delta_rel 0.5 is not used\n"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", (True, "IMAGENET1K_V1")),
        ("--use_pretrained false", (False, "none")),
        ("--weights none", (False, "none")),
        ("--weights IMAGENET1K_V2", (True, "IMAGENET1K_V2")),
        ("--weights some/file.pt --use_pretrained", (True, "some/file.pt")),
        ("--dataset digits", (False, "none")),
        ("--dataset digits --weights some/file.pt", (True, "some/file.pt")),
    ],
)
def test_where_the_weights_come_from(flags, expected):
    got = short(*flags.split())
    assert (got.use_pretrained, got.weights) == expected


def test_folders_of_data_and_runs(tmp_path):
    got = short("--data_root", "/data", "--save_path", "out", "--exp_name", "mine")
    assert (got.dataset_dir, got.run_dir) == (Path("/data/pascal"), Path("out/mine"))
    assert parse_args(["--dataset", str(tmp_path)]).dataset_dir == tmp_path


def test_settings_need_no_torch():
    code = (
        "import sys, config; config.parse_args(['--seed', '1']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


# The options of the schemes

# what losses cannot know, for it has them from the data and the phase
FACTS = {"num_images", "num_epochs", "observed"}
# where the command line starts from another value than losses
OWN_DEFAULTS = {"delta_rel", "topk", "prior_threshold"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_command_line_has_the_options_of_each_scheme(scheme):
    assert SCHEMES.keys() == LOSSES.keys()
    taken = set(options_of(scheme)) - FACTS
    assert set(SCHEMES[scheme]) == (set() if scheme == "AN" else taken)
    if scheme == "AN":
        assert taken == {"delta_rel", "rate_base"}  # taken for the large-loss schemes' sake


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_option_starts_from_the_default_of_its_loss(scheme):
    defaults = inspect.signature(LOSSES[scheme]).parameters
    for name, value in SCHEMES[scheme].items():
        default = defaults[name].default
        if default is not inspect.Parameter.empty and name not in OWN_DEFAULTS:
            assert value == default, name


def test_the_scheme_of_a_run_has_the_options_of_its_settings():
    for scheme in SCHEMES:
        options = short("--mod_scheme", scheme).options
        facts = {"num_images": 5, "num_epochs": 10, "observed": None}
        known = {name: facts[name] for name in options_of(scheme) if name in facts}
        build_scheme(scheme, num_classes=4, **options, **known)


# a valid value of every option, unlike those of VOC's recipe
OPTION_VALUES = {
    "delta_rel": "0.7", "rate_base": "all", "expected_positives": "2.5", "ls_coef": "0.3",
    "em_alpha": "0.7", "apl_start": "2", "apl_beta": "0.7", "gammas": "1,2", "clip": "0.2",
    "mode": "ignore", "topk": "9", "prior": "prior.csv", "prior_threshold": "0.3",
}  # fmt: skip


def words_of(scheme):
    """Flags that give the scheme and another value for each of its options."""
    words = ["--mod_scheme", scheme]
    for name in SCHEMES[scheme].keys() - {"mode"}:  # without which CSL would not have the others
        more = ",3" if (scheme, name) == ("CSL", "gammas") else ""
        words += [f"--{name}", OPTION_VALUES[name] + more]
    return words


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_option_is_taken_by_the_schemes_that_have_it_and_refused_by_name_elsewhere(scheme):
    usual, changed = short("--mod_scheme", scheme), short(*words_of(scheme))
    for name in set(OPTIONS) - {"delta_rel", "mode" if scheme == "CSL" else ""}:
        if name in SCHEMES[scheme]:
            assert getattr(changed, name) not in (None, getattr(usual, name)), name
            continue
        having = ", ".join(other for other in SCHEMES if name in SCHEMES[other])
        rule = f"--{name}: {scheme} has no such option, only {having}: drop it"
        with pytest.raises(UserError, match=re.escape(rule)):
            short("--mod_scheme", scheme, f"--{name}", OPTION_VALUES[name])
        assert getattr(usual, name) == ("unobserved" if name == "rate_base" else None)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if not name.startswith("LL-")])
def test_delta_rel_alone_is_no_mistake_where_it_does_nothing(capsys, scheme):
    got = short("--mod_scheme", scheme, "--delta_rel", "0.5")
    assert (got.delta_rel, got.exp_name) == (0, f"pascal_{scheme}_0_sgd_0.005_seed0")
    assert capsys.readouterr().err == (
        f"note: {scheme} selects no labels by their loss: --delta_rel 0.5 is not used\n"
    )


@pytest.mark.parametrize(
    ("flags", "expected", "name"),
    [
        ("ASL --gammas 1,4", (1, 4), "gammas-1-4"),
        ("ASL --gammas 0.5,4", (0.5, 4), "gammas-0.5-4"),
        ("CSL --gammas 0,3,4", (0, 3, 4), "gammas-0-3-4"),
        ("ASL --gammas 0,4", (0, 4), ""),
        ("CSL --gammas 0,1,2", (0, 1, 2), ""),
    ],
)
def test_gammas_are_numbers_with_commas_between_them(flags, expected, name):
    got = short("--mod_scheme", *flags.split())
    assert got.gammas == expected
    plain = f"pascal_{got.mod_scheme}_0_sgd_0.005_seed0"
    assert got.exp_name == (f"{plain}_{name}" if name else plain)


# --final_rate


def test_the_final_rate_is_reached_in_the_last_epoch_whatever_their_number():
    got = short("--final_rate", "1.8")
    assert (got.num_epochs, got.delta_rel) == (10, 0.2)
    assert got.exp_name == short("--delta_rel", "0.2").exp_name
    for epochs in (2, 3, 7, 10, 11, 13, 20, 37, 100):
        for final in (0, 0.1, 0.7, 1.8, 33.3, 99.9, 100):
            delta = short("--final_rate", str(final), "--num_epochs", str(epochs)).delta_rel
            scheme = build_scheme("LL-R", num_classes=4, delta_rel=delta)
            assert scheme.rate(epochs) == pytest.approx(final / 100, rel=1e-12)


@pytest.mark.parametrize("scheme", ["LL-Ct", "LL-Cp"])
def test_the_final_rate_of_the_other_large_loss_schemes(scheme):
    assert short("--mod_scheme", scheme, "--final_rate", "1.8").delta_rel == 0.2


def test_the_final_rate_is_written_down_as_delta_rel(tmp_path):
    got = short("--final_rate", "1.8", "--num_epochs", "5")
    assert "final_rate" not in got.settings()
    assert "final_rate" not in config.command(got)
    again = parse_args(["--config", save(tmp_path, got.settings())])
    assert (again.delta_rel, again.final_rate) == (0.45, None)
    # more epochs without it: the share of an epoch is what was saved
    longer = parse_args(["--config", str(tmp_path / "config.json"), "--num_epochs", "10"])
    assert longer.delta_rel == 0.45


def test_a_final_rate_takes_the_place_of_a_saved_delta_rel(tmp_path):
    path = save(tmp_path, short("--delta_rel", "0.7").settings())
    assert parse_args(["--config", path, "--final_rate", "1.8"]).delta_rel == 0.2


def test_the_final_rate_of_a_linear_phase_alone_counts_on_its_epochs():
    flags = ("--num_epochs", "0", "--linear_init", "5", "--final_rate", "2")
    assert short(*flags).delta_rel == 0.5
    assert short("--linear_init", "5", "--final_rate", "1.8").delta_rel == 0.2


# The linear phase

LINEAR = ("linear_init", "linear_lr", "linear_bsize", "linear_scheme")


def linear(*argv):
    got = short(*argv)
    return tuple(getattr(got, name) for name in LINEAR)


def test_the_linear_phase_learns_like_the_head_unless_told_otherwise():
    assert linear() == (0, None, None, None)
    assert linear("--linear_init", "25") == (25, 0.05, 16, "same")
    assert linear("--linear_init", "25", "--lr", "0.1", "--bsize", "8") == (25, 1, 8, "same")
    assert linear("--linear_init", "25", "--lr_mult", "2")[1] == 0.01
    given = "--linear_init 3 --linear_lr 0.3 --linear_bsize 64 --linear_scheme AN"
    assert linear(*given.split()) == (3, 0.3, 64, "AN")


def test_a_saved_linear_phase_follows_what_it_came_from(tmp_path):
    path = save(tmp_path, short("--linear_init", "5").settings())

    def again(*argv):
        got = parse_args(["--config", path, *argv])
        return tuple(getattr(got, name) for name in LINEAR)

    assert again() == (5, 0.05, 16, "same")
    assert again("--lr", "0.1") == (5, 1, 16, "same")
    assert again("--lr_mult", "2") == (5, 0.01, 16, "same")
    assert again("--bsize", "8") == (5, 0.05, 8, "same")
    assert again("--optimizer", "adam") == (5, 1e-4, 16, "same")
    assert again("--linear_init", "0") == (0, None, None, None)
    assert again("--linear_init", "7", "--linear_lr", "0.3") == (7, 0.3, 16, "same")


def test_a_linear_phase_may_be_all_there_is():
    got = short("--num_epochs", "0", "--linear_init", "5")
    assert (got.num_epochs, got.linear_init) == (0, 5)
    assert got.exp_name != short("--linear_init", "5").exp_name


def test_assume_negative_is_the_same_scheme_in_a_linear_phase_alone():
    flags = "--mod_scheme AN --num_epochs 0 --linear_init 3 --linear_scheme AN"
    assert short(*flags.split()).linear_scheme == "AN"


def test_linear_phases_of_the_same_settings_share_a_name():
    plain = short("--linear_init", "5")
    assert plain.exp_name == "pascal_LL-R_0.2_sgd_0.005_seed0_linear_init-5"
    same = "--linear_init 5 --linear_lr 0.05 --linear_bsize 16 --linear_scheme same"
    assert short(*same.split()).exp_name == plain.exp_name


# digits with other labels


@pytest.mark.parametrize(
    ("flags", "expected", "name"),
    [
        ("", (None, None), ""),
        ("--fpc 50", (50, None), "_fpc-50"),
        ("--rps 0.25", (None, 0.25), "_rps-0.25"),
    ],
)
def test_digits_may_be_drawn_otherwise(flags, expected, name):
    got = parse_args(flags.split())
    assert (got.fpc, got.rps) == expected
    assert got.exp_name == f"digits_LL-R_2.5_adam_0.001_seed0{name}"


@pytest.mark.parametrize("flag", ["--fpc 50", "--rps 0.5"])
def test_other_sets_are_drawn_by_data_observe(tmp_path, flag):
    for dataset in ("coco", str(tmp_path)):
        with pytest.raises(UserError, match=f"python -m data.observe FOLDER {flag}$") as caught:
            parse_args(["--dataset", dataset, *flag.split()])
        assert str(caught.value).startswith(f"{flag.split()[0]}: only digits is drawn")


def test_a_saved_draw_of_digits_makes_room_for_another(tmp_path):
    path = save(tmp_path, parse_args(["--fpc", "50"]).settings())
    dropped = parse_args(["--config", path, "--rps", "0.5"])
    assert (dropped.fpc, dropped.rps) == (None, 0.5)
    assert parse_args(["--config", path, "--dataset", "coco"]).fpc is None
    assert parse_args(["--config", path, "--dataset", "digits"]).fpc == 50


# Names of runs: every flag is changed in turn

NEW = {
    **OPTION_VALUES,
    "dataset": "coco",
    "data_root": "elsewhere",
    "fpc": "3",
    "rps": "0.5",
    "mod_scheme": "LL-Ct",
    "arch": "resnet101",
    "weights": "IMAGENET1K_V2",
    "boostlu": "5",
    "linear_lr": "0.3",
    "linear_bsize": "64",
    "save_path": "elsewhere",
}


def another(name, value):
    """A valid value of the flag that is not this one."""
    names = getattr(FLAGS[name].metadata["parse"], "names", ())
    if name in NEW:
        return NEW[name]
    if names:
        return next(other for other in names if other != value)
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2


def base_of(name):
    """Flags of a run that has this setting."""
    if name in ("fpc", "rps"):
        return ("--dataset", "digits")
    if name in LINEAR[1:]:
        return ("--linear_init", "5")
    if name == "prior_threshold":
        return ("--mod_scheme", "CSL", "--prior", "prior.csv")
    if name in OPTIONS:
        return ("--mod_scheme", next(one for one in SCHEMES if name in SCHEMES[one]))
    return ()


# final_rate is another way to write delta_rel
CHANGEABLE = [name for name in FLAGS if name not in ("exp_name", "config", "final_rate")]
BASES = {name: short(*base_of(name)) for name in CHANGEABLE}
VARIANTS = {
    name: short(*base_of(name), f"--{name}", str(another(name, getattr(BASES[name], name))))
    for name in CHANGEABLE
}


def test_every_change_of_a_flag_is_one():
    for name, variant in VARIANTS.items():
        assert getattr(variant, name) not in (None, getattr(BASES[name], name)), name


def test_runs_share_a_name_only_if_they_do_the_same():
    matter = [name for name in CHANGEABLE if FLAGS[name].metadata["names_run"]]
    bases = {base.exp_name for name, base in BASES.items() if name != "prior_threshold"}
    names = [*bases, *(VARIANTS[name].exp_name for name in matter)]
    assert len(matter) > 45
    assert len(set(names)) == len(names)


def test_settings_that_change_no_result_leave_the_name_alone():
    same = [name for name in CHANGEABLE if not FLAGS[name].metadata["names_run"]]
    assert {"num_workers", "device", "save_path", "resume", "tensorboard", "cache"} <= set(same)
    assert {VARIANTS[name].exp_name for name in same} == {short().exp_name}
    assert {BASES[name].exp_name for name in same} == {short().exp_name}


def test_names_are_those_of_the_design():
    assert short().exp_name == "pascal_LL-R_0.2_sgd_0.005_seed0"
    assert short("--bsize", "8", "--seed", "4").exp_name.startswith(
        "pascal_LL-R_0.2_sgd_0.005_seed4_"
    )


def test_a_name_stays_short_and_unlike_others_whatever_differs():
    left_out = {"overwrite", "use_pretrained", "use_feats", "fpc", "rps"}  # they contradict others
    left_out |= set(OPTIONS) - set(SCHEMES["LL-Ct"])
    words = [f"--{n}={getattr(VARIANTS[n], n)}" for n in CHANGEABLE if n not in left_out]
    first, second = (parse_args([*words, "--bsize", size]).exp_name for size in ("8", "9"))
    assert first != second
    for name in (first, second):
        assert len(name) < 200
        assert "/" not in name


def test_equal_names_of_unlike_files_and_folders_are_told_apart(tmp_path):
    names = []
    for folder in ("one", "two"):
        (tmp_path / folder / "birds").mkdir(parents=True)
        (tmp_path / folder / "w.pt").touch()
        names.append(parse_args(["--dataset", str(tmp_path / folder / "birds")]).exp_name)
        names.append(short("--weights", str(tmp_path / folder / "w.pt")).exp_name)
    assert len(set(names)) == 4
    assert all("/" not in name for name in names)


def test_a_path_written_differently_is_the_same_run(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    spellings = ("birds", "./birds", "birds/", str(tmp_path / "birds"))
    assert len({parse_args(["--dataset", text]).exp_name for text in spellings}) == 1


def test_a_data_root_that_appears_later_does_not_rename_the_run(tmp_path, monkeypatch):
    """--dry_run before the data is there promises the folder of the run after it."""
    monkeypatch.chdir(tmp_path)
    promised = short("--data_root", "sets").exp_name
    (tmp_path / "sets").mkdir()
    assert short("--data_root", "sets").exp_name == promised


def test_a_folder_called_like_a_value_does_not_rename_the_run(tmp_path, monkeypatch):
    expected = short("--rate_base", "all").exp_name
    (tmp_path / "all").mkdir()
    monkeypatch.chdir(tmp_path)
    assert short("--rate_base", "all").exp_name == expected


# The shortest command, the table of settings


def everything(scheme):
    """A run of the scheme in which all that may be changed is."""
    more = "--linear_init 3 --linear_scheme AN --linear_bsize 64 --linear_lr 0.3 --boostlu 5"
    return short("--dataset", "cub", *words_of(scheme), *more.split())


@pytest.mark.parametrize(
    "first", [*VARIANTS.values(), *map(everything, SCHEMES)], ids=[*VARIANTS, *SCHEMES]
)
def test_the_shortest_command_gives_the_same_run(first):
    python, script, *argv = shlex.split(config.command(first))
    assert (python, script) == ("python", "main.py")
    second = parse_args(argv)
    matters = [n for n, flag in FLAGS.items() if flag.metadata["names_run"]]
    assert {n: getattr(second, n) for n in matters} == {n: getattr(first, n) for n in matters}
    assert second.exp_name == first.exp_name


def test_the_shortest_command_of_a_recipe_names_data_set_and_scheme_alone():
    for scheme in SCHEMES:
        shortest = f"python main.py --dataset pascal --mod_scheme {scheme}"
        assert config.command(short("--mod_scheme", scheme)) == shortest


@pytest.mark.parametrize("name", [n for n in CHANGEABLE if FLAGS[n].metadata["names_run"]])
def test_the_table_marks_what_differs_from_the_recipe(name):
    lines = config.describe(VARIANTS[name]).splitlines()
    shown = {line[4:].split()[0]: line[2] for line in lines if line.startswith("  ")}
    other_schemes = set(OPTIONS) - SCHEMES[VARIANTS[name].mod_scheme].keys()
    assert shown.keys() == VARIANTS[name].settings().keys() - other_schemes
    assert name in ("dataset", "mod_scheme") or shown[name] == "*"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_table_of_a_recipe_marks_nothing(scheme):
    table = config.describe(short("--mod_scheme", scheme))
    assert not re.search(r"^  \*", table, re.MULTILINE)
    shown = {line[4:].split()[0] for line in table.splitlines() if line.startswith("  ")}
    own = SCHEMES[scheme].keys() - {"prior", "prior_threshold"}  # there is no prior
    assert shown & set(OPTIONS) == own


# --config


def save(folder, settings):
    """A run's config.json with these settings."""
    path = folder / "config.json"
    path.write_text(json.dumps({**settings, "environment": {"python": "3"}}))
    return str(path)


ACTIONS = ("resume", "overwrite", "dry_run")


@pytest.mark.parametrize("name", [name for name in CHANGEABLE if name not in ACTIONS])
def test_a_saved_run_comes_back_whole(tmp_path, capsys, name):
    saved = VARIANTS[name]
    again = parse_args(["--config", save(tmp_path, saved.settings())])
    assert again.settings() == saved.settings()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_saved_run_of_every_scheme_comes_back_whole(tmp_path, capsys, scheme):
    saved = everything(scheme)
    assert set(SCHEMES[scheme]) <= saved.settings().keys()
    path = save(tmp_path, saved.settings())
    assert parse_args(["--config", path]) == dataclasses.replace(saved, config=path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_scheme_keeps_what_was_chosen_and_it_has_too(tmp_path, capsys, scheme):
    """But delta_rel, gammas and clip, which mean something else there."""
    path = save(tmp_path, short(*words_of(scheme)).settings())
    for other in SCHEMES:
        if other != scheme:
            got = parse_args(["--config", path, "--mod_scheme", other])
            shared = (SCHEMES[scheme].keys() & SCHEMES[other].keys()) - {
                "delta_rel",
                "gammas",
                "clip",
            }
            words = [word for name in shared for word in (f"--{name}", OPTION_VALUES[name])]
            assert got.settings() == short("--mod_scheme", other, *words).settings()
    assert capsys.readouterr().err == ""


def test_another_scheme_takes_the_learning_rate_that_its_recipe_has(tmp_path):
    saved = parse_args(["--mod_scheme", "LSAN"])
    for given, lr in (((), 0.002), (("--lr", "0.3"), 0.3)):
        path = save(tmp_path, parse_args(["--mod_scheme", "LSAN", *given]).settings())
        assert parse_args(["--config", path, "--mod_scheme", "ROLE"]).lr == lr
    assert saved.lr == 0.001


def test_a_linear_phase_that_selects_much_is_told(capsys):
    parse_args(["--mod_scheme", "LL-R", "--delta_rel", "1", "--linear_init", "21"])
    assert capsys.readouterr().err == ""
    for epochs, share in ((31, 30), (400, 100)):
        parse_args(["--mod_scheme", "LL-R", "--delta_rel", "1", "--linear_init", str(epochs)])
        assert f"the linear phase ends with {share} % of the labels" in capsys.readouterr().err


def test_another_data_set_takes_its_own_values_of_a_recipe(tmp_path):
    path = save(tmp_path, short("--mod_scheme", "EM+APL", "--apl_beta", "0.7").settings())
    got = parse_args(["--config", path, "--dataset", "cub"])
    assert (got.em_alpha, got.apl_start, got.apl_beta) == (0.01, 3, 0.7)
    for given in ((), ("--expected_positives", "4.2")):
        path = save(tmp_path, short("--mod_scheme", "EPR", *given).settings())
        assert parse_args(["--config", path, "--dataset", "coco"]).expected_positives == 2.9


def test_another_mode_of_csl_drops_what_only_the_selective_one_has(tmp_path):
    path = save(tmp_path, short(*words_of("CSL")).settings())
    ignoring = parse_args(["--config", path, "--mode", "ignore"])
    assert (ignoring.topk, ignoring.prior, ignoring.prior_threshold) == (None, None, None)
    path = save(tmp_path, ignoring.settings())
    again = parse_args(["--config", path, "--mode", "selective", "--prior", "other.csv"])
    assert (again.topk, again.prior, again.prior_threshold) == (5, "other.csv", 0.05)
    assert again.gammas == (1, 2, 3)


OLD_RUNS = sorted(REPOSITORY.glob("results/*digits/digits_*/config.json"))


@pytest.mark.parametrize("path", OLD_RUNS, ids=[path.parent.name for path in OLD_RUNS])
def test_a_run_of_an_earlier_version_is_read_and_keeps_its_name(tmp_path, path):
    saved = json.loads(path.read_text())
    assert read_config(path).exp_name == saved.pop("exp_name") == path.parent.name
    assert read_config(save(tmp_path, saved)).exp_name == path.parent.name
    assert parse_args(["--config", str(path)]).exp_name == path.parent.name


def test_runs_of_an_earlier_version_are_there():
    assert len(OLD_RUNS) >= 20


@pytest.mark.parametrize("flag", ["--exp_name=-x", "--exp_name=--lr", "--save_path=-out"])
def test_a_saved_value_that_begins_with_a_dash_comes_back(tmp_path, flag):
    saved = short(flag)
    assert parse_args(["--config", save(tmp_path, saved.settings())]).settings() == saved.settings()


def test_a_saved_run_on_the_current_folder_comes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = parse_args(["--dataset", "."])
    again = parse_args(["--config", save(tmp_path, saved.settings())])
    assert again.settings() == saved.settings()


def test_flags_override_a_saved_run_and_name_it_anew(tmp_path):
    path = save(tmp_path, short("--bsize", "8").settings())
    got = parse_args(["--config", path, "--lr", "0.1", "--flip", "false"])
    assert (got.bsize, got.lr, got.flip, got.optimizer) == (8, 0.1, False, "sgd")
    assert got.exp_name == short("--bsize", "8", "--lr", "0.1", "--flip", "false").exp_name


def test_a_name_that_was_given_is_kept(tmp_path):
    path = save(tmp_path, short("--exp_name", "mine").settings())
    assert parse_args(["--config", path, "--lr", "0.1"]).exp_name == "mine"
    assert parse_args(["--config", path, "--exp_name", "other"]).exp_name == "other"


def test_another_scheme_or_optimizer_takes_its_own_companions(tmp_path, capsys):
    path = save(tmp_path, short("--delta_rel", "0.45", "--lr", "0.3").settings())
    permanent = parse_args(["--config", path, "--mod_scheme", "LL-Cp"])
    assert (permanent.delta_rel, permanent.lr) == (0.1, 0.3)
    assert parse_args(["--config", path, "--mod_scheme", "AN"]).delta_rel == 0
    assert capsys.readouterr().err == ""
    adam = parse_args(["--config", path, "--optimizer", "adam"])
    assert (adam.lr, adam.weight_decay, adam.delta_rel) == (1e-5, 0, 0.45)
    assert "--optimizer adam without --lr" in capsys.readouterr().err
    assert parse_args(["--config", path, "--optimizer", "sgd"]).lr == 0.3


def test_a_run_from_scratch_may_be_repeated_with_weights(tmp_path):
    path = save(tmp_path, short("--use_pretrained", "false").settings())
    got = parse_args(["--config", path, "--use_pretrained"])
    assert (got.use_pretrained, got.weights) == (True, "IMAGENET1K_V1")
    got = parse_args(["--config", path, "--weights", "IMAGENET1K_V2"])
    assert (got.use_pretrained, got.weights) == (True, "IMAGENET1K_V2")


@pytest.mark.parametrize(
    ("before", "after", "weights"),
    [
        ("resnet50", "timm.resnet18", "pretrained"),
        ("timm.resnet18", "resnet50", "IMAGENET1K_V1"),
        ("resnet50", "resnet101", "IMAGENET1K_V1"),
    ],
)
def test_another_network_takes_its_own_weights(tmp_path, before, after, weights):
    path = save(tmp_path, short("--arch", before).settings())
    assert parse_args(["--config", path, "--arch", after]).weights == weights
    scratch = save(tmp_path, short("--arch", before, "--use_pretrained", "false").settings())
    assert parse_args(["--config", scratch, "--arch", after]).weights == "none"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing"),
        (b"", "config.json"),
        (b"{", "config.json"),
        (b"\xff\xfe{", "config.json"),
        (b"[" * 100_000, "config.json"),
        (b"[1, 2]", "config.json"),
        (b'{"lrr": 1}', "'lrr', did you mean lr?"),
        (b'{"resume": true}', "'resume'"),
        (b'{"lr": -1}', "--lr: -1 must be a number > 0"),
        (b'{"lr": null}', "--lr: 'None' is not a number"),
        (b'{"lr": [1]}', "--lr: [1] is not one value"),
        (b'{"lr": {}}', "--lr: '{}' is not a number"),
        (b'{"mod_scheme": "ASL", "gammas": "0;4"}', "--gammas: '0;4' is not a number"),
        (b'{"final_rate": 1}', "'final_rate'"),
        (b'{"mod_scheme": "LL-X"}', "--mod_scheme: 'LL-X' is none of"),
    ],
)
def test_a_bad_saved_run_costs_one_line(tmp_path, content, words):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        parse_args(["--config", str(path)])
    message = str(caught.value)
    assert message.startswith("--config")
    assert words in message
    assert len(message.splitlines()) == 1


def test_a_flag_that_no_record_holds_is_not_meant_by_its_own_name(tmp_path):
    (tmp_path / "config.json").write_text('{"check_images": 1}')
    with pytest.raises(UserError, match=r"there is no setting 'check_images'$"):
        parse_args(["--config", str(tmp_path / "config.json")])


# Wrong command lines: what is said of them

WRONG = [
    ("--lrr 1", "--lrr, did you mean --lr?"),
    ("--mod-scheme LL-R", "--mod-scheme, did you mean --mod_scheme?"),
    ("--frobnicate", "unknown flag --frobnicate"),
    ("--deltarel=0.2", "--deltarel, did you mean --delta_rel?"),
    ("0.5", "unexpected argument '0.5'"),
    ("--seed 1 2", "unexpected argument '2'"),
    (
        "--mod_scheme ll-r",
        "--mod_scheme: 'll-r' is none of AN, IU, WAN, LSAN, EPR, ROLE, EM, EM+APL, ASL, CSL, "
        "LL-R, LL-Ct, LL-Cp, did you mean LL-R",
    ),
    ("--mod_scheme", "--mod_scheme: expected one argument"),
    ("--dataset pascall", "--dataset: 'pascall' is neither one of digits, pascal"),
    ("--dataset voc", "--dataset: 'voc'"),
    ("--optimizer adamw", "--optimizer: 'adamw' is none of adam, sgd, did you mean adam?"),
    ("--arch resnet/50", "--arch: 'resnet/50' must be the name of a network"),
    ("--lr 0", "--lr: 0 must be a number > 0"),
    ("--lr -1e-5", "--lr"),
    ("--lr=-1e-5", "--lr: -1e-5 must be a number > 0"),
    ("--lr nan", "--lr: nan must be a number"),
    ("--lr inf", "--lr: inf must be a number"),
    ("--lr 1,5", "--lr: '1,5' is not a number"),
    ("--lr_mult 0", "--lr_mult: 0 must be a number > 0"),
    ("--delta_rel -0.1", "--delta_rel: -0.1 must be a number >= 0 and <= 100"),
    ("--delta_rel 101", "--delta_rel: 101 must be"),
    ("--delta_rel 0.2%", "--delta_rel: '0.2%' is not a number"),
    ("--rate_base some", "--rate_base: 'some' is none of unobserved, all"),
    ("--val_frac 0", "--val_frac: 0 must be a number > 0 and < 1"),
    ("--val_frac 1", "--val_frac: 1 must be"),
    ("--ss_frac_train 1.01", "--ss_frac_train: 1.01 must be a number > 0 and <= 1"),
    ("--ss_frac_val 0", "--ss_frac_val: 0 must be"),
    ("--bsize 0", "--bsize: 0 must be a whole number >= 1"),
    ("--bsize 1.5", "--bsize: '1.5' is not a whole number"),
    ("--num_epochs ten", "--num_epochs: 'ten' is not a whole number"),
    ("--num_workers -1", "--num_workers: -1 must be a whole number >= 0"),
    ("--seed -1", "--seed: -1 must be a whole number >= 0"),
    ("--seed 4294967296", "--seed: 4294967296 must be"),
    (f"--seed {'9' * 400}", "--seed"),
    ("--image_size 7", "--image_size: 7 must be a whole number >= 8"),
    ("--momentum 1", "--momentum: 1 must be"),
    ("--weight_decay -1", "--weight_decay: -1 must be"),
    ("--early_stop_drop 0", "--early_stop_drop: 0 must be"),
    ("--use_feats maybe", "--use_feats: 'maybe' is neither true nor false"),
    ("--flip 2", "--flip: '2' is neither true nor false"),
    ("--train_set_variant full", "--train_set_variant: 'full' is none of observed, clean"),
    ("--device gpu", "--device: 'gpu' is none of auto, cpu, cuda"),
    ("--amp fp8", "--amp: 'fp8' is none of"),
    ("--exp_name a/b", "--exp_name: 'a/b' must be one folder name"),
    ("--exp_name ..", "--exp_name: '..' must be one folder name"),
    ("--resume --overwrite", "--resume and --overwrite contradict each other"),
    ("--weights none --use_pretrained", "--weights none contradicts --use_pretrained true"),
    ("--weights w.pt --use_pretrained false", "--weights"),
    ("--arch resnet8", "--use_pretrained: no weights are published for resnet8"),
    ("--config nowhere.json", "--config"),
    ("--mod_scheme EM+AP", "did you mean EM+APL"),
    ("--final_rate 1.8 --delta_rel 0.2", "--final_rate contradicts --delta_rel: drop one of them"),
    ("--final_rate 101", "--final_rate: 101 must be a number >= 0 and <= 100"),
    ("--final_rate -1", "--final_rate: -1 must be"),
    ("--final_rate 1 --num_epochs 1", "--final_rate: nothing is modified in the first of 1 epochs"),
    (
        "--final_rate 1 --num_epochs 0 --linear_init 1",
        "--final_rate: nothing is modified in the first of 1 epochs: give --linear_init 2 or more",
    ),
    (
        "--mod_scheme ASL --final_rate 1",
        "--final_rate: ASL has no such option, only LL-R, LL-Ct, LL-Cp: drop it",
    ),
    ("--ls_coef 0.1", "--ls_coef: LL-R has no such option, only LSAN: drop it"),
    ("--mod_scheme LSAN --ls_coef 0.6", "--ls_coef: 0.6 must be a number >= 0 and <= 0.5"),
    ("--mod_scheme EPR --expected_positives 0", "--expected_positives: 0 must be a number > 0"),
    ("--mod_scheme EM --em_alpha 0", "--em_alpha: 0 must be a number > 0"),
    ("--mod_scheme EM --apl_start 2", "--apl_start: EM has no such option, only EM+APL: drop it"),
    ("--mod_scheme EM+APL --apl_start 0", "--apl_start: 0 must be a whole number >= 1"),
    ("--mod_scheme EM+APL --apl_beta -1", "--apl_beta: -1 must be a number >= 0"),
    ("--mod_scheme ASL --gammas 0;4", "--gammas: '0;4' is not a number"),
    ("--mod_scheme ASL --gammas 0,", "--gammas: '' is not a number"),
    ("--mod_scheme ASL --gammas=-1,4", "--gammas: -1 must be a number >= 0 and <= 100"),
    ("--mod_scheme ASL --gammas nan,4", "--gammas: nan must be a number"),
    ("--mod_scheme ASL --gammas 0,1,2", "--gammas 0,1,2: ASL needs 2 numbers, as in 0,4"),
    ("--mod_scheme ASL --gammas 4", "--gammas 4: ASL needs 2 numbers"),
    ("--mod_scheme CSL --gammas 0,4", "--gammas 0,4: CSL needs 3 numbers, as in 0,1,2"),
    ("--mod_scheme ASL --clip 1", "--clip: 1 must be a number >= 0 and < 1"),
    ("--mod_scheme CSL --mode drop", "--mode: 'drop' is none of selective, ignore, negative"),
    ("--mod_scheme CSL --topk -1", "--topk: -1 must be a whole number >= 0"),
    ("--mod_scheme CSL --prior_threshold 2", "--prior_threshold: 2 must be a number >= 0 and <= 1"),
    ("--mod_scheme ASL --prior p.csv", "--prior: ASL has no such option, only CSL: drop it"),
    ("--boostlu 0.5", "--boostlu: 0.5 must be a number >= 1"),
    ("--boostlu 5 --use_feats", "--boostlu 5 needs the maps that a linear phase averages"),
    ("--boostlu 5 --num_epochs 0 --linear_init 3", "--boostlu 5 needs the maps"),
    ("--num_epochs 0", "--num_epochs 0 trains nothing: give 1 or more, or --linear_init EPOCHS"),
    ("--linear_init -1", "--linear_init: -1 must be a whole number >= 0"),
    ("--linear_init 3 --use_feats", "--use_feats is a linear phase alone"),
    ("--linear_lr 0.1", "--linear_lr is of the linear phase: give --linear_init EPOCHS too"),
    ("--linear_bsize 8", "--linear_bsize is of the linear phase"),
    ("--linear_scheme AN", "--linear_scheme is of the linear phase"),
    ("--linear_init 0 --linear_lr 0.1", "--linear_lr is of the linear phase"),
    ("--linear_init 3 --linear_scheme EM", "--linear_scheme: 'EM' is none of same, AN"),
    (
        "--num_epochs 0 --linear_init 3 --linear_scheme AN",
        "--linear_scheme AN",
    ),
    ("--linear_init 3 --linear_lr 0", "--linear_lr: 0 must be a number > 0"),
    ("--linear_init 3 --linear_bsize 0", "--linear_bsize: 0 must be a whole number >= 1"),
    ("--fpc 5", "--fpc: only digits is drawn while it is composed"),
    ("--rps 0.5", "--rps: only digits is drawn while it is composed"),
    ("--dataset digits --fpc 5 --rps 0.5", "--fpc and --rps contradict each other"),
    ("--dataset digits --fpc 0", "--fpc: 0 must be a whole number >= 1"),
    ("--dataset digits --rps 1", "--rps: 1 must be a number > 0 and < 1"),
]


@pytest.mark.parametrize(("flags", "words"), WRONG, ids=[flags[:40] for flags, _ in WRONG])
def test_a_wrong_command_line_costs_one_line_that_names_the_flag(capsys, flags, words):
    assert cli.run(lambda argv: print(short(*argv)), flags.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert words in printed.err


def test_an_empty_folder_name_is_refused():
    with pytest.raises(UserError, match="--exp_name: '' must be one folder name"):
        short("--exp_name", "")


def test_help_names_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as done:
        parse_args(["--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name} " in shown for name in FLAGS)
    assert "> 0 and < 1; default: 0.2" in " ".join(shown.split())
