"""The ledger: a Merkle log of envelopes, its signed checkpoints, and the DuckDB store that keeps them.

Only :mod:`placet.ledger.store` imports DuckDB; the proofs and checkpoints are pure and serve the verifier too.
"""
