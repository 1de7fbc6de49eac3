"""Settings: the authors' recipes and flags, what a wrong command line costs, names of runs."""

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
from config import FLAGS, parse_args

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


def test_a_folder_takes_the_recipe_of_coco(tmp_path):
    for scheme in ("LL-R", "LL-Ct", "LL-Cp", "AN"):
        mine, coco = (
            parse_args(["--dataset", dataset, "--mod_scheme", scheme]).settings()
            for dataset in (str(tmp_path), "coco")
        )
        assert {name for name in coco if mine[name] != coco[name]} == {"dataset", "exp_name"}


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
    assert capsys.readouterr().err == "note: AN selects no labels: --delta_rel 0.5 is not used\n"


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


# Names of runs: every flag is changed in turn

NEW = {
    "dataset": "coco",
    "data_root": "elsewhere",
    "weights": "IMAGENET1K_V2",
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


CHANGEABLE = [name for name in FLAGS if name not in ("exp_name", "config")]
VARIANTS = {
    name: short(f"--{name}", str(another(name, getattr(short(), name)))) for name in CHANGEABLE
}


def test_every_change_of_a_flag_is_one():
    for name, variant in VARIANTS.items():
        assert getattr(variant, name) != getattr(short(), name), name


def test_runs_share_a_name_only_if_they_do_the_same():
    matter = [name for name in CHANGEABLE if FLAGS[name].metadata["names_run"]]
    names = [short().exp_name, *(VARIANTS[name].exp_name for name in matter)]
    assert len(matter) > 25
    assert len(set(names)) == len(names)


def test_settings_that_change_no_result_leave_the_name_alone():
    same = [name for name in CHANGEABLE if not FLAGS[name].metadata["names_run"]]
    assert {"num_workers", "device", "save_path", "resume", "tensorboard", "cache"} <= set(same)
    assert {VARIANTS[name].exp_name for name in same} == {short().exp_name}


def test_names_are_those_of_the_design():
    assert short().exp_name == "pascal_LL-R_0.2_sgd_0.005_seed0"
    assert short("--bsize", "8", "--seed", "4").exp_name.startswith(
        "pascal_LL-R_0.2_sgd_0.005_seed4_"
    )


def test_a_name_stays_short_and_unlike_others_whatever_differs():
    left_out = ("overwrite", "use_pretrained")  # they contradict --resume and --weights
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


@pytest.mark.parametrize("name", CHANGEABLE)
def test_the_shortest_command_gives_the_same_run(name):
    first = VARIANTS[name]
    python, script, *argv = shlex.split(config.command(first))
    assert (python, script) == ("python", "main.py")
    second = parse_args(argv)
    matters = [n for n, flag in FLAGS.items() if flag.metadata["names_run"]]
    assert {n: getattr(second, n) for n in matters} == {n: getattr(first, n) for n in matters}
    assert second.exp_name == first.exp_name


@pytest.mark.parametrize("name", [n for n in CHANGEABLE if FLAGS[n].metadata["names_run"]])
def test_the_table_marks_what_differs_from_the_recipe(name):
    lines = config.describe(VARIANTS[name]).splitlines()
    shown = {line[4:].split()[0]: line[2] for line in lines if line.startswith("  ")}
    assert shown.keys() == short().settings().keys()
    assert name in ("dataset", "mod_scheme") or shown[name] == "*"
    assert not re.search(r"^  \*", config.describe(short()), re.MULTILINE)


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
        (b'{"lr": [1]}', "--lr: '[1]' is not a number"),
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
        "--mod_scheme: 'll-r' is none of AN, LL-R, LL-Ct, LL-Cp, did you mean LL-R",
    ),
    ("--mod_scheme", "--mod_scheme: expected one argument"),
    ("--dataset pascall", "--dataset: 'pascall' is neither one of digits, pascal"),
    ("--dataset voc", "--dataset: 'voc'"),
    ("--optimizer adamw", "--optimizer: 'adamw' is none of adam, sgd, did you mean adam?"),
    ("--arch vgg16", "--arch: 'vgg16' is none of"),
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
