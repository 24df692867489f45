"""Bound the speed of kernels on CPUs that are not at hand: compile, find the inner loops, ask llvm-mca.

    python3 bench/mca.py [--cc aarch64-linux-gnu-gcc] [--mca llvm-mca-22] [--loops FOLDER]

Prints one row for each tier, core and weight type: cycles that the decode loop (one token) takes for 64 bytes of
weights, and how many int8 multiply-adds a cycle the prefill loop does, beside the core's peak (nothing but its best
multiplying instruction) and the bound that the loop's own vector instructions set: their number, at the rate of a plain
addition, or that of the multiplying ones at theirs, whichever takes longer. --loops keeps the instructions of each loop. Debian's packages: gcc-aarch64-linux-gnu llvm-22.

All data is taken to be in the first-level cache, as llvm-mca does: for decode this says whether the core can keep up
with memory, not how fast memory is.
"""
import argparse
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TILE_BYTES = {"q4": 288, "q4a": 320, "q8": 544}
TILE_MACS = 16 * 32
TILE_GROUPS = 4  # turns of the loop over a tile's columns, which the compiler keeps

# tier: (flags, best multiplying instruction, its multiply-adds, cores of llvm-mca that have it)
TIERS = {
    "arm/neon": (["-march=armv8-a"], "smlal v{i}.8h, v30.8b, v31.8b", 8, ["cortex-a53", "cortex-a55", "cortex-a57"]),
    "arm/neon_dot": (["-march=armv8.2-a+dotprod"], "sdot v{i}.4s, v30.16b, v31.16b", 16,
                     ["cortex-a76", "neoverse-n1", "neoverse-n2", "neoverse-v1", "apple-m1", "cortex-a510"]),
    "arm/neon_i8mm": (["-march=armv8.2-a+dotprod+i8mm"], "smmla v{i}.4s, v30.16b, v31.16b", 32,
                      ["neoverse-n2", "neoverse-v1", "neoverse-v2", "apple-m4"]),
    "x86/avxvnni": (["-mavx2", "-mfma", "-mf16c", "-mavxvnni"], "vpdpbusd ymm{i}, ymm14, ymm15", 32, ["alderlake"]),
}
MULTIPLIES = {"smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8, "sdot": 16, "smmla": 32, "vpdpbusd": 32}
CONDITIONS = "eq|ne|cs|cc|hs|lo|mi|pl|hi|ls|ge|lt|gt|le"
BRANCH = rf"(?:b(?:\.?(?:{CONDITIONS}))?|cbn?z|tbn?z|ret|j\w+)"


def compile_tier(tier, flags, cc, folder):
    machine = ["-fno-schedule-insns"] if tier.startswith("arm") else ["-masm=intel"]  # the first: as meson.build
    name = tier.split("/")[1]
    out = folder / f"{name}.s"
    subprocess.run([cc, "-std=gnu11", "-O2", *flags, *machine, "-fPIC", "-ffp-contract=off", "-fno-math-errno",
                    "-fno-asynchronous-unwind-tables", "-fvisibility=hidden", "-D_GNU_SOURCE", "-DSLM_BUILD",
                    f'-DVM_HEADER="kern/{tier.replace("/", "/vm_")}.h"', "-DVM_TIER=0", "-DVM_TABLE=slm_kern_mca",
                    f"-I{ROOT}/include", f"-I{ROOT}/src", "-S", f"{ROOT}/src/kern/tier.c", "-o", out], check=True)
    return out.read_text()


def mnemonic(line):
    return line.replace("{vex} ", "").split()[0]


def macs(lines):
    return sum(MULTIPLIES.get(mnemonic(line), 0) for line in lines)


def basic_blocks(assembly, function):
    """[(label or "", instructions)], in order."""
    text = re.search(rf"^{function}:[^\n]*\n(.*?)\.size\t{function}", assembly, re.S | re.M)[1]
    blocks = [("", [])]
    for line in text.splitlines():
        label = re.match(r"(\.L\w+):", line)
        if label:
            blocks.append((label[1], []))
        elif line.strip() and not re.match(r"\s*(\.|//|#)", line):
            blocks[-1][1].append(line.strip())
            if re.match(rf"\s+{BRANCH}(\s|$)", line):
                blocks.append(("", []))
    return blocks


def inner_loops(assembly, function):
    """{multiply-adds: instructions} of the shortest cycles of the control flow that multiply: one a number of tokens."""
    blocks = basic_blocks(assembly, function)
    by_label = {label: i for i, (label, _) in enumerate(blocks) if label}

    def after(i):
        last = blocks[i][1][-1] if blocks[i][1] else ""
        jump = re.match(rf"({BRANCH})(?:\s.*?)?(\.L\w+)?$", last)
        if jump and jump[2] in by_label:
            yield by_label[jump[2]]
        if not (jump and jump[1] in ("b", "ret", "jmp")) and i + 1 < len(blocks):
            yield i + 1

    shortest = {}
    for start in range(len(blocks)):
        paths = [[start]]
        while paths:
            path = paths.pop()
            for i in after(path[-1]):
                if i != start:
                    if i not in path and len(path) < 6:
                        paths.append(path + [i])
                    continue
                if len(path) == 1:
                    continue
                loop = [line for block in path for line in blocks[block][1] * (TILE_GROUPS if block in after(block) else 1)]
                n = macs(loop)
                if n and n % TILE_MACS == 0 and (n not in shortest or len(loop) < len(shortest[n])):
                    shortest[n] = loop
    return shortest


def cycles(loop, core, mca):
    """Of one turn, in the long run."""
    x86 = any("ymm" in line for line in loop)
    code = [".intel_syntax noprefix"] if x86 else []
    code += [re.sub(r"\.L\w+$", ".Lnext", line) for line in loop if not re.match(rf"{BRANCH}(\s|$)", line)]
    run = subprocess.run([mca, f"-march={'x86-64' if x86 else 'aarch64'}", f"-mcpu={core}", "-iterations=200",
                          "-all-views=0", "-summary-view"], input="\n".join(code), capture_output=True, text=True)
    found = re.search(r"Total Cycles:\s+(\d+)", run.stdout)
    if not found:
        raise SystemExit(f"{mca} for {core}: {run.stderr[:500]}")
    return int(found[1]) / 200


def is_vector(line):
    """Does it need a vector unit, rather than only load or store?"""
    return re.search(r"\b[vq]\d|ymm", line) and not re.match(r"(ld|st)[rp]\b|vmov|vpbroadcast", line)


def main():
    parser = argparse.ArgumentParser(description="Bound the speed of kernels by llvm-mca.")
    parser.add_argument("--cc", default="aarch64-linux-gnu-gcc", help="C compiler for 64-bit ARM")
    parser.add_argument("--cc-x86", default="gcc", help="C compiler for x86-64")
    parser.add_argument("--mca", default="llvm-mca-22", help="llvm-mca; before LLVM 20 several cores share a model")
    parser.add_argument("--loops", type=pathlib.Path, help="folder for the loops' instructions")
    options = parser.parse_args()

    print("| tier | core | type | decode, cycles a 64 bytes | prefill, multiply-adds a cycle | of the core's peak "
          "| of what its vector instructions allow |\n|---|---|---|---|---|---|---|")
    for tier, (flags, best, width, cores) in TIERS.items():
        with tempfile.TemporaryDirectory() as folder:
            cc = options.cc if tier.startswith("arm") else options.cc_x86
            assembly = compile_tier(tier, flags, cc, pathlib.Path(folder))
        for core in cores:
            peak = 12 * width / cycles([best.format(i=i) for i in range(12)], core, options.mca)
            add = "vpaddd ymm{i}, ymm14, ymm15" if tier.startswith("x86") else "add v{i}.4s, v30.4s, v31.4s"
            additions = 12 / cycles([add.format(i=i) for i in range(12)], core, options.mca)
            for weights, tile_bytes in TILE_BYTES.items():
                loops = inner_loops(assembly, f"gemm_{weights}")
                decode, most = loops[TILE_MACS], max(loops)
                prefill = loops[most]
                if options.loops:
                    options.loops.mkdir(parents=True, exist_ok=True)
                    for n, loop in loops.items():
                        name = f"{tier.replace('/', '-')}-{weights}-{n // TILE_MACS}.s"
                        (options.loops / name).write_text("\n".join(loop) + "\n")
                rate = most / cycles(prefill, core, options.mca)
                vector = sum(1 for line in prefill if is_vector(line))
                allowed = min(peak, most * additions / vector)
                print(f"| {tier.split('/')[1]} | {core} | {weights} | {cycles(decode, core, options.mca) * 64 / tile_bytes:.1f} "
                      f"| {rate:.1f} | {100 * rate / peak:.0f} % of {peak:.0f} | {100 * rate / allowed:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
