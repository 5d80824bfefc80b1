"""Times Hugging Face transformers on what `personascope bench` times, and puts the two side by side.

    python scripts/gpu_peer.py --config scripts/shapes/llama-1b.json --json theirs.json
    python scripts/gpu_peer.py --join ours.json theirs.json [ours.json theirs.json ...] --json all.json

The same shapes, counts and dtype; weights are noise made on the device. Attention is transformers' default (sdpa) unless
--attention says otherwise. Keeping is done with forward hooks on the blocks: a mean of each prompt on the device, or every
row copied to pinned memory of the host while the pass goes on, which is as fast as hooks get. Steering is a hook that adds
to the stream. Times are medians after one run for warmth, by the wall clock, until the device is done.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path


def sync(torch, device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class Peer:
    def __init__(self, args):
        import torch
        import transformers

        self.torch, self.args, self.device = torch, args, args.device
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[args.dtype]
        raw = json.loads(Path(args.config).read_text())
        config = transformers.AutoConfig.for_model(raw.pop("model_type"), **raw)
        began = time.perf_counter()
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                config, dtype=self.dtype, attn_implementation=args.attention
            )
        model = model.to_empty(device=self.device)
        for name, p in model.named_parameters():
            torch.nn.init.ones_(p) if p.dim() == 1 and "bias" not in name else torch.nn.init.normal_(p, 0.0, 0.02)
        # What the constructor computed on no device at all: the rotary frequencies.
        for module in model.modules():
            if hasattr(module, "rope_init_fn"):
                inverse, module.attention_scaling = module.rope_init_fn(config, self.device)
                module.inv_freq = module.original_inv_freq = inverse
            elif hasattr(module, "compute_default_rope_parameters") and hasattr(module, "inv_freq"):
                inverse, module.attention_scaling = module.compute_default_rope_parameters(config, self.device)
                module.inv_freq = module.original_inv_freq = inverse
        model.tie_weights()
        self.model = model.eval()
        sync(torch, self.device)
        self.made = time.perf_counter() - began
        self.blocks = model.model.layers

    def time(self, f):
        seconds = []
        for _ in range(self.args.repeats + 1):
            sync(self.torch, self.device)
            began = time.perf_counter()
            f()
            sync(self.torch, self.device)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds[1:])

    def products(self):
        n = 8192 if self.device.startswith("cuda") else 1024
        a, b = (self.torch.randn(n, n, device=self.device, dtype=self.dtype) for _ in range(2))
        return 2 * n**3 * 8 / self.time(lambda: [a @ b for _ in range(8)])

    def read(self, keep):
        torch, (n, length) = self.torch, self.args.prefill
        ids = self.ids(n, length)
        kept, on_host = [], None
        if keep == "rows":
            pinned = self.device.startswith("cuda")
            shape = (len(self.blocks), n, length, self.model.config.hidden_size)
            on_host = torch.empty(shape, dtype=self.dtype, pin_memory=pinned)

        def hook(layer):
            def take(module, inputs, output):
                x = output[0] if isinstance(output, tuple) else output
                if keep == "means":
                    kept.append(x.float().mean(1))
                else:
                    on_host[layer].copy_(x, non_blocking=True)

            return take

        handles = [] if keep == "nothing" else [b.register_forward_hook(hook(l)) for l, b in enumerate(self.blocks)]

        def once():
            kept.clear()
            with torch.inference_mode():
                self.model(ids, use_cache=False, logits_to_keep=1)
                if keep == "means":
                    [k.cpu() for k in kept]
                elif keep == "rows":
                    sync(torch, self.device)
                    # As our side hands them on: f32.
                    on_host.float()

        seconds = self.time(once)
        [h.remove() for h in handles]
        return seconds

    def write(self, batch, steer):
        torch = self.torch
        ids = self.ids(batch, self.args.prompt)
        block = self.blocks[len(self.blocks) // 2]
        shift = torch.zeros(self.model.config.hidden_size, device=self.device, dtype=self.dtype)
        shift[0] = 1.0

        def add(module, inputs, output):
            return (output[0] + shift, *output[1:]) if isinstance(output, tuple) else output + shift

        handle = block.register_forward_hook(add) if steer else None
        mask = torch.ones_like(ids)

        def run(new):
            with torch.inference_mode():
                out = self.model.generate(
                    ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0,
                    eos_token_id=None,
                )
            assert out.shape[1] == ids.shape[1] + new

        seconds = self.time(lambda: run(self.args.new + 1)) - self.time(lambda: run(1))
        if handle:
            handle.remove()
        return batch * self.args.new / seconds

    def ids(self, n, length):
        vocab = self.model.config.vocab_size
        rows = [[(s * 7919 + i * 104729) % vocab for i in range(length)] for s in range(n)]
        return self.torch.tensor(rows, device=self.device)

    def operations(self):
        n, length = self.args.prefill
        c = self.model.config
        blocks = sum(p.numel() for p in self.blocks.parameters() if p.dim() == 2)
        heads = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        attention = 2 * c.num_hidden_layers * c.num_attention_heads * heads * length**2
        return 2 * blocks * n * length + n * attention

    def all(self):
        import torch
        import transformers

        (n, length), peak, operations = self.args.prefill, self.products(), self.operations()
        print(f"transformers {transformers.__version__}, torch {torch.__version__}: products {peak / 1e12:.1f} TFLOP/s")
        reading = {}
        for keep in ["nothing", "means", "rows"]:
            seconds = self.read(keep)
            reading[keep] = {"tokens_per_second": n * length / seconds, "share_of_products": operations / seconds / peak}
            print(f"read, keep {keep:<10} {n * length / seconds:12.0f} tokens/s {100 * operations / seconds / peak:6.1f} %")
        writing, steered = {}, {}
        for batch in self.args.decode:
            for name, steer, rates in [("write", False, writing), ("write, steered", True, steered)]:
                rates[str(batch)] = self.write(batch, steer)
                print(f"{name}, {batch} together: {rates[str(batch)]:.1f} tokens/s")
        name = torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else "cpu"
        return {
            "side": "transformers", "version": transformers.__version__, "torch": torch.__version__,
            "config": self.args.config, "device": self.device, "device_name": name, "dtype": self.args.dtype,
            "attention": self.args.attention, "made_in_seconds": self.made, "products_per_second": peak,
            "prompts": [n, length], "reading": reading, "reply": [self.args.prompt, self.args.new], "writing": writing,
            "writing_steered": steered,
        }


def join(paths):
    """Pairs of files, ours and theirs, as one table."""
    pairs = [tuple(json.loads(Path(p).read_text()) for p in paths[i : i + 2]) for i in range(0, len(paths), 2)]
    print(f"{'':<34}{'personascope':>16}{'transformers':>16}{'ratio':>8}")
    for ours, theirs in pairs:
        for key in ["config", "dtype", "prompts", "reply"]:
            same = [ours[key], theirs[key]]
            assert same[0] == same[1], f"not the same work: {key} is {same[0]} and {same[1]}"
        print(f"{Path(ours['config']).stem}, {ours['dtype']}, {theirs['device_name']}")

        def line(name, a, b, digits=0):
            print(f"  {name:<32}{a:>16.{digits}f}{b:>16.{digits}f}{a / b:>7.2f}x")

        line("products, TFLOP/s", ours["products_per_second"] / 1e12, theirs["products_per_second"] / 1e12, 1)
        for keep in ours["reading"]:
            a, b = ours["reading"][keep], theirs["reading"][keep]
            line(f"read, keep {keep}, tokens/s", a["tokens_per_second"], b["tokens_per_second"])
            line("  % of products", 100 * a["share_of_products"], 100 * b["share_of_products"], 1)
        for kind, key in [("write", "writing"), ("write, steered", "writing_steered")]:
            for batch in ours[key]:
                line(f"{kind}, {batch} together, tokens/s", ours[key][batch], theirs[key][batch])
    return [{"ours": a, "theirs": b} for a, b in pairs]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--join", nargs="+", metavar="FILE")
    p.add_argument("--config")
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--dtype", default="bf16", choices=["f32", "bf16", "f16"])
    p.add_argument("--attention", default="sdpa")
    p.add_argument("--prefill", default="16x512", type=lambda s: tuple(int(v) for v in s.split("x")))
    p.add_argument("--decode", default="1,8,64", type=lambda s: [int(v) for v in s.split(",")])
    p.add_argument("--prompt", default=128, type=int)
    p.add_argument("--new", default=64, type=int)
    p.add_argument("--repeats", default=5, type=int)
    p.add_argument("--json")
    args = p.parse_args()
    if bool(args.join) == bool(args.config) or (args.join and len(args.join) % 2):
        p.error("give --config, or --join with pairs of files")
    found = join(args.join) if args.join else Peer(args).all()
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
