"""The event simulation: runs Schedules on a Fabric."""

from topo.network.joining import CommonFolding, common_folding, joined
from topo.network.network import Network, Outcome
from topo.network.program import Program, compile_program

__all__ = ["CommonFolding", "Network", "Outcome", "Program", "common_folding", "compile_program", "joined"]
