"""Seeded variants of config.json through transformers' own config classes: what tests/families/variants.test.ts compares ours with.

    pip install transformers==5.24.0        # no torch is needed
    python bench/peers/config_variants.py --out tests/fixtures/configs

Writes one <family>.json.gz a family: a list of {"config": ..., "fields": ...} or {"config": ..., "refused": ...}. `fields` is what the
published model's code reads of the config, after the defaults, aliases and rotary conversion of the class.
"""

import argparse
import gzip
import json
import random
import tempfile
from pathlib import Path

import transformers
from transformers import AutoConfig, CONFIG_MAPPING

transformers.logging.set_verbosity_error()

FAMILIES = ["mixtral", "llama", "glm4_moe"]

SIZES = {
    "vocab_size": [160, 32000, 1024],
    "hidden_size": [32, 48, 64, 4096],
    "intermediate_size": [24, 40, 96],
    "num_hidden_layers": [1, 2, 3, 5],
    "num_attention_heads": [4, 4, 4, 8],
    "num_key_value_heads": [1, 2, 4, 4, 4, 3, None],
    "head_dim": [8, 16, 32, 64, None],
    "max_position_embeddings": [256, 2048, 131072],
    "rms_norm_eps": [1e-5, 1e-6, 0.001],
}
IDS = {
    "bos_token_id": [None, 0, 1, 7],
    "eos_token_id": [None, 0, 2, [2], [2, 16, 5], []],
    "pad_token_id": [None, 0, 3],
}
# What may be there and mean nothing, to these classes or to any.
STRANGERS = {
    "num_experts": [4, 8],
    "num_local_experts": [4, 6],
    "n_routed_experts": [4, 12],
    "sliding_window": [None, None, None, 8],
    "mlp_bias": [True, False],
    "attention_bias": [True, False],
    "use_qk_norm": [True, False],
    "norm_topk_prob": [True, False],
    "first_k_dense_replace": [0, 1, 2],
    "partial_rotary_factor": [None, 0.25, 0.5, 1.0],
    "original_max_position_embeddings": [32, 64],
    "attention_dropout": [0.0, 0.1],
    "router_jitter_noise": [0.0, 0.1],
    "router_aux_loss_coef": [0.001, 0.02],
    "output_router_logits": [True, False],
    "initializer_range": [0.02],
    "use_cache": [True, False],
    "pretraining_tp": [1, 2],
    "torch_dtype": ["bfloat16", "float32"],
    "dtype": ["float16"],
    "temperature": [0.3],
    "do_sample": [True],
    "architectures": [["MixtralForCausalLM"], None],
    "transformers_version": ["4.36.0", "5.23.0"],
    "num_nextn_predict_layers": [0, 1],
    "num_mtp_layers": [1],
    "is_causal": [True, False],
    "per_layer_config": [None, {"0": {"num_key_value_heads": 2}}],
    "attention_chunk_size": [None, None, 8],
    "quantization_config": [None, None, {"quant_method": "gptq", "bits": 4}],
    "auto_map": [{"AutoConfig": "configuration.Config"}],
    "a_field_that_nobody_knows": [1, "x", None],
    "hidden_act": ["silu", "swish", "swish", "gelu", None],
    "tie_word_embeddings": [True, True, False, None],
}
EXPERTS = {
    "mixtral": {"num_local_experts": [4, 8], "num_experts_per_tok": [1, 2, 4, 5], "sliding_window": [None, 8]},
    "llama": {"attention_bias": [True, False], "mlp_bias": [True, False]},
    "glm4_moe": {
        "n_routed_experts": [8, 16],
        "num_experts_per_tok": [1, 2, 2, 4],
        "n_group": [1, 1, 2, 4, 3],
        "topk_group": [1, 1, 2],
        "n_shared_experts": [0, 1, 2],
        "moe_intermediate_size": [16, 24],
        "first_k_dense_replace": [0, 1, 2, 9],
        "norm_topk_prob": [True, False],
        "routed_scaling_factor": [1.0, 1.5, 2.5],
        "use_qk_norm": [True, False],
        "attention_bias": [True, False],
    },
}
WRONG = ["32", -1, 1.5, True, [], {}]


def rope_settings(rng):
    kind = rng.choice(["default"] * 4 + ["linear"] * 4 + ["llama3"] * 6 + ["yarn", "dynamic"])
    rope = {rng.choice(["rope_type", "rope_type", "type"]): kind} if rng.random() < 0.9 else {}
    if kind != "default" or rng.random() < 0.2:
        rope["factor"] = rng.choice([2.0, 4.0, 8.0])
    if kind == "llama3":
        rope.update(low_freq_factor=1.0, high_freq_factor=4.0)
        if rng.random() < 0.7:
            rope["original_max_position_embeddings"] = rng.choice([32, 128])
    if rng.random() < 0.6:
        rope["rope_theta"] = rng.choice([1e4, 5e5, 7.0, 1000000])
    if rng.random() < 0.2:
        rope["partial_rotary_factor"] = rng.choice([0.25, 0.5, 1.0])
    if rng.random() < 0.1 and len(rope) > 1:
        del rope[rng.choice(list(rope))]
    return rope


