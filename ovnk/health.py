"""How the controller is: what /healthz, /readyz and the metrics say, and what is logged when it changes.

It looks at the controller's parts and is told how each turn ended; it changes none of them. What is wrong with an
object of the cluster is told by an Event on it, which is the controller's own business.
"""

from collections.abc import Mapping
from functools import partial

import structlog

from ovnk.compiler import Compiler
from ovnk.kube.lease import Lease
from ovnk.kube.status import NodeNetworkWriter
from ovnk.kube.watch import Informer
from ovnk.metrics import Metrics
from ovnk.northbound.writer import Commit, Northbound

log = structlog.get_logger()


class Health:
    """Of one controller, in its event loop. `first_delete_share` is the setting's, to be named when it holds back."""

    def __init__(
        self,
        compiler: Compiler,
        informers: Mapping[str, Informer],
        lease: Lease,
        writer: NodeNetworkWriter,
        northbound: Northbound,
        first_delete_share: float,
    ) -> None:
        self.metrics = Metrics()
        self._compiler, self._informers, self._lease = compiler, informers, lease
        self._writer, self._northbound = writer, northbound
        self._first_delete_share = first_delete_share
        # Deletions that the last comparison held back, what the last turn could not write, and what was said last.
        self._held_back = 0
        self._refusal = ""
        self._trouble = northbound.trouble
        self._failing: set[tuple[str, object]] = set()
        self.metrics.degraded.set_function(lambda: len(self.degraded()))
        for kind, informer in informers.items():
            self.metrics.invalid.labels(kind).set_function(partial(_count_invalid, informer))

    # -- what is asked

    def why_not_ready(self) -> str:
        """What keeps this process from deciding and writing, were it to lead; "" when nothing does."""
        waiting = [kind for kind, one in self._informers.items() if not one.synced]
        if waiting:
            failures = [str(informer.failure) for informer in self._informers.values() if informer.failure]
            return f"not listed yet: {', '.join(waiting)}{'; ' if failures else ''}{'; '.join(failures)}"
        return "" if self._northbound.connected else self._northbound.trouble

    def degraded(self) -> list[str]:
        """What is not as it should be, a sentence each; empty when all is well."""
        found = [
            f"{failure.rule} failed on {failure.kind.__name__} {failure.key}: {failure.error!r}; its rows are held"
            for failure in self._compiler.graph.failures.values()
        ]
        found += [
            f"{one.identity}: functions contradict each other"
            for one in self._compiler.outputs.northbound.contradictions()
        ]
        found += [
            f'the database rejects the rows of "{owner}": {why}' for owner, why in self._northbound.quarantined.items()
        ]
        if self._held_back:
            found.append(
                f"{self._held_back} deletions are held back: the first comparison would delete more than "
                f"first_delete_share {self._first_delete_share} of the rows; is this the right northbound?"
            )
        found += [str(informer.failure) for informer in self._informers.values() if informer.failure]
        found += [f"NodeNetworks cannot be written: {self._writer.failure}"] if self._writer.failure else []
        found += [self._lease.trouble, self._northbound.trouble, self._refusal]
        return [one for one in dict.fromkeys(found) if one]

    # -- what is told

    def look_at_northbound(self) -> None:
        """Log where the northbound cannot be used any more, or can again."""
        trouble = self._northbound.trouble
        if trouble == self._trouble:
            return
        if trouble:
            log.warning("the northbound cannot be used; trying again", why=trouble)
        else:
            log.info("the northbound can be used", without=list(self._northbound.absent))
        self._trouble = trouble

    def look_at_graph(self) -> None:
        """Log functions that fail since the last look, and count what the engine does and holds."""
        failures = self._compiler.graph.failures
        for place in failures.keys() - self._failing:
            failure = failures[place]
            log.error(
                "a function failed; its facts are held",
                rule=failure.rule,
                kind=failure.kind.__name__,
                key=failure.key,
                exc_info=failure.error,
            )
        self._failing = set(failures)
        self.metrics.failures.set(len(failures))
        self.metrics.derivations.set(self._compiler.graph.runs.total())
        self.metrics.facts.set(len(self._compiler.outputs.northbound))

    def turn_succeeded(self) -> None:
        """What was wanted has been written."""
        if self._refusal:
            self._refusal = ""
            log.info("writing again")

    def turn_failed(self, error: Exception) -> None:
        """It has not, and is tried again; what has been said of it already is not said again."""
        self.metrics.commit_errors.inc()
        if str(error) not in (self._refusal, self._trouble):
            log.warning("cannot write; trying again", why=str(error))
        self._refusal = str(error)

    def compared(self, commit: Commit) -> None:
        """The whole northbound was held against what is wanted."""
        self._held_back = commit.held_back
        self.committed("northbound compared", commit)

    def committed(self, message: str, commit: Commit) -> None:
        """A delta, a repair or a comparison is in the database."""
        self.metrics.commit_seconds.observe(commit.ms / 1000)
        self.metrics.operations.inc(commit.operations)
        self.metrics.quarantined.set(len(self._northbound.quarantined))
        for owner, why in commit.quarantined.items():
            log.error("the database rejects an object's rows", owner=owner, why=why)
        tell = log.debug if message == "committed" else log.info
        tell(
            message, rows=commit.rows, operations=commit.operations, ms=round(commit.ms, 1), held_back=commit.held_back
        )


def _count_invalid(informer: Informer) -> int:
    return len(informer.invalid)
