"""The event simulation: runs Schedules on a Fabric."""

from topo.network.network import Network, Outcome
from topo.network.program import Program, compile_program

__all__ = ["Network", "Outcome", "Program", "compile_program"]
