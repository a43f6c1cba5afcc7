"""Endpoints that come and go under load: no request fails (R03)."""

import pytest

from tests.labs import Lab
from tests.system import servers, workloads
from tests.system.services import Asking, cluster_ip, established, service

pytestmark = pytest.mark.system


def test_r03_a_rolling_update_under_load_fails_no_request(dual_stack: Lab, space: str) -> None:
    """Every endpoint is another one at the end, and all of the requests meanwhile were answered."""
    lab = dual_stack
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    server = workloads.script("server", servers.DRAINING, readinessProbe=probe, ports=[{"containerPort": 8080}])
    deployment = workloads.deployment("roll", 3, space)
    deployment["spec"]["template"]["spec"] = {"containers": [server], "terminationGracePeriodSeconds": 10}
    lab.apply([deployment, service("roll", space, {"app": "roll"}), workloads.server("client", "n1", space=space)])
    lab.wait_ready(f"{space}/client")
    lab.kubectl("rollout", "status", "deployment/roll", f"--namespace={space}", "--timeout=60s", timeout=70)
    before = {ip for pod in lab.pods("app=roll").values() for ip in workloads.addresses(pod)}
    established(lab, "roll", space, before)
    with Asking(lab, f"{space}/client", cluster_ip(lab, "roll", space, 4), pause=0.01) as client:
        client.more(20)
        lab.kubectl("rollout", "restart", "deployment/roll", f"--namespace={space}")
        lab.kubectl("rollout", "status", "deployment/roll", f"--namespace={space}", "--timeout=90s", timeout=100)
        client.more(100)
    assert before.isdisjoint(
        ip
        for pod in lab.pods("app=roll").values()
        if "deletionTimestamp" not in pod["metadata"]
        for ip in workloads.addresses(pod)
    )
    assert len(client.heard) > 120
    assert not [answer.error for answer in client.heard if answer.error]
    lab.delete("deployment", "roll", f"--namespace={space}")
    lab.delete("service", "roll", f"--namespace={space}")
