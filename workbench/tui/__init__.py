"""The terminal interface: the only package that imports textual and rich. It shows what flows do and asks for more."""
