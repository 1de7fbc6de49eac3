"""Runs without a result, and what is none: the report says of each what it is, and no more."""

import csv
import io
import json
import os
import re
import shutil

import pytest

import cli
import train
from cli import UserError
from files import read_json
from folder import LOCK, SUMMARY
from tests import tiny
from tests.faults import KILLED, Fault, start, words_of
from tests.records import RECORD, write_run
from tools import figures, report, unfinished
from tools.finished import find_runs, read_runs
from tools.report_tables import results
from tools.unfinished import FAILED, FOREIGN, MISSING, RUNNING, STOPPED, missing_in

SAID = "epoch  1/12  loss 0.4  val mAP 50.0*\n"
FAILURE = "failed: out of memory: lower --bsize (it is 32)\n"
LL_R = "python main.py --dataset digits --mod_scheme LL-R --seed"
PLAN = """--dataset digits --mod_scheme LL-R --seed 1
--dataset digits --mod_scheme LL-R --seed 5
--dataset digits --mod_scheme LSAN --seed 3 --ls_coef 0.2
--dataset digits --mod_scheme LSAN --seed 2 --ls_coef 0.2

--mod_scheme LLR
--exp_name 'half a quote
"""


def write_unfinished(folder, seed=1, epochs=2, log="", **settings):
    """A run that has so many epochs and no result."""
    write_run(folder, seed, **{"audit": "means", **settings})
    (folder / "summary.json").unlink()
    metrics = folder / "metrics.csv"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[: epochs + 1]))
    (folder / "train.log").write_text(log)


def write_mixed(root):
    """A run of every kind and things that look like one; .lock of `running` is not held yet."""
    write_run(root / "digits_LL-R_2.5_adam_0.001_seed1", val_map=80.0)
    write_unfinished(root / "failed", 2, epochs=3, log=f"{SAID}{FAILURE}")
    write_unfinished(root / "running", 3, epochs=4, log=FAILURE + SAID)
    write_unfinished(root / "stopped", 4, epochs=5, log=f"{FAILURE}{SAID}stopped by SIGTERM\n")
    (root / "runs.txt").write_text(PLAN)
    (root / "alien").mkdir()
    (root / "alien" / "config.json").write_text('{"model": "bert"}')
    write_run(root / "bare")
    (root / "bare" / "config.json").unlink()
    write_run(root / "cut", 7)
    (root / "cut" / "summary.json").write_text('{"dataset": "digits", "mod_sch')
    write_run(root / "garbled", 8)
    (root / "garbled" / "config.json").write_bytes(b"\xff\xfe\0")
    write_run(root / "other", 9)
    summary = root / "other" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "delta_rel": 7.0}))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed") / "runs"
    write_mixed(root)
    with tiny.locked_by_another(root / "running" / LOCK):
        yield root


