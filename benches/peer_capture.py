"""The peers of `capture.rs`: the same means by other tools and by the way of published scripts, a kind in each process.

    peer_capture.py JOB hooks|published|TransformerLens|nnsight

Reads the job (model folder, token ids, ranges), warms up, prints its arms and its memory as JSON, then answers lines:
`run ARM` with seconds, `write PATH` with the number of layers after writing the means of the latest run as float32
[layer, prompt, d_model], `peak` with the largest memory it has had, in kB.
"""

import json
import sys
import time

import numpy as np
import torch
from transformers.utils import logging

job, kind = json.load(open(sys.argv[1])), sys.argv[2]
torch.set_num_threads(job["threads"])
ids, ranges = job["ids"], job["ranges"]
in_file = list(range(len(ids)))
by_length = sorted(in_file, key=lambda i: len(ids[i]))


logging.disable_progress_bar()


def transformers_model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        job["model"], dtype=torch.float32, attn_implementation="sdpa"
    ).eval()


def padded(batch):
    longest = max(len(ids[i]) for i in batch)
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for j, i in enumerate(batch):
        tokens[j, : len(ids[i])] = torch.tensor(ids[i])
        mask[j, : len(ids[i])] = 1
    return tokens, mask


def averaging(batch, longest):
    """Weights [example, 1, position] whose product with [example, position, d_model] is the mean over each range."""
    weights = torch.zeros(len(batch), 1, longest)
    for j, i in enumerate(batch):
        start, end = ranges[i]
        weights[j, 0, start:end] = 1.0 / (end - start)
    return weights


def batches(order, size):
    for at in range(0, len(order), size):
        batch = order[at : at + size]
        yield batch, *padded(batch)


def first(out):
    return out[0] if isinstance(out, tuple) else out


# Arms, by name: each gives the means [layer, prompt, d_model] of the prompts of an order.
arms = {}


def hooks():
    """Hooks that average at once; batches of similar lengths, no head."""
    model = transformers_model()
    layers, width = model.model.layers, model.config.hidden_size

    def arm(size):
        def run(order):
            means = torch.empty(len(layers), len(ids), width)
            now = {}

            def hook(layer):
                def keep(module, args, out):
                    means[layer, now["batch"]] = torch.bmm(now["weights"], first(out)).squeeze(1)

                return keep

            handles = [module.register_forward_hook(hook(i)) for i, module in enumerate(layers)]
            for batch, tokens, mask in batches(order, size):
                now["batch"], now["weights"] = batch, averaging(batch, tokens.shape[1])
                model.model(input_ids=tokens, attention_mask=mask, use_cache=False)
            for handle in handles:
                handle.remove()
            return means

        return run, by_length

    for size in (1, 4, 8, 16, 32, 64):
        arms[f"batch {size}"] = arm(size)


def published():
    """The order of the file and the whole model with its defaults. What gathers [layer, example, position, d_model] in hooks and
    cuts replies out, batches of 16; and what asks for `output_hidden_states`, one by one."""
    model = transformers_model()
    layers, width = model.model.layers, model.config.hidden_size

    def stacked(order):
        means = torch.empty(len(layers), len(ids), width)
        for batch, tokens, mask in batches(order, 16):
            seen = []
            keep = lambda module, args, out: seen.append(first(out))
            handles = [module.register_forward_hook(keep) for module in layers]
            model(input_ids=tokens, attention_mask=mask)
            for handle in handles:
                handle.remove()
            everything = torch.stack(seen)
            for j, i in enumerate(batch):
                means[:, i] = everything[:, j, ranges[i][0] : ranges[i][1]].mean(dim=1)
        return means

    def hidden_states(order):
        # Its last entry is behind the final norm and no resid_post: all but that are compared, all are made.
        means = torch.empty(len(layers) + 1, len(ids), width)
        for i in order:
            tokens, mask = padded([i])
            states = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
            for layer, x in enumerate(states):
                means[layer, i] = x[:, ranges[i][0] : ranges[i][1]].mean(dim=1)[0]
        return means[1:-1]

    arms["hooks, stacked, batch 16"] = stacked, in_file
    arms["output_hidden_states, one by one"] = hidden_states, in_file


def lens():
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(job["model"], device="cpu", dtype=torch.float32)
    width = model.cfg.d_model
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(model.cfg.n_layers)]

    def arm(size):
        def run(order):
            means = torch.empty(len(names), len(ids), width)
            for batch, tokens, mask in batches(order, size):
                _, cache = model.run_with_cache(
                    tokens, attention_mask=mask, names_filter=lambda name: name in names, return_type=None
                )
                weights = averaging(batch, tokens.shape[1])
                for layer, name in enumerate(names):
                    means[layer, batch] = torch.bmm(weights, cache[name]).squeeze(1)
            return means

        return run, by_length

    for size in (1, 4, 16, 32, 64):
        arms[f"run_with_cache, batch {size}"] = arm(size)


def nnsight_traces():
    import nnsight

    model = nnsight.NNsight(transformers_model().model)
    count, width = model.config.num_hidden_layers, model.config.hidden_size

    def arm(size):
        def run(order):
            means = torch.empty(count, len(ids), width)
            for batch, tokens, mask in batches(order, size):
                weights = averaging(batch, tokens.shape[1])
                saved = []
                with model.trace(input_ids=tokens, attention_mask=mask, use_cache=False):
                    for layer in model.layers:
                        saved.append(torch.bmm(weights, first(layer.output)).save())
                for layer, x in enumerate(saved):
                    means[layer, batch] = x.squeeze(1)
            return means

        return run, by_length

    for size in (1, 4, 16, 32, 64):
        arms[f"trace, batch {size}"] = arm(size)


def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))


{"hooks": hooks, "published": published, "TransformerLens": lens, "nnsight": nnsight_traces}[kind]()
with torch.inference_mode():
    shortest = by_length[:1]
    for run, _ in arms.values():
        run(shortest)
print(json.dumps({"arms": list(arms), "loaded": memory("VmRSS")}), flush=True)
means = None
for line in sys.stdin:
    word, _, argument = line.strip().partition(" ")
    if word == "write":
        means.numpy().astype(np.float32).tofile(argument)
        print(len(means), flush=True)
    elif word == "peak":
        print(memory("VmHWM"), flush=True)
    else:
        run, order = arms[argument]
        began = time.perf_counter()
        with torch.inference_mode():
            means = run(order)
        print(time.perf_counter() - began, flush=True)
