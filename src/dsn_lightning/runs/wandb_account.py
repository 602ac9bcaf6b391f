"""Whether a W&B account is set up, in which mode W&B runs, and in which project."""

import configparser
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from dsn_lightning.errors import UsageError
from dsn_lightning.files import user_path


def choose_mode(requested: str) -> str:
    """Return the mode of W&B; ``auto`` becomes that of the user's settings, or depends on whether an account is set up.

    Raises:
        UsageError: there is no such mode, or ``online`` was requested without an account (W&B would prompt for one).
    """
    if requested not in ("auto", "online", "offline", "disabled"):
        raise UsageError(f"logger.wandb.mode={requested}: must be auto, online, offline or disabled")
    mode = (setting("mode") if requested == "auto" else requested) or ("online" if has_account() else "offline")
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # names that W&B still accepts
    if mode == "online" and not has_account():
        source = "logger.wandb.mode" if requested == "online" else "WANDB_MODE"
        raise UsageError(f"{source}=online: no W&B account is set up; run `wandb login`, or choose offline")
    return mode


def has_account() -> bool:
    """Whether W&B finds a key for its server without a prompt."""
    if setting("api_key") or setting("identity_token_file"):
        return True
    given = os.environ.get("NETRC")
    host = urlsplit(setting("base_url") or "https://api.wandb.ai").netloc
    for path in [user_path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entry = netrc.netrc(path).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry and entry[2]:
            return True
    return False


def project_name(given: str | None) -> str:
    """Return the project that runs are logged to: the one given, else the user's setting, else ``dsn_lightning``."""
    return given or setting("project") or "dsn_lightning"


def setting(name: str) -> str | None:
    """Return a W&B setting of the user: from ``WANDB_<NAME>``, or from the files that the ``wandb`` command writes."""
    value = os.environ.get(f"WANDB_{name.upper()}")
    folder = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    for file in (Path("wandb", "settings"), Path(folder, "settings")):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError):
            continue
        value = value or parser.get("default", name, fallback=None)
    return value or None
