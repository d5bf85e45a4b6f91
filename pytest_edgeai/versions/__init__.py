"""Other versions: saved sessions, other commits, and what each left to be compared with."""
