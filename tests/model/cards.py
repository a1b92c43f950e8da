"""A pretended nvidia-smi on PATH."""

import os

T4 = ("GPU-aaaa-1", "Tesla T4", "15360", "3", "7.5")
T4_TOO = ("GPU-bbbb-2", "Tesla T4", "15360", "3", "7.5")
P100 = ("GPU-cccc-3", "Tesla P100-PCIE-16GB", "16384", "3", "6.0")


def pretend_cards(monkeypatch, folder, *cards, script=None):
    """Put an nvidia-smi on PATH that lists these cards: uuid, name, MiB in all, MiB in use, capability."""
    rows = "\n".join(", ".join([str(number), *card]) for number, card in enumerate(cards))
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(script or f"#!/bin/sh\ncat <<'END'\n{rows}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
