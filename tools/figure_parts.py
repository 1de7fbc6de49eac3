"""What the figures of finished runs share: series of runs, their lines, legends and notes.

Letters in shapes: S seeds, T epochs.
"""

from __future__ import annotations

import itertools
import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cli import UserError, printable
from naming import written
from record import RunRecord, is_number
from settings import FLAGS
from tools.finished import Run, group_by_method, method_name
from tools.looks import Look, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 10.0  # inches; a page shows a figure about 900 pixels wide
MAX_BANDS = 6  # series; bands of more would cover each other
GREY = "0.35"
FULL = "full labels"
_LINES = ("-", "--", ":", "-.")


class Series(NamedTuple):
    """Runs that are one line of a figure, under a name that no other line of it has."""

    name: str
    look: Look
    runs: list[Run]

    @property
    def method(self) -> str:
        """What the papers call the method."""
        return method_name(self.runs[0].config)

    @property
    def permanent(self) -> bool:
        """Whether what its scheme selects stays corrected."""
        return self.runs[0].config.mod_scheme == "LL-Cp"


def series_of(runs: Sequence[Run], varied: str = "seed") -> list[Series]:
    """The runs that differ in the seed, and in `varied`, alone together; in the order of methods.

    Where several are of one method, their names say in which settings they differ, and their lines
    are of different kinds.
    """
    merged: dict[tuple, list[Run]] = {}
    for group in group_by_method(runs):
        key = tuple(_settings(group[0], varied).items())
        merged.setdefault(key, []).extend(group)
    named: dict[str, list[list[Run]]] = {}
    for group in merged.values():
        named.setdefault(method_name(group[0].config), []).append(group)
    return [
        Series(name, style, group)
        for method, groups in named.items()
        for (name, style), group in zip(_apart(method, groups, varied), groups, strict=True)
    ]


def _settings(run: Run, varied: str) -> dict[str, Any]:
    names = (name for name, f in FLAGS.items() if f.metadata["names_run"])
    return {name: getattr(run.config, name) for name in names if name not in ("seed", varied)}


def _apart(method: str, groups: Sequence[list[Run]], varied: str) -> list[tuple[str, Look]]:
    """A name and a look for each of the groups of one method."""
    usual = look(method)
    if len(groups) == 1:
        return [(method, usual)]
    settings = [_settings(group[0], varied) for group in groups]
    differ = [name for name in settings[0] if len({one[name] for one in settings}) > 1]
    others = (line for line in _LINES if line != usual.linestyle)
    lines = itertools.cycle([usual.linestyle, *others])
    return [
        (printable(", ".join([method, *(f"{name} {written(own[name])}" for name in differ)])),
         usual._replace(linestyle=line))
        for own, line in zip(settings, lines, strict=False)
    ]  # fmt: skip


def check_same_data(
    runs: Sequence[Run], apart: Callable[[Run, str], Any] = lambda run, name: None
) -> None:
    """Raise UserError where not all runs were trained and measured on the same images and labels.

    Full labels are other labels than the observed ones, and may be drawn beside these. What is
    called `name` in two runs may differ where `apart(run, name)` does.
    """
    first: dict[tuple, tuple[Any, Run]] = {}
    for run in runs:
        facts = {"data set": run.config.dataset, "what is recorded of the data": bool(run.data)}
        for name, value in {**facts, **run.used}.items():
            known, other = first.setdefault((name, apart(run, name)), (value, run))
            if known != value:
                raise UserError(
                    f"{other.config.run_dir} and {run.config.run_dir} differ in {name}: a figure "
                    "is of one data set and one draw of its labels, give folders of such runs"
                )


def result(run: Run, name: str) -> float:
    """That number of summary.json. Raises UserError where there is none."""
    value = run.summary.get(name)
    if not is_number(value):
        raise UserError(f"{run.config.run_dir / 'summary.json'} holds no {name}: run it again")
    return float(value)  # type: ignore[arg-type]


def val_map(runs: Iterable[Run]) -> float:
    """The mean of the mAPs that chose the epoch, in percent."""
    return statistics.mean(result(run, run.config.chosen_by) for run in runs)


def best_of(series: Iterable[Series], method: str) -> Series | None:
    """Of the series of a method the one with the highest val mAP; None where it has none."""
    return max((one for one in series if one.method == method),
               key=lambda one: val_map(one.runs), default=None)  # fmt: skip


def by_epoch(runs: Sequence[Run], column: str) -> np.ndarray:
    """A column of metrics.csv [S, T], of the epochs that every run reached; NaN where unknown."""
    tables = [RunRecord(run.config.run_dir).read_metrics() for run in runs]
    shortest = min(map(len, tables))
    return np.array([[row[column] for row in table[:shortest]] for table in tables])


def selects(series: Series) -> bool:
    """Whether its runs select labels, some of which are known to be right or wrong."""
    known = ~np.isnan(by_epoch(series.runs, "selected_precision"))
    return series.method != FULL and bool(known.any())


