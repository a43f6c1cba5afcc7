"""A probe's verdict changes when its threshold is reached, not before."""

import asyncio
from collections.abc import Iterable

import pytest

from ovnk.lab.kubelet import containers, probes
from ovnk.lab.kubelet.probes import Target


def verdicts(answers: Iterable[int], monkeypatch: pytest.MonkeyPatch, **thresholds: int) -> list[tuple[int, bool]]:
    """What is told, and after how many answers, when a command's exit codes are these one after the other."""
    told: list[tuple[int, bool]] = []
    asked = 0
    monkeypatch.setattr(probes, "PERIOD_S", 0)

    async def scenario() -> None:
        codes = iter(answers)
        through = asyncio.Event()

        async def execute(command: list[str]) -> int:
            nonlocal asked
            code = next(codes, None)
            if code is None:
                through.set()
                await asyncio.Event().wait()
            asked += 1
            return code or 0

        probe = {"exec": {"command": ["ask"]}, **thresholds}
        target = Target("127.0.0.1", {}, execute)
        watching = asyncio.create_task(probes.watch(probe, target, lambda good: told.append((asked, good))))
        await through.wait()
        watching.cancel()

    asyncio.run(scenario())
    return told


def test_one_success_is_enough_and_three_failures_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdicts([1, 0, 1, 1, 0, 1, 1, 1, 1, 0], monkeypatch) == [(2, True), (8, False), (10, True)]


def test_thresholds_are_the_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    told = verdicts([0, 0, 1, 0, 0], monkeypatch, successThreshold=2, failureThreshold=1)

    assert told == [(2, True), (3, False), (5, True)]


def test_a_port_is_found_by_its_name() -> None:
    async def scenario() -> list[bool]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def execute(command: list[str]) -> int:
            return 0

        target = Target("127.0.0.1", {"web": port}, execute)
        answers = [await probes.once({"tcpSocket": {"port": name}}, target) for name in ("web", port, "absent")]
        server.close()
        return answers

    assert asyncio.run(scenario()) == [True, True, False]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)$(A)y", "x11y"),
        ("$(B)", "$(B)"),
        ("$$(A)", "$(A)"),
        ("$A", "$A"),
        ("", ""),
    ],
)
def test_references_are_replaced_as_the_api_says(text: str, expanded: str) -> None:
    assert containers.expanded(text, {"A": "1"}) == expanded


def test_a_variable_sees_only_those_before_it() -> None:
    env = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "2"}, {"name": "C", "value": "$(B)"}]

    assert containers.variables({"env": env}, {}, {}) == {"A": "$(B)", "B": "2", "C": "2"}
