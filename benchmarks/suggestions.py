"""How right suggested labels are, by score and by method, and what taking them over does.

    python -m benchmarks.suggestions results/digits --after results/suggest --out docs/suggest.json

Reads finished runs that kept their labels, and the runs of scripts/suggest.sh; trains nothing. With
the package cleanlab, its filter of multi-label data joins in.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cli
from benchmarks.output import add_out, publish
from cli import UserError
from files import read_json
from tools.report import insert
from tools.report_tables import mean_and_std
from tools.suggestions import probabilities, score
from tools.tables import Table, markdown

METHODS = ("AN", "LL-R", "LL-Ct", "LL-Cp")
AT = (500, 1000, 3000)


class Labels(NamedTuple):
    """The unobserved labels of a run, M of them."""

    loss: np.ndarray  # float16 [T, M]
    selected: np.ndarray | None  # bool [T, M]
    missing: np.ndarray  # bool [M], truly positive
    best: int  # the best epoch, from 1


def _mean_from(share: float) -> Callable[[Labels], np.ndarray]:
    def mean(labels: Labels) -> np.ndarray:
        return probabilities(labels.loss[round(share * len(labels.loss)) :]).mean(axis=0)

    return mean


def _selections(labels: Labels) -> np.ndarray | None:
    return None if labels.selected is None else labels.selected.mean(axis=0)


def _selected_and_last(labels: Labels) -> np.ndarray | None:
    chosen = _selections(labels)
    return None if chosen is None else chosen + probabilities(labels.loss[-1])


CANDIDATES: dict[str, Callable[[Labels], np.ndarray | None]] = {
    "p of the last epoch (plain confidence)": lambda labels: probabilities(labels.loss[-1]),
    "p of the best epoch": lambda labels: probabilities(labels.loss[labels.best - 1]),
    "highest p": lambda labels: probabilities(labels.loss).max(axis=0),
    "mean p, first half": lambda labels: probabilities(
        labels.loss[: (len(labels.loss) + 1) // 2]
    ).mean(axis=0),
    "mean p, all epochs": _mean_from(0),
    "mean p, last half": _mean_from(1 / 2),
    "mean p, last third": _mean_from(2 / 3),
    "mean p, up to the best epoch": lambda labels: probabilities(labels.loss[: labels.best]).mean(
        axis=0
    ),
    "mean p weighted by epoch^2 (the score)": lambda labels: score(labels.loss),
    "share of epochs selected": _selections,
    "share selected + p of the last epoch": _selected_and_last,
}


def measure(results: Path) -> dict[str, Any]:
    """Average precision and precision at AT (percent) by candidate and method, a value a seed."""
    from tools.finished import method_name, read_runs
    from tools.histories import has_history, read_histories

    runs = [run for run in read_runs(results) if has_history(run)]
    scores: dict[str, dict[str, Any]] = {name: {} for name in CANDIDATES}
    joint: dict[str, Any] = {}
    for run, kept in zip(runs, read_histories(runs), strict=True):
        method, hidden = method_name(run.config), kept.human == 0
        if method not in METHODS:
            continue
        chosen = None if kept.history.selected is None else kept.history.selected[:, hidden]
        best = int(run.summary["best_epoch"])
        labels = Labels(kept.history.loss[:, hidden], chosen, kept.truth[hidden] == 1, best)
        for name, candidate in CANDIDATES.items():
            found = candidate(labels)
            if found is not None:
                for title, value in judged(found, labels.missing).items():
                    scores[name].setdefault(method, {}).setdefault(title, []).append(value)
        flagged = by_cleanlab(kept.human, kept.history.loss[-1], kept.truth)
        if flagged:
            order = np.argsort(-score(labels.loss), kind="stable")[: int(flagged["flagged"])]
            flagged["as many by the score"] = 100 * float(labels.missing[order].mean())
        for title, value in flagged.items():
            joint.setdefault(method, {}).setdefault(title, []).append(value)
    return {"scores": scores, "cleanlab": joint}


def judged(scores: np.ndarray, missing: np.ndarray) -> dict[str, float]:
    """Average precision and precision at AT of a ranking, in percent."""
    from sklearn.metrics import average_precision_score

    right = missing[np.argsort(-scores, kind="stable")]
    at = {f"at {number}": 100 * float(right[:number].mean()) for number in AT}
    return {"average precision": 100 * float(average_precision_score(missing, scores)), **at}


def by_cleanlab(human: np.ndarray, loss: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What cleanlab's filter finds of unobserved labels: how many, precision and recall (percent).

    On the probabilities in the last epoch; empty without the package. `human`, `loss` of that
    epoch, `truth`: [N, K].
    """
    try:
        from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    except ImportError:
        return {}
    hidden = human == 0
    seen = [np.flatnonzero(row == 1).tolist() for row in human]
    p = probabilities(loss)
    p[~hidden] = np.exp(-loss[~hidden].astype(np.float32))  # there the loss is -log(p)
    # in this process: forked from one with threads, its workers may wait for ever
    flagged = np.asarray(find_multilabel_issues_per_class(seen, p, n_jobs=1)) & hidden
    missing = hidden & (truth == 1)
    right = (flagged & missing).sum()
    return {
        "flagged": int(flagged.sum()),
        "precision": 100 * float(right / max(flagged.sum(), 1)),
        "recall": 100 * float(right / missing.sum()),
    }


