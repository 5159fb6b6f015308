"""Runs llama.cpp's own converter on a model with the tokenizer of this project.

  python bench/peers/to_gguf.py LLAMA_CPP models/moe --outfile moe.gguf [--outtype f32]

LLAMA_CPP is the folder of its source, with convert_hf_to_gguf.py; all other arguments are the converter's. It recognises a
tokenizer by a hash of sample ids and stops at one that is not in its list. A model whose tokenizer splits texts as those
under models/ do is given the pre-tokenizer "smollm" here: digits one by one, then as GPT-2 (docs/training.md says what that
leaves). `glm4_moe` is also given no special tokens of GLM's, and a model without a tokenizer (models/make-random.ts) none.
"""

import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pre_tokenizer(directory):
    with open(os.path.join(directory, "tokenizer.json"), encoding="utf-8") as file:
        return json.load(file)["pre_tokenizer"]


def splits_as_ours(model):
    return pre_tokenizer(model.dir_model) == pre_tokenizer(os.path.join(ROOT, "models", "moe"))


def has_tokenizer(model):
    return os.path.exists(os.path.join(model.dir_model, "tokenizer.json"))


def teach(TextModel):
    recognised, glm = TextModel.get_vocab_base_pre, TextModel._set_vocab_glm
    TextModel.get_vocab_base_pre = lambda self, tokenizer: (
        "smollm" if splits_as_ours(self) else recognised(self, tokenizer)
    )
    TextModel._set_vocab_glm = lambda self: self._set_vocab_gpt2() if splits_as_ours(self) else glm(self)
    sentencepiece = TextModel._set_vocab_sentencepiece
    TextModel._set_vocab_sentencepiece = lambda self: (
        sentencepiece(self) if has_tokenizer(self) else self._set_vocab_none()
    )


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = os.path.abspath(sys.argv.pop(1))
    sys.path.insert(0, folder)
    try:
        import convert_hf_to_gguf
        from conversion.base import TextModel
    except ImportError as error:
        sys.exit(f"{folder}: holds no converter of llama.cpp that can be run ({error})")
    teach(TextModel)
    sys.argv[0] = convert_hf_to_gguf.__file__
    convert_hf_to_gguf.main()


main()
