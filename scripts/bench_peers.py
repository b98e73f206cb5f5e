"""Interleaves `whittle bench` and its peers on the same models and prints medians beside each other.

    bench_peers.py WHITTLE CACHE [SECTION ..]     sections: speed sparse memory busy
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROUNDS = int(os.environ.get("ROUNDS", "5"))
# At this share of the memory's bandwidth a ratio counts as met.
MOST_OF_BANDWIDTH = 0.85
SMALL, LARGE = "SmolLM2-135M", "1.2B shape"


class Row(NamedTuple):
    """Our weights, llama.cpp's type, and what is promised of the ratio between them."""

    model: str
    name: str
    bits: int
    sparsity: float
    # As in the peer's file.
    head_bits: int
    peer: str
    decode: float
    prefill: float | None


ROWS = [
    Row(SMALL, "4 bits", 4, 0, 8, "Q4_0", 1.3, 1.0),
    Row(SMALL, "8 bits", 8, 0, 8, "Q8_0", 1.0, 1.0),
    Row(SMALL, "2 bits", 2, 0, 8, "TQ2_0", 1.6, None),
    Row(SMALL, "1 bit", 1, 0, 8, "TQ2_0", 1.6, None),
    Row(SMALL, "1:4", 1, 0.75, 8, "TQ2_0", 1.6, None),
    Row(LARGE, "4 bits", 4, 0, 6, "Q4_0", 1.3, 1.0),
    Row(LARGE, "8 bits", 8, 0, 8, "Q8_0", 1.0, 1.0),
    Row(LARGE, "2 bits", 2, 0, 6, "TQ2_0", 1.3, None),
    Row(LARGE, "1 bit", 1, 0, 6, "TQ2_0", 1.6, None),
    Row(LARGE, "1:4", 1, 0.75, 6, "TQ2_0", 1.6, None),
]
CANDLE = {"Q4_0", "Q8_0"}
SPARSITY = 0.8


