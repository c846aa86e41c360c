"""Packaging metadata of AquaML."""

import re
from pathlib import Path

from setuptools import find_packages, setup

version = re.search(r'__version__ = "(.+?)"', Path("AquaML/__init__.py").read_text(encoding="utf-8")).group(1)

setup(
    name="AquaML",
    version=version,
    description="Object-oriented reinforcement learning for robots, on PyTorch",
    python_requires=">=3.7",
    packages=find_packages(include=["AquaML", "AquaML.*"]),
    package_data={"AquaML": ["py.typed"]},
    license="MIT",
    install_requires=[
        "torch>=1.10",
        "numpy>=1.21",
        "gymnasium>=0.28",
        "loguru>=0.6",
        "tqdm>=4.62",
        "matplotlib>=3.5",
    ],
    extras_require={
        "test": [
            "gymnasium[classic-control]",
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "ruff",
            "tensorboard",
            "types-PyYAML",
            "types-tqdm",
            "wandb",
        ],
        "tensorboard": ["tensorboard"],
        "wandb": ["wandb"],
        "gpu-stats": ["nvidia-ml-py"],
        "yaml": ["pyyaml"],
    },
)
