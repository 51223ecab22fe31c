"""The conda environment, the pip lock and pyproject.toml say the same."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LOCK = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / "envs/requirements.lock").read_text(), re.M))


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    always = [one for one in project["dependencies"] if "python_version" not in one]
    return {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in always}


def test_conda_environment_has_the_declared_packages_at_the_locked_versions():
    environment = yaml.safe_load((ROOT / "envs/lossybench.yaml").read_text())
    pip = next(one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    pins = dict(one.split("==") for one in pip)
    assert pins == {name: LOCK[name] for name in _declared()}


def test_every_locked_package_has_hashes_and_no_index_is_named():
    text = (ROOT / "envs/requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(entries) == len(LOCK) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--index-url|--find-links", text)


def test_the_installed_trio_matches_the_lock():
    from importlib.metadata import version

    for name in ("torch", "torchvision", "torchaudio", "av", "snakemake"):
        assert version(name).split("+")[0] == LOCK[name]
