"""The table of finished runs, from their records: `python -m tools.report results/digits`.

Runs that differ in nothing but the seed are one row: mean and standard deviation over seeds.
Runs on other labels, drawn anew or of another set, are a row of their own.

With `--write PAGE --name methods` the table takes its place between the lines `<!-- methods -->`
and `<!-- /methods -->` of the page, and the test mAP of LSAN, say, between `<!-- methods LSAN -->`
and `<!-- /methods LSAN -->` wherever the page has that: a cell.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cli
from cli import UserError, printable
from config import Config, command, read_config
from data.draw import Draw
from files import write_atomically
from naming import written
from recipes import SCHEMES
from record import RunRecord

HEAD = (
    "method", "setting", "val mAP", "test mAP", "at the last epoch", "seeds", "command",
)  # fmt: skip
PAPERS, ALL, NOT_RECORDED = "1+, 0-", "all", "not recorded"  # labels that need no column
NOT_RUN = "not run"  # a cell for which there is no run
NO_TRUTH = "† no truth is known of the test images: what is not annotated counts as negative"


class Run(NamedTuple):
    """A finished run: its settings, its folder being where it was found, and its summary."""

    config: Config
    summary: dict[str, Any]
    data: Mapping[str, Any]  # digests of all its data, by name; none in a record of earlier times
    drawn: Any  # how the observed labels were drawn, as `Draw.record` says it, where known

    @property
    def used(self) -> dict[str, Any]:
        """The digests of the data that made the result: of two kinds of labels, the one in use."""
        other = {"clean": "observed", "observed": "truth"}
        unused = {
            f"train {other[self.config.train_set_variant]}",
            f"val {other[self.config.val_set_variant]}",
            "test truth" if self.data.get("test truth") == "none" else "test observed",
        }
        return {name: digest for name, digest in self.data.items() if name not in unused}

    @property
    def kind(self) -> tuple[str, str]:
        """What is the same in all runs that differ in the seed alone: settings, and data."""
        settings = dataclasses.replace(self.config, seed=0)
        return command(settings), json.dumps(self.used, sort_keys=True)


def read_runs(*folders: Path) -> list[Run]:
    """The finished runs below these folders. Raises UserError where one holds none."""
    return _once_each([run for folder in folders for run in _read_folder(folder)])


def _read_folder(folder: Path) -> list[Run]:
    if not os.path.isdir(folder):
        raise UserError(f"there is no folder {folder}")
    runs = []
    for path in sorted(folder.glob("**/summary.json")):
        record = RunRecord(path.parent)
        summary = record.read_summary()
        if summary is None:  # gone since it was listed
            continue
        config = read_config(path.with_name("config.json"))
        _check_fits(config, summary, path)
        about = record.read_config()["environment"]
        data = about["data"] if isinstance(about.get("data"), dict) else {}
        root, name = str(path.parents[1]), path.parent.name
        config = dataclasses.replace(config, save_path=root, exp_name=name)
        runs.append(Run(config, summary, data, about.get("drawn")))
    if not runs:
        raise UserError(f"{folder} holds no finished run (no summary.json below it)")
    return runs


def _once_each(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that repeat another's kind and seed, of which a warning tells."""
    first: dict[tuple, Run] = {}
    for run in runs:
        kept = first.setdefault((run.kind, run.config.seed), run)
        if kept is not run:
            where = f"{run.config.run_dir} repeats {kept.config.run_dir}"
            print(f"warning: {printable(where)}: left out", file=sys.stderr)
    return list(first.values())


def _check_fits(config: Config, summary: dict[str, Any], path: Path) -> None:
    """Raise UserError where the settings and the result beside them are not of the same run."""
    for name in ("dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed"):
        if name in summary and summary[name] != getattr(config, name):
            raise UserError(
                f"{path} is of a run with {name} {summary[name]}, its config.json says "
                f"{getattr(config, name)}: run it again"
            )


