"""What the node's agent counts and times, for Prometheus; names and buckets only."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 240)

CALL = Histogram("ovnk_cni_call_seconds", "CNI calls until answered", ["command", "code"], buckets=_BUCKETS_S)
ADD_STEP = Histogram("ovnk_cni_add_step_seconds", "Steps of a CNI ADD", ["step"], buckets=_BUCKETS_S)
WAITING = Gauge("ovnk_cni_calls_in_progress", "CNI calls not yet answered", ["command"])
PORTS = Gauge("ovnk_node_pod_ports", "Pods' ports on the integration bridge")
READY = Gauge("ovnk_node_ready", "1 when the node can serve an ADD")
APPLIED = Counter("ovnk_node_changes_total", "Changes made to the node's own networking", ["what"])
SWEPT = Counter("ovnk_node_ports_swept_total", "Ports removed whose pod and namespace were gone")

SERVICE_RULES = Histogram(
    "ovnk_node_service_rules_seconds", "A change of services until the kernel has its rules", buckets=_BUCKETS_S
)

FORGOTTEN = Counter("ovnk_node_connections_forgotten_total", "UDP connections that led where services no longer do")

# The steps of an ADD, in order.
ADDRESS, LINK, PORT, FLOWS = "address", "link", "port", "flows"


class Steps:
    """How long each step of one ADD took, in milliseconds, for its line in the log; counted for Prometheus too."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextlib.contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Times a step, whether it ends well or not."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            ADD_STEP.labels(step).observe(seconds)
            self.ms[f"{step}_ms"] = round(seconds * 1000, 2)
