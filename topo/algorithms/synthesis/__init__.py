"""Synthesis: schedules made for one fabric, healthy or damaged, instead of taken from a list."""
