"""Whether W&B has an account to log to, and which of its modes a run takes."""

import configparser
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from dsn_lightning.errors import UsageError


def choose_mode(wanted: str) -> str:
    """Return W&B's mode: off-line where nothing else is asked for and no account is set up.

    Raises:
        UsageError: there is no such mode, or ``online`` is asked for without an account (W&B would prompt for one).
    """
    if wanted not in ("auto", "online", "offline", "disabled"):
        raise UsageError(f"logger.wandb.mode={wanted}: must be auto, online, offline or disabled")
    mode = (setting("mode") if wanted == "auto" else wanted) or ("online" if has_account() else "offline")
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # W&B's former names
    if mode == "online" and not has_account():
        source = "logger.wandb.mode" if wanted == "online" else "WANDB_MODE"
        raise UsageError(f"{source}=online: no W&B account is set up; run `wandb login`, or choose offline")
    return mode


def has_account() -> bool:
    """Whether W&B would find a key for its server without asking."""
    if setting("api_key") or setting("identity_token_file"):
        return True
    given = os.environ.get("NETRC")
    host = urlsplit(setting("base_url") or "https://api.wandb.ai").netloc
    for path in [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entry = netrc.netrc(path).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry and entry[2]:
            return True
    return False


def setting(name: str) -> str | None:
    """Return a W&B setting of the user's: from ``WANDB_<NAME>``, or from the files that W&B's own commands write."""
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
