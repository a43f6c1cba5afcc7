"""The northbound part, against real ovsdb-servers."""
