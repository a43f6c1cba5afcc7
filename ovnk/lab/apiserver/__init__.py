"""An embedded Kubernetes API server, in one process and good enough for kubectl and the official clients.

It stores, versions, validates, selects, patches and watches; it schedules nothing and runs nothing: the lab's
controllers and kubelets do, over HTTP, as they would against a real one. Read it in this order:

    kinds, registry             what is served
    store, journal              versioned objects, their log, their file
    selectors, patches, fields  pure parts; status: how a request is refused
    schemas, decoding,          what an object may be: built in, custom, by rule
      structural, validation
    operations                  the verbs, without HTTP; around it bodies, defaults, strategies, ownership, deletion,
                                services (cluster IPs), collection (what follows a delete)
    listing, watching, tables,  how objects are shown
      rendering
    server                      HTTP; around it routes, negotiation, discovery, openapi, protobuf, subresources
"""

from ovnk.lab.apiserver.credentials import kubeconfig
from ovnk.lab.apiserver.server import create_app
from ovnk.lab.apiserver.store import Store

__all__ = ["Store", "create_app", "kubeconfig"]
