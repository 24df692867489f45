#!/usr/bin/env python3
"""Compare libslm's speed with its peers': same weights, same machine, one after the other.

    meson setup build && ninja -C build
    python3 bench/peers/peers.py --only q4                    # llama.cpp; 20 minutes, 1 GB of disk
    python3 bench/peers/peers.py --json report.json           # all of them; hours, 10 GB

Gets and builds what it needs by package name (llama.cpp, SmolLM2-135M, OpenVINO GenAI, ONNX
Runtime GenAI, CTranslate2) and quantizes the same weights to the same bits; what is in the work
folder is not made again. Each comparison runs libslm and the peer alternately, --repeat times, and
takes medians: machines drift by tens of percent, so only figures from the same run may be compared.
What can't be had is left out and named. Needs Python 3.9 with pip and venv, a C++ compiler and the
network.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import time

import obtain
from obtain import Missing, say

HERE = pathlib.Path(__file__).resolve().parent
PROMPT = "The capital of France is"  # five tokens
MEMORY_CONTEXT = 2048
TIMEOUT = 900  # seconds, for one run of anything

# ------------------------------------------------------------------------- measuring ---


def output_of(*command):
    command = [str(c) for c in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Missing(f"{pathlib.Path(command[0]).name}: {lines[0]}")
    return done.stdout


def first_byte(*command):
    """Milliseconds from the start of a process to the first byte that it prints."""
    start = time.perf_counter()
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        got = process.stdout.read(1)
        elapsed = time.perf_counter() - start
        process.stdout.read()
    if not got or process.returncode:
        raise Missing(f"{pathlib.Path(command[0]).name} printed nothing")
    return {"ms": 1e3 * elapsed}


def peak_memory(*command):
    """Peak of resident memory of a process (VmHWM), in MB."""
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Missing(f"{pathlib.Path(command[0]).name} ended with {process.returncode}")
    return {"MB": usage.ru_maxrss * 1024 / 1e6}


class Tools:
    """Runs libslm and the peers, each time for one sample of every figure."""

    def __init__(self, args, get):
        self.slm, self.kernels, self.ik_bin = args.slm, args.kernels, args.ik_bin
        self.threads, self.runs, self.get, self.under = args.threads, args.runs, get, args.under

    def measure(self, *command):
        """What a measured command prints."""
        return output_of(*self.under, *command)

    def slm_bench(self, model, prompt, generate, *more):
        rows = json.loads(self.measure(self.slm, "bench", model, "-t", self.threads, "-r", self.runs,
                                       "-p", prompt, "-n", generate, *more, "--json"))
        return {"prefill" if r["n_prompt"] else "decode": r["mean"] for r in rows}

    def llama_bench(self, program, model, prompt, generate, *more):
        rows = json.loads(self.measure(program, "-m", model, "-t", self.threads, "-r", self.runs,
                                       "-o", "json", "-p", prompt, "-n", generate, *more))
        return {"prefill" if r["n_prompt"] else "decode": r["avg_ts"] for r in rows}

    def llama_batched(self, model, batch, prompt, generate):
        context = batch * (prompt + generate)
        lines = self.measure(self.get.llama("llama-batched-bench"), "-m", model, "-t", self.threads,
                             "-npp", prompt, "-ntg", generate, "-npl", batch, "-c", context,
                             "--output-format", "jsonl").strip().splitlines()
        if not lines:
            raise Missing("llama-batched-bench printed nothing")
        return {"decode": json.loads(lines[-1])["speed_tg"]}

    def bandwidth(self):
        """What mere reading reaches, in GB/s; bench_kernels has a column for each number of threads."""
        for line in self.measure(self.kernels, "machine").splitlines():
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if cells[0].startswith("reading"):
                return {"GB/s": float(cells[min(self.threads, len(cells) - 1)])}
        raise Missing("bench_kernels machine told no bandwidth")


# ----------------------------------------------------------------------- comparisons ---


class Pair:
    """Two things that run alternately, and what is read off them.

    rows: (figure, what it is, the peer, the least ratio that we want or None). `less` says that less
    is better: then the ratio is the peer's figure over ours.
    """

    def __init__(self, ours, theirs, rows, less=False):
        self.ours, self.theirs, self.rows, self.less = ours, theirs, rows, less


def same_bits(tools, kind, peer, decode, prefill, source=None, ours=(), avx2=False):
    """Decode 128 and prefill 512 of the same weights here and in llama.cpp."""
    get = tools.get
    gguf = source or get.original()
    if kind:
        gguf = get.quantized(gguf, kind)
    model, bench = get.converted(gguf), get.llama("llama-bench", avx2)
    label = f"{', as distributed' if not kind else ', ' + kind}{', AVX2' if avx2 else ''}"
    return Pair(lambda: tools.slm_bench(model, 512, 128, *ours),
                lambda: tools.llama_bench(bench, gguf, 512, 128),
                [("decode", "decode 128" + label, peer, decode),
                 ("prefill", "prefill 512" + label, peer, prefill)])


def bandwidth(tools):
    model = tools.get.converted(tools.get.quantized(tools.get.original(), "Q4_0"))
    info = json.loads(output_of(tools.slm, "info", model, "--json"))
    size = sum(t["bytes"] for t in info["types"])

    def ours():
        return {"GB/s": tools.slm_bench(model, 0, 128)["decode"] * size / 1e9}

    return Pair(ours, tools.bandwidth,
                [("GB/s", "decode 128, Q4_0: GB/s of weights", "mere reading", 0.85)])


def ik(tools):
    if not tools.ik_bin:
        raise Missing("ik_llama.cpp: name a build of yours with --ik-bin")
    gguf = tools.get.quantized(tools.get.original(), "Q4_0")
    model, bench = tools.get.converted(gguf), pathlib.Path(tools.ik_bin) / "llama-bench"
    return Pair(lambda: tools.slm_bench(model, 512, 128),
                lambda: tools.llama_bench(bench, gguf, 512, 128, "-rtr", 1),
                [("decode", "decode 128, Q4_0", "ik_llama.cpp -rtr 1", 1.5),
                 ("prefill", "prefill 512, Q4_0", "ik_llama.cpp -rtr 1", 1.3)])


def package(tools, name, label, decode, prefill, kind="Q4_0"):
    python, folder = tools.get.peer(name)
    model = tools.get.converted(tools.get.quantized(tools.get.original(), kind))
    return Pair(lambda: tools.slm_bench(model, 512, 128),
                lambda: json.loads(tools.measure(python, HERE / "genai.py", name, folder,
                                                 "--threads", tools.threads).strip().splitlines()[-1]),
                [("decode", f"decode 128, {kind}", label, decode),
                 ("prefill", f"prefill 512, {kind}", label, prefill)])


def deep(tools):
    """Our keys and values in f16 and in q8, each against the peer's in f16, its fastest."""
    get = tools.get
    gguf = get.quantized(get.original(), "Q4_0")
    model, bench = get.converted(gguf), get.llama("llama-bench")
    targets = {"f16": 2.5, "q8": 4.0}

    def ours():
        return {kv: tools.slm_bench(model, 0, 64, "-d", 4096, "--kv", kv)["decode"]
                for kv in targets}

    def theirs():
        speed = tools.llama_bench(bench, gguf, 0, 64, "-d", 4096, "-fa", 1)["decode"]
        return {kv: speed for kv in targets}

    return Pair(ours, theirs,
                [(kv, f"decode 64 after 4096, Q4_0, KV {kv}", "llama.cpp, KV f16, -fa 1", target)
                 for kv, target in targets.items()])