def selecting(runs: Sequence[Run]) -> list[Series]:
    """The series that select labels of known truth. Raises UserError where there is none."""
    series = [one for one in series_of(runs) if selects(one)]
    if not series:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it select no labels, or their truth is "
            "unknown: train one with --mod_scheme LL-R, LL-Ct or LL-Cp"
        )
    return series


def map_column(runs: Sequence[Run]) -> tuple[str, str]:
    """The column of validation mAP to show, and what to call it: by the truth where it is known."""
    if any(not np.isnan(by_epoch([run], "val_map")).all() for run in runs):
        return "val_map", "validation mAP (%)"
    return "val_map_observed", "validation mAP,\nobserved labels (%)"


def test_name(runs: Sequence[Run]) -> str:
    """What to call test mAP: where no truth is known, what is not annotated counts as negative."""
    observed = any(run.summary.get("test_labels") == "observed" for run in runs)
    return "test mAP, observed labels (%)" if observed else "test mAP (%)"


def draw_line(
    axes: Axes, series: Series, x: Sequence[float] | np.ndarray, values: np.ndarray, band: bool
) -> None:
    """Draw the mean of `values` [S, T] over seeds at each x [T], in a band from lowest to highest.

    Nothing where no mean is known.
    """
    mean = values.mean(axis=0)
    if np.isnan(mean).all():
        return
    axes.plot(x, mean, **line_style(series))
    if band and len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(x, low, high, color=series.look.color, alpha=0.15, linewidth=0)


def line_style(series: Series) -> dict[str, Any]:
    """How matplotlib draws the line of a series."""
    color, marker, linestyle = series.look
    size = 6.5 if marker == "*" else 4
    return {"color": color, "marker": marker, "linestyle": linestyle, "markersize": size}


def handle(series: Series) -> Line2D:
    """The entry of a series in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=series.name, **line_style(series))


def legend_above(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend in one or more rows above the panels, where it covers nothing."""
    columns = _columns([one.get_label() for one in handles], figure.get_figwidth())
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=columns,
                           frameon=False)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _columns(names: Sequence[str], width: float) -> int:
    """How many entries of a legend stand side by side in so many inches, about 12 letters each."""
    for count in range(len(names), 1, -1):
        columns = np.array_split([len(name) for name in names], count)
        if sum(max(column) + 6.5 for column in columns) <= 12 * width:
            return count
    return 1


def legend_height(names: Sequence[str], width: float) -> float:
    """The inches that the rows of such a legend take, the first one aside."""
    return 0.21 * (-(-len(names) // _columns(names, width)) - 1)


def note_below(figure: Figure, *sentences: str) -> None:
    """What lines and bands are, in small letters below the panels."""
    text = textwrap.fill(" ".join(filter(None, sentences)), int(figure.get_figwidth() * 14.5))
    figure.supxlabel(text, fontsize=8.5, color=GREY, parse_math=False)


def seeds_note(series: Sequence[Series], shown: str = "bands") -> str:
    """How many seeds a mean is of, and what shows their spread (nothing where `shown` is empty)."""
    return means_note("Lines", (len(one.runs) for one in series), "", shown)


def means_note(what: str, counts: Iterable[int], each: str, shown: str) -> str:
    """How many seeds each mean is of, `each` saying what has one, and what shows their spread."""
    numbers = sorted({*counts})
    if numbers == [1]:
        return f"One seed{each or ' each'}."
    number = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    spread = f", {shown} from the lowest to the highest seed" if shown else ""
    return f"{what}: means of {number} seeds{each}{spread}."


def epochs_note(series: Sequence[Series]) -> str:
    """A sentence where seeds of a series reached different epochs."""
    lengths = [
        {len(RunRecord(run.config.run_dir).read_metrics()) for run in one.runs} for one in series
    ]
    stopped = any(len(reached) > 1 for reached in lengths)
    return "A line ends with the seed that stopped first." if stopped else ""


def tidy(axes: Axes, whole: bool = True) -> None:
    """No frame at the top and the right; with `whole`, x counts epochs."""
    axes.spines[["top", "right"]].set_visible(False)
    if whole:
        from matplotlib.ticker import MaxNLocator

        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Write names at the right of the ends of lines (x, y, name, colour), none over another.

    `gap`: their least distance, in heights of the panel.
    """
    to_panel, taken = axes.transData - axes.transAxes, -np.inf
    for x, y, name, color in sorted(ends, key=lambda end: end[1]):
        taken = max(to_panel.transform((x, y))[1], taken + gap)
        axes.annotate(name, (x, taken), xycoords=("data", "axes fraction"), xytext=(6, 0),
                      textcoords="offset points", color=color, va="center", fontsize=9,
                      annotation_clip=False, parse_math=False)  # fmt: skip
