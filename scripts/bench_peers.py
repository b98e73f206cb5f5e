"""Interleaves `whittle bench` and its peers on the same models and prints medians beside each other."""

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", "5"))
# What a ratio is held to, where one is promised; at this share of the memory's bandwidth it counts as met.
MOST_OF_BANDWIDTH = 0.85
# Model, our weights, bits and sparsity of the layers, bits of the head (as in the peer's file), the peer's type,
# promised ratio of decoding, whether prefill is promised too.
PAIRS = [
    ("SmolLM2-135M", "4 bits", 4, 0, 8, "Q4_0", 1.3, True),
    ("SmolLM2-135M", "8 bits", 8, 0, 8, "Q8_0", 1.0, True),
    ("SmolLM2-135M", "2 bits", 2, 0, 8, "TQ2_0", 1.6, False),
    ("1.2B shape", "4 bits", 4, 0, 6, "Q4_0", 1.3, True),
    ("1.2B shape", "8 bits", 8, 0, 8, "Q8_0", 1.0, True),
    ("1.2B shape", "2 bits", 2, 0, 6, "TQ2_0", 1.3, False),
    ("1.2B shape", "1 bit", 1, 0, 6, "TQ2_0", 1.6, False),
    ("1.2B shape", "1 bit, 1:4", 1, 0.75, 6, "TQ2_0", 1.6, False),
    ("1.2B shape", "4 bits, 80 % pruned", 4, 0.8, 6, None, None, False),
]
CANDLE = {"Q4_0", "Q8_0"}


def run(*command: object, **environment: str) -> dict:
    parts = [str(part) for part in command]
    output = subprocess.run(parts, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout
    return json.loads(output or "{}")


def sources(whittle: str, cache: Path) -> dict[str, Path]:
    models = run(whittle, "models", "--json")["models"]
    installed = next(m["installed"] for m in models if m["name"] == "smollm2-135m")
    if not installed:
        sys.exit("run `whittle fetch smollm2-135m` first")
    small = next(Path(installed).glob("*.gguf"))
    large = cache / "shape-1b-f16.gguf"
    if not large.exists():
        script = Path(__file__).parent.parent / "benches/peers/shape_1b.py"
        subprocess.run([cache / "python/bin/python", script, small, large], check=True)
    return {"SmolLM2-135M": small, "1.2B shape": large}


def main() -> None:
    whittle, cache = sys.argv[1], Path(sys.argv[2])
    models = sources(whittle, cache)
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.processor())
    bandwidth = {threads: run(cache / "peer", "bandwidth", threads)["bytes_per_second"] for threads in (1, 2)}
    print(f"{processor}, {os.cpu_count()} cores, {date.today()}, load {os.getloadavg()[0]:.1f}; medians of {ROUNDS} interleaved rounds, tokens/s.")
    print(f"Memory reads {bandwidth[1] / 1e9:.1f} GB/s on one thread, {bandwidth[2] / 1e9:.1f} on two.\n")
    print("| model | weights (peer) | threads | prefill 512 | llama.cpp | ratio | candle | decode 64 | GB/s | of memory | llama.cpp | ratio | candle | wanted |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for model, name, bits, sparsity, head, kind, promised, promises_prefill in PAIRS:
        slug = model.split()[0].lower()
        ours = cache / f"{slug}-{bits}-{sparsity}-{head}.whittle"
        settings = ["--set", f"*=bits:{bits},sparsity:{sparsity}", "--set", f"embedding=bits:{head}", "--set", f"output=bits:{head}"]
        run(whittle, "compress", models[model], "--recipe", "original", *settings, "--out", ours, "--json")
        theirs = cache / f"{slug}-{kind}.gguf"
        if kind and not theirs.exists():
            subprocess.run([cache / "peer", "quantize", models[model], theirs, kind], check=True)
        for threads in (1, 2):
            own, peer, candle = [], [], []
            for round in range(ROUNDS):
                own.append(run(whittle, "bench", ours, "--threads", threads, "--repetitions", 1, "--json"))
                if kind:
                    peer.append(run(cache / "peer", "bench", theirs, threads, 1))
                if kind in CANDLE and round == 0:
                    candle.append(run(cache / "candle-peer", theirs, RAYON_NUM_THREADS=str(threads)))
            middle = lambda rounds, key: statistics.median(r[key] for r in rounds) if rounds else None
            show = lambda value, digits=0: "-" if value is None else f"{value:.{digits}f}"
            cells = [model, f"{name} ({kind})" if kind else name, str(threads)]
            share = middle(own, "weight_gigabytes_per_second") * 1e9 / bandwidth[threads]
            met = []
            for key in ("prefill_tokens_per_second", "decode_tokens_per_second"):
                a, b, c = (middle(side, key) for side in (own, peer, candle))
                ratio = a / b if b else None
                cells.append(show(a))
                if key.startswith("decode"):
                    cells += [show(middle(own, "weight_gigabytes_per_second"), 1), f"{share:.0%}"]
                    if promised:
                        met.append(ratio >= promised or share >= MOST_OF_BANDWIDTH)
                elif promises_prefill:
                    met.append(ratio >= 1.0)
                cells += [show(b), show(ratio, 2), show(c)]
            cells.append("" if not met else f"{promised} {'met' if all(met) else 'missed'}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
