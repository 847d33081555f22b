"""Widgets that more than one pane uses. They post messages and know no flow."""
