"""Under change no packet passes that neither the state before nor the one after allows; none is lost that both allow.

In every state of these tests web is isolated and lets friend in, by ever other words: policies are edited and replaced,
selectors and labels exchanged, namespaces relabelled, pods come and go, the controller is killed. friend and stranger
ask all the time, each time from a new port. A window in either direction is an answer too many or too few.
"""

import itertools
import signal
import time
from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import policy_probes, workloads
from tests.system.policy_probes import EVERYTHING, NOTHING, Probers, Reach
from tests.system.steady import Asked, Steady

pytestmark = pytest.mark.system

SPACE = "policy-churn"
WEB, FRIEND, STRANGER = f"{SPACE}/web", f"{SPACE}/friend", f"{SPACE}/stranger"
# So many steps after a kill of the controller comes the next.
STEPS_A_KILL = 12

FROM_FRIEND = {"podSelector": {"matchLabels": {"app": "friend"}}}

Object = dict[str, Any]
# A manifest that is applied, or arguments of kubectl.
Step = Object | tuple[str, ...]

policy = partial(policy_probes.policy, space=SPACE)


@pytest.fixture(scope="module")
def pods(dual_stack: Lab) -> Iterator[dict[str, Object]]:
    """web on the first node, stranger beside it, friend elsewhere."""
    first, second, _ = dual_stack.nodes
    with policy_probes.servers(dual_stack, SPACE, {"web": first, "stranger": first, "friend": second}) as found:
        yield found


def server(app: str, node: str, name: str = "") -> Object:
    return workloads.server(name or app, node, space=SPACE, app=app)


def steps(pods: dict[str, Object], nodes: tuple[str, ...]) -> Iterator[Step]:
    """Each leads from one state to another in which friend reaches web at its port, and stranger does not."""
    web, friend = {"app": "web"}, FROM_FRIEND
    anywhere = {"namespaceSelector": {}, **friend}
    hosts = [{"ipBlock": {"cidr": f"{ip}/{128 if ':' in ip else 32}"}} for ip in workloads.addresses(pods[FRIEND])]
    numbers = [{"port": workloads.PORT, "protocol": protocol} for protocol in ("TCP", "UDP")]
    named = [{"port": protocol.lower(), "protocol": protocol} for protocol in ("TCP", "UDP")]
    ranges = [{**port, "endPort": workloads.PORT + 10} for port in numbers]
    # Edited: peers and ports in other words, rules more and fewer, the other direction too, about more pods and fewer.
    for peers, ports in itertools.product([[friend], [anywhere], hosts], [numbers, named, ranges]):
        yield policy("web", subject=web, ingress=[{"from": peers, "ports": ports}])
    yield policy("web", subject=web, ingress=[{"from": [peer], "ports": numbers} for peer in (friend, anywhere)])
    yield policy("web", subject=web, ingress=[{"from": [friend]}], egress=[{}], policyTypes=["Ingress", "Egress"])
    yield policy("web", subject={}, ingress=[{"from": [friend]}])
    yield policy("web", subject=web, ingress=[{"from": [friend]}])
    # Replaced by another, and the other by it.
    yield policy("other", subject=web, ingress=[{"from": hosts}])
    yield "delete", "networkpolicy", "web"
    yield policy("web", subject={}, ingress=[{"from": [anywhere]}])
    yield "delete", "networkpolicy", "other"
    # One that allows nothing, beside one that does.
    yield policy("other", subject=web, ingress=[{"from": [friend], "ports": numbers}])
    yield policy("web", subject=web, policyTypes=["Ingress"], ingress=[])
    yield "delete", "networkpolicy", "web"
    # A namespace relabelled from one that is let in to another that is, and labels that matter to nobody.
    yield "label", "namespace", SPACE, "team=a", "--overwrite"
    teams = {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}
    yield policy("other", subject=web, ingress=[{"from": [{"namespaceSelector": teams, **friend}]}])
    yield "label", "namespace", SPACE, "team=b", "--overwrite"
    for app in ("web", "friend", "stranger"):
        yield "label", "pod", app, "more=labels", "--overwrite"
        yield "label", "pod", app, "more-"
    # Others of the same labels come and go.
    yield server("web", nodes[2], "more-web")
    yield server("friend", nodes[0], "more-friend")
    yield "wait", "--for=condition=Ready", "pod", "more-web", "more-friend"
    yield "delete", "pod", "more-web", "more-friend"


