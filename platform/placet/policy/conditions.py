"""What a gate asks, in one line, so that the gates of two policies can be told alike.

Guarantees: a gate's name, its reason, who may waive it, and a default that is written out make no other condition; its
kind, its numbers, and how its suite is measured do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placet.policy.model import Gate, SuiteGate

if TYPE_CHECKING:
    from placet.policy.schema import Policy

_NOT_ASKED = {"id", "why", "required", "waivable", "waivers", "planning"}
# How often a sequential run looks changes when it stops, not what its test says of the same documents.
_NOT_MEASURED = {"chunk"}


def condition_of(policy: Policy, gate: Gate) -> str:
    """Return what a gate asks, in one line: two gates with the same are judged alike on the same evidence.

    Its name, its reason and who may waive it are not part of that; how its suite is measured is.
    """
    asked = {
        name: value
        for name, value in sorted(gate.model_dump(mode="json", exclude=_NOT_ASKED).items())
        # A limit of 0 asks something; what is left out, or off, does not.
        if value is not None and value is not False and value != []
    }
    sampling = ""
    if isinstance(gate, SuiteGate):
        measured = policy.suites[gate.suite].model_dump(mode="json", exclude_none=True, exclude=_NOT_MEASURED)
        sampling = f" of {sorted(measured.items())}"
        guess = getattr(gate, "planning", None)
        if measured.get("mode") == "sequential" and guess is not None:
            sampling += f" betting on {guess.difference:g} in {guess.discordance:g}"
    rechecked = [
        condition_of(policy, other)
        for name in getattr(gate, "recheck", ())
        for other in policy.gates
        if other.id == name
    ]
    asked.pop("recheck", None)
    return f"{asked}{sampling}{rechecked or ''}"


def questions_of(policy: Policy) -> dict[str, str]:
    """Return what each gate that rests on a suite asks of it, by its id.

    A gate that names the only metric of its suite asks what one does that leaves it out.
    """
    return {
        gate.id: condition_of(policy, gate.model_copy(update={"metric": None}))
        for gate in policy.gates
        if isinstance(gate, SuiteGate)
    }
