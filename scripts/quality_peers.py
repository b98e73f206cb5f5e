"""Lets llama.cpp quantize models and judges its files and Whittle's on the same windows; prints a table.

    quality_peers.py WHITTLE CACHE [MODEL ..]     models: smollm2 twin hearth qwen

A row is a file: its bytes, and KL divergence from the unquantized values in two columns. *Weights only*: the file's
values as floats, run by llama.cpp, so that no activation is rounded. *As played*: the file as its own program runs it.
Rows stand in CACHE/quality/rows.jsonl; those that are there are not measured again. TYPES names fewer of llama.cpp's
types, FILES adds packed files of the one model that is named.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TEXTS = ROOT / "assets/texts"
CALIBRATION = TEXTS / "calibration.txt"
EVALUATION = [TEXTS / "evaluation.txt", TEXTS / "evaluation-mixed.txt"]
THREADS = os.environ.get("THREADS", "2")
# Threads that spin starve each other when anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class Peer(NamedTuple):
    """A model, how many windows of each text judge it, and llama.cpp's types."""

    name: str
    # Of each evaluation text.
    windows: int
    # Tokens of one: 512, or the model's context where that is shorter.
    window: int
    # Windows of the calibration text that its importance matrix is made of; the text has 60 of 512.
    calibration: int
    # Floats in which its values are run.
    floats: str
    types: list[str]
    # Recipes of Whittle.
    recipes: list[str]


SMALL = ["Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q4_0", "Q2_K", "IQ2_XXS", "IQ1_M", "IQ1_S"]
PEERS = [
    Peer("smollm2", 8, 512, 60, "F32", SMALL, ["balanced-4bit"]),
    Peer("twin", 8, 512, 60, "F32", SMALL, []),
    Peer("hearth", 16, 256, 120, "F32", ["Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K"], ["balanced-4bit"]),
    Peer("qwen", 3, 512, 16, "F16", ["Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_M"], []),
]


def run(*command: object) -> dict:
    output = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output or "{}")


def digest(*paths: Path) -> str:
    hasher = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(1 << 22):
                hasher.update(part)
    return hasher.hexdigest()[:12]


