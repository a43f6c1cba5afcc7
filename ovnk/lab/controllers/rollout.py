"""How many replicas each ReplicaSet of a Deployment may have next: one step of a rollout, as a pure function.

The rules are upstream's (pkg/controller/deployment/rolling.go): never more than replicas + maxSurge in all, never
fewer than replicas - maxUnavailable available. Scaling in mid-rollout is given to the new ReplicaSet alone; upstream
spreads it over all in proportion.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Size(NamedTuple):
    """A ReplicaSet: the replicas it is asked for, and those available."""

    replicas: int
    available: int


def step(spec: Mapping[str, Any], new: Size, old: Sequence[Size], occupied: int) -> tuple[int, list[int]]:
    """The replicas that the new ReplicaSet and the old ones (oldest first) shall have next.

    `spec` is the Deployment's; `occupied` counts the Pods of the old ReplicaSets that have not ended yet.
    """
    wanted = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return (new.replicas if occupied else wanted), [0 for _ in old]
    surge, unavailable = bounds(strategy.get("rollingUpdate") or {}, wanted)
    grown = _grown(wanted, surge, new, old)
    return grown, _shrunk(wanted - unavailable, new, old)


def bounds(rolling_update: Mapping[str, Any], replicas: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in Pods: a percentage of surge rounds up, of unavailability down; never both 0."""
    surge = count(rolling_update.get("maxSurge", "25%"), replicas)
    unavailable = count(rolling_update.get("maxUnavailable", "25%"), replicas, up=False)
    return surge, unavailable if surge or unavailable else 1


def count(value: int | str, replicas: int, up: bool = True) -> int:
    """An IntOrString in Pods: a number as it is, a percentage of the replicas rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        hundredths = replicas * int(value[:-1])
        return -(-hundredths // 100) if up else hundredths // 100
    return int(value)


def _grown(wanted: int, surge: int, new: Size, old: Sequence[Size]) -> int:
    if new.replicas >= wanted:
        return wanted
    room = wanted + surge - new.replicas - sum(size.replicas for size in old)
    return new.replicas + min(max(0, room), wanted - new.replicas)


def _shrunk(least: int, new: Size, old: Sequence[Size]) -> list[int]:
    """The old ones' replicas: first those go that are not available, then as many as `least` allows."""
    left = [size.replicas for size in old]
    room = new.replicas + sum(left) - least - (new.replicas - new.available)
    for i, size in enumerate(old):
        idle = min(max(0, room), max(0, size.replicas - size.available))
        left[i] -= idle
        room -= idle
    room = new.available + sum(size.available for size in old) - least
    for i, _ in enumerate(old):
        surplus = min(max(0, room), left[i])
        left[i] -= surplus
        room -= surplus
    return left
