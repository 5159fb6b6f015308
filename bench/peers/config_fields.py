"""What the published models of the transformers library read of a config, in the words of ours (src/model/config.ts), a layer at a time."""

import importlib
import math

# Where a family's model stands, and what its classes are called.
CLASSES = {
    "mixtral": "Mixtral",
    "llama": "Llama",
    "glm4_moe": "Glm4Moe",
    "deepseek_v3": "DeepseekV3",
    "deepseek_v2": "DeepseekV2",
    "qwen3_moe": "Qwen3Moe",
    "qwen2_moe": "Qwen2Moe",
    "olmoe": "Olmoe",
    "gpt_oss": "GptOss",
    "granitemoe": "GraniteMoe",
    "phimoe": "Phimoe",
    "llama4_text": "Llama4Text",
    "dbrx": "Dbrx",
}


def described(family, c):
    """The whole decoder; layers that are alike once, with the number of its kind for each."""
    layers = [
        {"attention": ATTENTION.get(family, grouped)(c, i), "feedForward": FEED_FORWARD[family](c, i)}
        for i in range(c.num_hidden_layers)
    ]
    kinds = []
    for layer in layers:
        if layer not in kinds:
            kinds.append(layer)
    eos = c.eos_token_id
    return {
        "vocabSize": c.vocab_size,
        "hiddenSize": c.hidden_size,
        "maxPositionEmbeddings": positions(family, c),
        "normEps": 1e-5 if family == "dbrx" else c.rms_norm_eps,
        "tieWordEmbeddings": c.tie_word_embeddings,
        "bosTokenId": c.bos_token_id,
        "eosTokenIds": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "multipliers": multipliers(c) if family == "granitemoe" else [1, 1, 1],
        "unembeddingBias": family == "phimoe" and c.lm_head_bias,
        "kinds": kinds,
        "layers": [kinds.index(layer) for layer in layers],
    }


def positions(family, c):
    """phimoe's longrope changes beyond its original positions, where libraries differ."""
    rope = c.rope_parameters
    if family == "phimoe" and rope["rope_type"] == "longrope":
        return rope["original_max_position_embeddings"]
    return c.max_position_embeddings


def multipliers(c):
    return [c.embedding_multiplier, c.residual_multiplier, 1 / c.logits_scaling]


