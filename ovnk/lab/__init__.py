"""A whole cluster on one Linux machine: real OVS and OVN, nodes as network namespaces."""
