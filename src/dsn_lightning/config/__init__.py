"""From configurations to settings and objects, and from checkpoints back to them.

This folder, the command line (`dsn_lightning.cli`) and the sweep launcher (`hydra_plugins`) are the only places that
import Hydra or OmegaConf.
"""
