"""The peer of `train.rs`: the same steps with PyTorch eager and Hugging Face transformers.

Reads the job (model folder, batches of token ids, settings), then trains from the initial weights for each line on
stdin and answers with the seconds of all steps and the loss of the last one.
"""

import copy
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

job = json.load(open(sys.argv[1]))
torch.set_num_threads(job["threads"])
start = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32, attn_implementation="sdpa")
batches = [torch.tensor(batch) for batch in job["batches"]]

for line in sys.stdin:
    model = copy.deepcopy(start).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [dict(params=matrices, weight_decay=job["decay"]), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=job["rate"], betas=(0.9, 0.999), eps=1e-8, fused=True)
    began = time.perf_counter()
    for tokens in batches:
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    print(time.perf_counter() - began, loss.item(), flush=True)
