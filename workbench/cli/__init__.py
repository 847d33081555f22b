"""The command line: every action of the TUI as a command, through the same flows. Owns parsing and printing only."""
