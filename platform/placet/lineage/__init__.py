"""Lineage: what an adapter was made from, what was measured of it, who decided, and where it went."""
