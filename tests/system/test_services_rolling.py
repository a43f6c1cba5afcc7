"""Endpoints that come and go under load: no request fails (R03)."""

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.services import Asking, cluster_ip, established, service

pytestmark = pytest.mark.system

# Answers as the built-in server does; after SIGTERM it goes on for so long, as a server that drains its clients.
DRAINING_SERVER = r"""
import http.server, json, os, signal, socket, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"pod": os.environ.get("HOSTNAME", "?"), "clientAddress": self.client_address[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 256
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(3, os._exit, [0]).start())
Server(("::", 8080), Answer).serve_forever()
"""


def test_r03_a_rolling_update_under_load_fails_no_request(dual_stack: Lab, space: str) -> None:
    """Every endpoint is another one at the end, and all of the requests meanwhile were answered."""
    lab = dual_stack
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    server = workloads.script("server", DRAINING_SERVER, readinessProbe=probe, ports=[{"containerPort": 8080}])
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
