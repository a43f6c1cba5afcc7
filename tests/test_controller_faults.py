"""The controller when the northbound or the API server is away, ill, locked, read-only or too old.

Each fault is seen in plain words by /healthz (`degraded`) or /readyz (`why_not_ready`) and in the log, and when it
goes all goes on.
"""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest
from aiohttp import web

from ovnk import http
from tests.controllers import with_world
from tests.ovsdb import NORTHBOUND, OvsdbServer, older_schema

pytestmark = pytest.mark.system

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ovnk-controller"


def degraded(controller, text):
    """Whether /healthz says so."""
    return any(text in one for one in controller.health.degraded())


async def ask(controller, path):
    """What the daemon's HTTP side answers: (status, text)."""
    runner = await http.serve(
        "127.0.0.1:0", controller.health.metrics.registry, controller.health.degraded, controller.health.why_not_ready
    )
    try:
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as answer:
            return answer.status, await answer.text()
    finally:
        await runner.cleanup()


def run(*command):
    subprocess.run(command, check=True)


# the northbound


def test_a_northbound_that_is_away_is_said_and_waited_for(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await world.until(
                lambda: "cannot be reached" in running.health.why_not_ready(), "a reason for not being ready"
            )
            assert f'"{world.northbound.remote}": No such file or directory' in running.health.why_not_ready()
            assert degraded(running, "still trying")
            await world.until(lambda: world.logged("the northbound cannot be used; trying again"), "a line in the log")
            await world.until(lambda: world.pods_on_record("web-0"), "addresses, which need no northbound")
            status, text = await ask(running, "/readyz")
            assert (status, "cannot be reached" in text) == (503, True)
            status, text = await ask(running, "/healthz")
            assert (status, "degraded: the northbound cannot be reached" in text) == (200, True)
            assert "ovnk_degraded 1.0" in (await ask(running, "/metrics"))[1]
            world.northbound.start()
            await world.port()
            await world.until(lambda: not running.health.degraded(), "all well")
            assert await ask(running, "/readyz") == (200, "ok\n")
            assert await ask(running, "/healthz") == (200, "ok\n")
            world.northbound.kill()
            await world.until(lambda: degraded(running, "was lost; connecting again"), "the loss told")
            await world.pod("web-1")
            world.northbound.start()
            await world.port("shop/web-1")
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case, northbound=False)


def test_a_northbound_of_an_older_schema_is_said_and_taken_once_it_is_upgraded(tmp_path):
    async def case(world):
        world.northbound.create(older_schema(tmp_path, ("Logical_Router_Static_Route", "route_table")))
        world.northbound.start()
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await world.until(lambda: "upgrade its server to OVN 21.12" in running.health.why_not_ready(), "the reason")
            assert 'column "Logical_Router_Static_Route.route_table" is missing' in running.health.degraded()[0]
            run("ovsdb-client", "convert", world.northbound.remote, NORTHBOUND)
            world.northbound.schema_file = NORTHBOUND
            await world.port()
            assert (running.health.why_not_ready(), running.health.degraded()) == ("", [])

    with_world(tmp_path, case, northbound=False)


def test_a_northbound_that_is_read_only_is_said_and_written_once_it_is_not(tmp_path):
    """A backup server of ovsdb-server's active-backup mode, which becomes the active one."""

    async def case(world):
        world.northbound.start(f"--sync-from=unix:{tmp_path}/nowhere")
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await world.until(lambda: degraded(running, "takes no writes"), "the reason")
            assert degraded(running, "DB server is read only; is its server a backup?")
            assert "takes no writes" in running.health.why_not_ready()
            await world.until(lambda: world.logged("the northbound cannot be used; trying again"), "a line in the log")
            control = world.northbound.folder / f"{world.northbound.name}.ctl"
            run("ovs-appctl", "-t", control, "ovsdb-server/disconnect-active-ovsdb-server")
            await world.port()
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case, northbound=False)


def test_of_an_active_and_a_backup_server_the_active_one_is_found(tmp_path):
    async def case(world):
        backup = OvsdbServer(tmp_path / "backup")
        backup.start(f"--sync-from={world.northbound.remote}")
        try:
            await world.node()
            await world.pod()
            for remotes in (backup.remote, world.northbound.remote), (world.northbound.remote, backup.remote):
                async with world.controller(northbound=",".join(remotes)) as running:
                    await world.port()
                    await world.until(lambda: not running.health.degraded(), "all well")
        finally:
            backup.kill()

    with_world(tmp_path, case)


