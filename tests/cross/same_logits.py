"""The logits of a whole model on 64-bit ARM, emulated, are the bytes of those on this machine.

usage: SLM_NATIVE=path/of/slm same_logits.py ARM_SLM MODEL

Runs `slm logits` natively and, with every tier, under qemu-user as CPUs that know just what some tier needs: a
newer instruction anywhere else is a signal. SLM_SYSROOT (/usr/aarch64-linux-gnu) has the C library. Skipped (77)
without SLM_NATIVE, the command of a build for this machine.
"""
import os
import subprocess
import sys
import unittest

FOREIGN, MODEL = sys.argv[1:3]
NATIVE = os.environ.get("SLM_NATIVE")
SYSROOT = os.environ.get("SLM_SYSROOT", "/usr/aarch64-linux-gnu")
TEXT = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw"

# CPUs of qemu and the tiers that they must have.
CPUS = {
    "cortex-a53": ["c", "neon"],
    "cortex-a76": ["c", "neon", "neon-dot"],
    "max": ["c", "neon", "neon-dot", "neon-i8mm"],
}


def logits(command, *options):
    """Every position's, at once: prefill and, with --chunk 1, decode."""
    run = subprocess.run([*command, "logits", MODEL, "-p", TEXT, "--all", *options, "-o", "-"], capture_output=True)
    if run.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {run.returncode}: {run.stderr.decode()}")
    return run.stdout


class SameLogits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expected = {chunk: logits([NATIVE], "--chunk", chunk) for chunk in ("1", "64")}

    def test_native_logits_are_some(self):
        self.assertGreater(len(self.expected["64"]), 30 * 512 * 4)
        self.assertEqual(self.expected["1"], self.expected["64"])


def add_test(cpu, tiers):
    def test(self):
        command = ["qemu-aarch64", "-L", SYSROOT, "-cpu", cpu, FOREIGN]
        version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(version.strip().partition("(")[2].strip(")").split(), tiers)
        for tier in tiers:
            for chunk, expected in self.expected.items():
                with self.subTest(tier=tier, chunk=chunk):
                    self.assertEqual(logits(command, "--cpu", tier, "--chunk", chunk), expected)

    setattr(SameLogits, "test_" + cpu.replace("-", "_"), test)


for cpu, tiers in CPUS.items():
    add_test(cpu, tiers)

if __name__ == "__main__":
    if not NATIVE:
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
