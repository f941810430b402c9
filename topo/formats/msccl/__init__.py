"""MSCCL programs: collective algorithms as XML, as MSCCL's compiler writes and its runtimes (NCCL, RCCL) read them.

>>> from topo.formats import msccl
>>> program = msccl.read("ring.xml")               # doctest: +SKIP
>>> schedule = program.schedule("64MiB")           # doctest: +SKIP

A program is proved when it is read: its steps can be put in an order, every read of a place follows the write it
needs, and at the end every output chunk holds exactly the contributions it should.  Timing follows the steps:
what a step waits for on its own GPU, and the first-in first-out match of sends and receives between two thread
blocks; local copies and reductions take no time, and the runtime's limit of outstanding messages is not modelled.
Sources: microsoft/msccl-tools msccl/language/ir.py (the writer), Azure/msccl-executor-nccl msccl_parser.cc and
msccl_kernel (the reader).
"""

from topo.formats.msccl.program import Block, Gpu, MscclProgram, Place, Step
from topo.formats.msccl.reader import read, read_text
from topo.formats.msccl.writer import write, written

__all__ = ["Block", "Gpu", "MscclProgram", "Place", "Step", "read", "read_text", "write", "written"]
