"""Cluster-wide policies are told in a condition whether they stand as they were written."""

from collections.abc import Iterable

from ovnk.kube import decode
from ovnk.kube.client import Client
from ovnk.kube.conditions import Condition, ConditionWriter
from ovnk.kube.policy_objects import Standing

CONDITION = "Accepted"
# meta/v1 Condition, message.
MESSAGE_CHARACTERS = 32768


class PolicyStatusWriter:
    """`submit` how policies stand; `run` writes it, the latest for each."""

    def __init__(self, client: Client) -> None:
        self._conditions = ConditionWriter(client)

    def submit(self, standings: Iterable[Standing]) -> None:
        """Have these written, in place of what may still wait for the same policies."""
        for one in standings:
            self._conditions.submit(f"{_path(one)}/{one.name}", (_condition(one),))

    def clear(self) -> None:
        """Forget all that waits: the lease is lost."""
        self._conditions.clear()

    async def run(self) -> None:
        """Write until cancelled."""
        await self._conditions.run()


def _path(standing: Standing) -> str:
    """Where policies of the kind are, in the version that this one was read in."""
    resource, _ = decode.OPTIONAL_KINDS[standing.kind]
    paths = (resource.path, *resource.otherwise)
    return next((path for path in paths if f"/{standing.version}/" in path), resource.path)


def _condition(standing: Standing) -> Condition:
    message = "; ".join(standing.faults)[:MESSAGE_CHARACTERS] or "every rule stands as it is written"
    status, reason = ("False", "Invalid") if standing.faults else ("True", "Accepted")
    return Condition(CONDITION, status, reason, message, standing.generation or None)
