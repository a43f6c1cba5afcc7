"""The node side: the CNI plug-in, the agent that answers it, and the node's own networking."""
