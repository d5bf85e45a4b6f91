"""Train a tiny BERT that tells good reviews from bad ones, and write it into `reviews/`: `python make.py`.

Nothing is downloaded: sentences are generated, the vocabulary is that of the sentences, the network starts at random.
Your own folder is one that `model.save_pretrained` and `tokenizer.save_pretrained` wrote.
"""

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

HERE = Path(__file__).parent
THINGS = ["film", "book", "meal", "hotel", "concert"]
WORDS = [["awful", "boring", "bad", "dull"], ["lovely", "exciting", "good", "great"]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def reviews(count):
    """Sentences and their labels: 0 is bad, 1 is good; a negation turns the meaning round."""
    for _ in range(count):
        word, negated = random.randrange(2), random.randrange(2)
        start = f"the {random.choice(THINGS)} was {'not ' * negated}"
        yield start + f"{random.choice(WORDS[word])} and {random.choice(WORDS[word])}", word ^ negated


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a small network is faster so
    words = [*SPECIAL, "the", "was", "not", "and", *THINGS, *WORDS[0], *WORDS[1]]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(words), **size, **labels))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(120):
        texts, labels = zip(*reviews(32), strict=True)
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        model(**batch, labels=torch.tensor(labels)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(HERE / "reviews")
    tokenizer.save_pretrained(HERE / "reviews")
    lines = [json.dumps({"text": text, "reference": label}) for text, label in reviews(120)]
    (HERE / "reviews.jsonl").write_text("\n".join(lines), encoding="utf-8")