def variant(family, rng):
    """A config of plain values, then a few changes: fields left out, given twice, in another dialect, strange or wrong."""
    config = {"model_type": family}
    for name, values in {**SIZES, **IDS, **EXPERTS[family]}.items():
        if rng.random() < 0.85:
            config[name] = rng.choice(values)
    if rng.random() < 0.9:
        fitting(family, config)
    for name in rng.sample(list(STRANGERS), rng.randint(0, 5)):
        config[name] = rng.choice(STRANGERS[name])
    if rng.random() < 0.5:
        config["rope_theta"] = rng.choice([1e4, 1e6, 1000000, 5e5])
    for name in ["rope_parameters", "rope_scaling"]:
        if rng.random() < 0.45:
            config[name] = rng.choice([None, {}, rope_settings(rng), rope_settings(rng), rope_settings(rng)])
    if rng.random() < 0.1:
        name = rng.choice(list(config))
        if name != "model_type":
            config[name] = rng.choice(WRONG)
    if rng.random() < 0.05:
        config[rng.choice(list(SIZES))] = None
    items = list(config.items())
    rng.shuffle(items)
    return dict(items)


def fitting(family, config):
    """Numbers that go together, where chance chose others: a model could be made of them."""
    default = CONFIG_MAPPING[family]()
    given = lambda name: config[name] if config.get(name) is not None else getattr(default, name)
    if given("num_attention_heads") % given("num_key_value_heads"):
        config["num_key_value_heads"] = given("num_attention_heads")
    if given("hidden_size") % given("num_attention_heads"):
        config["hidden_size"] = given("num_attention_heads") * 8
    if family == "glm4_moe":
        if given("n_routed_experts") % given("n_group"):
            config["n_group"] = 2
        config["topk_group"] = min(given("topk_group"), given("n_group"))
        if given("num_experts_per_tok") > given("topk_group") * given("n_routed_experts") // given("n_group"):
            config["num_experts_per_tok"] = 1


def outcome(config, folder):
    family = config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    try:
        read = AutoConfig.from_pretrained(folder)
        if read.rope_parameters["rope_type"] != "default":
            read.standardize_rope_params()  # as the rotary embedding does before it computes
        return {"fields": fields(family, read)}
    except Exception as error:
        message = " ".join(str(error).split()).split(": {'")[0]  # a set's order changes from run to run
        return {"refused": f"{type(error).__name__}: {message}"[:200]}


def fields(family, c):
    rope = c.rope_parameters
    eos = c.eos_token_id
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    common = {
        "vocabSize": c.vocab_size,
        "hiddenSize": c.hidden_size,
        "layers": c.num_hidden_layers,
        "numHeads": c.num_attention_heads,
        "numKeyValueHeads": c.num_key_value_heads,
        "headDim": head_dim,
        "hiddenAct": {"swish": "silu"}.get(c.hidden_act, c.hidden_act),
        "maxPositionEmbeddings": c.max_position_embeddings,
        "normEps": c.rms_norm_eps,
        "tieWordEmbeddings": c.tie_word_embeddings,
        "bosTokenId": c.bos_token_id,
        "eosTokenIds": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "intermediateSize": c.intermediate_size,
        "rope": {
            "theta": rope["rope_theta"],
            "type": rope["rope_type"],
            **{
                name: rope[name]
                for name in {
                    "linear": ["factor"],
                    "llama3": ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
                }.get(rope["rope_type"], [])
            },
        },
    }
    if family == "mixtral":
        return {
            **common,
            "numExperts": c.num_local_experts,
            "topK": c.num_experts_per_tok,
            "slidingWindow": c.sliding_window,
        }
    if family == "llama":
        return {**common, "attentionBias": c.attention_bias, "mlpBias": c.mlp_bias}
    return {
        **common,
        "rotaryDim": int(head_dim * rope.get("partial_rotary_factor", 1.0)),
        "numExperts": c.n_routed_experts,
        "topK": c.num_experts_per_tok,
        "groups": c.n_group,
        "groupsKept": c.topk_group,
        "sharedExperts": c.n_shared_experts,
        "expertSize": c.moe_intermediate_size,
        "denseLayers": min(c.first_k_dense_replace, c.num_hidden_layers),
        "normalized": c.norm_topk_prob,
        "scalingFactor": c.routed_scaling_factor,
        "qkNorm": c.use_qk_norm,
        "attentionBias": c.attention_bias,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=19)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_all(arguments, Path(folder))


def write_all(arguments, folder):
    for family in FAMILIES:
        rng = random.Random(f"{arguments.seed} {family}")
        variants = [variant(family, rng) for _ in range(arguments.count)]
        cases = [{"config": config, **outcome(config, folder)} for config in variants]
        text = json.dumps({"transformers": transformers.__version__, "cases": cases}, separators=(",", ":"))
        file = arguments.out / f"{family}.json.gz"
        with file.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
            packed.write(text.encode())
        refused = sum("refused" in case for case in cases)
        print(f"{file}: {len(cases)} variants, {refused} refused by transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
