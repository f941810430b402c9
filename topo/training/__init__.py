"""One training step of a real model on a real machine: model, plan, kernels, memory, pipeline, step."""
