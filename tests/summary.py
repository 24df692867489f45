"""Count test cases in the logs of `meson test`, and print what failed.

usage: summary.py NAME TESTLOG.json     one line a test program, and the output of those that failed
       summary.py --total SUMMARY.txt   print that, then "N passed, N failed"; exit 1 if any failed

A program of cmocka or unittest counts with its cases, any other as one. A program that ends without saying what it
ran, because it crashed or ran into its time limit, is one failure.
"""
import json
import pathlib
import re
import sys

TAIL = 60  # lines of output shown for a program that failed


def count(text, ok):
    """Cases passed and failed, from what the program printed."""
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", text))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", text))
    ran = re.search(r"^Ran (\d+) tests?", text, re.M)
    if ran:
        bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", text))
        skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", text))
        passed, failed = int(ran[1]) - bad - skipped, bad
    if not passed and not failed:
        passed, failed = (1, 0) if ok else (0, 1)
    if not ok and not failed:
        failed = 1
    return passed, failed


def summarise(name, log):
    if not log.exists():
        print(f"{name}: 0 passed, 1 failed: no test ran")
        return
    for line in log.read_text().splitlines():
        test = json.loads(line)
        if test["result"] == "SKIP":
            continue
        ok = test["result"] in ("OK", "EXPECTEDFAIL")
        text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
        passed, failed = count(text, ok)
        suite_and_name = test["name"].replace("libslm:", "").replace(" / ", " ")
        print(f"{name}: {suite_and_name}: {passed} passed, {failed} failed ({test['duration']:.1f} s)")
        if failed:
            print("".join(f"    {line}\n" for line in text.strip().splitlines()[-TAIL:]))


def total(path):
    text = path.read_text()
    print(text)
    counts = re.findall(r"^\S.*: (\d+) passed, (\d+) failed", text, re.M)
    passed, failed = (sum(int(c[i]) for c in counts) for i in (0, 1))
    if not counts:
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] == "--total":
        sys.exit(total(pathlib.Path(sys.argv[2])))
    summarise(sys.argv[1], pathlib.Path(sys.argv[2]))
