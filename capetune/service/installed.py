"""Whether what is installed is what this code wants: a cluster's image may be older than what is sent to it."""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement

from capetune.errors import UserError


def check_installed() -> None:
    """Raises UserError, naming them all, where packages that capetune requires are missing or of other versions."""
    wrong = []
    for line in metadata.requires("capetune") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            have = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(have, prereleases=True):
            wrong.append(f"{wanted.name} is {have}, wanted is {wanted.specifier}")
    if wrong:
        raise UserError(
            f"this machine's packages don't fit the code that was sent: {'; '.join(wrong)}; renew its image"
        )
