"""The compiler: from the unrolled graph back to the loop, as NumPy source that reads like BPTT by hand.

`trace` writes down every operation, `reroll` finds the loops, `rewrite` rearranges sums and products,
`distribute` takes out of the loops what can run for all steps at once (`ir`: nodes, reads, loops), `allocate` gives
every result its memory, `lower` turns nodes into statements, operation by operation as `forms` says, and `source`
writes them down, so that the text runs by itself. `step` is the public face.
"""

from .ir import Loop
from .program import Program
from .reference import compiled
from .step import Compiled, compile

__all__ = ["Compiled", "Loop", "Program", "compile", "compiled"]
