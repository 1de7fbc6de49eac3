"""The report's page of real records: the sections that they allow, and no others."""

import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import cli
from config import parse_args
from datasets import load_data
from tests.records import epochs, write_history, write_run
from tests.tiny import make_folder
from tools import figures, report, report_site
from tools.explained import Pointing, write_pointing
from tools.finished import find_runs
from tools.report_tables import NOT_RUN

TABLES = ["Groups of classes", "Epoch of the highest loss", "Pointing game"]
DRAWN = ("highest_loss", "best_last")  # of the kinds, what these tests draw
EPOCHS = 3


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Records that allow every section: of labels, games, groups, and of runs without a result."""
    root = tmp_path_factory.mktemp("full")
    data = load_data(parse_args(["--dataset", str(make_folder(root))]))
    for scheme, delta in (("AN", 0.0), ("LL-R", 1.0), ("LL-R", 2.0)):
        for seed in (1, 2):
            folder = root / "runs" / f"{scheme}_{delta}_{seed}"
            rows = epochs(val_map=np.linspace(50, 60, EPOCHS) + delta + seed)
            more = {"test_map_groups": {"rare": 30.0, "usual": 70.0}} if scheme == "AN" else {}
            write_run(folder, seed, data.drawn, data.fingerprint(), metrics=rows, best_epoch=3,
                      dataset=str(root / "tiny"), mod_scheme=scheme, delta_rel=delta,
                      val_map=60 + delta + seed, **more)  # fmt: skip
            loss = np.random.default_rng(seed).gamma(1, 1, (EPOCHS, *data.train.truth.shape))
            write_history(folder, loss)
            write_pointing(folder, Pointing("test", 3, 10, {"class 0": (3, 4)}))
    (root / "runs" / "LL-R_1.0_2" / "summary.json").unlink()
    (root / "runs" / "runs.txt").write_text(f"--dataset {root / 'tiny'} --mod_scheme IU\n")
    return root / "runs"


@pytest.fixture(autouse=True)
def few_figures(monkeypatch):
    kinds = {name: kind for name, kind in figures.KINDS.items() if name in (*DRAWN, "train_share")}
    monkeypatch.setattr(figures, "KINDS", kinds)


def page_of(tmp_path, capsys, *words, status=0):
    """The page, and what is said on stderr."""
    capsys.readouterr()
    path = tmp_path / "page.html"
    assert cli.run(report.main, [*map(str, words), "--html", str(path)]) == status
    out, error = capsys.readouterr()
    assert out == (f"wrote {path}\n" if status == 0 else "")
    return path.read_text() if path.is_file() else "", error


def left_out(error):
    """What the notes on stderr say is not there; nothing else is said."""
    found = re.findall("^note: no (.+?): ", error, re.MULTILINE)
    assert len(found) == error.count("\n")
    return found


def sections(page):
    return [html.unescape(title) for title in re.findall(r"<h2[^>]*>(.*?)</h2>", page)]


def test_every_section_that_the_records_allow(full, tmp_path, capsys):
    page, error = page_of(tmp_path, capsys, full)
    assert sections(page) == [
        "Results", "Chosen by validation", "Runs without a full result", "Groups of classes",
        "Epoch of the highest loss", "Pointing game", "Figures", "Curves",
        "Runs and their commands",
    ]  # fmt: skip
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert [caption.partition(":")[0] for caption in captions] == ["highest loss", "best last"]
    assert left_out(error) == ["train_share"]
    assert "<title>Runs on " in page
    assert "5 finished runs, 2 without a result: 1 missing, 1 stopped" in page
    assert page.count(f"<td>{NOT_RUN}</td>") + page.count(f">{NOT_RUN}</td>") >= 3


def test_with_best_the_chosen_settings_are_the_results(full, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "KINDS", {})
    for words, count in (([], 2), (["--best"], 1)):
        page, _ = page_of(tmp_path, capsys, full, *words)
        assert ("Chosen by validation" in sections(page)) == (not words)
        results = page.partition('id="part-1"')[2].partition("</section>")[0]
        assert results.count(">LL-R<") == count


def test_the_same_records_give_the_same_page(full, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "KINDS", {"best_last": figures.KINDS["best_last"]})
    first, second = (page_of(tmp_path, capsys, full)[0] for _ in range(2))
    assert first == second
    assert first.count("<figcaption>") == 1


def test_no_section_that_they_do_not_allow(tmp_path, capsys):
    """And it is said which figures are left out, and why."""
    write_run(tmp_path / "runs" / "run", mod_scheme="IU")
    page, error = page_of(tmp_path, capsys, tmp_path / "runs")
    assert sections(page) == ["Results", "Figures", "Curves", "Runs and their commands"]
    assert left_out(error) == [*TABLES, "highest_loss", "train_share"]
    assert error.count("--mod_scheme AN --audit labels") == 2


def test_runs_that_have_not_begun_have_a_page_without_curves(tmp_path, capsys):
    (tmp_path / "runs.txt").write_text("--dataset digits --seed 1\n")
    page, error = page_of(tmp_path, capsys, tmp_path)
    assert sections(page) == ["Results", "Runs without a full result", "Runs and their commands"]
    assert "<title>Runs</title>" in page
    assert left_out(error) == TABLES


def test_figures_that_were_drawn_before_are_taken_from_their_folder(full, tmp_path, capsys):
    kept = io.BytesIO()
    Image.new("RGB", (70, 30)).save(kept, "PNG")
    for name in ("best_last.png", "train_share.png", "other.png"):
        (tmp_path / name).write_bytes(kept.getvalue())
    page, error = page_of(tmp_path, capsys, full, "--pictures", tmp_path)
    assert error == ""
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert [caption.partition(":")[0] for caption in captions] == ["train share", "best last"]
    assert page.count('<img width="70" height="30"') == 2


def test_a_folder_without_figures_is_one_line(full, tmp_path, capsys):
    page, error = page_of(tmp_path, capsys, full, "--pictures", tmp_path / "none", status=2)
    assert page == ""
    assert error == f"error: --pictures: {tmp_path}/none holds no figure of tools.figures\n"


def test_the_curves_are_those_of_metrics(full):
    found = {
        (run.method, run.setting, run.seed): run for run in report_site.curves(find_runs(full))
    }
    assert len(found) == 7
    best = next(run for key, run in found.items() if "delta_rel 2" in key[1] and key[2] == 2)
    assert best.columns["val_map"] == [54, 59, 64]
    assert (best.status, best.best_epoch, best.test_map) == ("finished", 3, 92.0)
    stopped = next(run for run in found.values() if run.status == "stopped")
    assert stopped.columns["val_map"] == [53, 58, 63]
    assert (stopped.best_epoch, stopped.test_map, stopped.why) == (None, None, "3 of 12 epochs")
    missing = next(run for run in found.values() if run.status == "missing")
    assert (missing.method, missing.columns) == ("IU", {})
    chosen = {key[:2] for key, run in found.items() if run.is_chosen}
    assert sorted(method for method, _ in chosen) == ["AN", "IU", "LL-R"]
    assert all("delta_rel 2;" in setting for method, setting in chosen if method == "LL-R")


def test_of_other_experiments_of_a_method_the_first_is_shown_at_first(tmp_path):
    """A whole set before a part of it; and what has a result before what has none."""
    write_run(tmp_path / "a", mod_scheme="AN", lr=2e-3, val_map=50.0)
    part = {"train images": "cd" * 8}
    write_run(tmp_path / "b", mod_scheme="AN", lr=2e-3, ss_frac_train=0.5, data=part, val_map=90.0)
    (tmp_path / "runs.txt").write_text("--dataset digits --mod_scheme AN --num_epochs 2\n")
    found = list(report_site.curves(find_runs(tmp_path)))
    assert sorted((run.setting, run.is_chosen) for run in found) == [
        ("", True), ("num_epochs 2", False), ("ss_frac_train 0.5", False),
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["what is this", None, "cut in a row", "cut after a row"])
def test_damaged_metrics_cost_their_curves_alone(tmp_path, capsys, damage):
    """And the run is named among those without a full result; the figures are of the others."""
    for seed in (1, 2):
        write_run(tmp_path / "runs" / str(seed), seed)
    path = tmp_path / "runs" / "2" / "metrics.csv"
    rows = path.read_text().splitlines(keepends=True)
    cut = {"cut in a row": "".join(rows)[:-40], "cut after a row": "".join(rows[:-1])}
    path.unlink() if damage is None else path.write_text(cut.get(damage, damage))
    page, error = page_of(tmp_path, capsys, tmp_path / "runs")
    assert "no best_last" not in error
    assert "Runs without a full result" in sections(page)
    assert "1, 2; 2 damaged" in page
    assert " --overwrite</code>" in page
    chart = json.loads(re.search('id="chart-data">(.*?)</script>', page, re.DOTALL)[1])
    assert [line["name"] for group in chart["groups"] for line in group["lines"]] == ["seed 1"]
    assert "2 finished runs" in page


def test_names_from_files_stay_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "KINDS", {})
    name = "/<script>alert(1)</script> \x1b"
    write_run(tmp_path / "runs" / "run", dataset=name, test_map_groups={"<b>": 1.0})
    page, _ = page_of(tmp_path, capsys, tmp_path / "runs")
    assert page.count("<script") == 2
    assert "&lt;b&gt;" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("where", ["folder", "below a file"])
def test_where_it_cannot_be_written_is_one_line(full, tmp_path, capsys, monkeypatch, where):
    monkeypatch.setattr(figures, "KINDS", {})
    (tmp_path / "file").write_text("")
    path = tmp_path if where == "folder" else tmp_path / "file" / "page.html"
    assert cli.run(report.main, [str(full), "--html", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {path}: ")
    assert error.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
