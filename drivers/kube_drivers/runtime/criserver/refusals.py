"""Why a call is refused, by gRPC's status codes, as containerd and CRI-O give them.

A part raises `Refusal`, or lets through what the drivers raise; `refusal_of` says which code that is. Kubelets look at
three codes (`NotFound`, `DeadlineExceeded`, `Unimplemented`), and at the beginning of the message where an image cannot
be pulled.
"""

from __future__ import annotations

from kube_core.abc.failures import DriverFailure
from kube_core.abc.runtime import ContainerNotFound, ImageFailure

__all__ = ["Refusal", "invalid", "not_found", "refusal_of"]

#: Reasons of images by which kubelets know a failure, at the beginning of its message.
_TOLD = ("RegistryUnavailable", "SignatureValidationFailed")


class Refusal(Exception):
    """`code`: the name of a gRPC status code, in capitals."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refusal:
    return Refusal("INVALID_ARGUMENT", message)


def not_found(message: str) -> Refusal:
    return Refusal("NOT_FOUND", message)


def refusal_of(error: DriverFailure) -> Refusal:
    """What a driver's failure is to a client."""
    if isinstance(error, ContainerNotFound):
        return not_found(str(error))
    if isinstance(error, ImageFailure):
        if error.reason == "InvalidImageName":
            return invalid(str(error))
        if error.reason in _TOLD:
            return Refusal("UNKNOWN", f"{error.reason}: {error}")
    return Refusal("UNKNOWN", str(error))
