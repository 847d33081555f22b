"""The product's words: frozen dataclasses and the rules between them. Standard library only, no I/O."""
