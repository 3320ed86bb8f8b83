"""Frozen types, digests and errors that every other package speaks in. Imports nothing of ours."""
