"""The embedded model: its invented world, its corpus, its tokenizer and the script that trains it.

Knows nothing of the store, the engine or the screens; what it makes is plain files in `sample_data/`.
Imports nothing, so that the parts written with the standard library alone load without torch.
"""
