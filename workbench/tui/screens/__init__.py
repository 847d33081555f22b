"""One pane per file, each with its ``.tcss`` beside it; loaded when first visited."""
