"""On which device operators train: a GPU where torch has one, else the CPU.

What is trained is exported from the CPU, and evaluated there in ONNX Runtime: the device decides how long a build
takes, never what is measured.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def training_device() -> torch.device:
    """The device to train on.

    Returns
    -------
    torch.device
        The accelerator that torch was built for (CUDA, ROCm, XPU, MPS), where the machine has one, else the CPU.
        Workers of pytest-xdist take turns at the accelerators of a machine with several.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    number = int(worker[1]) if worker else 0
    return torch.device(accelerator.type, number % torch.accelerator.device_count())