def run(*command: object, **environment: str) -> dict:
    parts = [str(part) for part in command]
    output = subprocess.run(parts, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout
    return json.loads(output or "{}")


def median(rounds: list[dict], key: str) -> float:
    return statistics.median(r[key] for r in rounds)


def line(*cells: object) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def heading(*cells: str) -> None:
    print()
    line(*cells)
    print("|" + "---|" * len(cells), flush=True)


class Bench:
    """The two models, and files made of them, which are kept until the program is newer."""

    def __init__(self, whittle: Path, cache: Path) -> None:
        self.whittle, self.cache = whittle, cache
        self.bandwidth = {threads: run(cache / "peer", "bandwidth", threads)["bytes_per_second"] for threads in (1, 2)}
        models = run(whittle, "models", "--json")["models"]
        installed = next(m["installed"] for m in models if m["name"] == "smollm2-135m")
        if not installed:
            sys.exit("run `whittle fetch smollm2-135m` first")
        small, large = next(Path(installed).glob("*.gguf")), cache / "shape-1b-f16.gguf"
        if not large.exists():
            script = Path(__file__).parent.parent / "benches/peers/shape_1b.py"
            subprocess.run([cache / "python/bin/python", script, small, large], check=True)
        self.models = {SMALL: small, LARGE: large}

    def ours(self, model: str, bits: int, sparsity: float, head_bits: int) -> Path:
        out = self.cache / f"{model.split()[0].lower()}-{bits}-{sparsity}-{head_bits}.whittle"
        if not out.exists() or out.stat().st_mtime < self.whittle.stat().st_mtime:
            settings = [f"*=bits:{bits},sparsity:{sparsity}", f"embedding=bits:{head_bits}", f"output=bits:{head_bits}"]
            flags = [flag for setting in settings for flag in ("--set", setting)]
            run(self.whittle, "compress", self.models[model], "--recipe", "original", *flags, "--out", out, "--json")
        return out

    def theirs(self, model: str, kind: str) -> Path:
        out = self.cache / f"{model.split()[0].lower()}-{kind}.gguf"
        if not out.exists():
            subprocess.run([self.cache / "peer", "quantize", self.models[model], out, kind], check=True)
        return out

    def run_ours(self, file: Path, threads: int) -> dict:
        return run(self.whittle, "bench", file, "--threads", threads, "--repetitions", 1, "--json")

    def run_theirs(self, file: Path, threads: int) -> dict:
        return run(self.cache / "peer", "bench", file, threads, 1)


def speed(bench: Bench) -> None:
    """Decode of 64 tokens and prefill of 512 beside llama.cpp, and candle where it has the type."""
    heading("model", "weights (llama.cpp's)", "threads", "decode", "GB/s", "of memory", "llama.cpp", "ratio", "goal",
            "prefill", "llama.cpp", "ratio")
    candle_lines = []
    for row in ROWS:
        ours, theirs = bench.ours(*row[:1], *row[2:5]), bench.theirs(row.model, row.peer)
        for threads in (1, 2):
            own, peer, candle = [], [], []
            for index in range(ROUNDS):
                own.append(bench.run_ours(ours, threads))
                peer.append(bench.run_theirs(theirs, threads))
                if row.peer in CANDLE and index == 0:
                    candle.append(run(bench.cache / "candle-peer", theirs, RAYON_NUM_THREADS=str(threads)))
            gigabytes = median(own, "weight_gigabytes_per_second")
            share = gigabytes * 1e9 / bench.bandwidth[threads]
            cells = [row.model, f"{row.name} ({row.peer})", threads]
            decode, decode_peer = (median(side, "decode_tokens_per_second") for side in (own, peer))
            is_met = decode / decode_peer >= row.decode or share >= MOST_OF_BANDWIDTH
            goal = f"{row.decode}{'' if is_met else ', missed'}"
            cells += [f"{decode:.1f}", f"{gigabytes:.1f}", f"{share:.0%}", f"{decode_peer:.1f}", f"{decode / decode_peer:.2f}", goal]
            prefill, prefill_peer = (median(side, "prefill_tokens_per_second") for side in (own, peer))
            is_met = row.prefill is None or prefill / prefill_peer >= row.prefill
            cells += [f"{prefill:.1f}", f"{prefill_peer:.1f}", f"{prefill / prefill_peer:.2f}{'' if is_met else ', missed'}"]
            line(*cells)
            for c in candle:
                name = f"candle, {row.model}, {row.peer}, {threads} threads"
                candle_lines.append(f"{name}: decode {c['decode_tokens_per_second']:.1f}, prefill {c['prefill_tokens_per_second']:.1f}")
    print("\n" + "\n".join(candle_lines))


def sparse(bench: Bench) -> None:
    """Pruned tensors beside dense ones of the same value bits."""
    heading("1.2B shape", "threads", "dense decode", f"{SPARSITY:.0%} pruned", "ratio", "dense bytes", "pruned bytes")
    for bits in (8, 4, 2, 1):
        files = [bench.ours(LARGE, bits, sparsity, 6) for sparsity in (0, SPARSITY)]
        for threads in (1, 2):
            rounds = [[bench.run_ours(file, threads) for file in files] for _ in range(ROUNDS)]
            dense, pruned = (median(side, "decode_tokens_per_second") for side in zip(*rounds))
            sizes = [f"{file.stat().st_size:,}" for file in files]
            line(f"{bits} bits", threads, f"{dense:.1f}", f"{pruned:.1f}", f"{pruned / dense:.2f}", *sizes)


def memory(bench: Bench) -> None:
    """Resident memory, load to first token, replacing a tensor."""
    heading("model", "file", "KV cache", "peak resident", "over file + KV", "first token", "largest tensor replaced in", "at worst")
    files = [(SMALL, bench.ours(SMALL, 4, 0, 8)), (LARGE, bench.ours(LARGE, 4, 0, 6))]
    for model, file in files:
        rounds = [bench.run_ours(file, 2) for _ in range(ROUNDS)]
        size, cache, peak = (median(rounds, key) / 1e6 for key in ("file_bytes", "kv_cache_bytes", "peak_rss_bytes"))
        line(model, f"{size:.0f} MB", f"{cache:.0f} MB", f"{peak:.0f} MB", f"{peak - size - cache:.0f} MB",
             f"{median(rounds, 'load_to_first_token_seconds'):.2f} s",
             f"{median(rounds, 'swap_ms_median'):.2f} ms", f"{max(r['swap_ms_worst'] for r in rounds):.2f} ms")


def busy(bench: Bench) -> None:
    """Decode on two threads of two cores while another process keeps one core busy: a fair share is two thirds."""
    heading("SmolLM2-135M, 2 threads", "alone", "beside a busy process", "keeps")
    ours, theirs = bench.ours(SMALL, 4, 0, 8), bench.theirs(SMALL, "Q4_0")
    sides = {"4 bits": lambda: bench.run_ours(ours, 2), "llama.cpp Q4_0": lambda: bench.run_theirs(theirs, 2)}
    alone: dict[str, list] = {name: [] for name in sides}
    beside: dict[str, list] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, measure in sides.items():
            alone[name].append(measure())
            spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                beside[name].append(measure())
            finally:
                spinner.kill()
                spinner.wait()
    for name in sides:
        a, b = (median(side[name], "decode_tokens_per_second") for side in (alone, beside))
        line(name, f"{a:.1f}", f"{b:.1f}", f"{b / a:.0%}")


SECTIONS = {"speed": speed, "sparse": sparse, "memory": memory, "busy": busy}


def main() -> None:
    bench = Bench(Path(sys.argv[1]), Path(sys.argv[2]))
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if "model name" in l), platform.processor())
    load = os.getloadavg()[0]
    print(f"{cpu}, {os.cpu_count()} cores, {date.today()}, load {load:.1f}; medians of {ROUNDS} interleaved rounds, tokens/s.")
    print(f"Memory reads {bench.bandwidth[1] / 1e9:.1f} GB/s on one thread, {bench.bandwidth[2] / 1e9:.1f} on two.")
    for section in sys.argv[3:] or SECTIONS:
        SECTIONS[section](bench)


if __name__ == "__main__":
    main()
