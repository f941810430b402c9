"""Formats: what others wrote, read; what we made, written for others."""
