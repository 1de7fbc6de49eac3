"""Figures of finished runs: what they show, by hand-computed numbers, and that every kind draws."""

import dataclasses
import functools
import json

import numpy as np
import pytest

import cli
from cli import UserError
from config import parse_args
from data import digits
from datasets import load_data
from recipes import SCHEMES
from tests.records import epochs, write_history, write_run
from tests.tiny import make_folder, train
from tools import figure_corrections, figure_parts, figure_settings, figures, histories, looks
from tools.explained import Maps, Pointing, write_maps, write_pointing
from tools.figure_parts import series_of
from tools.finished import read_runs

FULL = {"mod_scheme": "AN", "train_set_variant": "clean"}
EPOCHS = 4
SHARES = (0.01, 0.02)  # of 2,400 training images
METHODS = (
    {"mod_scheme": "AN"},
    {"mod_scheme": "LL-R", "delta_rel": 1.0},
    {"mod_scheme": "LL-R", "delta_rel": 2.0},
    {"mod_scheme": "LL-Ct", "delta_rel": 2.0},
    {"mod_scheme": "LL-Cp", "delta_rel": 1.0},
    FULL,
)
KEPT = ("single_labels", "highest_loss", "selection_by_class", "corrections")  # need a history


def draw(kind, *folders, out):
    """The exit status of the tool."""
    return cli.run(figures.main, [kind, *map(str, folders), "--out", str(out)])


def refused(kind, *folders, capsys, out):
    """What the tool says on stderr where it draws nothing: one line."""
    capsys.readouterr()
    assert draw(kind, *folders, out=out) == 2
    assert not list(out.parent.glob(f"{out.name}*"))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


# what is told of single labels

TRUTH = np.array([[1, 1, -1], [-1, 0, 1]])
HUMAN = np.array([[1, 0, 0], [-1, 0, 0]])


def test_the_kinds_of_labels():
    found = {kind: labels.tolist() for kind, labels in histories.kinds(TRUTH, HUMAN).items()}
    assert found == {
        "tp": [[True, False, False], [False, False, False]],
        "tn": [[False, False, True], [True, False, False]],
        "fn": [[False, True, False], [False, False, True]],
    }


def test_the_epoch_of_the_highest_loss_is_the_first_of_equal_ones():
    loss = np.array([[[1.0, 3.0]], [[2.0, 3.0]], [[2.0, 1.0]]])
    assert histories.highest_loss_epoch(loss).tolist() == [[2, 1]]


def test_shares_by_epoch_are_of_the_labels_asked_for():
    loss = np.array([[[5, 0, 1, 9]], [[1, 7, 2, 0]]])  # highest in epochs 1, 2, 2, 1
    labels = np.array([[True, True, True, False]])
    assert histories.shares_by_epoch(loss, labels) == pytest.approx([100 / 3, 200 / 3])
    none = np.zeros_like(labels)
    assert np.isnan(histories.shares_by_epoch(loss, none)).all()


def test_selection_by_class_leaves_out_what_is_unknown():
    selected = np.array([[[0, 1, 1], [0, 1, 0]], [[0, 0, 0], [0, 0, 1]]], bool)
    precision, recall = histories.selection_by_class(selected, TRUTH, HUMAN)
    nan = np.nan
    assert np.array_equal(precision, [[nan, 1, 0], [nan, nan, 1]], equal_nan=True)
    assert np.array_equal(recall, [[nan, 1, 0], [nan, 0, 1]], equal_nan=True)


def test_what_was_corrected_stays_so():
    selected = np.array([[[0, 0]], [[1, 0]], [[0, 1]]], bool)
    assert histories.so_far(selected).tolist() == [[[False, False]], [[True, False]], [[True] * 2]]


def test_good_and_bad_cases_are_chosen_by_the_rule():
    truth = np.array([[1, 1, -1], [1, -1, -1], [1, 1, -1], [1, 0, -1], [1, 1, 1]])
    last = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0]], bool)
    good, bad = figure_corrections.choose_cases(last, truth, 3)
    assert good.tolist() == [0, 4]  # of image 3 it is unknown whether all are right
    assert bad.tolist() == [1, 2]
    ties, none = figure_corrections.choose_cases(last[[4, 4]], truth[[4, 4]], 1)
    assert (ties.tolist(), none.tolist()) == ([0], [])


