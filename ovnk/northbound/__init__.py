"""What OVN shall hold: facts, their text, and the one writer of the northbound database."""
