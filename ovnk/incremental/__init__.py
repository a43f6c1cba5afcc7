"""The engine: tables, pure functions over them, and the facts they yield. Knows neither Kubernetes nor OVN."""
