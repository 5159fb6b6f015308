"""Times the Mixtral mixture block of the transformers library on the bench's layer; the last line printed is JSON.

Same sizes, float32, as many threads as the bench used; random weights and input of its own. Every experts
implementation is timed in turn, as the bench does with its dispatches, and reported under its own name. On a card
(--device cuda) it ends each run by reading a value that depends on the whole result.
"""

import argparse
import time

from peer import IMPLEMENTATIONS, needed, print_report, stop

torch = needed("torch")
transformers = needed("transformers")
mixtral = needed("transformers.models.mixtral.modeling_mixtral", "transformers with Mixtral")

WARMUP_RUNS = 3
MIN_SAMPLES = 5
MAX_SAMPLES = 200
# Results of more values are summed where they are, and the sum is read: as the bench does.
READ_WHOLE_UP_TO = 2**20


def make_block(args, implementation):
    config = mixtral.MixtralConfig(
        hidden_size=args.dim,
        intermediate_size=args.hidden,
        num_local_experts=args.experts,
        num_experts_per_tok=args.top_k,
    )
    config._experts_implementation = implementation
    torch.manual_seed(args.seed)
    block = mixtral.MixtralSparseMoeBlock(config).eval()
    for parameter in block.parameters():
        # Uniform with the variance of 1 / inputs, as the bench's own weights.
        limit = (3 / parameter.shape[-1]) ** 0.5
        torch.nn.init.uniform_(parameter, -limit, limit)
    return block


def finish(y):
    if y.numel() > READ_WHOLE_UP_TO:
        return y.sum().item()
    return y.cpu().numpy()  # on a processor a view: nothing is copied, and the work is over


def measure(blocks, x, budget_ms):
    """Milliseconds of each block, one run each in turn until the budget is spent."""
    samples = {name: [] for name in blocks}
    started = time.perf_counter()
    for turn in range(WARMUP_RUNS + MAX_SAMPLES):
        spent_ms = (time.perf_counter() - started) * 1000
        if turn >= WARMUP_RUNS + MIN_SAMPLES and spent_ms >= budget_ms:
            break
        for name, block in blocks.items():
            start = time.perf_counter()
            finish(block(x))
            if turn >= WARMUP_RUNS:
                samples[name].append((time.perf_counter() - start) * 1000)
    return samples


def check_alike(blocks, x, atol):
    first, *others = [block(x) for block in blocks.values()]
    for other in others:
        if not torch.allclose(first, other, atol=atol):
            stop("its implementations disagree with each other on the same weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", default="1,16,256,1024")
    for name, value in [("dim", 512), ("hidden", 1024), ("experts", 16), ("top-k", 2)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--budget-ms", type=float, default=12000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", type=int, default=0, help="1: products may be rounded to TensorFloat-32, on a card")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        stop("this Python's torch finds no CUDA device")

    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = args.tf32 == 1
    rows = []
    with torch.no_grad():
        blocks = {name: make_block(args, name).to(args.device) for name in IMPLEMENTATIONS}
        for tokens in [int(text) for text in args.tokens.split(",")]:
            x = torch.randn(1, tokens, args.dim, device=args.device)
            check_alike(blocks, x, atol=1e-2 if args.tf32 else 1e-4)
            for name, samples in measure(blocks, x, args.budget_ms).items():
                rows.append({"implementation": name, "tokens": tokens, "samplesMs": samples})
    print_report(args.threads, rows, [transformers, torch])


main()