def test_a_northbound_whose_lock_another_client_holds_is_said_and_written_once_it_is_free(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        other = socket.socket(socket.AF_UNIX)
        other.connect(str(world.northbound.socket))
        other.sendall(json.dumps({"method": "lock", "params": ["ovnk_controller"], "id": 1}).encode())
        other.recv(1000)
        async with world.controller() as running:
            await world.until(lambda: degraded(running, "is held by another process"), "the reason")
            assert not running.health.why_not_ready()
            await world.until(lambda: world.logged("the northbound cannot be used; trying again"), "a line in the log")
            assert world.row("Logical_Switch", "node-1") is None
            other.close()
            await world.port()
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case)


def test_a_leader_that_is_frozen_is_fenced_off_by_the_next_one(tmp_path):
    """It holds the lock on a unix socket, over which ovsdb-server notices nothing (as on a machine of one node)."""

    async def case(world):
        await world.node()
        await world.pod()
        async with process(world, "--identity=frozen") as first, contextlib.AsyncExitStack() as others:
            await world.port()
            second = await others.enter_async_context(world.controller("next"))
            await world.until(lambda: not second.health.why_not_ready(), "the standby")
            first.send_signal(signal.SIGSTOP)
            await world.patch(LEASE, {"spec": {"leaseDurationSeconds": 1}})
            await world.pod("web-1")
            await world.port("shop/web-1")
            assert world.logged("the leader before us has stopped and holds the northbound's lock; taking it")
            await world.until(lambda: not second.health.degraded(), "all well")
            first.send_signal(signal.SIGCONT)
            line = await first.stderr.readline()
            while b'"event": "lease lost"' not in line:
                line = await first.stderr.readline()
            await world.pod("web-2")
            await world.port("shop/web-2")
            assert second.health.degraded() == []
            first.send_signal(signal.SIGTERM)
            await first.communicate()
            assert first.returncode == 0
            assert (await world.get(LEASE))["spec"]["holderIdentity"] == "next"
            await world.until(lambda: world.pods_on_record("web-0", "web-1", "web-2"), "the record")
            addresses = [ip for pod in (await world.node_network())["pods"] for ip in pod["ips"]]
            assert len(set(addresses)) == 3

    with_world(tmp_path, case)


# the API server


def test_an_api_server_that_is_away_is_said_and_waited_for(tmp_path):
    async def case(world):
        await world.node()
        await world.pod()
        await world.api.stop()
        async with world.controller() as running:
            await world.until(
                lambda: "cannot be reached: Connection refused" in running.health.why_not_ready(), "the reason"
            )
            assert running.health.why_not_ready().startswith("not listed yet: Namespace, Node, Pod")
            assert degraded(running, "the lease")
            await world.api.start()
            await world.port()
            await world.until(lambda: not running.health.degraded(), "all well")
            rows = world.northbound.versions()
            await world.api.stop()
            await world.until(lambda: degraded(running, "/api/v1/pods: cannot be reached"), "the loss told")
            assert world.northbound.versions() == rows
            await world.api.start()
            await world.pod("web-1")
            await world.port("shop/web-1")
            await world.until(lambda: world.pods_on_record("web-0", "web-1"), "the address on record")
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case)


async def refusal(request):
    return web.Response(status=500, text="no")


async def expired(request):
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    return web.json_response(status, status=410)


async def drop(request):
    request.transport.abort()
    return web.Response()


