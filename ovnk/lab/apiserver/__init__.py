"""An embedded Kubernetes API server, in one process and good enough for kubectl and the official clients.

It stores, versions, validates, selects, patches and watches; it schedules nothing and runs nothing: the lab's
controllers and kubelets do, over HTTP, as they would against a real one. Read it in this order:

    kinds, registry      what is served            status                 how it refuses
    store, journal       versioned objects, log    selectors, patches     pure parts
    schemas, validation  what an object may be     ownership, apply       who owns which field
    operations           the verbs, without HTTP   collection             owners, namespaces: what follows a delete
    tables, discovery    what kubectl asks for     watching, server       HTTP
"""

from ovnk.lab.apiserver.credentials import kubeconfig
from ovnk.lab.apiserver.server import create_app
from ovnk.lab.apiserver.store import Store

__all__ = ["Store", "create_app", "kubeconfig"]
