"""What the controller counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The controller's figures, in a registry of their own so that several controllers fit in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge("ovnk_leader", "1 while this process decides and writes", registry=self.registry)
        self.synced = Gauge("ovnk_synced", "1 once every watched kind has been listed", registry=self.registry)
        self.facts = Gauge(
            "ovnk_northbound_facts", "rows and members that the northbound shall hold", registry=self.registry
        )
        self.derivations = Gauge("ovnk_derivations", "functions run by the engine", registry=self.registry)
        self.failures = Gauge(
            "ovnk_failing_derivations", "functions that raised; their facts are held", registry=self.registry
        )
        self.quarantined = Gauge(
            "ovnk_quarantined_owners", "objects whose rows the database refuses", registry=self.registry
        )
        self.invalid = Gauge("ovnk_invalid_objects", "objects that cannot be used", ["kind"], registry=self.registry)
        self.degraded = Gauge("ovnk_degraded", "what /healthz says is not as it should be", registry=self.registry)
        self.settle_seconds = Histogram(
            "ovnk_settle_seconds",
            "from the first change of a batch to its facts",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "ovnk_northbound_commit_seconds",
            "one delta, from facts to committed",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.operations = Counter("ovnk_northbound_operations", "OVSDB operations committed", registry=self.registry)
        self.commit_errors = Counter(
            "ovnk_northbound_commit_errors", "turns whose writes failed; they are tried again", registry=self.registry
        )
        self.reconciliations = Counter(
            "ovnk_northbound_reconciliations", "whole comparisons with the database", ["cause"], registry=self.registry
        )
        self.writes = Counter("ovnk_nodenetwork_writes", "NodeNetwork objects written", registry=self.registry)
