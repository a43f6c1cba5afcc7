"""Connections that were there before a policy, and what policies do to them. Kubernetes leaves it to the network.

Ours follow the policies of the moment: one that no policy allows any more is cut (OVN marks it in connection tracking,
ct_mark.blocked), and goes on if it is allowed again before its ends have given up. What is still allowed, replies of
connections in the open direction above all, does not notice.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import policy_probes, workloads
from tests.system.conversations import Conversation

pytestmark = pytest.mark.system

SPACE = "policy-connections"
WEB, CLIENT, OTHER = f"{SPACE}/web", f"{SPACE}/client", f"{SPACE}/other"

# A server that answers, on TCP and UDP, once somebody has connected to another port.
LET_GO = 8081
_LATE = f"""
import asyncio
go = asyncio.Event()

async def let_go(reader, writer):
    go.set()
    writer.close()

async def answer(reader, writer):
    await go.wait()
    writer.write(b"late")
    writer.close()

class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        asyncio.ensure_future(go.wait()).add_done_callback(lambda _: self.transport.sendto(b"late", client))

async def main():
    await asyncio.start_server(let_go, "0.0.0.0", {LET_GO})
    await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, ("0.0.0.0", {workloads.PORT}))
    async with await asyncio.start_server(answer, "0.0.0.0", {workloads.PORT}) as server:
        await server.serve_forever()

asyncio.run(main())
"""
# Argument: its address.
_ASK_AND_WAIT = f"""
import socket, sys, time
for _ in range(500):
    try:
        stream = socket.create_connection((sys.argv[1], {workloads.PORT}))
        break
    except ConnectionRefusedError:
        time.sleep(0.02)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect((sys.argv[1], {workloads.PORT}))
datagrams.send(b"when")
print("asked")
print("TCP", stream.recv(100).decode() + ", UDP", datagrams.recv(100).decode())
"""

Object = dict[str, Any]

policy = partial(policy_probes.policy, space=SPACE)


@pytest.fixture(scope="module")
def pods(dual_stack: Lab) -> Iterator[dict[str, Object]]:
    """web on the first node, other beside it, client elsewhere."""
    first, second, _ = dual_stack.nodes
    with policy_probes.servers(dual_stack, SPACE, {"web": first, "other": first, "client": second}) as found:
        yield found


@pytest.fixture
def lab(dual_stack: Lab) -> Iterator[Lab]:
    """The lab without policies before and after."""
    yield dual_stack
    dual_stack.delete("networkpolicy", "--all", "-n", SPACE)


@contextlib.contextmanager
def conversations(
    lab: Lab, pods: dict[str, Object], source: str, target: str
) -> Iterator[dict[tuple[str, int], Conversation]]:
    """One by each protocol and family."""
    with contextlib.ExitStack() as stack:
        yield {
            (protocol, version): stack.enter_context(
                Conversation(lab, source, workloads.of_family(pods[target], version), protocol)
            )
            for protocol in ("TCP", "UDP")
            for version in (4, 6)
        }


def test_a_connection_that_a_policy_no_longer_allows_is_cut_and_goes_on_when_it_is_gone(
    lab: Lab, pods: dict[str, Object]
) -> None:
    with conversations(lab, pods, CLIENT, WEB) as cut, conversations(lab, pods, WEB, OTHER) as open_way:
        lab.apply(policy("deny", subject={"app": "web"}))
        for conversation in cut.values():
            conversation.falls_silent()
        for conversation in open_way.values():
            conversation.goes_on()
        lab.delete("networkpolicy", "deny", "-n", SPACE)
        for conversation in (*cut.values(), *open_way.values()):
            conversation.goes_on()


def test_egress_isolation_cuts_what_a_pod_began_and_not_what_it_answers(lab: Lab, pods: dict[str, Object]) -> None:
    with conversations(lab, pods, WEB, OTHER) as cut, conversations(lab, pods, CLIENT, WEB) as open_way:
        lab.apply(policy("out", subject={"app": "web"}, policyTypes=["Egress"]))
        for conversation in cut.values():
            conversation.falls_silent()
        for conversation in open_way.values():
            conversation.goes_on()


def test_a_connection_outlives_the_policy_that_allowed_it_if_another_does(lab: Lab, pods: dict[str, Object]) -> None:
    client = [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]
    lab.apply(policy("first", subject={"app": "web"}, ingress=client))
    with conversations(lab, pods, CLIENT, WEB) as kept:
        lab.apply(policy("second", subject={}, ingress=client))
        lab.delete("networkpolicy", "first", "-n", SPACE)
        lab.kubectl("label", "pod", "client", "-n", SPACE, "more=labels", "--overwrite")
        for conversation in kept.values():
            conversation.goes_on()
        # The one that is left without its rule: what it allowed is over.
        lab.apply(policy("second", subject={}))
        for conversation in kept.values():
            conversation.falls_silent()


def test_an_answer_of_a_connection_from_before_the_policy_gets_in(lab: Lab, pods: dict[str, Object]) -> None:
    """The first packet that OVN sees of it after the policy's coming is the server's, to a pod isolated by then."""
    lab.apply(workloads.pod("late", [workloads.script("late", _LATE)], lab.nodes[0], SPACE, app="late"))
    late = workloads.of_family(lab.wait_ready(f"{SPACE}/late")[f"{SPACE}/late"], 4)
    asked = lab.popen(WEB, workloads.PYTHON, "-u", "-c", _ASK_AND_WAIT, late)
    assert asked.stdout is not None
    assert asked.stdout.readline() == "asked\n"
    with conversations(lab, pods, CLIENT, WEB) as cut:
        lab.apply(policy("deny", subject={"app": "web"}))
        for conversation in cut.values():
            conversation.falls_silent()
    lab.exec(OTHER, "curl", "--silent", "--max-time", "5", f"http://{late}:{LET_GO}/")
    assert asked.communicate(timeout=30)[0] == "TCP late, UDP late\n"