def said_by(capsys, *words):
    """What the tool prints, nothing being said on stderr."""
    capsys.readouterr()
    assert cli.run(report.main, [*map(str, words)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return out


def rows_of(text):
    """The cells of a Markdown table, the lines of the head left out."""
    lines = text.splitlines()[2:]
    return [[cell.strip("`") for cell in line.strip("| ").split(" | ")] for line in lines]


def read_csv(text):
    return list(csv.reader(io.StringIO(text)))[1:]


def by_folder(root, rows):
    """State, reason and command of each row by the name of its folder."""
    return {os.path.relpath(row[0], root): row[1:] for row in rows}


# what the report says of them


def test_the_table_has_the_finished_and_names_the_others(mixed, capsys):
    """A method of which no seed is finished has a row without numbers."""
    table, _, rest = said_by(capsys, mixed).partition("\n\n")
    lsan, llr = rows_of(table)
    llr, command = llr[:-1], llr[-1]
    assert llr[:4] == ["LL-R", "delta_rel 2.5", "80.0", "91.0"]
    assert llr[5] == "1; 2 failed; 3 running; 4 stopped; 5 missing"
    assert command == f"{LL_R} 1"
    again = f"{LL_R} 2".replace("LL-R --seed", "LSAN --ls_coef 0.2 --seed")
    assert lsan == ["LSAN", "ls_coef 0.2", *["not run"] * 3, "2, 3 missing", again]
    assert rest.startswith("| folder | state | why | command |\n")


def test_every_other_folder_is_listed_with_its_state_and_reason(mixed, capsys):
    rows = read_csv(said_by(capsys, mixed, "--table", "unfinished", "--format", "csv"))
    found = by_folder(mixed, rows)
    assert {name: row[0] for name, row in found.items()} == {
        "failed": FAILED, "running": RUNNING, "stopped": STOPPED,
        "alien": FOREIGN, "bare": FOREIGN, "cut": FOREIGN, "garbled": FOREIGN, "other": FOREIGN,
        "runs.txt": FOREIGN,
        "digits_LL-R_2.5_adam_0.001_seed5": MISSING,
        "digits_LSAN_0_adam_0.001_seed2_ls_coef-0.2": MISSING,
        "digits_LSAN_0_adam_0.001_seed3_ls_coef-0.2": MISSING,
    }  # fmt: skip
    for name, why in (
        ("failed", "3 of 12 epochs: out of memory: lower --bsize (it is 32)"),
        ("running", "4 of 12 epochs"),
        ("stopped", "5 of 12 epochs"),
        ("digits_LL-R_2.5_adam_0.001_seed5", "it never began"),
    ):
        assert found[name][1] == why
    for name, word in (
        ("alien", "alien/config.json: there is no setting 'model'"),
        ("bare", "bare/config.json is missing"),
        ("cut", "cut/summary.json is no JSON"),
        ("garbled", "garbled/config.json is no UTF-8 text"),
        ("other", "delta_rel 7.0, its config.json says 2.5"),
    ):
        assert word in found[name][1]
        assert found[name][2] == ""
    reasons = [row[2] for row in rows if row[0].endswith("runs.txt")]
    assert [reason.partition(": ")[0] for reason in reasons] == ["line 6", "line 7"]
    assert "did you mean LL-R?" in reasons[0]


def test_the_command_goes_on_with_the_run(mixed, capsys):
    found = by_folder(
        mixed, read_csv(said_by(capsys, mixed, "--table", "unfinished", "--format", "csv"))
    )
    assert found["failed"][2] == f"{LL_R} 2 --save_path {mixed} --exp_name failed --resume"
    name = "digits_LL-R_2.5_adam_0.001_seed5"
    assert found[name][2] == f"{LL_R} 5 --save_path {mixed} --exp_name {name} --resume"


def test_a_table_of_another_form_is_that_alone(mixed, capsys):
    latex = said_by(capsys, mixed, "--format", "latex")
    assert latex.count(r"\begin{tabular}") == 1
    assert "LSAN & ls\\_coef 0.2 & not run & not run & not run & 2, 3 missing \\\\" in latex
    rows = read_csv(said_by(capsys, mixed, "--format", "csv"))
    last = f"{read_json(RECORD / SUMMARY)['test_map_last']:.6g}"
    assert [row[:9] for row in rows] == [
        ["LSAN", "ls_coef 0.2", *[""] * 6, "2, 3 missing"],
        ["LL-R", "delta_rel 2.5", "80", "", "91", "", last, "",
         "1; 2 failed; 3 running; 4 stopped; 5 missing"],
    ]  # fmt: skip


def test_the_page_tells_of_every_run(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "KINDS", {})
    path, written = tmp_path / "page.html", tmp_path / "page.md"
    written.write_text(f"<!-- {mixed.name} -->\n<!-- /{mixed.name} -->\n")
    words = [str(mixed), "--html", str(path), "--write", str(written)]
    assert cli.run(report.main, words) == 0
    assert "| LL-R |" in written.read_text()
    page = path.read_text()
    assert "1 finished run, 6 without a result: 1 failed, 3 missing, 1 running, 1 stopped" in page
    for word in (
        "2 failed; 3 running", "out of memory: lower --bsize", "Runs without a full result",
        "there is no setting &#x27;model&#x27;", f"<code>{LL_R} 2</code>", "not run",
    ):  # fmt: skip
        assert word in page


def test_tools_that_need_results_leave_the_others_out(mixed, capsys):
    assert [run.config.seed for run in read_runs(mixed)] == [1]
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 13
    assert all(line.startswith("warning: ") and "left out" in line for line in warnings)
    assert f"warning: {mixed}/failed is failed (3 of 12 epochs: out of memory" in warnings[3]


def test_where_nothing_is_finished_tools_that_need_results_are_refused(tmp_path):
    write_unfinished(tmp_path / "run")
    with pytest.raises(UserError, match=r"python -m tools\.report tells of each"):
        read_runs(tmp_path)
    assert [other.status for other in find_runs(tmp_path).others] == [STOPPED]


def test_seeds_that_are_not_finished_are_no_part_of_the_choice(tmp_path):
    """Nor does their row stand among the chosen ones without a word."""
    for delta, val in ((1.0, 80.0), (2.0, 90.0)):
        write_run(tmp_path / f"{delta}", delta_rel=delta, val_map=val)
    write_unfinished(tmp_path / "more", 2, delta_rel=2.0)
    write_unfinished(tmp_path / "lost", 1, delta_rel=3.0)
    found = find_runs(tmp_path)
    table = results(found)
    assert [row[5] for row in table.rows] == ["1", "1; 2 stopped", "1 stopped"]
    assert table.strong == {1}
    assert [row[1] for row in results(found, best=True).rows] == ["delta_rel 2", "delta_rel 3"]


@pytest.mark.parametrize("done", ["", "epoch,phase\n", None])
def test_a_run_without_an_epoch_has_none(tmp_path, done):
    write_unfinished(tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    path.unlink() if done is None else path.write_text(done)
    (other,) = find_runs(tmp_path).others
    assert other.why == "0 of 12 epochs"


def test_epochs_of_the_linear_phase_count(tmp_path):
    write_unfinished(tmp_path / "run", epochs=7, linear_init=5, linear_lr=0.01, linear_bsize=32)
    (other,) = find_runs(tmp_path).others
    assert other.why == "7 of 17 epochs"


def test_hostile_words_of_a_log_stay_in_their_cell(tmp_path, capsys):
    write_unfinished(tmp_path / "run", log="failed: a | b \x1b[31m <!-- /x -->\n")
    out = said_by(capsys, tmp_path, "--table", "unfinished")
    assert out.splitlines()[2].count(" | ") == 3
    assert "a \\| b \\x1b[31m &lt;!-- /x -->" in out


# the list of the runs that are to be had


def test_a_run_of_the_list_is_missing_until_it_has_begun(tmp_path):
    (tmp_path / "runs.txt").write_text("--dataset digits --seed 3\n")
    (lost,) = missing_in(tmp_path)
    assert (lost.folder.name, lost.config.seed) == ("digits_LL-R_2.5_adam_0.001_seed3", 3)
    lost.folder.mkdir()
    (lost.folder / LOCK).touch()  # killed before it wrote anything
    assert [other.status for other in missing_in(tmp_path)] == [MISSING]
    with tiny.locked_by_another(lost.folder / LOCK):
        assert [other.status for other in missing_in(tmp_path)] == [RUNNING]
    write_unfinished(lost.folder / "x", 3)
    shutil.copy(lost.folder / "x" / "config.json", lost.folder)
    assert list(missing_in(tmp_path)) == []


def test_a_run_that_is_listed_twice_is_missed_once(tmp_path):
    """Once to have its labels kept, which makes no other run of it."""
    lines = ("--dataset digits --seed 3 --audit labels\n", "--dataset digits --seed 3\n")
    (tmp_path / "runs.txt").write_text("".join(lines))
    (lost,) = missing_in(tmp_path)
    assert lost.config.audit == "labels"


def test_lists_below_other_folders_are_of_those(tmp_path):
    """The missing run of one may be finished in the other."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "runs.txt").write_text("--dataset digits --seed 1\n")
    write_run(tmp_path / "a" / "digits_LL-R_2.5_adam_0.001_seed1")
    found = find_runs(tmp_path)
    assert [other.folder.parent.name for other in found.others] == ["b"]


def test_what_a_run_takes_beside_its_settings_is_part_of_the_command(tmp_path, capsys):
    write_unfinished(tmp_path / "run", audit="labels", data_root="a b", num_workers=2, device="cpu")
    out = said_by(capsys, tmp_path, "--table", "unfinished", "--format", "csv")
    (row,) = read_csv(out)
    for words in ("--audit labels", "--data_root 'a b'", "--num_workers 2", "--device cpu"):
        assert words in row[3]


# runs of main.py


def told(root):
    """The runs below that are not finished: their state and reason."""
    return [(other.status, other.why) for other in find_runs(root).others]


def cells_of(root):
    """The cells of each row by their titles, but the command."""
    table = results(find_runs(root))
    return [dict(zip(table.head[:-1], row, strict=False)) for row in table.rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set, and the rows of runs on it that nobody disturbed, for seeds 0 and 1."""
    root = tmp_path_factory.mktemp("data")
    folder = tiny.make_folder(root)
    for seed in "01":
        tiny.train(folder, root / "runs", "--seed", seed, "--exp_name", f"run{seed}")
    return folder, cells_of(root / "runs")


def at_epoch(monkeypatch, number, strike):
    """Let `strike()` happen once so many epochs are kept."""
    keep = train._keep

    def kept(run):
        keep(run)
        if len(run.state.rows) == number:
            strike()

    monkeypatch.setattr(train, "_keep", kept)


def ended(folder, root, *more):
    """The state and reason of a run that ends early."""
    with pytest.raises((UserError, RuntimeError, KeyboardInterrupt)):
        tiny.train(folder, root, "--exp_name", "run1", "--seed", "1", *more)
    (found,) = told(root)
    return found


def test_a_run_that_failed_is_told_of_and_goes_on_to_the_same_table(data, tmp_path, monkeypatch):
    """An image cannot be read in its second epoch; then it is there again."""
    original, expected = data
    folder = tmp_path / "tiny"
    shutil.copytree(original, folder)
    tiny.train(folder, tmp_path / "runs", "--seed", "0", "--exp_name", "run0")
    image = folder / "train" / "05.png"
    with monkeypatch.context() as patched:
        at_epoch(patched, 1, image.unlink)
        status, why = ended(folder, tmp_path / "runs")
    assert status == FAILED
    assert why.startswith("1 of 3 epochs: ")
    assert "05.png is missing" in why
    assert cells_of(tmp_path / "runs")[0]["seeds"] == "0; 1 failed"
    shutil.copy(original / "train" / "05.png", image)
    tiny.train(folder, tmp_path / "runs", "--seed", "1", "--exp_name", "run1", "--resume")
    assert told(tmp_path / "runs") == []
    assert cells_of(tmp_path / "runs") == expected


def test_a_loss_that_is_no_number_is_a_failure_of_the_first_epoch(data, tmp_path):
    status, why = ended(data[0], tmp_path, "--lr", "1e6", "--optimizer", "sgd",
                        "--weight_decay", "1e6")  # fmt: skip
    assert status == FAILED
    assert re.match(r"0 of 3 epochs: epoch 1, step \d+ of 6: the loss is \w+: lower --lr", why)


def test_a_fault_of_the_program_is_a_failure_with_its_name(data, tmp_path, monkeypatch):
    def strike():
        raise RuntimeError("no such luck")

    at_epoch(monkeypatch, 2, strike)
    assert ended(data[0], tmp_path) == (FAILED, "2 of 3 epochs: RuntimeError: no such luck")


def test_a_run_that_was_interrupted_is_stopped(data, tmp_path, monkeypatch):
    def strike():
        raise KeyboardInterrupt

    at_epoch(monkeypatch, 2, strike)
    assert ended(data[0], tmp_path) == (STOPPED, "2 of 3 epochs")


def test_a_run_that_never_found_its_data_is_missing(data, tmp_path):
    config = tiny.settings(data[0], tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    line = f"--dataset {config.dataset} --exp_name run --lr 1e-3"
    (tmp_path / "runs" / "runs.txt").write_text(f"{line}\n")
    shutil.copytree(data[0], tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny")
    with pytest.raises(UserError):
        tiny.train(tmp_path / "tiny", tmp_path / "runs")
    assert told(tmp_path / "runs") == [(MISSING, "it never began")]


def test_a_run_that_was_killed_goes_on_to_the_same_table(data, tmp_path):
    folder, expected = data
    root = tmp_path / "runs"
    tiny.train(folder, root, "--seed", "0", "--exp_name", "run0")
    config = tiny.settings(folder, root, "--seed", "1", "--exp_name", "run1")
    killed = start(words_of(config), tmp_path, config.run_dir, Fault("last.pt", "renamed", 1))
    assert killed.status() == KILLED
    assert told(root) == [(STOPPED, "1 of 3 epochs")]  # the row of the second is not written yet
    with tiny.locked_by_another(config.run_dir / LOCK):
        assert told(root) == [(RUNNING, "1 of 3 epochs")]
        assert unfinished.look_at(config.run_dir).config == config
    tiny.train(folder, root, "--seed", "1", "--exp_name", "run1", "--resume")
    assert told(root) == []
    assert cells_of(root) == expected