def long_prompt(tools):
    get = tools.get
    gguf = get.quantized(get.original(), "Q4_0")
    model, bench = get.converted(gguf), get.llama("llama-bench")
    return Pair(lambda: tools.slm_bench(model, 4096, 0),
                lambda: tools.llama_bench(bench, gguf, 4096, 0, "-fa", 1),
                [("prefill", "prefill 4096, Q4_0", "llama.cpp, -fa 1", 2.0)])


def batch(tools, n):
    get = tools.get
    gguf = get.quantized(get.original(), "Q4_0")
    model = get.converted(gguf)
    return Pair(lambda: tools.slm_bench(model, 0, 64, "-d", 16, "-b", n),
                lambda: tools.llama_batched(gguf, n, 16, 64),
                [("decode", f"decode, {n} sequences, Q4_0", "llama-batched-bench", 3.5)])


def start_up(tools):
    gguf = tools.get.quantized(tools.get.original(), "Q4_0")
    model, completion = tools.get.converted(gguf), tools.get.llama("llama-completion")
    common = ["-p", PROMPT, "-n", 1, "-t", tools.threads]
    return Pair(lambda: first_byte(*tools.under, tools.slm, "run", model, "--raw", *common),
                lambda: first_byte(*tools.under, completion, "-m", gguf, "-no-cnv",
                                   "--no-display-prompt", "--no-warmup", *common),
                [("ms", "process start to first token, ms", "llama-completion --no-warmup", 10)],
                less=True)


