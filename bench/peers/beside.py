"""What the scripts share that put this engine's results beside another library's: texts, models, and how ours are had."""

import concurrent.futures
import json
import multiprocessing
import os
import subprocess
import sys

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
NEW_TOKENS = 24


def skip(problem):
    print(f"nothing was compared: {problem}")
    sys.exit(0)


def add_directories(parser):
    parser.add_argument("directories", nargs="*", metavar="DIR", help="default: every model under models/")


def models_of(args):
    """Directories of the models that were asked for."""
    folder = os.path.join(ROOT, "models")
    every = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return args.directories or [path for path in every if os.path.exists(os.path.join(path, "config.json"))]


def checked(directory):
    """Its whole path; a library would take what is no directory for the name of a repository."""
    if not os.path.isdir(directory):
        raise ValueError("no such directory")
    return os.path.abspath(directory)


def sentence(error):
    return " ".join(str(error).split()) or type(error).__name__


def tinymoe(script, *arguments, given=None):
    """What a script of this project prints on stdout, as JSON."""
    command = ["npx", "tsx", os.path.join(ROOT, *script.split("/")), *arguments]
    run = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    return json.loads(run.stdout)


def our_texts(directory):
    """How this engine continues TEXTS: a list of {prompt, promptTokens, tokens}."""
    arguments = [directory, "--max-tokens", str(NEW_TOKENS)]
    return tinymoe("bench/peers/greedy.ts", *arguments, given=json.dumps(TEXTS))


def greedy_texts(model, tokenizer):
    """(ids, new ids) of each text, by a model of the transformers library."""
    import torch

    answers = []
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        end = {"eos_token_id": None, "pad_token_id": 0}
        new = model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False, **end)
        answers.append((ids, new[0, len(ids) :].tolist()))
    return answers


def apart(function, *arguments):
    """The function's result, from a process of its own: an engine that crashes or keeps its memory does no harm."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def compare_greedy(library, versions, runs, theirs, dtype="float32"):
    """Prints how greedy texts compare, a line a run, and all as JSON in the last line; then exits, with 1 where any differs.

    runs: (directory, processes); theirs(path, processes): (ids of the prompt, new ids) for each of TEXTS.
    """
    width = max(len(os.path.relpath(directory)) for directory, _ in runs)
    print(f"{'model':{width}}  processes  ids of texts  greedy tokens")
    ours, rows, failed = {}, [], False
    for directory, processes in runs:
        row = f"{os.path.relpath(directory):{width}}  {processes:9}"
        try:
            path = checked(directory)
            ours[path] = ours.get(path) or our_texts(path)
            answers = apart(theirs, path, processes)
        except Exception as error:  # whatever an engine does not like about one model, the others are compared
            failed = True
            print(f"{row}  could not be compared: {sentence(error)}", flush=True)
            continue
        ids = sum(text["promptTokens"] == prompt for text, (prompt, _) in zip(ours[path], answers, strict=True))
        tokens = sum(equal_tokens(text["tokens"], new) for text, (_, new) in zip(ours[path], answers, strict=True))
        same = (ids, tokens) == (len(TEXTS), len(TEXTS) * NEW_TOKENS)
        failed = failed or not same
        equal_ids, equal = f"{ids} of {len(TEXTS)} equal", f"{tokens} of {len(TEXTS) * NEW_TOKENS} equal"
        print(f"{row}  {equal_ids:12}  {equal}{'' if same else '  DIFFERENT'}", flush=True)
        texts = [{"prompt": text, "promptTokens": p, "tokens": t} for text, (p, t) in zip(TEXTS, answers, strict=True)]
        rows.append({"model": os.path.basename(path), "processes": processes, "texts": texts})
    print(json.dumps({"library": library, "versions": versions, "dtype": dtype, "rows": rows}))
    sys.exit(1 if failed else 0)


def equal_tokens(ours, theirs):
    """How many tokens are the same before the first that is not: what follows that one continues another text."""
    pairs = zip(ours, theirs, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(ours))
