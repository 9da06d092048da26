"""The static token file: `token,user,uid,"group1,group2"`, a line each, read once (documented under "Static token
file"). The tokens hold until the server is started with another file."""

from __future__ import annotations

import csv
from pathlib import Path

from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError

__all__ = ["read_token_file"]


def read_token_file(path: Path) -> dict[str, User]:
    """Users by token. Raises `ConfigFileError`, which never shows a token."""
    found: dict[str, User] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for record in csv.reader(file, skipinitialspace=True):
                if not record or record[0].startswith("#"):
                    continue
                here = f"{path}: record {len(found) + 1}"
                if len(record) < 3:
                    raise ConfigFileError(f"{here}: 3 columns are needed at least: token, user name, user uid")
                token, name, uid = (column.strip() for column in record[:3])
                if not token or not name:
                    raise ConfigFileError(f"{here}: {'token' if not token else 'user name'}: required")
                if token in found:
                    raise ConfigFileError(f"{here}: token: already that of {found[token].name!r}")
                groups = tuple(part.strip() for part in record[3].split(",") if part.strip()) if record[3:] else ()
                found[token] = User(name, groups, uid)
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigFileError(f"{path}: {error}") from None
    return found
