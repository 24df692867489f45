"""Who may include whom: the arrows of docs/design.md, held against the sources; and that the public headers, which people
read as a manual, fit into 100 columns.

usage: check_includes.py SOURCE_ROOT
"""
import pathlib
import re
import sys

# Each folder may include itself, what stands here, and what those may include.
MAY_INCLUDE = {
    "base": [],
    "quant": ["base"],
    "kern": ["quant"],
    "format": ["base", "quant"],
    "text": ["base"],
    "template": ["base"],
    "model": ["format", "quant", "text", "template"],
    "kv": ["kern", "format"],
    "fwd": ["kern", "model", "kv"],
    "run": ["fwd"],
    "sample": ["text", "model"],
    "gen": ["run", "sample", "model"],
    "api": ["gen", "run", "sample", "model", "kern"],
    "source": ["quant"],
    "vocab": ["source", "text"],
    "convert": ["format", "vocab"],
}


def reachable(folder):
    seen, todo = set(), [folder]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(MAY_INCLUDE[name])
    return seen


def complaints(root):
    src = root / "src"
    for path in sorted([*src.rglob("*.c"), *src.rglob("*.h")]):
        folder = path.relative_to(src).parts[0]
        if folder not in MAY_INCLUDE:
            yield f"{path.relative_to(root)}: folder src/{folder} is not in the list"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if match and match[1] not in reachable(folder):
                yield f"{path.relative_to(root)}:{number}: src/{folder} must not include {match[1]}/"
    for path in sorted((root / "examples").rglob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if match and match[1] != "base":
                yield f"{path.relative_to(root)}:{number}: examples include <slm/...> and base/ only"
    for path in sorted((root / "include").rglob("*.h")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if len(line) > 100:
                yield f"{path.relative_to(root)}:{number}: {len(line)} columns; 100 are allowed"
    families = re.compile(r"llama|mistral|qwen|gemma|\bphi\b|smollm|gpt.?2|gpt.?neox|gpt.?j|pythia|bloom|falcon|"
                          r"\bmpt\b|\bopt\b|starcoder|stablelm|olmo|granite|cohere|command.?r|exaone|openelm|mixtral|gpt.?oss",
                          re.I)
    for folder in ("fwd", "kern", "run", "model", "kv"):
        for path in sorted((src / folder).rglob("*.[ch]")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if families.search(line):
                    yield f"{path.relative_to(root)}:{number}: the runtime knows traits, never families"


if __name__ == "__main__":
    found = list(complaints(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "every include follows the arrows")
    sys.exit(1 if found else 0)