def after(folder: Path) -> dict[str, Any]:
    """Of the runs of scripts/suggest.sh the test mAP by seed, by when and method; what was taken.

    "taken": the percentage of the labels that were taken over that are right, by seed.
    """
    maps: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("*_*_*/summary.json")):
        name, seed = path.parent.name.rsplit("_", 1)
        maps.setdefault(name, {})[seed] = round(read_json(path)["test_map"], 3)
    taken: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("data_*_*")):
        _, top, seed = path.name.split("_")
        table = folder / f"before_LL-R_{seed}" / "suggestions" / "suggestions.csv"
        with table.open(encoding="utf-8", newline="") as file:
            truths = [row["truth"] for row in csv.DictReader(file)][: int(top)]
        taken.setdefault(top, {})[seed] = 100 * truths.count("1") / int(top)
    if not maps:
        raise UserError(f"{folder} holds no runs of scripts/suggest.sh: start it")
    return {"test_map": maps, "taken": taken}


def by_weights(folder: Path) -> dict[str, Any]:
    """How right the best models' final scores and the score are, of the runs before, by method."""
    from evaluation import evaluate
    from tools import loading
    from tools.suggestions import read_evidence

    parser, found = cli.Parser(), dict[str, Any]()
    loading.add_arguments(parser)
    for path in sorted(folder.glob("before_*_*/bestmodel.pt")):
        run = loading.load(parser.parse_args([str(path.parent), "--num_workers", "0"]))
        evidence = read_evidence(path.parent)
        hidden, truth = evidence.unobserved, evidence.truth
        assert truth is not None, "digits are known"
        logits = evaluate(run.model, run.loader(run.data.train), run.hardware).numpy()
        kinds = {"final": logits, "score": score(evidence.history.loss)}
        method = path.parent.name.split("_")[1]
        for kind, values in kinds.items():
            for title, value in judged(values[hidden], truth[hidden] == 1).items():
                by_title = found.setdefault(method, {}).setdefault(kind, {})
                by_title.setdefault(title, []).append(value)
    return found


def tables(result: Mapping[str, Any]) -> dict[str, Table]:
    """The tables of docs/suggest.md, by name: means over seeds and deviations, in percent."""
    rows = [
        (name, *(_cell(by_method.get(method), "average precision") for method in METHODS))
        for name, by_method in result["scores"].items()
    ]
    found = {"scores": Table(("average precision of", *METHODS), rows)}
    first = [
        (name, *(_cell(by_method.get(method), f"at {at}") for at in AT for method in METHODS[:3]))
        for name, by_method in result["scores"].items()
    ]
    titles = [f"{method} at {at:,}" for at in AT for method in METHODS[:3]]
    found["first"] = Table(("precision of", *titles), first)
    if result["cleanlab"]:
        kinds = ("flagged", "precision", "recall", "as many by the score")
        cells = [
            (method, *(_cell(result["cleanlab"].get(method), kind) for kind in kinds))
            for method in METHODS
        ]
        found["cleanlab"] = Table(("method", *kinds), cells)
    if "after" in result:
        found["after"] = _after_table(result["after"])
        found["final"] = _final_table(result["weights"])
    return found


def _after_table(result: Mapping[str, Any]) -> Table:
    tops = sorted(result["taken"], key=int)
    whens = [("none", "before", "")]
    for top in tops:
        right = mean_and_std([*result["taken"][top].values()])
        whens.append((f"{int(top):,}", f"after_{top}", right))
    rows = []
    for taken, when, right in whens:
        maps = [result["test_map"].get(f"{when}_{method}", {}) for method in ("AN", "LL-R")]
        cells = [_with_two([*values.values()]) if values else "not run" for values in maps]
        rows.append((taken, right, *cells))
    return Table(("taken over", "right, %", "AN test mAP", "LL-R test mAP"), rows)


def _final_table(result: Mapping[str, Any]) -> Table:
    names = {"final": "best model's final p", "score": "the score"}
    titles = ("average precision", *(f"at {number}" for number in AT))
    rows = [
        (method, names[kind], *(_cell(by_title, title) for title in titles))
        for method, by_kind in result.items()
        for kind, by_title in by_kind.items()
    ]
    return Table(("run", "ranked by", *titles), rows)


def _cell(values: Mapping[str, Sequence[float]] | None, title: str) -> str:
    return _with_two(values[title]) if values else ""


def _with_two(values: Sequence[float]) -> str:
    """Mean and deviation with two decimals; whole numbers with none."""
    digits = 0 if all(value == int(value) and value > 100 for value in values) else 2
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):,.{digits}f} ± {spread:,.{digits}f}"


def main(argv: Sequence[str]) -> None:
    """Compare ways to score unobserved labels, and what becomes of a training on suggestions."""
    parser = cli.Parser(prog="python -m benchmarks.suggestions", description=main.__doc__)
    parser.add_argument("results", type=Path, help="a folder of finished runs with histories")
    parser.add_argument("--after", type=Path, metavar="FOLDER", help="runs of scripts/suggest.sh")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into a page")
    add_out(parser)
    args = parser.parse_args(argv)
    result = measure(args.results)
    if args.after:
        result |= {"after": after(args.after), "weights": by_weights(args.after)}
    result = rounded(result)
    publish(result, args.out)
    if args.write:
        text = args.write.read_text(encoding="utf-8")
        for name, table in tables(result).items():
            text = insert(text, name, markdown(table))
        args.write.write_text(text, encoding="utf-8")


def rounded(value: Any) -> Any:
    """The same with every number at three decimals."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(cli.run(main))
