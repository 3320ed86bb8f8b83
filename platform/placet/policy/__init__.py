"""Policy documents and the pure step from evidence to verdict.

Guarantees: a policy is parsed strictly and named by its content; the same policy and the same evidence give the
same verdict; nothing here reads the store, the clock or the network.
"""
