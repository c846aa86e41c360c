"""Packaging metadata of AquaML; the version stands in ``AquaML/__init__.py`` alone."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+?)"', (HERE / "AquaML/__init__.py").read_text(encoding="utf-8"), re.M).group(1)

TENSORBOARD = ["tensorboard"]
WANDB = ["wandb"]
YAML = ["pyyaml"]
MUJOCO = ["gymnasium[mujoco]>=1.0", "mujoco>=3.1,<4"]
ENVPOOL = ["envpool>=1.2"]
# MuJoCo 4.0.0 computes wrong accelerations.
BRAX = ["brax", "jax", "mujoco!=4.0.0"]


def only_where(marker, requirements):
    """Return requirements that hold only where an environment marker does."""
    return ["{}; {}".format(requirement, marker) for requirement in requirements]


setup(
    name="AquaML",
    version=VERSION,
    description="Object-oriented reinforcement learning for robots, on PyTorch",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The AquaML developers",
    license="MIT",
    keywords=["reinforcement learning", "robotics", "PPO", "PyTorch", "Gymnasium"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.7",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.7",
    packages=find_packages(include=["AquaML", "AquaML.*"]),
    package_data={"AquaML": ["py.typed"]},
    zip_safe=False,
    install_requires=[
        "torch>=1.10.0",
        "numpy>=1.21.0",
        "gymnasium>=0.28.0",
        "loguru>=0.6.0",
        "tqdm>=4.62.0",
        "matplotlib>=3.5.0",
    ],
    extras_require={
        "tensorboard": TENSORBOARD,
        "wandb": WANDB,
        "yaml": YAML,
        "mujoco": MUJOCO,
        "envpool": ENVPOOL,
        "brax": BRAX,
        "playground": ["playground"] + BRAX,
        "pettingzoo": ["pettingzoo"],
        "maniskill": ["mani_skill"],
        "gpu-stats": ["nvidia-ml-py"],
        "test": [
            "build",
            "gymnasium[classic-control]",
            "hypothesis",
            "pytest",
            "pytest-xdist",
            "setuptools>=61",
            "wheel",
        ]
        + TENSORBOARD
        + WANDB
        + YAML
        # The oldest supported versions of everything, Gymnasium before 1.0 among them, are tested on Python 3.8.
        + only_where('python_version >= "3.10"', MUJOCO)
        + only_where('python_version >= "3.11" and sys_platform == "linux" and platform_machine == "x86_64"', ENVPOOL)
        # The stand-in of Brax is written in JAX.
        + only_where('python_version >= "3.11"', ["jax"]),
        "lint": ["mypy", "ruff", "types-PyYAML", "types-tqdm", "vermin"],
        "docs": ["furo", "myst-parser>=2", "sphinx>=7"],
    },
)