def test_labels_of_an_image_are_given_ones_then_true_ones_then_wrong_ones():
    given, truth = np.array([0, 1, 0, 0, 0]), np.array([-1, 1, 1, -1, -1])
    corrected = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 1, 0]], bool)
    chosen = functools.partial(figure_corrections.labels_to_show, given, corrected, truth)
    assert chosen(9).tolist() == [1, 2, 0, 3]
    assert chosen(3).tolist() == [1, 0, 3]  # 2 is neither given nor corrected in the end


HOSTILE = ["$x_{", "a\nb\x1b[31m", "\u5bff\u53f8" * 9, "_" * 99]  # names of classes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The runs of a real training on a tiny folder that kept their labels, by scheme."""
    root = tmp_path_factory.mktemp("trained")
    folder = make_folder(root)
    (folder / "dataset.json").write_text(json.dumps({"classes": HOSTILE}))
    for scheme in ("AN", "LL-Ct", "LL-Cp"):
        train(folder, root / "runs", "--mod_scheme", scheme, "--audit", "labels",
              "--exp_name", scheme, "--delta_rel", "0" if scheme == "AN" else "10")  # fmt: skip
    return {run.config.mod_scheme: run for run in read_runs(root / "runs")}


@pytest.mark.parametrize("scheme", ["AN", "LL-Ct", "LL-Cp"])
def test_a_history_says_the_same_as_the_metrics_of_its_run(trained, scheme):
    run = trained[scheme]
    history, truth, human, _ = histories.read_run_history(run)
    column = functools.partial(figure_parts.by_epoch, [run])
    for kind, labels in histories.kinds(truth, human).items():
        mean = history.loss[:, labels].mean(axis=1)
        assert mean == pytest.approx(column(f"loss_{kind}")[0], rel=1e-3)
    if scheme == "AN":
        assert history.selected is None
        return
    selected, truth, human = (  # all classes as one
        labels.reshape(*labels.shape[:-2], -1, 1) for labels in (history.selected, truth, human)
    )
    precision, recall = histories.selection_by_class(selected, truth, human)
    if scheme == "LL-Cp":
        _, recall = histories.selection_by_class(histories.so_far(selected), truth, human)
    assert precision.T == pytest.approx(column("selected_precision"), rel=1e-5, nan_ok=True)
    assert recall.T == pytest.approx(column("selected_recall"), rel=1e-5)


