"""Answers model requests: packed forward passes, adapters on a resident base. Knows nothing of policies.

Importing this package loads no model library; :mod:`placet.engine.model` and what it imports do.
"""
