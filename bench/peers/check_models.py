"""Compares models with the transformers library: token ids of texts, and all logits, in float32.

  python bench/peers/check_models.py [DIR ...]      default: every model under models/

Prints a line a model; exits 1 where ids differ or a logit is further away than --tolerance. Without torch and transformers it
says so and exits 0.
"""

import argparse
import json
import os
import subprocess
import sys

from peer import needed

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# The corpus's kinds of text, and what it does not have: other scripts, an emoji, spaces in a row.
TEXTS = [
    "Once upon a time there was a clever girl named Anton.",
    "Mia fand einen Schlüssel; über Nacht wurde er größer.",
    "34+27=61\n1999-12-31",
    "for i in range(3):\n    print(i * i)",
    '{"name": "Ben",  "items": [1, 22, 333]}',
    "naïve 東京 🙂\t!",
]


def skip(problem):
    print(f"nothing was compared: {problem}")
    sys.exit(0)


torch = needed("torch", otherwise=skip)
transformers = needed("transformers", otherwise=skip)


def tinymoe(script, *arguments, given=None):
    """What a script of this project prints on stdout, as JSON."""
    command = ["npx", "tsx", os.path.join(ROOT, *script.split("/")), *arguments]
    run = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    return json.loads(run.stdout)


def compare(directory):
    """Number of texts whose ids differ, of all; largest difference of a logit; tokens compared."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    theirs = [tokenizer(text).input_ids for text in TEXTS]
    ours = tinymoe("bench/peers/token-ids.ts", directory, given=json.dumps(TEXTS))
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))

    flags = [flag for ids in theirs for flag in ("--tokens", ",".join(map(str, ids)))]
    logits = tinymoe("src/cli/main.ts", "logits", directory, *flags, "--json")["logits"]
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    worst = 0.0
    with torch.no_grad():
        for ids, own in zip(theirs, logits, strict=True):
            reference = model(torch.tensor([ids])).logits[0]
            worst = max(worst, (torch.tensor(own) - reference).abs().max().item())
    return different, worst, sum(map(len, theirs))


def models_under(folder):
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in names if os.path.exists(os.path.join(folder, name, "config.json"))]


def main():
    parser = argparse.ArgumentParser(description="Compares models with transformers: token ids and logits.")
    parser.add_argument("directories", nargs="*", metavar="DIR", help="default: every model under models/")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest difference of a logit (default: 1e-3)")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    failed = False
    for directory in args.directories or models_under(os.path.join(ROOT, "models")):
        path, name = os.path.abspath(directory), os.path.relpath(directory)
        try:
            if not os.path.isdir(path):  # transformers would take it for the name of a repository
                raise ValueError("no such directory")
            different, worst, tokens = compare(path)
        except Exception as error:  # whatever the library does not like about one model, the others are compared
            failed = True
            print(f"{name}: could not be compared: {' '.join(str(error).split())}")
            continue
        fine = different == 0 and worst <= args.tolerance
        failed = failed or not fine
        texts = "token ids equal" if different == 0 else f"token ids of {different} of {len(TEXTS)} texts DIFFER"
        verdict = "" if worst <= args.tolerance else f", MORE than {args.tolerance:g}"
        print(f"{name}: {texts}; largest difference of a logit {worst:.2g}{verdict} ({tokens} tokens)")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, float32")
    sys.exit(1 if failed else 0)


main()
