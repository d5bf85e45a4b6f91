"""The `edgeai` command: what needs no measurement."""