def test_a_history_of_other_data_is_refused(trained):
    run = trained["AN"]
    other = run._replace(data={**run.data, "train truth": "ab" * 8})
    with pytest.raises(UserError, match=r"^train truth are not those that .*--data_root"):
        histories.read_run_history(other)
    lost = run._replace(config=dataclasses.replace(run.config, dataset="./nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        histories.read_run_history(lost)


def test_a_history_that_lacks_an_epoch_or_is_of_other_labels_is_refused(trained, tmp_path):
    run = trained["AN"]
    copy = run._replace(
        config=dataclasses.replace(run.config, save_path=str(tmp_path), exp_name="x")
    )
    rows = epochs(val_map=[50.0, 60.0, 70.0])
    write_run(tmp_path / "x", metrics=rows)
    write_history(tmp_path / "x", np.zeros((2, 24, 4)))
    with pytest.raises(UserError, match=r"finetune_003\.npz is missing"):
        histories.read_run_history(copy)
    write_history(tmp_path / "x", np.zeros((3, 24, 5)))
    with pytest.raises(UserError, match="is of another run"):
        histories.read_run_history(copy)


def test_a_run_that_kept_nothing_is_told_to(tmp_path, capsys):
    for scheme in ("AN", "LL-Ct"):
        write_run(tmp_path / "runs" / scheme, mod_scheme=scheme)
    for kind in KEPT:
        error = refused(kind, tmp_path / "runs", capsys=capsys, out=tmp_path / "x")
        assert "train it with --audit labels" in error


@pytest.mark.parametrize(
    ("kind", "scheme", "says"),
    [
        ("single_labels", "LL-R", "--mod_scheme AN --audit labels"),
        ("highest_loss", "LL-R", "--mod_scheme AN --audit labels"),
        ("selection", "AN", "select no labels"),
        ("selection_by_class", "AN", "select no labels"),
        ("corrections", "LL-R", "--mod_scheme LL-Ct --audit labels"),
    ],
)
def test_runs_of_other_schemes_are_told_which_to_train(tmp_path, capsys, kind, scheme, says):
    rows = epochs(val_map=[50.0], selected_precision=[None])
    write_run(tmp_path / "runs" / "run", mod_scheme=scheme, metrics=rows)
    assert says in refused(kind, tmp_path / "runs", capsys=capsys, out=tmp_path / "x")


# every kind, from made records


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder of made runs for each of SHARES: every method, two seeds, labels kept of all."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digits, "compose", functools.cache(digits.compose))
        root = tmp_path_factory.mktemp("study")
        for share in SHARES:
            write_study(root / str(share), share)
        yield root


def write_study(folder, share):
    settings = ["--dataset", "digits", "--ss_frac_train", str(share)]
    data = load_data(parse_args(settings))
    truth, human = data.train.truth, data.train.observed
    for place, method in enumerate(METHODS):
        for seed in (1, 2):
            run_dir = folder / f"{place}_{seed}"
            rng = np.random.default_rng([place, seed])
            loss = rng.gamma(1, np.where(truth == 1, 2, 0.5), (EPOCHS, *truth.shape))
            selected = (human == 0) & (loss > 2.5)
            selected[0] = False
            selects = method["mod_scheme"] != "AN"
            rows = made_rows(rng, EPOCHS, selects)
            write_run(run_dir, seed, data.drawn, data.fingerprint(), "clean", rows,
                      ss_frac_train=share, test_map_last=88.0 + seed, val_map=90.0 + seed,
                      num_epochs=EPOCHS, best_epoch=2, **method)  # fmt: skip
            if method is not FULL:
                write_history(run_dir, loss, selected if selects else None)
            explain(run_dir, data)


def made_rows(rng, count, selects):
    rising = np.linspace(40, 80, count) + rng.normal(0, 3, count)
    none = [None] * count
    shares = [None, *rng.uniform(0.5, 0.9, count - 1)]
    return epochs(
        val_map=rising, loss_tp=rising / 50, loss_tn=rising / 90, loss_fn=rising / 70,
        selected_precision=shares if selects else none,
        selected_recall=[0.0, *shares[1:]] if selects else none,
    )  # fmt: skip


def explain(run_dir, data):
    games = {name: (3 + place, 20) for place, name in enumerate(data.classes)}
    write_pointing(run_dir, Pointing("test", 2, len(data.test), games))
    columns = np.array([np.flatnonzero(row == 1)[0] for row in data.test.truth[:2]])
    maps = np.arange(2 * 9, dtype=float).reshape(2, 3, 3)
    write_maps(run_dir, Maps(
        "test", 2, "by hand", tuple(data.test.names[:2].tolist()), np.array([0, 1]), columns,
        tuple(data.classes[column] for column in columns), maps, np.array([8, 8]),
    ))  # fmt: skip


def folders_for(kind, study):
    return [study / str(share) for share in (SHARES if kind == "train_share" else SHARES[1:])]


OURS = [kind for kind in figures.KINDS if kind not in ("maps", "pointing")]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn; they are kept too."""
    kept, save = [], looks.save
    monkeypatch.setattr(
        looks, "save", lambda figure, *where: kept.append(figure) or save(figure, *where)
    )
    return kept


@pytest.fixture
def shown(monkeypatch):
    """The same, but they are not kept, which takes most of the time."""
    figures = []
    monkeypatch.setattr(looks, "save", lambda figure, *where: figures.append(figure))
    return figures


@pytest.mark.parametrize("kind", figures.KINDS)
def test_every_kind_is_drawn_readable_and_the_same_every_time(kind, study, drawn, tmp_path, capsys):
    pictures = []
    for name in ("a", "b"):
        assert draw(kind, *folders_for(kind, study), out=tmp_path / name / "x") == 0
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["x.pdf", "x.png"]
        pictures.append([(tmp_path / name / f"x.{end}").read_bytes() for end in ("png", "pdf")])
    assert pictures[0] == pictures[1]
    png, pdf = pictures[0]
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / 'b' / 'x'}.png and .pdf\n")
    if kind in OURS:
        assert_readable(drawn[0])


def texts(figure):
    """Every text that is seen in a figure, with its place in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    found = [*figure.texts, *(text for key in figure.legends for text in key.get_texts())]
    for axes in figure.axes:
        if axes.get_visible():
            found += axes.texts
        if axes.get_visible() and axes.axison:
            found += [axes.title, axes.xaxis.label, axes.yaxis.label, *ticks(axes, renderer)]
    seen = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in seen]


def ticks(axes, renderer):
    """The labels of the ticks that lie within the panel; the others are not drawn."""
    frame = axes.get_window_extent(renderer)
    for axis, side in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        low, high = getattr(frame, f"{side}0"), getattr(frame, f"{side}1")
        for label in axis.get_ticklabels():
            box = label.get_window_extent(renderer)
            middle = (getattr(box, f"{side}0") + getattr(box, f"{side}1")) / 2
            if low - 1 <= middle <= high + 1:
                yield label


def assert_readable(figure):
    """No text sticks out of the figure, or covers another one."""
    found = texts(figure)
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in found:
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for place, (text, box) in enumerate(found):
        for other, its in found[:place]:
            across = min(box.x1, its.x1) - max(box.x0, its.x0)
            down = min(box.y1, its.y1) - max(box.y0, its.y0)
            assert min(across, down) < 2, f"{text!r} and {other!r}"


@pytest.mark.parametrize("kind", ["memorization", "selection", "best_last", "delta_rel"])
def test_all_methods_at_once_can_be_read(kind, shown, tmp_path):
    """Each with one seed; the legend lies outside of the panels."""
    methods = [{"mod_scheme": name} for name in SCHEMES]
    methods += [{"mod_scheme": name, "boostlu": 5.0} for name in SCHEMES][:5]
    methods += [FULL, {"delta_rel": 9.0}, {"mod_scheme": "AN", "lr": 0.5}]
    for place, method in enumerate(methods):
        rows = made_rows(np.random.default_rng(place), 5, selects=place % 2)
        write_run(tmp_path / "runs" / str(place), 1, metrics=rows, **method)
    assert draw(kind, tmp_path / "runs", out=tmp_path / "x") == 0
    (figure,) = shown
    assert_readable(figure)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)


