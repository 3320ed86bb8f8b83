"""The offline verifier: is this bundle exactly what was evaluated, approved and released?

Imports neither torch nor duckdb and opens no connection. It trusts the pinned digest of the office's trust
root and nothing else in the bundle.
"""