def test_r14_no_window_opens_or_shuts_while_all_of_it_changes(dual_stack: Lab, pods: dict[str, Object]) -> None:
    lab, taken = dual_stack, list[tuple[float, Step]]()
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": [FROM_FRIEND]}]))
    web, unguarded = workloads.addresses(pods[WEB]), workloads.addresses(pods[STRANGER])
    with Probers(lab, [FRIEND, STRANGER, *(f"node/{node}" for node in lab.nodes)]) as probers:
        reach = Reach(probers, pods)
        reach.until({(FRIEND, WEB): EVERYTHING, (STRANGER, WEB): NOTHING})
        let_in, shut_out, beside = Steady(lab, FRIEND, web), Steady(lab, STRANGER, web), Steady(lab, FRIEND, unguarded)
        with let_in, shut_out, beside:
            for number, step in enumerate(steps(pods, lab.nodes), 1):
                taken.append((time.time(), step))
                if number % STEPS_A_KILL == 0:
                    lab.wait_until(lambda: lab.daemons()["controller"]["process"], "the controller up again")
                    lab.kill("controller", signal.SIGKILL)
                if isinstance(step, tuple):
                    lab.kubectl(*step, "--namespace", SPACE)
                else:
                    lab.apply(step)
        reach.until({(FRIEND, WEB): EVERYTHING, (STRANGER, WEB): NOTHING})
    for asked in (let_in.asked, shut_out.asked):
        assert {(one.protocol, one.address) for one in asked} == set(itertools.product(["TCP", "UDP"], web))
    print(f"{len(let_in.asked)} questions of friend's, {len(shut_out.asked)} of stranger's, {len(taken)} changes")
    opened = [one for one in shut_out.asked if one.answered]
    assert not opened, f"a window opened: {near(opened, taken)}"
    # What got lost beside, where no policy is, was lost because the machine is slow. So it may be when ports of the
    # vswitch come and go: 300 questions a second to an unguarded pod lost as many as those to web then, one or two.
    unexplained = [one for one in lost(let_in) if not any(abs(one.at - slow.at) < 1 for slow in lost(beside))]
    shut = [(one, step) for one, step in near(unexplained, taken) if not is_about_ports(step)]
    assert not shut, f"a window shut: {shut}"


def is_about_ports(step: Step) -> bool:
    """Whether pods come or go by it."""
    return step[0] in ("delete", "wait") and "pod" in step if isinstance(step, tuple) else step["kind"] == "Pod"


def lost(steady: Steady) -> list[Asked]:
    """What was not answered; where no policy is, because the machine was slow."""
    return [one for one in steady.asked if not one.answered]


def near(some: Iterable[Asked], taken: list[tuple[float, Step]]) -> list[tuple[Asked, Step]]:
    """Each with the last change before it."""
    found = []
    for one in some:
        before = [step for at, step in taken if at < one.at]
        found.append((one, before[-1] if before else ("no change",)))
    return found


def test_r14_nothing_opens_while_what_enforces_it_is_killed(dual_stack: Lab, pods: dict[str, Object]) -> None:
    """A vswitch that starts has no flows and lets nothing through until it has all."""
    lab, web = dual_stack, workloads.addresses(pods[WEB])
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": [FROM_FRIEND]}]))
    with Probers(lab, [FRIEND, STRANGER, f"node/{lab.nodes[0]}"]) as probers:
        reach = Reach(probers, pods)
        reach.until({(FRIEND, WEB): EVERYTHING, (STRANGER, WEB): NOTHING})
        with Steady(lab, STRANGER, web, pause_s=0.005) as shut_out:
            for daemon in ("northd", f"{lab.nodes[0]}/ovn-controller", f"{lab.nodes[0]}/ovs-vswitchd"):
                lab.restart(daemon, signal.SIGKILL)
                reach.until({(FRIEND, WEB): EVERYTHING, (STRANGER, WEB): NOTHING})
    assert not [one for one in shut_out.asked if one.answered]


def test_r14_a_new_pod_is_not_open_for_a_moment(dual_stack: Lab, pods: dict[str, Object]) -> None:
    """Somebody asks at its address since before it is there: it is one of the next few of the node's."""
    lab, name = dual_stack, f"{SPACE}/new"
    lab.apply([policy("new", subject={"app": "new"}), server("new", lab.nodes[0])])
    addresses = workloads.addresses(lab.wait_ready(name)[name])
    for _ in range(2):
        lab.delete("pod", "new", "-n", SPACE)
        next_ones = [str(ip_address(one) + more) for one in addresses for more in range(3)]
        with Steady(lab, STRANGER, next_ones, pause_s=0.003) as shut_out:
            lab.apply(server("new", lab.nodes[0]))
            found = lab.wait_ready(name)
            with Probers(lab, [STRANGER, f"node/{lab.nodes[0]}"]) as probers:
                Reach(probers, {**pods, **found}).until({(STRANGER, name): NOTHING})
        addresses = workloads.addresses(found[name])
        assert set(addresses) <= set(next_ones)
        assert not [one for one in shut_out.asked if one.answered]