@pytest.mark.parametrize("kind", ["memorization", "selection", "best_last"])
def test_lines_end_with_the_seed_that_stopped_first(kind, shown, tmp_path):
    rows = made_rows(np.random.default_rng(0), 6, selects=True)
    write_run(tmp_path / "runs" / "a", 1, metrics=rows)
    write_run(tmp_path / "runs" / "b", 2, metrics=rows[:3])
    assert draw(kind, tmp_path / "runs", out=tmp_path / "x") == 0
    (figure,) = shown
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert "seed that stopped" in " ".join(text for text, _ in texts(figure))


def test_where_no_truth_is_known_the_observed_labels_are_shown(shown, tmp_path, capsys):
    """And panels of which nothing is known are left out."""
    unknown = epochs(val_map=[None] * 2, val_map_observed=[20.0, 30.0])
    for scheme in ("AN", "LL-R"):
        write_run(tmp_path / "runs" / scheme, 1, metrics=unknown, test_labels="observed",
                  val_set_variant="observed", mod_scheme=scheme)  # fmt: skip
    for kind, warnings in (("memorization", 2), ("best_last", 0)):
        assert draw(kind, tmp_path / "runs", out=tmp_path / "x") == 0
        axes = shown[-1].axes[0]
        assert axes.lines[0].get_ydata().tolist() == [20, 30]
        assert "observed labels" in axes.get_ylabel()
        assert capsys.readouterr().err.count("left out") == warnings
    error = refused("selection", tmp_path / "runs", capsys=capsys, out=tmp_path / "y")
    assert "their truth is unknown" in error


@pytest.mark.filterwarnings("ignore:Glyph")  # where no font has them, a box is drawn
@pytest.mark.parametrize("kind", KEPT)
def test_hostile_names_are_shown_in_one_short_line(kind, trained, drawn, tmp_path):
    (folder,) = {run.config.run_dir.parent for run in trained.values()}
    assert draw(kind, folder, out=tmp_path / "x") == 0
    assert_readable(drawn[0])
    found = [text for text, _ in texts(drawn[0])]
    assert not any("\x1b" in text or len(text.splitlines()[0]) > 150 for text in found)
    if kind in ("selection_by_class", "corrections"):
        assert any(text.startswith("$x_{") for text in found)
        assert any(text.startswith(r"a\nb\x1b") for text in found)


def test_a_colour_means_one_thing_in_the_figure_of_memorization(study, shown, tmp_path):
    """Kinds of labels, all of which are shown, look like no method."""
    assert draw("memorization", study / str(SHARES[0]), out=tmp_path / "x") == 0
    maps, losses, selected = (
        {line.get_color() for line in axes.lines if len(line.get_xdata())} for axes in shown[0].axes
    )
    assert losses == {kind.color for kind in looks.KINDS.values()}
    assert selected < maps
    assert not maps & losses
    methods = [looks.look(name).color for name in (*SCHEMES, "full labels")]
    assert not {*methods} & losses
    assert len({kind.linestyle for kind in looks.KINDS.values()}) == 3


