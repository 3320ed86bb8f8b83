"""Statements, envelopes, keys and the trust root: who said what about which bytes, checkable offline."""
