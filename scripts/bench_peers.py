"""Interleaves `whittle bench` and llama.cpp on the same model and prints medians beside each other."""

import json
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

ROUNDS = 5
# Whittle's recipe, and the llama.cpp type with the same precision of body and output head.
PAIRS = [("4 bits, head 8", ["--recipe", "balanced-4bit"], "Q4_0"), ("8 bits", ["--recipe", "reference-8bit"], "Q8_0")]


def run(*command: object) -> dict:
    output = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return json.loads(output or "{}")


def main() -> None:
    whittle, cache = sys.argv[1], Path(sys.argv[2])
    models = run(whittle, "models", "--json")["models"]
    installed = next(m["installed"] for m in models if m["name"] == "smollm2-135m")
    if not installed:
        sys.exit("run `whittle fetch smollm2-135m` first")
    source = next(Path(installed).glob("*.gguf"))
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.processor())
    print(f"SmolLM2-135M, {processor}, {date.today()}; medians of {ROUNDS} interleaved rounds; tokens/s\n")
    print("| weights | threads | prefill 512 | llama.cpp | ratio | decode 64 | llama.cpp | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name, recipe, kind in PAIRS:
        ours, theirs = cache / f"smollm2-{kind}.whittle", cache / f"smollm2-{kind}.gguf"
        run(whittle, "compress", source, *recipe, "--out", ours, "--json")
        if not theirs.exists():
            subprocess.run([cache / "peer", "quantize", source, theirs, kind], check=True)
        for threads in (1, 2):
            rounds = []
            for _ in range(ROUNDS):
                own = run(whittle, "bench", ours, "--threads", threads, "--repetitions", 1, "--json")
                rounds.append((own, run(cache / "peer", "bench", theirs, threads, 1)))
            cells = []
            for key in ("prefill_tokens_per_second", "decode_tokens_per_second"):
                a, b = (statistics.median(r[side][key] for r in rounds) for side in (0, 1))
                cells.append(f"{a:.0f} | {b:.0f} | {a / b:.2f}")
            print(f"| {name} ({kind}) | {threads} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
