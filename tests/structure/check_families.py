"""README's table of families is what the converter knows.

usage: check_families.py SOURCE_ROOT LIST_FAMILIES [--write]
"""
import pathlib
import subprocess
import sys

BEGIN, END = "<!-- families -->\n", "<!-- end of families -->\n"


def main(root, program, write):
    path = pathlib.Path(root) / "README.md"
    text = path.read_text()
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    table = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    if write:
        path.write_text(before + BEGIN + table + END + after)
    elif shown != table:
        sys.exit("README.md has another table of families than the converter: run check_families.py with --write")
    print(f"{table.count(chr(10)) - 2} families")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--write" in sys.argv)
