"""The live page: ask about a picture in the browser, and watch a search as it runs.

For the command and the package's face. `session` is what a server knows, `server` speaks HTTP
behind its `guard`, `serving` starts and ends it. Only these last three need the extra "serve".
"""

from eagle_jax.live.serving import serve as serve
