#!/usr/bin/env python3
"""Where the time of a token goes: CPU time by stage, sampled with Linux's perf.

    python3 bench/stages.py SLM MODEL [-t 2] [--cpu TIER] [--kv TYPE]

Profiles `slm bench` for decoding and for prompts, at the start of a context and deep in it. What
comes before (opening, filling the context, one token) is profiled by itself and taken off. Needs
perf, and symbols in the slm command (any build that is not stripped). Samples are CPU time: who
spins while he waits for other threads is counted, who sleeps is not.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

# The first that matches a symbol's name has it.
STAGES = [
    ("matrices and head", r"^gemm_|store_panel|product|slm_head$|slm_ffn|hold"),
    ("attention",
     r"attend|attention|spans?$|softmax|value_row|deal_tiles|^prepare$|kv_query|put_query|finish_row"),
    ("norms", r"norm|complete_row"),
    ("activation", r"^act_|^activate"),
    ("quantizing rows", r"^quantize"),
    ("rotary, storing KV", r"rotate|store|kv_|rope"),
    ("threads: waiting, handing out",
     r"team|futex|sched|yield|wait|wake|go_through|end_step|announce|^do_|slm_share"),
    ("the rest", r""),
]
TESTS = [  # name, arguments of slm bench, the same with next to nothing measured
    ("decode", ["-p", "0", "-n", "128", "-r", "7"], ["-p", "0", "-n", "1", "-r", "1"]),
    ("decode at 4096", ["-p", "0", "-n", "64", "-d", "4096", "-r", "7"],
     ["-p", "0", "-n", "1", "-d", "4096", "-r", "1"]),
    ("prompt of 512", ["-p", "512", "-n", "0", "-r", "7"], ["-p", "1", "-n", "0", "-r", "1"]),
    ("prompt of 4096", ["-p", "4096", "-n", "0", "-r", "2"], ["-p", "1", "-n", "0", "-r", "1"]),
]
FREQUENCY = 1999


def samples(command):
    """{symbol: samples}, user and kernel."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", data, "--"]
        subprocess.run(record + command, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        report = subprocess.run(
            ["perf", "report", "-i", data, "--stdio", "-q", "-n", "-g", "none", "--sort", "symbol"],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    found = {}
    for line in report.splitlines():  # "  61.20%   12345  [.] gemm_q4"
        match = re.match(r"\s*[\d.]+%\s+(\d+)\s+\[.\]\s+(\S+)", line)
        if match:
            found[match[2]] = found.get(match[2], 0) + int(match[1])
    return found


def by_stage(found):
    sums = dict.fromkeys((name for name, _ in STAGES), 0)
    for symbol, n in found.items():
        sums[next(name for name, pattern in STAGES if re.search(pattern, symbol))] += n
    return sums


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("model")
    parser.add_argument("-t", "--threads", default="2")
    parser.add_argument("--cpu")
    parser.add_argument("--kv")
    parser.add_argument("--symbols", action="store_true", help="show the symbols of the rest, too")
    a = parser.parse_args()
    common = [a.slm, "bench", a.model, "-t", a.threads]
    common += ["--cpu", a.cpu] if a.cpu else []
    common += ["--kv", a.kv] if a.kv else []
    columns, symbols = [], {}
    for name, arguments, nothing in TESTS:
        print(f"stages: {name}", file=sys.stderr)
        try:
            whole, before = samples(common + arguments), samples(common + nothing)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"stages: {error}")
        found = {s: max(0, n - before.get(s, 0)) for s, n in whole.items()}
        columns.append(by_stage(found))
        for symbol, n in found.items():
            symbols[symbol] = symbols.get(symbol, 0) + n
    print("| % of CPU time | " + " | ".join(t[0] for t in TESTS) + " |")
    print("|---|" + "---|" * len(TESTS))
    for stage, _ in STAGES:
        shares = [100 * c[stage] / max(1, sum(c.values())) for c in columns]
        print(f"| {stage} | " + " | ".join(f"{s:.1f}" for s in shares) + " |")
    if a.symbols:
        for symbol, n in sorted(symbols.items(), key=lambda item: -item[1])[:40]:
            print(f"{n:8} {symbol}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
