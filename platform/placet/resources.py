"""Finds `evals/`, `policies/` and `streamlit_app/`: in the checkout, or in the copy that the wheel carries.

In a checkout (and an editable installation of it) people edit these folders at the top of the repository, and
that is what is used. An installed wheel holds its own copy below ``placet/_resources/``.
"""

from __future__ import annotations

from pathlib import Path

from placet.domain.errors import UsageError

DEFAULT_POLICY = "default.yaml"

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = "_resources"
_PROJECT_FILE = "pyproject.toml"


def evals_dir() -> Path:
    """Return the folder of evaluation suites.

    Raises:
        UsageError: This installation has none.
    """
    return resource_dir("evals")


def policies_dir() -> Path:
    """Return the folder of policy documents.

    Raises:
        UsageError: This installation has none.
    """
    return resource_dir("policies")


def default_policy() -> Path:
    """Return the policy that is used where none is named.

    Raises:
        UsageError: This installation has none.
    """
    path = policies_dir() / DEFAULT_POLICY
    if not path.is_file():
        raise UsageError(
            f"there is no {DEFAULT_POLICY} in {path.parent}", hint="name a policy: --policy FILE"
        )
    return path


def app_dir() -> Path:
    """Return the folder of the review app.

    Raises:
        UsageError: This installation has none.
    """
    return resource_dir("streamlit_app")


def resource_dir(name: str, *, package: Path = _PACKAGE) -> Path:
    """Return the folder `name`, from the installed copy or the checkout around the package.

    Args:
        name: evals, policies or streamlit_app.
        package: The package's own folder.

    Raises:
        UsageError: It is in neither place.
    """
    installed = package / _INSTALLED / name
    if installed.is_dir():
        return installed
    # platform/placet → platform → the repository
    root = package.parent.parent
    if package.parent.name == "platform" and (root / _PROJECT_FILE).is_file() and (root / name).is_dir():
        return root / name
    raise UsageError(
        f"this installation of Placet has no {name}/",
        hint="install it from its wheel, or run it from a checkout (`make setup` there)",
    )
