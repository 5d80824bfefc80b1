"""The peer of `capture.rs`: the same means with Hugging Face transformers and a forward hook on every decoder layer.

Reads the job (model folder, token ids, response ranges), then runs one arm for each line on stdin and answers with its
seconds. Arms are `sorted` and `file` order, `sdpa` and `eager` attention. The means of an arm's latest run are written
as float32 [layer, conversation, d_model] when asked with `write PATH`.
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
ids, ranges = job["ids"], job["ranges"]
models = {
    name: AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32, attn_implementation=name).eval()
    for name in ("sdpa", "eager")
}
orders = {"sorted": sorted(range(len(ids)), key=lambda i: len(ids[i])), "file": list(range(len(ids)))}


@torch.inference_mode()
def run(model, order):
    layers, seen = model.model.layers, []
    keep = lambda module, args, out: seen.append(out[0] if isinstance(out, tuple) else out)
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    means = torch.empty(len(layers), len(ids), model.config.hidden_size)
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        longest = max(len(ids[i]) for i in batch)
        tokens = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for j, i in enumerate(batch):
            tokens[j, : len(ids[i])] = torch.tensor(ids[i])
            mask[j, : len(ids[i])] = 1
        seen.clear()
        model.model(input_ids=tokens, attention_mask=mask, use_cache=False)
        for layer, x in enumerate(seen):
            for j, i in enumerate(batch):
                means[layer, i] = x[j, ranges[i][0] : ranges[i][1]].mean(0)
    for hook in hooks:
        hook.remove()
    return means


print("ready", flush=True)
means = None
for line in sys.stdin:
    word, argument = line.split(maxsplit=1)
    if word == "write":
        means.numpy().astype(np.float32).tofile(argument.strip())
        print("written", flush=True)
    else:
        began = time.perf_counter()
        means = run(models[argument.strip()], orders[word])
        print(time.perf_counter() - began, flush=True)
