"""The live page: ask about an image in the browser, and watch the search.

Used by the command `serve` and by `eagle_jax.serve`. Read `session` first: the state of a
server. `server` speaks HTTP behind `guard`, `serving` starts and stops it. `server`, `guard`
and `serving` need the extra "serve".
"""

from eagle_jax.live.serving import serve as serve
