"""The texts against the tree: every relative link leads somewhere, and a line of source that a text quotes by its number is that line.

    docs_test.py SOURCE_DIRECTORY
"""
import glob
import os
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


def anchors(text):
    """Those that GitHub gives to headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for target in (a or b for a, b in LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        to = os.path.normpath(os.path.join(os.path.dirname(path), place)) if place else path
        if not os.path.exists(to):
            yield "%s: %s is not there" % (path, target)
        elif anchor and to.endswith(".md"):
            with open(to, encoding="utf-8") as file:
                if anchor not in anchors(file.read()):
                    yield "%s: no heading for #%s" % (path, anchor)


def moved_lines(root):
    """docs/kernel_simulator.md: `break FILE:LINE` and the line that gdb then shows."""
    path = os.path.join(root, "docs", "kernel_simulator.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    shown = re.findall(r"^    (\d+)\t(.*)$", text, re.M)
    name = re.search(r"\(gdb\) break (\S+):(\d+)", text)
    with open(os.path.join(root, "kernels", "cuda", name[1]), encoding="utf-8") as file:
        lines = file.read().split("\n")
    if [number for number, _ in shown] != [name[2]]:
        yield "%s: the breakpoint at %s shows lines %s" % (path, name[2], shown)
    for number, line in shown:
        if lines[int(number) - 1] != line:
            yield "%s: line %s of %s is '%s'" % (path, number, name[1], lines[int(number) - 1])


def main():
    root = sys.argv[1]
    texts = [p for pattern in ("*.md", "docs/*.md", "bench/*/*.md", "examples/*/*.md") for p in sorted(glob.glob(os.path.join(root, pattern)))]
    wrong = [line for path in texts for line in broken_links(path)] + list(moved_lines(root))
    print("\n".join(wrong) or "%d texts" % len(texts))
    sys.exit(1 if wrong or len(texts) < 10 else 0)


main()
