"""The child processes: the only code that may import the ML libraries. Started by name, imported by nobody."""
