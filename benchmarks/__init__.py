"""Measurements of Placet against what it replaces. `make bench` runs them; no test does."""
