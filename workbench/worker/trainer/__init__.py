"""The trainer process: one training run, from its run directory and into it. Opens no store and no socket."""
