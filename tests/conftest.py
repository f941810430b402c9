"""Settings for every test: reproducible, one thread a process, no screen."""

from __future__ import annotations

import os

from hypothesis import settings

# Read by numpy and matplotlib when the test modules import them.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("TOPO_DEBUG", None)

# The same examples on every run, however slow the machine; TOPO_HYPOTHESIS=explore looks for new ones.
settings.register_profile("repeat", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("TOPO_HYPOTHESIS", "repeat"))