@pytest.mark.parametrize("kind", ["memorization", "selection", "best_last"])
def test_a_run_whose_epochs_are_damaged_is_left_out_with_a_word(kind, shown, tmp_path, capsys):
    rows = made_rows(np.random.default_rng(0), 6, selects=True)
    for seed in (1, 2):
        write_run(tmp_path / "runs" / str(seed), seed, metrics=rows)
    path = tmp_path / "runs" / "2" / "metrics.csv"
    path.write_text(path.read_text()[:-30])
    assert draw(kind, tmp_path / "runs", out=tmp_path / "x") == 0
    error = capsys.readouterr().err
    assert f"{tmp_path}/runs/2 is damaged ({path} is not what a run writes): left out" in error
    assert error.count("2 is damaged") == 1
    assert "One seed" in " ".join(text for text, _ in texts(shown[0]))


# series, choices, refusals


def test_series_of_one_method_say_how_they_differ(tmp_path):
    for lr in (0.1, 0.2):
        for seed in (1, 2):
            write_run(tmp_path / f"{lr}_{seed}", seed, mod_scheme="AN", lr=lr)
    write_run(tmp_path / "ll", boostlu=5.0)
    series = series_of(read_runs(tmp_path))
    assert [one.name for one in series] == ["AN, lr 0.1", "AN, lr 0.2", "BoostLU + LL-R"]
    assert [len(one.runs) for one in series] == [2, 2, 1]
    assert {one.look.color for one in series[:2]} == {looks.look("AN").color}
    assert series[0].look.linestyle != series[1].look.linestyle


def test_a_value_of_delta_rel_is_chosen_by_val_alone(tmp_path):
    """Test is best at 3; val is best at 1 and 2 alike, of which the first counts."""
    for delta, val, test in ((1.0, 80.0, 10.0), (2.0, 80.0, 50.0), (3.0, 70.0, 90.0)):
        for seed in (1, 2):
            write_run(tmp_path / f"{delta}_{seed}", seed, delta_rel=delta, val_map=val + seed,
                      test_map=test)  # fmt: skip
    (series,) = series_of(read_runs(tmp_path), "delta_rel")
    points = figure_settings.points_of(series, "delta_rel")
    assert [point.x for point in points] == [1, 2, 3]
    assert points[0].values() == [81, 82]
    assert figure_settings.chosen_of(points).x == 1


def test_the_numbers_of_the_sweep_stand_in_the_figure(tmp_path, shown, capsys):
    for delta, val, test in ((1.0, 80.0, 33.0), (2.0, 81.0, 44.0)):
        write_run(tmp_path / f"{delta}", delta_rel=delta, val_map=val, test_map=test)
    write_run(tmp_path / "boosted", boostlu=5.0)
    write_run(tmp_path / "an", mod_scheme="AN", test_map=22.0)
    assert draw("delta_rel", tmp_path, out=tmp_path / "x") == 0
    found = [text for text, _ in texts(shown[0])]
    assert "LL-R\nval chooses 2: test 44.0 %" in found
    assert "AN\n22.0" in found
    assert "BoostLU + LL-R has no other value of delta_rel: left out" in capsys.readouterr().err


def test_the_share_of_highest_losses_in_epoch_1(study):
    """Against the definition, label by label."""
    runs = read_runs(study / str(SHARES[0]))
    firsts = []
    for run in histories.assume_negative(runs):
        history, truth, human, _ = histories.read_run_history(run)
        missing = np.argwhere((truth == 1) & (human == 0))
        first = [max(range(EPOCHS), key=lambda t: history.loss[t, i, k]) == 0 for i, k in missing]
        firsts.append(100 * np.mean(first))
    found = histories.highest_loss_shares(runs)["fn"]
    assert found.seeds == 2
    assert found.first == pytest.approx(np.mean(firsts))
    assert found.first_std == pytest.approx(np.std(firsts, ddof=1))
    assert found.first + found.later == pytest.approx(100)


def test_seeds_without_a_history_are_left_out_of_the_figure(study, tmp_path):
    runs = read_runs(study / str(SHARES[0]))
    an = histories.assume_negative(runs)
    moved = dataclasses.replace(an[0].config, save_path=str(tmp_path))
    lost = [run for run in runs if run is not an[0]] + [an[0]._replace(config=moved)]
    found = histories.highest_loss_shares(lost)["tp"]
    assert (found.seeds, found.first_std) == (1, None)


