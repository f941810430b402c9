"""How kernels are compiled: with numba, kept on disk, and anew whenever one of their files has changed.

Numba keeps compiled code as long as the file of the compiled function is the same; a change of another file whose
functions it calls goes unseen.  So what is kept on disk is one entry function, whose closure holds a digest of all
the files: numba's key covers closures.

An entry is a C function that takes a table of addresses and makes its own arrays of them.  Arrays that come from
Python are counted at every call of an inner function, which costs more than what most of them do.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numba as nb

jit = nb.njit(error_model="numpy")
inlined = nb.njit(error_model="numpy", inline="always")


def digest(*files: str) -> int:
    """A number for the contents of files that lie beside this one."""
    whole = b"".join(Path(__file__).with_name(name).read_bytes() for name in sorted(files))
    return int.from_bytes(blake2b(whole, digest_size=7).digest(), "big")