async def half_a_line(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"half')
    return response


async def rubbish(request):
    return web.Response(text="<html>the proxy says hello</html>\n")


@pytest.mark.parametrize("answer", [refusal, expired, drop, half_a_line, rubbish])
def test_an_api_server_that_is_ill_is_said_and_nothing_is_lost(tmp_path, answer):
    """Every second request of the controller is answered so while pods come and go, then all of them for a while."""

    async def case(world):
        await world.node()
        asked = 0
        always = False

        async def ill(request):
            nonlocal asked
            theirs = "limit" in request.query or "watch" in request.query or "ovnk.io" in request.path
            asked += theirs
            return await answer(request) if theirs and (always or asked % 2) else None

        async with world.controller() as running:
            await world.until(lambda: not running.health.why_not_ready(), "a start")
            world.api.fault = ill
            for number in range(8):
                await world.pod(f"web-{number}")
            await world.delete("/api/v1/namespaces/shop/pods/web-0")
            for number in range(1, 8):
                await world.port(f"shop/web-{number}")
            always = True
            await world.api.stop()
            await world.api.start()
            await world.until(lambda: degraded(running, "/api/v1/pods"), "the illness told")
            world.api.fault = None
            await world.pod("web-8")
            await world.port("shop/web-8")
            await world.until(
                lambda: world.row("Logical_Switch_Port", "shop/web-0") is None, "the deleted pod's port gone"
            )
            await world.until(lambda: world.pods_on_record(*(f"web-{n}" for n in range(1, 9))), "the record")
            await world.until(lambda: not running.health.degraded(), "all well")
            addresses = [ip for pod in (await world.node_network())["pods"] for ip in pod["ips"]]
            assert len(set(addresses)) == len(addresses) == 8

    with_world(tmp_path, case)


def test_node_networks_that_may_not_be_written_are_said_and_ports_are_made_all_the_same(tmp_path):
    async def case(world):
        async def forbid(request):
            if request.method != "GET" and "nodenetworks" in request.path:
                return web.json_response({"reason": "Forbidden", "message": "no such right"}, status=403)
            return None

        world.api.fault = forbid
        await world.node()
        await world.pod()
        async with world.controller() as running:
            await world.port()
            await world.until(lambda: degraded(running, "NodeNetworks cannot be written"), "the reason")
            assert degraded(running, "403 Forbidden: no such right")
            world.api.fault = None
            await world.until(lambda: world.pods_on_record("web-0"), "the record")
            await world.until(lambda: not running.health.degraded(), "all well")

    with_world(tmp_path, case)


# the process


@contextlib.asynccontextmanager
async def process(world, *flags):
    """`ovnk controller` as a process of its own, its log on stderr."""
    command = [sys.executable, "-c", "from ovnk.cli import main; main()", "controller"]
    given = (
        f"--kubeconfig={world.api.kubeconfig}",
        f"--northbound={world.northbound.remote}",
        "--http-address=127.0.0.1:0",
    )
    running = await asyncio.create_subprocess_exec(*command, *given, *flags, stderr=asyncio.subprocess.PIPE)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def all_well(world):
    pass


async def commit_that_is_not_answered(world):
    world.northbound.freeze()
    await world.pod("web-1")
    await world.until(lambda: world.pods_on_record("web-0", "web-1"), "the address on record")


async def northbound_gone(world):
    world.northbound.kill()


async def northbound_that_answers_nobody(world):
    """As it is when it comes back on a machine that is stuck."""
    world.northbound.kill()
    world.northbound.start()
    world.northbound.freeze()


@pytest.mark.parametrize(
    "fault", [all_well, commit_that_is_not_answered, northbound_gone, northbound_that_answers_nobody]
)
def test_sigterm_ends_it_with_code_0_and_the_lease_given_back(tmp_path, fault):
    async def case(world):
        await world.node()
        await world.pod()
        async with process(world) as running:
            await world.port()
            assert (await world.get(LEASE))["spec"]["holderIdentity"]
            await fault(world)
            running.send_signal(signal.SIGTERM)
            log = (await running.communicate())[1].decode()
            assert running.returncode == 0, log
            assert '"event": "stopped"' in log
            assert (await world.get(LEASE))["spec"]["holderIdentity"] == ""

    with_world(tmp_path, case)


def test_sigterm_ends_it_with_code_0_where_nobody_answers(tmp_path):
    async def case(world):
        await world.api.stop()
        async with process(world) as running:
            line = await running.stderr.readline()
            while b"cannot watch" not in line:
                line = await running.stderr.readline()
            running.send_signal(signal.SIGTERM)
            assert b'"event": "stopped"' in (await running.communicate())[1]
            assert running.returncode == 0

    with_world(tmp_path, case)
