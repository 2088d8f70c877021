"""The ported model families, in three layers; nothing here knows of explanations.

For `scoring` and everything above it. `families` holds one file for each architecture and the
table of them, `checkpoints` their files on disk, `layers` what they are built of; each imports
only what stands below it. Read `families.llava` first, the shortest. A model offers three pure
functions: patches to visual tokens, embeddings to hidden states at given rows, and hidden rows
to log-probabilities of given ids. Installed as `eagle_jax.models`.
"""
