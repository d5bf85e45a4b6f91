"""Train a detector of squares in torch, and write `detector.onnx` and `examples.jsonl`: `python make.py`."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
SIDE = 32


class Detector(nn.Module):
    """Finds the one square of an image: its corners, and whether it is filled (0) or hollow (1)."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers, nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 6))

    def forward(self, image):
        """Boxes [n, 1, 4], scores [n, 1] and labels [n, 1]."""
        found = self.body(image)
        scores, labels = found[:, 4:].softmax(1).max(1, keepdim=True)
        return SIDE * found[:, None, :4], scores, labels


def draw(random, count):
    """Noisy images, and the box and the label of the square in each."""
    images = random.normal(0, 0.1, (count, 1, SIDE, SIDE)).astype(np.float32)
    boxes, labels = np.empty((count, 4), np.float32), random.integers(0, 2, count)
    for image, box, label in zip(images, boxes, labels, strict=True):
        size = random.integers(10, 18)
        left, top = random.integers(0, SIDE - size, 2)
        box[:] = left, top, left + size, top + size
        image[0, top : top + size, left : left + size] += 1
        if label:
            image[0, top + 3 : top + size - 3, left + 3 : left + size - 3] -= 1
    return images, boxes, labels


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a small network is faster so
    random, network = np.random.default_rng(0), Detector()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(200):
        images, boxes, labels = map(torch.from_numpy, draw(random, 64))
        found = network.body(images)
        loss = nn.functional.mse_loss(found[:, :4], boxes / SIDE) * 20 + nn.functional.cross_entropy(
            found[:, 4:], labels
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    outputs = ["boxes", "scores", "labels"]
    torch.onnx.export(network.eval(), (images[:1],), HERE / "detector.onnx", input_names=["image"],
                      output_names=outputs, dynamo=True, external_data=False, verbose=False)  # fmt: skip
    lines = [
        {"inputs": {"image": image.round(3).tolist()}, "reference": {"boxes": [box.tolist()], "labels": [int(label)]}}
        for image, box, label in zip(*draw(random, 60), strict=True)
    ]
    (HERE / "examples.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
