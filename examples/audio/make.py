"""Train a classifier of sounds in torch, and write `sounds.onnx` and `sounds.npz`: `python make.py`.

A sound is a quarter of a second at 8 kHz, as raw samples. Its pitch rises (1) or falls (0).
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
RATE, LENGTH = 8000, 2000


def sounds(random, count):
    """Waveforms [n, 1, 2000] and their labels [n]."""
    labels = random.integers(0, 2, count)
    time = np.arange(LENGTH) / RATE
    low, high = random.uniform(300, 500, (count, 1)), random.uniform(700, 1200, (count, 1))
    start, end = np.where(labels[:, None] == 1, low, high), np.where(labels[:, None] == 1, high, low)
    phase = start * time + (end - start) * time**2 / (2 * LENGTH / RATE) + random.uniform(0, 1, (count, 1))
    waves = np.sin(2 * np.pi * phase) + random.normal(0, 0.3, (count, LENGTH))
    return waves[:, None].astype(np.float32), labels


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a small network is faster so
    random = np.random.default_rng(0)
    network = nn.Sequential(
        nn.Conv1d(1, 16, 64, 16), nn.ReLU(), nn.Conv1d(16, 32, 8, 4), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 29, 2)
    )
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(200):
        waves, labels = map(torch.from_numpy, sounds(random, 64))
        loss = nn.functional.cross_entropy(network(waves), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.onnx.export(network.eval(), (waves[:1],), HERE / "sounds.onnx", input_names=["wave"],
                      output_names=["logits"], dynamo=True, external_data=False, verbose=False)  # fmt: skip
    waves, labels = sounds(random, 120)
    np.savez(HERE / "sounds.npz", wave=waves, reference=labels)
