"""A cluster for the controllers' tests: an API server, the controllers, and a kubelet that only pretends.

The API server is the embedded one, or a real one where KUBEBUILDER_ASSETS names a folder with etcd and
kube-apiserver: the tests are the same.
"""

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovnk.kube.client import Client
from ovnk.lab import controllers, kubebin
from tests.lab.controllers.pretending import Changes, Kubectl, apiserver, pretend


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("kube")
    binaries = kubebin.found(None, os.environ)
    with (
        kubebin.running(binaries, folder, ["10.96.0.0/16", "fd00:96::/112"]) if binaries else apiserver(folder) as path
    ):
        yield path


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path) -> Iterator[Changes]:
    """A cluster with three nodes whose controllers run: what changes in it."""
    changes = Changes()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        client = await Client.connect(kubeconfig)
        real = kubebin.found(None, os.environ)
        which = [] if real and "*" in kubebin.replaces(real) else controllers.NAMES
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(controllers.run(client, which))
                tasks.create_task(pretend(client, ["n1", "n2", "n3"], changes, started.set))
        finally:
            await client.close()

    work = loop.create_task(serve())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(work)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(60)
    yield changes
    loop.call_soon_threadsafe(work.cancel)
    thread.join(10)


@pytest.fixture
def kubectl(kubeconfig: Path, cluster: Changes) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, which is deleted afterwards."""
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    found = Kubectl(kubeconfig, namespace, cluster)
    found.run("create", "namespace", namespace)
    yield found
    found.run("delete", "namespace", namespace, "--wait=false")