def group_by_method(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone together, ordered by scheme, full labels last."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.kind, []).append(run)
    return sorted(groups.values(), key=lambda group: _rank(group[0]))


def method_name(config: Config) -> str:
    """What the papers call the method: the scheme, and what is done beside it."""
    name = " ".join(filter(None, [config.mod_scheme, config.mode]))
    if config.mod_scheme == "AN" and config.train_set_variant == "clean":
        name = "full labels"
    if config.boostlu != 1:
        name = f"BoostLU + {name}"
    if config.use_feats or (config.linear_init and not config.num_epochs):
        return f"linear {name}"
    return f"LinearInit + {name}" if config.linear_init else name


def setting(config: Config) -> str:
    """The scheme's options that the run used, BoostLU's factor, and a learning rate of its own.

    What the method's name says is left out, and a word that is the default.
    """
    usual = SCHEMES[config.mod_scheme]
    shown = {
        name: Path(value).name if name == "prior" else value
        for name, value in config.options.items()
        if value is not None and not (isinstance(value, str) and value == usual[name])
    }
    for name in _unused(config):
        shown.pop(name, None)
    if config.boostlu != 1:
        shown["boostlu"] = config.boostlu
    if "--lr" in shlex.split(command(config)):
        shown["lr"] = config.lr
    return "; ".join(f"{name} {written(value)}" for name, value in shown.items())


def _unused(config: Config) -> tuple[str, ...]:
    """Options of CSL that its mode, which the name says, or the lack of a prior makes idle."""
    if config.mode != "selective":
        return "mode", "topk", "prior", "prior_threshold"
    return ("mode",) if config.prior else ("mode", "prior_threshold")


def labels_name(run: Run) -> str:
    """Which labels of the training images a run was given, in short."""
    truth, observed = (run.data.get(f"train {kind}") for kind in ("truth", "observed"))
    draw = _draw(run.drawn)
    if observed is None:
        return NOT_RECORDED
    if draw is None and truth in (observed, "none"):
        return "as annotated"
    if run.config.train_set_variant == "clean":
        return ALL
    return str(observed)[:6] if draw is None else _in_short(draw)


def _draw(drawn: Any) -> Draw | None:
    """The draw that a record tells of, or None."""
    try:
        return Draw(**drawn)
    except (TypeError, UserError):  # there is none, or it is not what a run writes
        return None


def _in_short(draw: Draw) -> str:
    if draw.fpc is not None:
        kept = f"FPC {draw.fpc}"
    elif draw.rps is not None:
        kept = f"RPS {draw.rps:g}"
    elif draw.share is not None:
        kept = f"share {100 * draw.share:g} %"
    else:
        numbers = (ALL if n == -1 else n for n in (draw.num_pos, draw.num_neg))
        kept = "{}+, {}-".format(*numbers)
    return kept if draw.seed == Draw.seed else f"{kept}, seed {draw.seed}"


def markdown(runs: Sequence[Run]) -> str:
    """The table, a row a method; with its data set and labels where not all are the usual ones."""
    groups = group_by_method(runs)
    rows = [HEAD, *map(_row, groups)]
    for title, place, cells in (
        ("labels", 2, _labels_cells(groups)),
        ("data set", 0, _dataset_cells(groups)),
    ):
        if cells:
            pairs = zip(rows, [title, *cells], strict=True)
            rows = [(*row[:place], cell, *row[place:]) for row, cell in pairs]
    rows.insert(1, tuple("---" for _ in rows[0]))
    table = "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)
    return table + f"\n{NO_TRUTH}\n" * any(map(_lacks_truth, groups))


def _labels_cells(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The labels of each row; nothing where all are the paper's and tell no rows apart.

    Rows of the same name and settings are told apart by the digests in which they differ.
    """
    rows = [(labels_name(group[0]), group[0].kind[0]) for group in groups]
    are_usual = {name for name, _ in rows} <= {PAPERS, ALL, NOT_RECORDED}
    if are_usual and len({settings for _, settings in rows}) == len(rows):
        return []
    alike: dict[tuple, list[dict[str, Any]]] = {}
    for row, group in zip(rows, groups, strict=True):
        alike.setdefault(row, []).append(group[0].used)
    return [
        ", ".join([row[0], *_apart(group[0].used, alike[row])])
        for row, group in zip(rows, groups, strict=True)
    ]


def _apart(used: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """The digests, in short, that are not the same in all of these."""
    differ = [name for name in used if any(other.get(name) != used[name] for other in others)]
    return [f"{name} {str(used[name])[:6]}" for name in differ]


def _dataset_cells(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The data set of each row, folders of the same last name by their path; nothing for one."""
    sets = [group[0].config.dataset for group in groups]
    short = Counter(Path(found).name for found in {*sets})
    if len({*sets}) == 1:
        return []
    return [found if short[Path(found).name] > 1 else Path(found).name for found in sets]


def _lacks_truth(group: Sequence[Run]) -> bool:
    return any(run.summary.get("test_labels") == "observed" for run in group)


def _escaped(text: str) -> str:
    """The text for a cell of a table: what came from files must not end or break it."""
    return printable(text).replace("|", "\\|")


def _code(text: str) -> str:
    """The text as code, which Markdown shows as it is, in a fence longer than any within."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def fill(page: str, name: str, runs: Sequence[Run]) -> str:
    """The page with the table of these runs, and its cells.

    Raises UserError where it has a place for neither.
    """
    mark = re.escape(name)
    cell = re.compile(rf"(<!-- {mark} (.+?) -->).*?(<!-- /{mark} \2 -->)")
    maps: dict[str, list[str]] = {}
    for group in group_by_method(runs):
        maps.setdefault(method_name(group[0].config), []).append(_maps(group)[1])

    def filled(found: re.Match[str]) -> str:
        values = maps.get(found[2], [NOT_RUN])
        if len(values) > 1:
            raise UserError(f"{found[1]}: the runs make {len(values)} rows of {found[2]}")
        return f"{found[1]}{values[0]}{found[3]}"

    page, cells = cell.subn(filled, page)
    has_table = f"<!-- {name} -->\n" in page
    return insert(page, name, markdown(runs)) if has_table or not cells else page


def insert(text: str, name: str, table: str) -> str:
    """The text with the table between `<!-- name -->` and `<!-- /name -->`.

    Raises UserError where the text has no such markers.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise UserError(f"there are no lines {start.strip()} and {end} to write between")
    return before + start + table + end + after


def _row(group: Sequence[Run]) -> tuple[str, ...]:
    config = group[0].config
    seeds = sorted(run.config.seed for run in group)
    return (
        method_name(config),
        setting(config),
        *_maps(group),
        ", ".join(map(str, seeds)),
        _code(f"{group[0].kind[0]} --seed {seeds[0]}"),
    )


def _maps(group: Sequence[Run]) -> list[str]:
    """The mAPs of a row: of val, of test, and of test at the last epoch."""
    names = (group[0].config.chosen_by, "test_map", "test_map_last")
    val, *test = (_mean_and_std([_map(run, name) for run in group]) for name in names)
    mark = " †" if _lacks_truth(group) else ""
    return [val, *(f"{mean}{mark}" for mean in test)]


def _map(run: Run, name: str) -> float:
    """That mAP of a run. Raises UserError where its summary.json does not hold it."""
    value = run.summary.get(name)
    if value is None:
        raise UserError(f"{run.config.run_dir / 'summary.json'} holds no {name}: run it again")
    return value


def _mean_and_std(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def _rank(run: Run) -> tuple:
    """A method alone comes before what is done beside it, and "topk 2" before "topk 10"."""
    config, labels, name = run.config, labels_name(run), method_name(run.config)
    full = name.endswith("full labels")
    unusual = labels not in (PAPERS, NOT_RECORDED)
    method = list(SCHEMES).index(config.mod_scheme), name.count(" + "), name
    words = re.split(r"(\d+(?:\.\d+)?)", setting(config))  # every other one is a number
    numbers = [float(word) if place % 2 else word for place, word in enumerate(words)]
    return config.dataset, full, unusual, labels, *method, numbers


def main(argv: Sequence[str]) -> None:
    """Print the table of the finished runs below some folders, or write it into a page.

    There it goes between the lines <!-- NAME --> and <!-- /NAME -->, and the test mAP of LSAN, say,
    between <!-- NAME LSAN --> and <!-- /NAME LSAN -->.
    """
    parser = cli.Parser(prog="python -m tools.report", description=main.__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders that hold the runs")
    parser.add_argument("--write", type=Path, metavar="PAGE",
                        help="put the table and its cells into the page")  # fmt: skip
    parser.add_argument("--name", help="name of their markers (the first folder's name)")
    args = parser.parse_args(argv)
    runs = read_runs(*args.results)
    if args.write is None:
        print(markdown(runs), end="")
        return
    try:
        page = args.write.read_text(encoding="utf-8")
        text = fill(page, args.name or args.results[0].resolve().name, runs)
    except OSError as error:
        raise UserError(f"--write: cannot read {args.write}: {error.strerror}") from None
    except ValueError as error:  # it is not UTF-8, or a UserError
        raise UserError(f"--write: {args.write}: {error}") from None
    write_atomically(args.write, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    sys.exit(cli.run(main))
