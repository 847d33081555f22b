"""The engine process: one base model in memory, any number of adapters on it, OpenAI chat completions on a Unix socket.

The parts, from the socket inwards: ``__main__`` (one engine per socket, how it ends), ``server`` (HTTP), ``wire`` (the
protocol's words), ``desk`` (what server and scheduler tell each other), ``scheduler`` (the thread that owns the model),
``resident`` (what is in memory), ``group`` (rows decoded together), ``text`` (tokens to text). Everything up to
``desk`` runs without torch, so that the socket answers while torch is still being imported.
"""
