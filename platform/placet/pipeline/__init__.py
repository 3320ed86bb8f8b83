"""The way an adapter takes, stage by stage.

::

    sources → intake → plan → evaluation → safety → verdict → review → release → admission

:mod:`~placet.pipeline.bases` registers what adapters are measured on; :mod:`~placet.pipeline.submission` takes
bytes in or refuses them; :mod:`~placet.pipeline.gate` plans, measures and decides. People go on from there at the
desks: :mod:`placet.review.desk` and :mod:`placet.release.desk`. Every arrow is a signed record in the ledger.

Nothing is imported here, so that a command loads only the stage it runs.
"""