class Bench:
    """One model's files in the cache: base, importance, and what is made and deleted for a row."""

    def __init__(self, whittle: Path, cache: Path, peer: Peer) -> None:
        self.whittle, self.cache, self.peer, self.folder = whittle, cache, peer, cache / "quality"
        self.driver = cache / "quality-driver"
        self.folder.mkdir(exist_ok=True)
        self.source = self.find_source()
        self.key = {
            "model": peer.name,
            "source": digest(self.source),
            "calibration": digest(CALIBRATION),
            "evaluation": digest(*EVALUATION),
            "windows": peer.windows,
        }
        self.rows = self.folder / "rows.jsonl"

    def find_source(self) -> Path:
        """A GGUF with the model's values: the one that is fetched, or what Whittle exports."""
        if self.peer.name in ("smollm2", "qwen"):
            wanted = {"smollm2": "smollm2-135m", "qwen": "qwen2.5-coder-1.5b"}[self.peer.name]
            return next(installed(self.whittle, wanted).glob("*.gguf"))
        path = self.folder / f"{self.peer.name}-f16.gguf"
        if not path.exists():
            if self.peer.name == "twin":
                source = next(installed(self.whittle, "smollm2-135m").glob("*.gguf"))
                run(self.whittle, "rotate", source, "--basis", "stream", "--floats", "f16", "--out", path, "--json")
            else:
                packed = path.with_suffix(".whittle")
                run(self.whittle, "compress", ROOT / "assets/hearth", "--recipe", "original", "--no-prefix", "--out", packed, "--json")
                run(self.whittle, "export", packed, "--model", ROOT / "assets/hearth", "--gguf", path, "--json")
                packed.unlink()
        return path

    def temporary(self, kind: str) -> Path:
        return self.folder / f"{self.peer.name}-{kind}.part.gguf"

    def as_floats(self, file: Path, kind: str) -> Path:
        """The same values as floats."""
        out = self.temporary(f"{kind}-floats")
        run(self.driver, "quantize", file, out, self.peer.floats, THREADS)
        return out

    def base(self) -> Path:
        """The base's log-probabilities, and the importance matrix beside them."""
        name = "-".join([self.peer.name, self.key["source"], self.key["evaluation"], str(self.peer.windows)])
        path = self.folder / f"{name}.base"
        if not (path.exists() and self.importance().exists()):
            floats = self.as_floats(self.source, "base")
            part = path.with_suffix(".part")
            run(self.driver, "base", floats, part, self.peer.windows, THREADS, *EVALUATION)
            part.rename(path)
            if not self.importance().exists():
                part = self.importance().with_suffix(".part")
                run(self.driver, "importance", floats, CALIBRATION, part, THREADS, self.peer.calibration)
                part.rename(self.importance())
            floats.unlink()
        return path

    def importance(self) -> Path:
        return self.folder / f"{self.peer.name}-{self.key['source']}-{self.key['calibration']}.importance"

    def compare(self, file: Path) -> dict:
        return run(self.driver, "compare", file, self.base(), self.peer.windows, THREADS, *EVALUATION)

    def known(self) -> dict[tuple[str, str], dict]:
        if not self.rows.exists():
            return {}
        rows = [json.loads(line) for line in self.rows.read_text().splitlines()]
        mine = [row for row in rows if all(row.get(key) == value for key, value in self.key.items())]
        return {(row["maker"], row["type"]): row for row in mine}

    def write(self, maker: str, kind: str, **facts: object) -> None:
        with self.rows.open("a") as file:
            file.write(json.dumps({**self.key, "maker": maker, "type": kind, **facts}) + "\n")

    def measure_theirs(self, kind: str) -> None:
        file = self.temporary(kind)
        self.base()
        facts = run(self.driver, "quantize", self.source, file, kind, THREADS, self.importance())
        played = self.compare(file)
        floats = self.as_floats(file, kind)
        weights = self.compare(floats)
        floats.unlink()
        self.write("llama.cpp", kind, file_bytes=file.stat().st_size, **facts, weights_only=weights, as_played=played)
        file.unlink()

    def measure_ours(self, kind: str) -> None:
        """A recipe, or a packed file made elsewhere."""
        model = ROOT / "assets/hearth" if self.peer.name == "hearth" else self.source
        packed = Path(kind) if kind.endswith(".whittle") else self.folder / f"{self.peer.name}-{kind}.part.whittle"
        if not kind.endswith(".whittle"):
            run(self.whittle, "compress", model, "--recipe", kind, "--no-prefix", "--out", packed, "--json")
        floats = self.temporary("whittle-floats")
        run(self.whittle, "export", packed, "--model", model, "--gguf", floats, "--dequantize", self.peer.floats.lower(), "--json")
        weights = self.compare(floats)
        floats.unlink()
        # Each text alone, cut as llama.cpp's windows are.
        tokens = self.peer.windows * self.peer.window
        texts = [run(self.whittle, "eval", packed, "--reference", model, "--text", text, "--tokens", tokens, "--json") for text in EVALUATION]
        played = {"texts": texts, "all": {key: sum(t[key] for t in texts) / len(texts) for key in ("kl_mean", "same_top")}}
        self.write("whittle", Path(kind).stem, file_bytes=packed.stat().st_size, weights_only=weights, as_played=played)
        if not kind.endswith(".whittle"):
            packed.unlink()

    def measure(self, files: list[str]) -> None:
        known = self.known()
        for kind in os.environ.get("TYPES", " ".join(self.peer.types)).split():
            if ("llama.cpp", kind) not in known:
                print(f"{self.peer.name} {kind}", file=sys.stderr)
                self.measure_theirs(kind)
        for kind in [*self.peer.recipes, *files]:
            if ("whittle", Path(kind).stem) not in known:
                print(f"{self.peer.name} {kind}", file=sys.stderr)
                self.measure_ours(kind)

    def table(self) -> None:
        columns = ["model", "file", "bytes", "KL, weights only", "same top", "KL, as played", "same top", "perplexity"]
        print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for (maker, kind), row in sorted(self.known().items(), key=lambda item: -item[1]["file_bytes"]):
            cells = [self.peer.name, f"{maker} {kind}", f"{row['file_bytes']:,}"]
            for column in ("weights_only", "as_played"):
                of_all = row[column]["all"]
                error = f" ± {of_all['kl_se']:.4f}" if "kl_se" in of_all else ""
                cells += [f"{of_all['kl_mean']:.4f}{error}", f"{of_all['same_top']:.1%}"]
            of_all = row["weights_only"]["all"]
            cells.append(f"{of_all['perplexity']:.2f} (base {of_all['base_perplexity']:.2f})")
            print(f"| {' | '.join(cells)} |", flush=True)


def installed(whittle: Path, name: str) -> Path:
    models = run(whittle, "models", "--json")["models"]
    path = next(m["installed"] for m in models if m["name"] == name)
    if not path:
        sys.exit(f"run `whittle fetch {name}` first")
    return Path(path)


def main() -> None:
    whittle, cache, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    files = os.environ.get("FILES", "").split()
    if files and len(wanted) != 1:
        sys.exit("FILES are packed files of one model: name it")
    for peer in PEERS:
        if not wanted or peer.name in wanted:
            bench = Bench(whittle, cache, peer)
            bench.measure(files)
            bench.table()


if __name__ == "__main__":
    main()