def memory_commands(tools):
    """Both fill their context of 2048 tokens but for a few."""
    gguf = tools.get.quantized(tools.get.original(), "Q4_0")
    model, completion = tools.get.converted(gguf), tools.get.llama("llama-completion")
    text = tools.get.work / "long.txt"
    words = MEMORY_CONTEXT
    while True:
        text.write_text("Once" + " upon a time" * (words // 3), encoding="utf-8")
        n = int(output_of(tools.slm, "tokenize", model, "-f", text, "--count"))
        if n <= MEMORY_CONTEXT - 40:
            break
        words -= 30
    common = ["-c", MEMORY_CONTEXT, "-f", text, "-n", 32, "-t", tools.threads]
    return (lambda: peak_memory(*tools.under, tools.slm, "run", model, "--raw", *common),
            lambda: peak_memory(*tools.under, completion, "-m", gguf, "-no-cnv", "--no-warmup",
                                *common), model)


def memory(tools):
    ours, theirs, _ = memory_commands(tools)
    return Pair(ours, theirs, [("MB", f"resident memory, {MEMORY_CONTEXT} tokens, Q4_0, MB",
                                "llama-completion", None)], less=True)


def memory_limit(tools):
    ours, _, model = memory_commands(tools)
    info = json.loads(output_of(tools.slm, "info", model, "--json"))
    kv = 2 * 2 * info["n_layers"] * info["n_kv_heads"] * info["head_dim"] * MEMORY_CONTEXT
    limit = (info["file_size"] + kv) / 1e6 + 12
    return Pair(ours, lambda: {"MB": limit},
                [("MB", f"resident memory, {MEMORY_CONTEXT} tokens, Q4_0, MB",
                  "file + f16 KV + 12 MB", 1)], less=True)


def gemma(tools, kind):
    return same_bits(tools, kind, f"llama.cpp Gemma 3 270M {kind}", 1.5, 2.0,
                     source=tools.get.gemma())


COMPARISONS = {  # name: (what it compares, how)
    "q4": ("decode 128, prefill 512: llama.cpp, both Q4_0",
           lambda t: same_bits(t, "Q4_0", "llama.cpp", 1.8, 2.0)),
    "bandwidth": ("bytes a second while decoding: merely reading memory", bandwidth),
    "q4a": ("decode 128, prefill 512: llama.cpp, both as distributed (Q4_1, head Q8_0)",
            lambda t: same_bits(t, None, "llama.cpp Q4_1", 2.2, 5.0)),
    "q8": ("decode 128, prefill 512: llama.cpp, both Q8_0",
           lambda t: same_bits(t, "Q8_0", "llama.cpp", 1.5, 2.5)),
    "ik": ("decode 128, prefill 512: ik_llama.cpp, both Q4_0 (needs --ik-bin)", ik),
    "openvino": ("decode 128, prefill 512: OpenVINO GenAI in int4",
                 lambda t: package(t, "openvino", "OpenVINO GenAI int4", None, 1.1)),
    "onnx": ("decode 128, prefill 512: ONNX Runtime GenAI in int4",
             lambda t: package(t, "onnx", "ONNX Runtime GenAI int4", None, None)),
    "ctranslate2": ("decode 128, prefill 512: CTranslate2 in int8",
                    lambda t: package(t, "ctranslate2", "CTranslate2 int8", None, None, "Q8_0")),
    "deep": ("decode 64 after 4096 tokens, our KV in f16 and q8: llama.cpp, both Q4_0", deep),
    "long": ("prefill 4096: llama.cpp, both Q4_0", long_prompt),
    "batch8": ("8 sequences decoding together: llama-batched-bench", lambda t: batch(t, 8)),
    "batch16": ("16 sequences", lambda t: batch(t, 16)),
    "avx2": ("q4 with AVX2 alone: llama.cpp built without AVX-512",
             lambda t: same_bits(t, "Q4_0", "llama.cpp without AVX-512", 2.0, 1.8,
                                 ours=("--cpu", "avx2"), avx2=True)),
    "start": ("process start to first token: llama-completion", start_up),
    "memory": ("resident memory with 2048 tokens: llama-completion", memory),
    "memory-limit": ("the same: file + KV + 12 MB", memory_limit),
    "gemma-q4": ("decode 128, prefill 512 of Gemma 3 270M: llama.cpp, both Q4_0",
                 lambda t: gemma(t, "Q4_0")),
    "gemma-q8": ("the same, both Q8_0", lambda t: gemma(t, "Q8_0")),
}


def compare(name, tools, repeat):
    """All samples of a comparison: a list of rows as they go into the JSON."""
    pair = COMPARISONS[name][1](tools)
    if repeat == 0:
        return []
    samples = []
    for i in range(repeat):
        samples.append((pair.ours(), pair.theirs()))
        say(f"{name}: {i + 1} of {repeat}: "
            + ", ".join(f"{key} {samples[-1][0][key]:.1f} : {samples[-1][1][key]:.1f}"
                        for key, *_ in pair.rows))
    rows = []
    for key, label, peer, target in pair.rows:
        ours, theirs = [s[0][key] for s in samples], [s[1][key] for s in samples]
        a, b = statistics.median(ours), statistics.median(theirs)
        rows.append({"comparison": name, "test": label, "peer": peer, "libslm": a, "other": b,
                     "ratio": b / a if pair.less else a / b, "target": target,
                     "libslm_samples": ours, "other_samples": theirs})
    return rows


# ------------------------------------------------------------------------- reporting ---


def machine(tools, args):
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
        cpu = "{} (family {}, model {})".format(facts.get("model name", cpu),
                                                facts.get("cpu family", "?"), facts.get("model", "?"))
    except OSError:
        pass
    return {"date": datetime.date.today().isoformat(), "cpu": cpu, "cores": os.cpu_count(),
            "threads": args.threads, "repeat": args.repeat,
            "slm": output_of(tools.slm, "--version").strip(), "llama": obtain.LLAMA_PACKAGE,
            "system": platform.platform()}


def cell(value, samples):
    digits = 0 if value >= 100 else 1
    return f"{value:,.{digits}f} ({min(samples):,.{digits}f}-{max(samples):,.{digits}f})"


def markdown(report):
    m = report["machine"]
    lines = [f"{m['cpu']}, {m['cores']} cores, {m['threads']} threads; {m['slm']} and {m['llama']}; "
             f"{m['date']}; medians of {m['repeat']} alternated runs (least-most).", "",
             "| SmolLM2-135M unless named | libslm | peer | | ratio | wanted |",
             "|---|---|---|---|---|---|"]
    for r in report["rows"]:
        target = f"{r['target']:g} x" if r["target"] else ""
        lines.append(f"| {r['test']} | {cell(r['libslm'], r['libslm_samples'])} | {r['peer']} | "
                     f"{cell(r['other'], r['other_samples'])} | {r['ratio']:.2f} x | {target} |")
    lines += [""] + [f"Left out: {s['comparison']}: {s['why']}" for s in report["skipped"]]
    return "\n".join(lines)


def merged(paths):
    """Reports of several runs as one; of a comparison that is in two, the later."""
    reports = [json.loads(pathlib.Path(p).read_text(encoding="utf-8")) for p in paths]
    by_name = {}
    for report in reports:
        for entry in report["skipped"] + report["rows"]:
            by_name.pop(entry["comparison"], None)
        for kind in ("rows", "skipped"):
            for entry in report[kind]:
                by_name.setdefault(entry["comparison"], {"rows": [], "skipped": []})
                by_name[entry["comparison"]][kind].append(entry)
    order = [by_name[name] for name in COMPARISONS if name in by_name]
    return {"machine": reports[-1]["machine"],
            **{kind: [e for entry in order for e in entry[kind]] for kind in ("rows", "skipped")}}


def arguments():
    width = max(map(len, COMPARISONS)) + 2
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [--only NAME,...] [--json FILE] [OPTION]...",
        epilog="comparisons:\n" + "\n".join(
            f"  {name:{width}}{words}" for name, (words, _) in COMPARISONS.items()))
    build = HERE.parent.parent / "build"
    parser.add_argument("--only", metavar="NAME,...", help="these comparisons (default: all below)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N",
                        help="runs of each side (default: 5)")
    parser.add_argument("--runs", type=int, default=1, metavar="N",
                        help="runs within a process, whose mean is one sample (default: 1)")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N",
                        help="threads of each side (default: 2)")
    parser.add_argument("--json", metavar="FILE", help="write all samples, too")
    parser.add_argument("--merge", nargs="+", metavar="FILE",
                        help="print the table of reports that --json wrote, and measure nothing")
    parser.add_argument("--prepare", action="store_true",
                        help="get and build what is needed, and measure nothing")
    parser.add_argument("--offline", action="store_true", help="get nothing, use what is there")
    parser.add_argument("--under", metavar="COMMAND", type=shlex.split, default=[],
                        help="run each measured command under this one, as in 'taskset -c 2,3'")
    parser.add_argument("--work", default=build / "peers", metavar="DIR",
                        help="folder for what is got and made (default: build/peers)")
    parser.add_argument("--slm", default=build / "examples/slm/slm", metavar="FILE",
                        help="the slm command (default: in build/)")
    parser.add_argument("--kernels", metavar="FILE", help="bench_kernels (default: of the same build)")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count(), metavar="N",
                        help="jobs of a build (default: the CPUs)")
    have = parser.add_argument_group("what you have already")
    have.add_argument("--llama-bin", metavar="DIR", help="llama.cpp's programs, built natively")
    have.add_argument("--llama-avx2-bin", metavar="DIR", help="the same without AVX-512")
    have.add_argument("--ik-bin", metavar="DIR", help="ik_llama.cpp's programs")
    have.add_argument("--gguf", metavar="FILE", help="SmolLM2-135M-Instruct as distributed")
    have.add_argument("--gemma-gguf", metavar="FILE", help="Gemma 3 270M")
    for name in obtain.PEERS:
        have.add_argument(f"--{name}-python", metavar="FILE",
                          help=f"a Python interpreter that has {name}'s packages")
    return parser.parse_args()


