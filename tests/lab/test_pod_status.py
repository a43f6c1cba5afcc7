"""A pod's status follows from what the kubelet knows."""

import pytest

from ovnk.lab.kubelet import status
from ovnk.lab.kubelet.status import Container, Known, Object


def known(*codes: int | None, initial: tuple[int | None, ...] = (), **more: object) -> Known:
    """Containers that ended with a code, or run (None)."""

    def made(name: str, code: int | None) -> Container:
        container = Container(name, "ignored")
        container.run("lab://1")
        container.ready = True
        if code is not None:
            container.end(code)
        return container

    first = [made(f"init-{number}", code) for number, code in enumerate(initial)]
    rest = [made(f"main-{number}", code) for number, code in enumerate(codes)]
    given = {"sandbox": True, "initialized": True, "ips": ["10.244.0.3"], **more}
    return Known(first, rest, host_ips=["192.168.100.1"], **given)  # type: ignore[arg-type]


def pod(policy: str = "Always", **spec: object) -> Object:
    return {"metadata": {"name": "web"}, "spec": {"restartPolicy": policy, **spec}}


@pytest.mark.parametrize(
    ("codes", "policy", "phase"),
    [
        ((None,), "Always", "Running"),
        ((0,), "Always", "Running"),
        ((0,), "Never", "Succeeded"),
        ((0, 0), "OnFailure", "Succeeded"),
        ((0, 1), "Never", "Failed"),
        ((1,), "OnFailure", "Running"),
        ((0, None), "Never", "Running"),
    ],
)
def test_phase_follows_exit_codes_and_policy(codes: tuple[int | None, ...], policy: str, phase: str) -> None:
    assert status.phase(known(*codes), policy) == phase


def test_a_pod_without_sandbox_is_pending() -> None:
    one = Known([], [Container("main", "ignored")], host_ips=["192.168.100.1"])

    assert status.phase(one, "Always") == "Pending"


def test_a_deleted_pod_ends_by_its_exit_codes_whatever_its_policy() -> None:
    assert status.phase(known(0, deleted=True), "Always") == "Succeeded"
    assert status.phase(known(0, 143, deleted=True), "Always") == "Failed"


def conditions(value: Object) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in value["conditions"]}


def test_a_pod_is_ready_when_all_containers_and_gates_are() -> None:
    assert conditions(status.status(pod(), known(None)))["Ready"] == "True"

    one = known(None, None)
    one.regular[1].ready = False
    told = status.status(pod(), one)
    assert (conditions(told)["Ready"], conditions(told)["ContainersReady"]) == ("False", "False")
    assert "containers with unready status: [main-1]" in [condition["message"] for condition in told["conditions"]]

    gated = status.status(pod(readinessGates=[{"conditionType": "example.com/gate"}]), known(None))
    assert (conditions(gated)["Ready"], conditions(gated)["ContainersReady"]) == ("False", "True")


def test_both_addresses_are_told() -> None:
    told = status.status(pod(), known(None, ips=["10.244.0.3", "fd00::3"]))

    assert told["podIP"] == "10.244.0.3"
    assert told["podIPs"] == [{"ip": "10.244.0.3"}, {"ip": "fd00::3"}]
    assert told["hostIPs"] == [{"ip": "192.168.100.1"}]


def test_a_transition_time_stays_while_the_status_does() -> None:
    first = status.timed(status.status(pod(), known(None)), None)
    for condition in first["conditions"]:
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    one = known(None)
    one.regular[0].ready = False

    second = status.timed(status.status(pod(), one), first)

    times = {condition["type"]: condition["lastTransitionTime"] for condition in second["conditions"]}
    assert times["Initialized"] == "2026-01-01T00:00:00Z"
    assert times["Ready"] != "2026-01-01T00:00:00Z"
