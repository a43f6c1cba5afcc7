"""The lab's Kubernetes controllers: what manifests need beyond an API server, over HTTP to any API server.

    scheduler  endpointslices  deployments  replicasets  statefulsets  daemonsets  jobs  garbage  namespaces

Just enough for the manifests people have; each module says what it leaves out. They are for a lab: one instance,
no leader election. Beside a real kube-controller-manager none of them is needed.
"""

import asyncio
from collections.abc import Callable, Collection

from ovnk import errors
from ovnk.kube.client import Client
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller
from ovnk.lab.controllers.daemonsets import DaemonSets
from ovnk.lab.controllers.deployments import Deployments
from ovnk.lab.controllers.endpointslices import EndpointSlices
from ovnk.lab.controllers.garbage import Garbage
from ovnk.lab.controllers.jobs import Jobs
from ovnk.lab.controllers.namespaces import Namespaces
from ovnk.lab.controllers.replicasets import ReplicaSets
from ovnk.lab.controllers.scheduler import Scheduler
from ovnk.lab.controllers.statefulsets import StatefulSets

CONTROLLERS: dict[str, type[Controller]] = {
    kind.name: kind
    for kind in (
        Scheduler,
        EndpointSlices,
        Deployments,
        ReplicaSets,
        StatefulSets,
        DaemonSets,
        Jobs,
        Garbage,
        Namespaces,
    )
}
NAMES = tuple(CONTROLLERS)


async def run(client: Client, which: Collection[str] = NAMES, synced: Callable[[], None] = lambda: None) -> None:
    """Run these controllers until cancelled; `synced` is called when they have begun. ConfigError: an unknown name."""
    unknown = sorted(set(which) - CONTROLLERS.keys())
    if unknown:
        raise errors.ConfigError(f'there is no controller "{unknown[0]}"; there are {", ".join(NAMES)}')
    cluster = Cluster(client)
    controllers = [CONTROLLERS[name](cluster) for name in NAMES if name in which]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cluster.run())
        await cluster.synced()
        for controller in controllers:
            tasks.create_task(controller.run())
        synced()
