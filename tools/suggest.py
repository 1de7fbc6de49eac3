"""Suggest unobserved labels that are probably positive: `python -m tools.suggest RUN_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cli
import stopping
from cli import UserError, printable
from tools import loading

if TYPE_CHECKING:
    from datasets import Data
    from tools.loading import Loaded
    from tools.suggestions import Evidence, Ranked

AT = (100, 500, 1000, 2000, 5000, 10_000)  # places at which the precision is told


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.suggest", description=main.__doc__)
    loading.add_arguments(parser)
    loading.add_dataset(parser)
    parser.add_argument("--top", type=cli.number(int, 1, 100_000), default=1000, metavar="N",
                        help="suggestions at most (%(default)s)")  # fmt: skip
    parser.add_argument("--min_score", type=cli.number(float, 0, 1), default=0.0, metavar="SCORE",
                        help="leave out what scores less (%(default)s)")  # fmt: skip
    parser.add_argument("--label", nargs="+", default=[], metavar="NAME",
                        help="suggest these classes alone")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(RUN_DIR/suggestions)")
    return parser


def main(argv: Sequence[str]) -> None:
    """Rank the unobserved training labels of a run by how likely they are missing positives.

    The run must have been trained with --audit labels. Writes suggestions.csv and a page,
    index.html, in which a person accepts or rejects them; tools.apply takes the decisions over.
    Where the true labels are known, prints how many of the suggestions are right. Class maps and
    final scores need the run's weights, the score does not.
    """
    args = _parser().parse_args(argv)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from tools import suggest_page, suggestions
    folder = Path(args.run_dir)
    out = args.out or folder / "suggestions"
    suggestions.check_is_free(out)
    evidence = suggestions.read_evidence(folder, args.data_root, args.dataset)
    for note in _notes(folder):
        print(printable(f"note: {note}"), file=sys.stderr)
    columns = suggestions.columns_of(args.label, evidence.data.classes)
    scores = suggestions.score(evidence.history.loss)
    ranking = suggestions.rank(scores, evidence.unobserved, columns)
    chosen = ranking.take(np.flatnonzero(ranking.score >= args.min_score)[: args.top])
    if not len(chosen.row):
        raise UserError(f"--min_score {args.min_score:g}: no unobserved label scores as much")
    for line in measured(ranking, len(chosen.row), evidence.truth):
        print(line)
    run = _with_weights(args, evidence.data)
    readable = _readable(evidence, chosen, args.num_workers)
    maps = _maps(run, chosen, readable) if run and readable.any() else None
    rows = table(evidence, chosen, final_scores(evidence, chosen, maps, readable))
    pairs = [(row["image"], row["label"]) for row in rows]
    about = {
        "run": str(folder),
        "digest": suggestions.digest_of(str(folder), pairs),
        "data": suggestions.recorded_digests(folder),
    }
    suggest_page.write(out, about, evidence, chosen, rows, maps)
    suggestions.write_table(out, rows, about)
    print(f"wrote {len(rows):,} suggestions to {printable(str(out / 'index.html'))}")


def measured(ranking: Ranked, kept: int, truth: np.ndarray | None) -> Iterator[str]:
    """How right the ranking is where the truth is known, in percent, a line each.

    Labels whose truth is unknown are passed over. `kept`: how many are suggested.
    """
    if truth is None:
        return
    known = truth[ranking.row, ranking.column]
    right, is_known = known == 1, known != 0
    if not right.any():
        return
    from sklearn.metrics import average_precision_score

    for number in sorted({*(at for at in AT if at < kept), kept}):
        told = is_known[:number].sum()
        if told:
            yield f"Precision at {number:,} : {100 * right[:number].sum() / told:.2f} %"
    found = right[:kept].sum()
    mean = 100 * average_precision_score(right[is_known], ranking.score[is_known])
    yield f"Average precision : {mean:.2f} %"
    yield f"Recall : {100 * found / right.sum():.2f} % ({found:,} of {right.sum():,} missing)"


def table(evidence: Evidence, chosen: Ranked, final: np.ndarray) -> list[dict[str, Any]]:
    """The rows of suggestions.csv; `final` [S] are the scores of the best model."""
    from tools.suggestions import early_score

    places = (slice(None), chosen.row, chosen.column)
    early = early_score(evidence.history.loss[places])
    selected = evidence.history.selected
    chosen_in = None if selected is None else selected[places]  # bool [T, S]
    rows = []
    for place, (row, column, score) in enumerate(zip(*chosen, strict=True)):
        when = [] if chosen_in is None else (1 + np.flatnonzero(chosen_in[:, place])).tolist()
        known = 0 if evidence.truth is None else int(evidence.truth[row, column])
        rows.append({
            "image": str(evidence.data.train.names[row]),
            "label": evidence.data.classes[column],
            "score": f"{score:.6f}",
            "final_score": f"{final[place]:.6f}",
            "early_score": f"{early[place]:.6f}",
            "epochs_selected": "" if chosen_in is None else len(when),
            "first_epoch_selected": when[0] if when else "",
            "truth": known or "",
        })  # fmt: skip
    return rows


def _notes(folder: Path) -> Iterator[str]:
    """What the user may miss where a run is not finished, or its weights are gone, a line each."""
    from files import is_there
    from folder import BEST, SUMMARY
    from tools.unfinished import look_at

    if not is_there(folder / SUMMARY):
        yield f"the run has not finished: {look_at(folder).why}"
    if not is_there(folder / BEST):
        yield f"no {BEST}: no class maps, final_score is that of the last epoch"


def _with_weights(args: argparse.Namespace, data: Data) -> Loaded | None:
    """The run with its best model, None where that is not kept."""
    from files import is_there
    from folder import BEST

    if not is_there(Path(args.run_dir) / BEST):
        return None
    model, config, _, hardware = loading.load_model(args)
    return loading.Loaded(model, config, data, hardware)


def _readable(evidence: Evidence, chosen: Ranked, num_workers: int | None) -> np.ndarray:
    """Whether the image of each suggestion can be read, bool [S]; stderr is told where not."""
    from data.check import bad_images
    from failures import explained
    from image_files import ImageFiles

    rows = np.unique(chosen.row)
    files, config = evidence.data.train.images.take(rows), evidence.config
    if not isinstance(files, ImageFiles):
        return np.ones(len(chosen.row), bool)
    workers = config.num_workers if num_workers is None else num_workers
    with explained(config.bsize, config.image_size, workers):
        bad = bad_images(files, workers)
    for error in bad.values():
        said = f"bad image: {error.path} {error.reason}: suggested without picture and class map"
        print(printable(said), file=sys.stderr)
    return ~np.isin(chosen.row, rows[sorted(bad)])


def final_scores(
    evidence: Evidence, chosen: Ranked, maps: np.ndarray | None, readable: np.ndarray
) -> np.ndarray:
    """The best model's probabilities of the suggestions, [S], of which `maps` [S, h, w] are.

    Without them, and where the image is not `readable` [S], the probabilities in the last epoch.
    """
    from tools import metrics, suggestions

    last = suggestions.probabilities(evidence.history.loss[-1][chosen.row, chosen.column])
    if maps is None:
        return last
    best = metrics.probabilities(maps.mean(axis=(1, 2), dtype=np.float64))
    return np.where(readable, best, last)


def _maps(run: Loaded, chosen: Ranked, readable: np.ndarray) -> np.ndarray:
    """The class map of each suggestion, float32 [S, h, w], NaN where it is not readable."""
    found = _maps_of(run, chosen.take(readable))
    maps = np.full((len(readable), *found.shape[1:]), np.nan, np.float32)
    maps[readable] = found
    return maps


def _maps_of(run: Loaded, chosen: Ranked) -> np.ndarray:
    """The best model's class map of each suggestion, of its class alone, float32 [S, h, w]."""
    import torch

    from evaluation import evaluate
    from failures import explained

    rows, place = np.unique(chosen.row, return_inverse=True)
    columns: list[list[int]] = [[] for _ in rows]
    slots = []  # which of the classes of its image each suggestion is
    for at, column in zip(place, chosen.column, strict=True):
        slots.append(len(columns[at]))
        columns[at].append(int(column))
    most, done = max(map(len, columns)), 0
    wanted = torch.tensor([of + of[:1] * (most - len(of)) for of in columns])
    run.model.to(run.hardware.device).eval()

    def some(images: torch.Tensor) -> torch.Tensor:
        nonlocal done
        now = wanted[done : done + len(images)].to(images.device)
        done += len(images)
        maps = run.model.class_maps(images)
        return maps[torch.arange(len(images), device=images.device)[:, None], now]

    with explained(run.config.bsize, run.config.image_size, run.config.num_workers):
        found = evaluate(some, run.loader(run.data.train.take(rows)), run.hardware).numpy()
    return found[place, slots]


if __name__ == "__main__":
    sys.exit(cli.run(main))
