"""Which labels of a data set are kept, drawn at random, as if the others had never been given.

N images, K classes; M labels are known, listed image by image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import cli
from cli import UserError
from data.labels import Labels, is_sparse
from data.read import TRUTHS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DRAW_RULES = {  # what a draw may be told, as text
    "num_pos": cli.number(int, low=-1),
    "num_neg": cli.number(int, low=-1),
    "fpc": cli.number(int, low=1),
    "rps": cli.number(above=0, below=1),
    "share": cli.number(above=0, high=1),
    "seed": cli.number(int, low=0, high=2**32 - 1),
}
_PER_IMAGE = ("num_pos", "num_neg")
_OTHERS = ("fpc", "rps", "share")  # each a way of its own


@dataclass(frozen=True)
class Draw:
    """How labels are drawn: so many of each image, -1 for all, or in one of three other ways.

    FPC and RPS: Ben-Baruch et al. 2021 (arXiv 2110.10955). Raises UserError for what is no draw.
    """

    num_pos: int = 1
    num_neg: int = 0
    fpc: int | None = None  # of each class so many positives and negatives, all if there are fewer
    rps: float | None = None  # the probability with which a label is dropped
    share: float | None = None  # of the known labels of a part, kept
    seed: int = 1200

    def __post_init__(self) -> None:
        told = [name for name in _PER_IMAGE if getattr(self, name) != getattr(Draw, name)]
        _check_one_way([*self._others(), *told])
        for name, value in self.record().items():
            try:
                DRAW_RULES[name](
                    repr(value)
                )  # of text, and of true, the quotes or letters are seen
            except argparse.ArgumentTypeError as error:
                raise UserError(f"{name}: {error}") from None

    def __call__(self, labels: Labels, truth: str = "full") -> Labels:
        """The observed labels: 1 a kept positive, -1 a kept negative, 0 hidden; int8 [N, K].

        `labels` as the files hold them: {0, 1} where `truth` is "full", and where it is "partial"
        {-1, 0, 1}, of which 0 is never drawn. Sparse where they are; the same draw if they are not.
        """
        check_drawable(labels, truth, "the labels")
        known = _known(labels, truth)
        known.data *= self._keeps(known, np.random.RandomState(self.seed))
        known.eliminate_zeros()
        return known if is_sparse(labels) else known.toarray()

    def record(self) -> dict[str, Any]:
        """What was asked, by name, and nothing else."""
        asked = self._others() or _PER_IMAGE
        return {name: getattr(self, name) for name in (*asked, "seed")}

    def __str__(self) -> str:
        if self.fpc is not None:
            kept = f"up to {self.fpc:,} positive and {self.fpc:,} negative labels of each class"
        elif self.rps is not None:
            kept = f"each label dropped with probability {self.rps:g}"
        elif self.share is not None:
            kept = f"{100 * self.share:g}% of the known labels"
        else:
            numbers = ("all" if n == -1 else f"{n:,}" for n in (self.num_pos, self.num_neg))
            kept = "{} positive and {} negative labels of each image".format(*numbers)
        return f"{kept}, seed {self.seed}"

    def _others(self) -> list[str]:
        return [name for name in _OTHERS if getattr(self, name) is not None]

    def _keeps(self, known: csr_array, rng: np.random.RandomState) -> np.ndarray:
        """Which of the known labels are kept, bool [M]."""
        if self.fpc is not None:
            return _of_each_class(known, self.fpc, rng)
        if self.rps is not None:
            return rng.random_sample(known.nnz) >= self.rps
        if self.share is not None:
            kept = np.zeros(known.nnz, dtype=bool)
            kept[rng.permutation(known.nnz)[: round(self.share * known.nnz)]] = True
            return kept
        return _of_each_image(known, self.num_pos, self.num_neg, rng)


def _check_one_way(names: Sequence[str]) -> None:
    """Raise UserError where these, the other ways first, are two ways to draw at once."""
    if len(names) > 1 and names[0] in _OTHERS:
        raise UserError(f"--{names[0]} and --{names[1]} are two ways to draw: give one of them")


def check_drawable(labels: Labels, truth: str, name: object) -> None:
    """Raise UserError unless these are labels that can be drawn from."""
    if not TRUTHS.get(truth):
        raise UserError(f"{name}: where the truth is {truth!r}, there is nothing to draw from")
    if labels.ndim != 2 or labels.dtype.kind not in "biuf":
        raise UserError(
            f"{name}: must be a table [images, classes] of numbers, not {labels.dtype} "
            f"of shape {labels.shape}"
        )
    if is_sparse(labels) and truth == "full":
        raise UserError(
            f"{name}: a sparse table does not hold the negatives of a full truth: where it holds "
            'all that is known, dataset.json says "truth": "partial"'
        )
    values: np.ndarray = labels if isinstance(labels, np.ndarray) else labels.data
    wrong = np.logical_and.reduce([values != value for value in TRUTHS[truth]])
    if not wrong.any():
        return
    rule = {
        "full": 'is neither 0 nor 1: where not all are known, dataset.json says "truth": "partial"',
        "partial": "is none of -1, 0 and 1: correct it",
    }
    raise UserError(f"{name}: the value {values[wrong][0]} {rule[truth]}")


def _known(labels: Labels, truth: str) -> csr_array:
    """A table of its own with the known labels alone, {-1, 1}, which are stored row by row."""
    from scipy.sparse import csr_array

    signed = labels.astype(np.int8)
    if truth == "full":
        signed = signed * np.int8(2) - np.int8(1)
    known = csr_array(signed)
    known.eliminate_zeros()
    known.sort_indices()
    return known


def _of_each_image(
    known: csr_array, num_pos: int, num_neg: int, rng: np.random.RandomState
) -> np.ndarray:
    """Which are kept if that many of each image are, -1 for all of them: the official draw."""
    kept = np.zeros(known.nnz, dtype=bool)
    positive = known.data == 1
    for first, end in pairwise(known.indptr.tolist()):
        is_positive = positive[first:end]
        # with num_neg 0 too: it moves the random stream on, as in the official draw
        for eligible, number in ((is_positive, num_pos), (~is_positive, num_neg)):
            places = first + eligible.nonzero()[0]
            rng.shuffle(places)
            kept[places if number == -1 else places[:number]] = True
    return kept


def _of_each_class(known: csr_array, number: int, rng: np.random.RandomState) -> np.ndarray:
    """Which are kept if that many positives and that many negatives of each class are."""
    kinds = 2 * known.indices.astype(np.int32) + (known.data == 1)  # a class's negatives, positives
    order = rng.permutation(known.nnz)
    order = order[np.argsort(kinds[order], kind="stable")]
    sizes = np.bincount(kinds)
    rank = np.arange(known.nnz) - np.repeat(sizes.cumsum() - sizes, sizes)  # within the kind
    kept = np.zeros(known.nnz, dtype=bool)
    kept[order[rank < number]] = True
    return kept


def add_draw_flags(parser: cli.Parser, seeds: str = "the draw") -> None:
    """The flags that `draw_from` reads, without values where not given.

    `seeds`: what is drawn with --seed.
    """
    group = parser.add_argument_group("which labels are seen")

    def add(name: str, metavar: str, help: str, default: int | None = None) -> None:
        parse = DRAW_RULES[name]
        group.add_argument(f"--{name}", type=parse, metavar=metavar, help=help, default=default)

    add("num_pos", "N", "positives kept per image, -1 for all (1)")
    add("num_neg", "N", "negatives kept per image, -1 for all (0)")
    add("fpc", "N", "FPC(N): keep N positives and N negatives of each class instead")
    add("rps", "P", "RPS(P): drop each label with this probability instead, 0 < P < 1")
    add("share", "S", "keep this share of the known labels instead, 0 < S <= 1")
    add("seed", "N", f"of {seeds} (%(default)s)", default=1200)


def draw_from(args: argparse.Namespace) -> Draw:
    """The draw that the flags ask for. Raises UserError where they ask for two."""
    given = {n: getattr(args, n) for n in (*_OTHERS, *_PER_IMAGE) if getattr(args, n) is not None}
    _check_one_way(list(given))
    return Draw(**given, seed=args.seed)