def test_a_figure_is_of_one_data_set_and_one_draw(tmp_path, capsys):
    write_run(tmp_path / "runs" / "a", 1)
    write_run(tmp_path / "runs" / "b", 2)
    drawn = {"fpc": 3, "seed": 1}
    write_run(tmp_path / "runs" / "c", 1, drawn, {"train observed": "ab" * 8}, **FULL)
    assert draw("best_last", tmp_path / "runs", out=tmp_path / "figure") == 0
    for name, changed in {
        "train observed": {"data": {"train observed": "ab" * 8}},
        "test truth": {"data": {"test truth": "ab" * 8}},
        "data set": {"dataset": "x/mine"},
        "what is recorded of the data": {"data": False},
    }.items():
        write_run(tmp_path / name / "run", 3, **changed)
        for kind in OURS:
            both = (tmp_path / "runs", tmp_path / name)
            error = refused(kind, *both, capsys=capsys, out=tmp_path / "x")
            assert f"differ in {name}: a figure is of one data set" in error


def test_shares_of_the_training_images_are_of_one_test(tmp_path, capsys):
    write_run(tmp_path / "a" / "run", test_map=90.0)
    part = {"train images": "cd" * 8, "train truth": "cd" * 8, "train observed": "cd" * 8}
    write_run(tmp_path / "b" / "run", ss_frac_train=0.5, data=part, test_map=80.0)
    assert draw("train_share", tmp_path / "a", tmp_path / "b", out=tmp_path / "x") == 0
    for share, data, name in (
        (0.25, {**part, "val truth": "ab" * 8}, "val truth"),
        (0.5, {**part, "train observed": "ab" * 8}, "train observed"),
    ):
        write_run(tmp_path / name / "run", 2, ss_frac_train=share, data=data)
        folders = [tmp_path / folder for folder in ("a", "b", name)]
        error = refused("train_share", *folders, capsys=capsys, out=tmp_path / "y")
        assert f"differ in {name}" in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["memorisation", "runs"], "did you mean memorization?"),
        (["runs", "--out", "x"], "'runs' is none of memorization"),
        (["best_last"], "RESULTS"),
        (["best_last", "nowhere"], "there is no folder nowhere"),
        (["best_last", "runs", "--out", "runs"], "--out runs is a folder"),
        (["best_last", "runs", "--out", "new/"], "--out new/ is a folder"),
        (["best_last", "runs", "--out", ".."], "--out .. is a folder"),
        (["best_last", "runs", "--out", ""], "--out"),
        (["best_last", "runs", "--out", "x.jpg"], "--out x.jpg: figures are PNG and PDF"),
        (["best_last", "runs", "--out", "x.SVG"], "--out x.SVG: figures are PNG and PDF"),
        (["best_last", "runs", "--out", "a\0b"], "--out"),
        (["best_last", "runs", "--out", "file/x"], "cannot write file/x.png"),
        (["best_last", "runs", "--out", "x" * 400], "File name too long"),
        (["best_last", "runs", "--data_root", ""], "--data_root"),
        (["delta_rel", "runs"], "one delta_rel each"),
        (["train_share", "runs"], "one share of the training images"),
        (["maps", "runs"], "tools.explain"),
        (["pointing", "runs"], "tools.explain"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "run")
    (tmp_path / "file").write_text("")
    assert cli.run(figures.main, words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "runs"]


def test_a_summary_without_a_result_is_one_line(tmp_path, capsys):
    write_run(tmp_path / "runs" / "run", val_map=None)
    write_run(tmp_path / "runs" / "other", delta_rel=9.0)
    for kind in ("delta_rel", "train_share", "best_last"):
        if kind == "train_share":
            write_run(tmp_path / "runs" / "half", ss_frac_train=0.5, test_map=50.0)
        status = draw(kind, tmp_path / "runs", out=tmp_path / "x")
        assert status == (2 if kind == "delta_rel" else 0)
    assert "summary.json holds no val_map: run it again" in capsys.readouterr().err


def test_the_ending_may_be_given_and_the_usual_place_is_beside_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "run")
    for words in ([], ["--out", "a.png"], ["--out", "b.PDF"], ["--out", "c.1"]):
        assert cli.run(figures.main, ["best_last", "runs", *words]) == 0
    assert sorted(path.name for path in (tmp_path / "runs" / "figures").iterdir()) == [
        "best_last.pdf", "best_last.png"
    ]  # fmt: skip
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {f"{name}.{end}" for name in ("a", "b", "c.1") for end in ("png", "pdf")}
