"""Placet, the release office for fine-tuned adapters of open-weight models."""

__version__ = "0.1.0"
