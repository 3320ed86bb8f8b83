"""The review app: thin views over :mod:`placet.report`, one use case each."""
