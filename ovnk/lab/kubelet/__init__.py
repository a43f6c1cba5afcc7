"""A small kubelet and container runtime for the lab's nodes; to the CNI plug-in it is what containerd 1.6 is.

    run.py        the node: registration, heartbeats, the watch for its pods
    worker.py     one pod from its sandbox to its deletion                  keeper.py   one container
    sandbox.py    a pod's network namespace and its record      plugin.py   the CNI calls
    containers.py processes      builtin.py  the server for containers without a command      probes.py
    status.py     what the API is told, pure

Not a real one: images, volumes, resources, security contexts and cgroups are ignored. Restarted, it does not adopt what
its predecessor ran: it ends those containers, gives their sandboxes back (DEL) and makes the pods anew.
"""
