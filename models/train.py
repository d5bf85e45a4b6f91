"""Trains the subject models and writes their weights: `python -m models.train [name ...] [--seed N] [--again]`.

One thread and one seed, so that the same libraries on the same processor give the same weights. Rerun it when a network
or a sample generator changes; whoever uses the weights needs neither this nor the training samples. How long and how
fast to learn was chosen by the validation pairs where there are any (sentences), else by what sessions report on.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fixtures import paraphrases
from models import checkpoint, vocabulary
from models.lessons import DigitPairs, Lesson, Paraphrases, graph_inputs
from pytest_edgeai.subjects import Example, SubjectModel
from pytest_edgeai.subjects.metrics import METRICS, metric_of
from pytest_edgeai.subjects.predictions import Predictions

if TYPE_CHECKING:
    import torch

_BATCH: Final = 250
_REPORTS: Final = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast to learn.

    Parameters
    ----------
    lesson
        From a subject model and its untrained network to what that is to learn.
    epochs
        Passes over the training samples.
    learning_rate
        At its highest, after a tenth of all steps; it begins and ends near zero.
    weight_decay
        Of AdamW.
    batch
        Samples a step.
    seed
        For the initial weights and the order of samples.
    """

    lesson: Any
    epochs: int
    learning_rate: float
    weight_decay: float
    batch: int = 32
    seed: int = 0


RECIPES: Final = {
    "resnet": Recipe(DigitPairs, epochs=6, learning_rate=0.002, weight_decay=0.02),
    "resnext": Recipe(DigitPairs, epochs=6, learning_rate=0.002, weight_decay=0.02),
    "mobilenet": Recipe(DigitPairs, epochs=10, learning_rate=0.004, weight_decay=0.02),
    "bert": Recipe(partial(Paraphrases, scale=2.0, alike=0.5), epochs=1, learning_rate=0.001, weight_decay=0.01),
    "roberta": Recipe(partial(Paraphrases, scale=5.0, alike=1.0), epochs=1, learning_rate=0.0007, weight_decay=0.01),
}


def fit(lesson: Lesson, recipe: Recipe) -> Iterator[tuple[float, float]]:
    """Train, step by step.

    Parameters
    ----------
    lesson
        What to learn; its network is in train mode.
    recipe
        Its seed decides the order of samples.

    Yields
    ------
    tuple of float
        The share of the steps that are done, and the loss of the last one.
    """
    import torch

    order = torch.Generator().manual_seed(recipe.seed)
    batches = lesson.batches(recipe.batch, recipe.epochs, order)
    parameters = list(lesson.parameters())
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=len(batches), pct_start=0.1
    )
    for number, batch in enumerate(batches, start=1):
        loss = lesson.loss(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        yield number / len(batches), loss.item()


def accuracy(
    subject: SubjectModel, network: torch.nn.Module, limit: int | None = None, samples: Sequence[Example] | None = None
) -> dict[str, float]:
    """Accuracy of a network in percent, by the subject's metrics.

    Parameters
    ----------
    subject
        Whose samples, pipeline and metrics are taken.
    network
        In eval mode.
    limit
        How many samples are taken, or None for all.
    samples
        Which ones, or None for those that sessions report on.
    """
    import torch

    samples = (subject.examples.generate("validation") if samples is None else samples)[:limit]
    inputs = graph_inputs(subject, samples)
    postprocess = subject.pipeline.postprocess
    assert postprocess is not None
    with torch.inference_mode():
        batches = [slice(at, at + _BATCH) for at in range(0, len(samples), _BATCH)]
        logits = torch.cat([network(*(tensor[batch] for tensor in inputs)) for batch in batches])
    ranked = postprocess({postprocess.input: logits.numpy()})["labels"]
    truth = np.array([sample.reference for sample in samples])
    predictions = Predictions({"labels": ranked}, has_classes=True)
    return {metric.name: metric.score(predictions, truth) for metric in map(metric_of, subject.metrics)}


def train(name: str, seed: int = 0, folder: Path = checkpoint.FOLDER, *, again: bool = False) -> None:
    """Train a subject model, write its weights (and its tokenizer, if it has one) and print its accuracy.

    Parameters
    ----------
    name
        Of the subject model.
    seed
        For the initial weights and the order of samples.
    folder
        Where the weights are written. The tokenizer has one place: no seed changes it.
    again
        Whether a text model begins with the weights that it has, and learns more.
    """
    import torch

    recipe = replace(RECIPES[name], seed=seed)
    if again:
        recipe = replace(recipe, lesson=partial(recipe.lesson, again=True))
    definition = importlib.import_module(f"models.{name}")
    subject: SubjectModel = definition.SUBJECT
    if name in vocabulary.MAKERS:
        vocabulary.MAKERS[name]().save(str(subject.assets[0]))
    torch.manual_seed(recipe.seed)
    network: torch.nn.Module = (definition.network() if again else definition.build()).train()
    lesson: Lesson = recipe.lesson(subject, network)
    print(f"{name}: {sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    wall, processor = time.monotonic(), time.process_time()
    recent, told = None, 0
    for done, loss in fit(lesson, recipe):
        recent = loss if recent is None else 0.98 * recent + 0.02 * loss
        if int(done * _REPORTS) > told:
            told, left = int(done * _REPORTS), (time.monotonic() - wall) * (1 / done - 1)
            print(f"{name}: {done:.0%}, loss {recent:.3f}, {left:.0f} s left", flush=True)
    processor = time.process_time() - processor
    file = folder / checkpoint.path_of(name).name
    checkpoint.save(network, file)
    kept = checkpoint.load(definition.build(), file)
    parts: dict[str, Sequence[Example] | None] = {"validation": None}
    if subject.examples is paraphrases.SAMPLES:
        parts = {"validation": paraphrases.examples("validation"), "test": paraphrases.examples("test")}
    for part, samples in parts.items():
        measured = accuracy(subject, kept, samples=samples)
        report = ", ".join(f"{METRICS[metric].label} {percent:.1f} %" for metric, percent in measured.items())
        print(f"{name}, seed {seed}: {part} {report} after {processor:.0f} CPU-seconds", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the subject models that the command line names, or all."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(RECIPES)}; all if none is given")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the order of samples")
    parser.add_argument(
        "--into", type=Path, default=checkpoint.FOLDER, metavar="FOLDER", help="where weights are written"
    )
    parser.add_argument("--again", action="store_true", help="text models begin with the weights that they have")
    options = parser.parse_args(arguments)
    names = options.names or RECIPES
    unknown = set(names) - set(RECIPES)
    if unknown:
        parser.error(f"no subject model is called {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    if options.again and any(RECIPES[name].lesson is DigitPairs for name in names):
        parser.error("--again is for bert and roberta: name them")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanishing gradients would take ten times as long
    warnings.filterwarnings("ignore", "The value of the smallest subnormal", UserWarning)  # numpy notices
    torch.use_deterministic_algorithms(mode=True)
    for name in names:
        train(name, options.seed, options.into, again=options.again)
    return 0


if __name__ == "__main__":
    sys.exit(main())
