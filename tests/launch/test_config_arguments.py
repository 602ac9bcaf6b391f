"""The arguments by which a sweep's jobs find the configurations that the sweep was composed from."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hydra_plugins.dsn_processes import config_arguments


@pytest.mark.parametrize("folder", ["plug ins", "it's mine", "a,b[c]"])
def test_folders_become_absolute_and_may_have_any_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = [
        {"path": "/checkout/conf", "schema": "file", "provider": "main"},
        {"path": str(tmp_path / "conf"), "schema": "file", "provider": "command-line"},
        {"path": folder, "schema": "file", "provider": "hydra.searchpath in command-line"},
        {"path": "my_package.conf", "schema": "pkg", "provider": "hydra.searchpath in command-line"},
    ]
    cfg = OmegaConf.create({"hydra": {"runtime": {"config_sources": sources}, "job": {"config_name": "train"}}})
    config_dir, name, searched = config_arguments(cfg)
    assert (config_dir, name) == (f"--config-dir={tmp_path / 'conf'}", "--config-name=train")
    (override,) = OverridesParser.create().parse_overrides([searched])
    assert override.value() == [f"file://{tmp_path / folder}", "pkg://my_package.conf"]


def test_a_sweep_of_the_checkout_names_its_configuration_alone():
    cfg = OmegaConf.create({"hydra": {"runtime": {"config_sources": []}, "job": {"config_name": "train"}}})
    assert config_arguments(cfg) == ["--config-name=train"]
