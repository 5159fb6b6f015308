"""Trains a checkpoint with PyTorch and the transformers library, a step for each line that it reads: the twin of training-step.ts.

A step is cross-entropy, gradients, clipping and AdamW, in float32 on the processor. The first line printed says what runs, every
other one has the step's milliseconds, those of all threads, its loss, and the norm of all its gradients before clipping, as JSON.
"""

import argparse
import json
import sys
import time

from peer import IMPLEMENTATIONS, needed, stop

torch = needed("torch")
transformers = needed("transformers")


def grouped(model, adamw):
    """Norms and biases do not decay."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    decay = [{"params": matrices, "weight_decay": adamw["weightDecay"]}, {"params": others, "weight_decay": 0.0}]
    betas = (adamw["beta1"], adamw["beta2"])
    return torch.optim.AdamW(decay, lr=adamw["rate"], betas=betas, eps=adamw["epsilon"], fused=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a Hugging Face directory")
    parser.add_argument("--batches", required=True, help="JSON: rows of tokens, and the optimizer's settings")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--experts", choices=IMPLEMENTATIONS, default="eager")
    parser.add_argument("--compile", action="store_true", help="the model through torch.compile")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    try:
        load = transformers.AutoModelForCausalLM.from_pretrained
        model = load(args.model, dtype=torch.float32, local_files_only=True).train()
    except (OSError, ValueError) as error:
        stop(f"transformers does not load {args.model} ({str(error).splitlines()[0]})")
    model.set_experts_implementation(args.experts)
    with open(args.batches) as file:
        given = json.load(file)
    optimizer = grouped(model, given["adamw"])
    forward = torch.compile(model) if args.compile else model
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"versions": versions}), flush=True)
    for step, _ in enumerate(sys.stdin):
        rows = torch.tensor(given["batches"][step])
        start, before = time.perf_counter(), time.process_time()
        logits = forward(input_ids=rows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), given["clipNorm"])
        optimizer.step()
        spent = {"ms": (time.perf_counter() - start) * 1000, "cpuMs": (time.process_time() - before) * 1000}
        print(json.dumps({**spent, "loss": loss.item(), "gradientNorm": norm.item()}), flush=True)


main()
