"""A chat-first terminal workbench: chat, curate, train, compare blind, export, and train again.

Four processes, each of which can die without the others losing anything:

* the bench: the TUI or one CLI command; owns the SQLite store; never loads torch;
* the engine: one base model in memory with any number of LoRA adapters, behind the OpenAI chat-completions
  protocol on a Unix socket; started on demand, outlives the TUI by an idle limit;
* the runner: takes queued runs one after another; reads and writes run directories only; never loads torch;
* the trainer: one training run; a child of the runner; reads its run directory, writes events, checkpoints, adapter.

Layers, each importing only from those on its right (kept true by the import contracts in ``pyproject.toml``)::

    cli > tui > flows > store | jobs | formats | methods | checks > domain > errors
                                                 ^
                          worker (another process, started by name, imported by nobody)

``config``, ``paths`` and ``process_start`` stand beside ``domain``: every layer above may read them. This
module imports nothing.
"""

__version__ = "0.1.0"
