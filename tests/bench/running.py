"""What a run of the bench is given, and the statistics that all sections share."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`folder` is for files of this run; with `quick` everything is smaller; `kube_bin` holds a real API server."""

    folder: Path
    quick: bool = False
    kube_bin: Path | None = None


def middle(values: Sequence[float]) -> float:
    """The median, p50."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 % of them do not exceed; of fewer than 100 that is the greatest."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]
