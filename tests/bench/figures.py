"""Figures: what was measured, what it is to be compared with, and whether that is good enough."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from tests.bench.running import middle, p99


@dataclass(frozen=True)
class Figure:
    """One number, of a distribution its median, with p99 beside it.

    `share` is its part of the bound (or the multiple); `met` is None where no mark was set.
    """

    section: str
    name: str
    value: float
    unit: str
    beside: str = ""
    bound: float | None = None
    share: float | None = None
    mark: str = ""
    met: bool | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Section:
    """Makes the figures of one section."""

    name: str

    def plain(self, name: str, value: float, unit: str) -> Figure:
        """A figure for the record, without a mark."""
        return Figure(self.name, name, value, unit)

    def below(
        self, name: str, value: float, unit: str, most: float, beside: str = "", bound: float | None = None
    ) -> Figure:
        """A figure that must stay under `most`."""
        return Figure(self.name, name, value, unit, beside, bound, mark=f"< {most:g} {unit}", met=value < most)

    def times(
        self,
        name: str,
        values: Sequence[float],
        most: float | None = None,
        beside: str = "",
        bound: float | None = None,
    ) -> Figure:
        """A distribution of milliseconds; its median must stay under `most`, if that is given."""
        half = middle(values)
        mark, met = ("", None) if most is None else (f"p50 < {most:g} ms", half < most)
        return Figure(self.name, name, half, "ms", beside, bound, None, mark, met, p99(values))

    def none(self, name: str, value: int, unit: str, beside: str = "", bound: float | None = None) -> Figure:
        """A count that must be 0."""
        return Figure(self.name, name, value, unit, beside, bound, mark="0", met=value == 0)

    def share(
        self, name: str, value: float, unit: str, beside: str, bound: float, least: float | None = None
    ) -> Figure:
        """A rate beside what is possible, of which it must be at least that share, if that is given."""
        share = value / bound
        mark, met = ("", None) if least is None else (f"≥ {least:.0%}", share >= least)
        return Figure(self.name, name, value, unit, beside, bound, share, mark, met)

    def multiple(self, name: str, value: float, unit: str, beside: str, bound: float, most: float) -> Figure:
        """A cost that must not grow beyond that multiple of what it was."""
        multiple = value / bound
        return Figure(self.name, name, value, unit, beside, bound, multiple, f"≤ {most:g}×", multiple <= most)


def table(figures: Iterable[Figure]) -> Table:
    """The figures for people, a block a section."""
    made = Table(box=None, pad_edge=False)
    for heading in ("", ""):
        made.add_column(heading, no_wrap=True)
    for heading in ("measured", "p99"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("beside, in the same run")
    for heading in ("share", "mark", ""):
        made.add_column(heading, justify="right", no_wrap=True)
    shown = ""
    for figure in figures:
        if shown and shown != figure.section:
            made.add_row()
        made.add_row(
            f"[bold]{figure.section}[/]" if figure.section != shown else "",
            figure.name,
            f"{_number(figure.value)} {figure.unit}".rstrip(),
            "" if figure.p99 is None else f"{_number(figure.p99)} {figure.unit}",
            "" if figure.bound is None else f"{figure.beside}: {_number(figure.bound)}",
            _share(figure),
            figure.mark,
            {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[figure.met],
        )
        shown = figure.section
    return made


def plain(figures: Iterable[Figure]) -> list[dict[str, object]]:
    """The figures for programs."""
    return [asdict(figure) for figure in figures]


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _share(figure: Figure) -> str:
    if figure.share is None:
        return ""
    return f"{figure.share:.2f}×" if figure.mark.endswith("×") else f"{figure.share:.0%}"
