"""What policies decide stands in ovn-controller's log where it was asked for, by the policy's name, not too often."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ovnk.translate.names import ACL_LOG_LINES_S, ACL_NAME_MAX
from tests.labs import Lab
from tests.system import northbound, policy_probes, workloads
from tests.system.steady import Steady

pytestmark = pytest.mark.system

SPACE = "policy-logs"
WEB, CLIENT, OTHER = f"{SPACE}/web", f"{SPACE}/client", f"{SPACE}/other"
LINE = re.compile(r'acl_log\([^)]*\)\|INFO\|name="([^"]*)", verdict=(\w+), severity=info, direction=(\S+): (\w+)')
SECOND = re.compile(r"^(\S+T\d\d:\d\d:\d\d).*acl_log", re.MULTILINE)

Object = dict[str, Any]

policy = partial(policy_probes.policy, space=SPACE)


@pytest.fixture(scope="module")
def pods(dual_stack: Lab) -> Iterator[dict[str, Object]]:
    """web on the first node, the others elsewhere."""
    first, second, _ = dual_stack.nodes
    with policy_probes.servers(dual_stack, SPACE, {"web": first, "client": second, "other": second}) as found:
        yield found


def test_allowed_and_denied_connections_are_logged_by_the_policys_name(
    dual_stack: Lab, pods: dict[str, Object]
) -> None:
    lab, web = dual_stack, workloads.addresses(pods[WEB])
    peers = [{"podSelector": {"matchLabels": {"app": "client"}}}]
    lab.apply(logged("in", "both", subject={"app": "web"}, ingress=[{"from": peers}]))
    with Steady(lab, CLIENT, web, pause_s=0.1), Steady(lab, OTHER, web, pause_s=0.1):
        lab.wait_until(
            lambda: (
                {
                    ("NP:policy-logs/in:ingress:0", "allow", "to-lport"),
                    ("NP:policy-logs/in:ingress:isolated", "drop", "to-lport"),
                }
                <= {found[:3] for found in lines(lab)}
            ),
            "both in the log",
        )
    lab.delete("networkpolicy", "in", "-n", SPACE)


def test_a_name_that_is_too_long_is_cut_and_still_leads_to_its_policy_alone(
    dual_stack: Lab, pods: dict[str, Object]
) -> None:
    """Two whose first 200 letters are the same. The whole is in the northbound, with its owner."""
    lab, web = dual_stack, workloads.addresses(pods[WEB])
    names = [f"{'long-' * 40}{end}" for end in ("one", "two")]
    lab.apply([logged(names[0], "deny", subject={"app": "web"}), logged(names[1], "deny", subject={"app": "client"})])
    client = workloads.addresses(pods[CLIENT])
    with Steady(lab, OTHER, [*web, *client], pause_s=0.1):
        lab.wait_until(lambda: len(cut(lab)) == len(names), "both in the logs")
    owners = {
        row["name"]: dict(row["external_ids"][1])["ovnk-owner"]
        for row in northbound.select(lab.northbound_socket, "OVN_Northbound", "ACL")["ACL"]
        if isinstance(row["name"], str)
    }
    assert {owners[name] for name in cut(lab)} == {f"NetworkPolicy/{SPACE}/{name}" for name in names}
    lab.delete("networkpolicy", *names, "-n", SPACE)


def test_a_flood_is_logged_no_faster_than_the_meter_lets_it(dual_stack: Lab, pods: dict[str, Object]) -> None:
    lab, web = dual_stack, workloads.addresses(pods[WEB])
    lab.apply(logged("flood", "deny", subject={"app": "web"}))
    with Steady(lab, OTHER, web, pause_s=0.1):
        lab.wait_until(lambda: "NP:policy-logs/flood:ingress:isolated" in {name for name, *_ in lines(lab)}, "a line")
    before = by_second(lab)
    with Steady(lab, OTHER, web, pause_s=0.002) as flood:
        lab.wait_until(lambda: len(by_second(lab) - before) > 3, "lines of some seconds")
    counted = by_second(lab) - before
    assert len(flood.asked) > 3 * ACL_LOG_LINES_S * len(counted)
    # A bucket that was full as a second began gives that second twice as many.
    assert max(counted.values()) <= 2 * ACL_LOG_LINES_S
    lab.delete("networkpolicy", "flood", "-n", SPACE)


def logged(name: str, what: str, **spec: Any) -> Object:
    found = policy(name, **spec)
    found["metadata"]["annotations"] = {"ovnk.io/log": what}
    return found


def lines(lab: Lab) -> list[tuple[str, str, str, str]]:
    """Name, verdict, direction and protocol of each line of all nodes."""
    return [found for node in lab.nodes for found in LINE.findall(lab.logs(f"{node}/ovn-controller"))]


def cut(lab: Lab) -> set[str]:
    """The names in the log that had to be cut."""
    return {name for name, *_ in lines(lab) if len(name) == ACL_NAME_MAX}


def by_second(lab: Lab) -> Counter[str]:
    """How many lines the first node has had in each second."""
    return Counter(SECOND.findall(lab.logs(f"{lab.nodes[0]}/ovn-controller")))
