"""What a person can do, without a screen: the TUI and the command line call these and nothing below them."""
