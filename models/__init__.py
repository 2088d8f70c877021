"""The ported model families, in three layers; nothing here knows of explanations.

Used by `scoring` and everything above it. `families` holds one file for each architecture and
their table, `checkpoints` reads their files, `layers` are their parts; each layer imports only
from the layers below it. Read `families.llava` first, the shortest family. A model offers three
pure functions: patches to visual tokens, embeddings to hidden states at given rows, and hidden
states to log-probabilities of given ids. Installed as `eagle_jax.models`.
"""
