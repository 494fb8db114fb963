"""What docs/troubleshooting.md quotes at the head of an entry is what the program says: quotes.py SOURCE_ROOT

An entry begins with bold text; what stands in backticks there is looked up, between the dots of omission, in the sources, whose
string literals are joined as the compiler joins them."""
import glob
import os
import re
import sys

root = sys.argv[1]
said = ""
for pattern in ("app/*.c", "src/**/*.c", "integrations/**/*.c", "integrations/**/*.py", "attune", "app/options.def"):
    for path in glob.glob(os.path.join(root, pattern), recursive=True):
        said += re.sub(r'"\s*\n\s*"', "", open(path, errors="replace").read()).replace("%%", "%")
page = os.path.join(root, "docs/troubleshooting.md")
quotes = [q for bold in re.findall(r"^\*\*(.+?)\*\*", open(page).read(), re.M) for q in re.findall(r"`(.+?)`", bold)]
lost = [q for q in quotes for piece in q.split("...") if piece.strip(" ;") and piece.strip(" ;") not in said and not os.path.exists(
    os.path.join(root, "examples/attention", piece))]
for q in lost:
    print(f"{page} quotes `{q}`, which nothing says any more")
print(f"{len(quotes)} quotes looked up")
sys.exit(bool(lost) or len(quotes) < 8)