def rope(c, width, share=False, interleaved=False):
    """Frequencies, first, middle and last, and what multiplies sines: those of the model's own class."""
    family = c.model_type
    module = {"llama4_text": "llama4"}.get(family, family)
    models = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    embedding = getattr(models, f"{CLASSES[family]}RotaryEmbedding")(c)
    frequencies = embedding.inv_freq.tolist()
    if not share and 2 * len(frequencies) != width:
        raise ValueError(f"{2 * len(frequencies)} channels rotate, of {width}")
    if not all(map(math.isfinite, frequencies)):
        raise ValueError("frequencies that are no numbers")
    kind = c.rope_parameters["rope_type"]
    # phimoe's forward takes these two for every rotation but the plain one.
    magnitude = c.rope_parameters["short_mscale"] if family == "phimoe" and kind != "default" else embedding.attention_scaling
    return {
        "channels": 2 * len(frequencies),
        "interleaved": interleaved,
        "numbers": [frequencies[0], frequencies[len(frequencies) // 2], frequencies[-1], magnitude],
    }


def grouped(c, i, **own):
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    bias = own.get("bias", False)
    shared = own.get("numKeyValueHeads", c.num_key_value_heads)
    if c.num_attention_heads % shared:
        raise ValueError("key-value heads do not divide the heads")
    return {
        "kind": "grouped",
        "numHeads": c.num_attention_heads,
        "numKeyValueHeads": shared,
        "headDim": head_dim,
        "outputBias": bias,
        "qkNorm": None,
        "sinks": False,
        "slidingWindow": None,
        "chunk": None,
        "scale": head_dim**-0.5,
        "clip": None,
        "unitNorm": None,
        "temperature": None,
        **own,
        "bias": bias,
        "rope": own.get("rope", True) and rope(c, head_dim, own.get("rope") == "share", own.get("rope") == "interleaved"),
    }


def glm4_moe(c, i):
    norm = "per-head" if c.use_qk_norm else None
    return grouped(c, i, bias=c.attention_bias, outputBias=False, qkNorm=norm, rope="share")


def latent(c, i):
    module = importlib.import_module(f"transformers.models.{c.model_type}.modeling_{c.model_type}")
    return {
        "kind": "latent",
        "numHeads": c.num_attention_heads,
        "queryRank": c.q_lora_rank,
        "keyValueRank": c.kv_lora_rank,
        "nopeDim": c.qk_nope_head_dim,
        "ropeDim": c.qk_rope_head_dim,
        "valueDim": c.v_head_dim,
        "bias": c.attention_bias,
        "latentEps": 1e-6,
        "scale": module.yarn_apply_mscale(c.rope_parameters, c.qk_head_dim**-0.5),
        "rope": rope(c, c.qk_rope_head_dim, False, getattr(c, "rope_interleave", True)),
    }


def windowed(c, i, **own):
    """By the type of the layer; a mask of so many keys cannot be made of none."""
    kind = c.layer_types[i]
    if kind not in ["full_attention", "sliding_attention"]:
        raise ValueError(f"no mask for {kind}")
    if kind == "sliding_attention" and not c.sliding_window:
        raise ValueError("a window of no keys")
    return grouped(c, i, slidingWindow=c.sliding_window if kind == "sliding_attention" else None, **own)


def llama4_text(c, i):
    kind = c.layer_types[i]
    if kind not in ["full_attention", "chunked_attention"]:
        raise ValueError(f"no mask for {kind}")
    if kind == "chunked_attention" and not c.attention_chunk_size:
        raise ValueError("a chunk of no keys")
    turns = bool(c.no_rope_layers[i])
    tuned = c.attn_temperature_tuning and not turns
    return grouped(
        c,
        i,
        bias=c.attention_bias,
        chunk=c.attention_chunk_size if kind == "chunked_attention" else None,
        unitNorm=c.rms_norm_eps if c.use_qk_norm and turns else None,
        temperature=[c.floor_scale, c.attn_scale] if tuned else None,
        rope="interleaved" if turns else None,
    )


def dbrx(c, i):
    if c.attn_config.rope_theta != c.rope_parameters["rope_theta"]:
        raise ValueError("the base of attn_config, which the class leaves out, is another")
    if c.ffn_config.hidden_size != c.d_model:
        raise ValueError("d_model, which the class hands to the experts, is not hidden_size")
    return grouped(c, i, clip=c.attn_config.clip_qkv, numKeyValueHeads=c.attn_config.kv_n_heads)


ATTENTION = {
    "mixtral": lambda c, i: grouped(c, i, slidingWindow=c.sliding_window),
    "llama": lambda c, i: grouped(c, i, bias=c.attention_bias),
    "glm4_moe": glm4_moe,
    "deepseek_v3": latent,
    "deepseek_v2": latent,
    "qwen3_moe": lambda c, i: grouped(c, i, bias=c.attention_bias, qkNorm="per-head", slidingWindow=c.sliding_window),
    "qwen2_moe": lambda c, i: windowed(c, i, bias=c.qkv_bias, outputBias=False),
    "olmoe": lambda c, i: grouped(c, i, bias=c.attention_bias, qkNorm="across-heads", clip=c.clip_qkv),
    "gpt_oss": lambda c, i: windowed(c, i, bias=c.attention_bias, sinks=True),
    "granitemoe": lambda c, i: grouped(c, i, bias=c.attention_bias, scale=c.attention_multiplier),
    "phimoe": lambda c, i: grouped(c, i, bias=c.attention_bias, slidingWindow=c.sliding_window),
    "llama4_text": llama4_text,
    "dbrx": dbrx,
}


def act(name):
    return {"swish": "silu"}.get(name, name)


def dense(c, size, bias=False):
    return {"kind": "dense", "intermediateSize": size, "bias": bias, "act": act(c.hidden_act)}


def moe(c, experts, top_k, size, **own):
    if top_k is None or top_k > experts:
        raise ValueError(f"{top_k} of {experts} experts")
    return {
        "kind": "moe",
        "intermediateSize": size,
        "numExperts": experts,
        "topK": top_k,
        "scoring": "softmax",
        "weighting": "normalized",
        "normEpsilon": 0,
        "normOrder": 1,
        "jitter": None,
        "weighsInput": False,
        "scalingFactor": 1,
        "groupLimit": None,
        "routerBias": False,
        "scoreBias": False,
        "shared": None,
        "expertBias": False,
        "clamp": None,
        **own,
        "act": act(own.get("act") or c.hidden_act),
    }


def local(c, i, **own):
    return moe(c, c.num_local_experts, c.num_experts_per_tok, c.intermediate_size, **own)


def groups(c, score):
    if c.n_routed_experts % c.n_group or c.topk_group > c.n_group:
        raise ValueError("groups do not fit")
    if c.n_group == 1:
        return None
    if c.num_experts_per_tok > c.topk_group * c.n_routed_experts // c.n_group:
        raise ValueError("more experts than the groups have")
    return [c.n_group, c.topk_group, score]


def deepseek(c, i, bias=False, **own):
    if i < c.first_k_dense_replace:
        return dense(c, c.intermediate_size, bias)
    size = c.moe_intermediate_size
    shared = {"intermediateSize": size * c.n_shared_experts, "gate": False, "bias": bias} if c.n_shared_experts else None
    scaling = c.routed_scaling_factor
    return moe(c, c.n_routed_experts, c.num_experts_per_tok, size, shared=shared, scalingFactor=scaling, **own)


def deepseek_v3(c, i):
    weighting = "normalized" if c.norm_topk_prob else "scores"
    own = {"scoring": "sigmoid", "weighting": weighting, "normEpsilon": 1e-20, "scoreBias": True}
    return deepseek(c, i, groupLimit=groups(c, "sum-of-top-2"), **own)


def deepseek_v2(c, i):
    if c.topk_method not in ["greedy", "group_limited_greedy"]:
        raise ValueError(f"no way to choose {c.topk_method}")
    limit = groups(c, "max") if c.topk_method == "group_limited_greedy" else None
    return deepseek(c, i, bias=c.mlp_bias, weighting="scores", groupLimit=limit)


def qwen(c, i, **own):
    if i in c.mlp_only_layers or (i + 1) % c.decoder_sparse_step:
        return dense(c, c.intermediate_size)
    weighting = "normalized" if c.norm_topk_prob else "scores"
    return moe(c, c.num_experts, c.num_experts_per_tok, c.moe_intermediate_size, weighting=weighting, **own)


def qwen2_moe(c, i):
    return qwen(c, i, shared={"intermediateSize": c.shared_expert_intermediate_size, "gate": True, "bias": False})


def olmoe(c, i):
    weighting = "normalized" if c.norm_topk_prob else "scores"
    return moe(c, c.num_experts, c.num_experts_per_tok, c.intermediate_size, weighting=weighting)


def gpt_oss(c, i):
    own = {"expertBias": True, "clamp": [c.swiglu_limit, c.swiglu_alpha], "routerBias": True}
    return local(c, i, scoring="none", weighting="softmax-of-chosen", **own)


def llama4_feed_forward(c, i):
    if i not in c.moe_layers:
        return dense(c, c.intermediate_size_mlp)
    shared = {"intermediateSize": c.intermediate_size, "gate": False, "bias": False}
    return local(c, i, scoring="none", weighting="sigmoid-of-chosen", weighsInput=True, shared=shared)


def phimoe(c, i):
    own = {"scoring": "none", "weighting": "sparsemixer", "jitter": c.router_jitter_noise}
    return moe(c, c.num_local_experts, 2, c.intermediate_size, **own)


def dbrx_feed_forward(c, i):
    f = c.ffn_config
    order = f.moe_normalize_expert_weights
    own = {"weighting": "scores"} if order is None else {"normOrder": order}
    return moe(c, f.moe_num_experts, f.moe_top_k, f.ffn_hidden_size, act=f.ffn_act_fn.get("name", "silu"), **own)


FEED_FORWARD = {
    "mixtral": local,
    "llama": lambda c, i: dense(c, c.intermediate_size, c.mlp_bias),
    "glm4_moe": deepseek_v3,
    "deepseek_v3": deepseek_v3,
    "deepseek_v2": deepseek_v2,
    "qwen3_moe": qwen,
    "qwen2_moe": qwen2_moe,
    "olmoe": olmoe,
    "gpt_oss": gpt_oss,
    "granitemoe": lambda c, i: local(c, i, scoring="none", weighting="softmax-of-chosen"),
    "phimoe": phimoe,
    "llama4_text": llama4_feed_forward,
    "dbrx": dbrx_feed_forward,
}
