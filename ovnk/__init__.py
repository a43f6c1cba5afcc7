"""ovnk: Kubernetes networking on OVN. The controller, its command line, and the lab."""

__version__ = "0.1.0"
