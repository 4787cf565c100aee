#!/usr/bin/env python3
"""LoRA training in PyTorch + PEFT on rows of token ids, timed step by step: the peer for data of real lengths.

    peft_rows.py prepare --model DIR --data FILE.jsonl --rows N --out ROWS.jsonl [--max-length 512]
    peft_rows.py train   --model DIR --rows ROWS.jsonl --batch 8 --rank 8 --warmup 20 --steps 100

prepare turns prompt/completion rows into `input_ids` and `labels` (-100 on the prompt) with the model's own
tokenizer. train takes such rows in file order and pads each batch to its longest row, as a data collator does;
tokens are counted without the padding. It prints one JSON line: seconds and tokens of every timed step.
"""
import argparse
import itertools
import json
import sys
import time

IGNORED = -100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare_command = commands.add_parser("prepare")
    prepare_command.add_argument("--model", required=True)
    prepare_command.add_argument("--data", required=True)
    prepare_command.add_argument("--rows", type=int, required=True)
    prepare_command.add_argument("--out", required=True)
    prepare_command.add_argument("--max-length", type=int, default=512)
    train_command = commands.add_parser("train")
    train_command.add_argument("--model", required=True)
    train_command.add_argument("--rows", required=True)
    train_command.add_argument("--batch", type=int, default=8)
    train_command.add_argument("--rank", type=int, default=8)
    train_command.add_argument("--learning-rate", type=float, default=1e-4)
    train_command.add_argument("--warmup", type=int, default=20)
    train_command.add_argument("--steps", type=int, default=100)
    return parser.parse_args()


def prepare(args):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    written = 0
    with open(args.data, encoding="utf-8") as source, open(args.out, "w", encoding="utf-8") as out:
        for line in source:
            if written == args.rows:
                break
            row = json.loads(line)
            prompt = tokenizer(row["prompt"] + "\n")["input_ids"]
            completion = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
            ids = prompt + completion + [tokenizer.eos_token_id]
            if len(ids) > args.max_length:
                continue
            labels = [IGNORED] * len(prompt) + ids[len(prompt):]
            out.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            written += 1
    if written < args.rows:
        sys.exit("%s: %d rows of at most %d tokens, %d asked for" % (args.data, written, args.max_length, args.rows))


def batches(path, size):
    """Batches in file order, over and over; a short one at the end of the file is kept."""
    with open(path, encoding="utf-8") as source:
        rows = [json.loads(line) for line in source]
    while True:
        for first in range(0, len(rows), size):
            yield rows[first:first + size]


def collate(torch, rows):
    """input_ids, attention_mask and labels, padded on the right to the longest row."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(values, filler):
        return torch.tensor([v + [filler] * (longest - len(v)) for v in values])

    return dict(
        input_ids=padded([row["input_ids"] for row in rows], 0),
        attention_mask=padded([[1] * len(row["input_ids"]) for row in rows], 0),
        labels=padded([row["labels"] for row in rows], IGNORED),
    )


def train(args):
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    model.config.use_cache = False
    lora = peft.LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules="all-linear", lora_dropout=0.0,
                           bias="none", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, lora)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, weight_decay=0.0)
    seconds, tokens, losses = [], [], []
    for step, rows in enumerate(itertools.islice(batches(args.rows, args.batch), args.warmup + args.steps)):
        start = time.perf_counter()
        loss = model(**collate(torch, rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if step >= args.warmup:
            seconds.append(time.perf_counter() - start)
            tokens.append(sum(len(row["input_ids"]) for row in rows))
    print(json.dumps(dict(
        peer="torch %s, transformers %s, peft %s" % (torch.__version__, transformers.__version__, peft.__version__),
        threads=torch.get_num_threads(), trainable=sum(p.numel() for p in parameters), first_loss=losses[0],
        last_loss=losses[-1], seconds=seconds, tokens=tokens)))


if __name__ == "__main__":
    parsed = arguments()
    {"prepare": prepare, "train": train}[parsed.command](parsed)