def main():
    args = arguments()
    if args.merge:
        print(markdown(merged(args.merge)))
        return 0
    args.slm = pathlib.Path(args.slm).resolve()
    args.kernels = args.kernels or args.slm.parent.parent.parent / "bench" / "bench_kernels"
    if not args.slm.exists():
        sys.exit(f"peers: there is no {args.slm}: build libslm, or name the command with --slm")
    names = args.only.split(",") if args.only else list(COMPARISONS)
    unknown = [n for n in names if n not in COMPARISONS]
    if unknown:
        sys.exit(f"peers: there is no comparison {', '.join(unknown)}; --help lists them")
    if args.repeat < 1 or args.runs < 1:
        sys.exit("peers: --repeat and --runs must be at least 1")
    get = obtain.Obtainer(args.work, args.slm, args.jobs, args.offline)
    get.native_bin, get.avx2_bin = args.llama_bin, args.llama_avx2_bin
    get.gguf, get.gemma_gguf = args.gguf, args.gemma_gguf
    get.pythons = {n: pathlib.Path(p) for n in obtain.PEERS
                   if (p := getattr(args, f"{n}_python"))}
    tools = Tools(args, get)
    repeat = 0 if args.prepare else args.repeat
    report = {"machine": machine(tools, args), "rows": [], "skipped": []}
    for name in names:
        try:
            report["rows"] += compare(name, tools, repeat)
        except Missing as missing:
            say(f"{name}: left out: {missing}")
            report["skipped"].append({"comparison": name, "why": str(missing)})
        if args.json:  # after each, so that an interrupted run leaves what it has
            pathlib.Path(args.json).write_text(json.dumps(report, indent=1) + "\n",
                                               encoding="utf-8")
    if args.prepare:
        say(f"ready: {len(names) - len(report['skipped'])} of {len(names)} comparisons")
        return 1 if report["skipped"] else 0
    print(markdown(report))
    return 0 if report["rows"] else 1


if __name__ == "__main__":
    sys.exit(main())
