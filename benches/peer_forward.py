"""The peers of `forward.rs`: Hugging Face transformers with a forward hook on every layer, TransformerLens and nnsight.

Reads the job (model folder, ragged prompts, prompts to be continued), prints its arms as JSON, then answers lines:
`run ARM` with seconds, `replies BATCH` with the latest f32 replies as JSON, `write PATH` after writing the means of the
latest f32 prefill as float32 [layer, prompt, d_model]. What is not installed is left out and said on stderr.
"""

import json
import sys
import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM

BATCH = 16

job = json.load(open(sys.argv[1]))
torch.set_num_threads(job["threads"])
ragged, starts = job["ragged"], torch.tensor(job["starts"])
orders = {"sorted": sorted(range(len(ragged)), key=lambda i: len(ragged[i])), "file": list(range(len(ragged)))}


def load(dtype, attention):
    return AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype, attn_implementation=attention).eval()


plain = load(torch.float32, "sdpa")
narrow = load(torch.bfloat16, "sdpa")
config = plain.config


def batches(order):
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        longest = max(len(ragged[i]) for i in batch)
        tokens = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for j, i in enumerate(batch):
            tokens[j, : len(ragged[i])] = torch.tensor(ragged[i])
            mask[j, : len(ragged[i])] = 1
        yield batch, tokens, mask


def keep_means(order, layers_of):
    means = torch.empty(config.num_hidden_layers, len(ragged), config.hidden_size)
    for batch, tokens, mask in batches(order):
        for layer, x in enumerate(layers_of(tokens, mask)):
            for j, i in enumerate(batch):
                means[layer, i] = x[j, : len(ragged[i])].float().mean(0)
    return means


def hooked(model, attention):
    def layers_of(tokens, mask):
        seen = []
        keep = lambda module, args, out: seen.append(out[0] if isinstance(out, tuple) else out)
        hooks = [layer.register_forward_hook(keep) for layer in model.model.layers]
        model.set_attn_implementation(attention)
        model.model(input_ids=tokens, attention_mask=mask, use_cache=False)
        for hook in hooks:
            hook.remove()
        return seen

    return layers_of


def decode(model, attention, n):
    model.set_attn_implementation(attention)
    ids = starts[:n]
    new = job["new"]
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, min_new_tokens=new, pad_token_id=0,
        eos_token_id=None,
    )
    return out[:, ids.shape[1] :].tolist()


def lens_layers():
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(job["model"], device="cpu", dtype=torch.float32)
    names = [f"blocks.{l}.hook_resid_post" for l in range(config.num_hidden_layers)]

    def layers_of(tokens, mask):
        _, cache = model.run_with_cache(tokens, attention_mask=mask, names_filter=lambda n: n in names)
        return [cache[n] for n in names]

    return layers_of


def nnsight_layers():
    import nnsight

    model = nnsight.NNsight(plain.model)

    def layers_of(tokens, mask):
        saved = []
        with model.trace(input_ids=tokens, attention_mask=mask, use_cache=False):
            for layer in model.layers:
                saved.append(layer.output.save())
        return [x[0] if isinstance(x, tuple) else x for x in saved]

    return layers_of


means, replies = None, {}


def prefill(order, layers_of, exact=True):
    def arm():
        global means
        got = keep_means(orders[order], layers_of)
        if exact:
            # Arms that compute in f32 must agree, or one of them is not what it is called.
            assert means is None or (means - got).abs().max() < 1e-4 * got.abs().max()
            means = got

    return arm


def decoding(model, attention, n, exact=True):
    def arm():
        got = decode(model, attention, n)
        if exact:
            replies[n] = got

    return arm


arms = {}
for order in orders:
    for attention in ("sdpa", "eager"):
        arms[f"prefill transformers {order} {attention}"] = prefill(order, hooked(plain, attention))
arms["prefill transformers bf16 sorted sdpa"] = prefill("sorted", hooked(narrow, "sdpa"), False)
for n in job["batches"]:
    for attention in ("sdpa", "eager"):
        arms[f"decode{n} transformers {attention}"] = decoding(plain, attention, n)
    arms[f"decode{n} transformers bf16 sdpa"] = decoding(narrow, "sdpa", n, False)
for name, make in (("TransformerLens", lens_layers), ("nnsight", nnsight_layers)):
    try:
        layers_of = make()
        with torch.inference_mode():
            layers_of(torch.tensor([ragged[0][:8]]), torch.ones(1, 8, dtype=torch.long))
        arms[f"prefill {name} sorted"] = prefill("sorted", layers_of)
    except Exception as e:
        print(f"{name} is left out: {type(e).__name__}: {e}", file=sys.stderr, flush=True)

print(json.dumps(list(arms)), flush=True)
for line in sys.stdin:
    word, argument = line.strip().split(maxsplit=1)
    if word == "write":
        means.numpy().astype(np.float32).tofile(argument)
        print("written", flush=True)
    elif word == "replies":
        print(json.dumps(replies[int(argument)]), flush=True)
    else:
        began = time.perf_counter()
        with torch.inference_mode():
            arms[argument]()
        print(time.perf_counter() - began, flush=True)
