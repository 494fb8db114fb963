#!/usr/bin/env python3
"""Writes registry.h, the list of kernels that are linked in; or lists the champions that are.

Usage: mkregistry.py OUT [SYMBOL FAMILY ISA SOURCE]...      in the order of the list, the reference last
       mkregistry.py --champions FOLDER                     one line each: NAME ISA FLAGS...

Each line of the X-list carries a hash of the kernel's source (BLAKE2b, 128 bits), so that wisdom about an older
version of the file is noticed. A champion is a source with a .json beside it whose "library" is its record beside the
family that it is to go before, written by bench/evolve-champions:

    "library": {"isa": "avx512", "cpu": "Intel(R) Xeon(R) Processor",
                "over": {"kernel": "flash_qvec", "source": "<hash>",
                         "rows": [{"class": "f32 g2 s512 d64 causal t1", "ratio": {"median": 1.03, "low": 1.02, ...}, ...}]}}

CHAMPION_ROWS lists those rows: a class, and whether the champion won there for certain (its lower bound). The record of
a champion is left out where the family linked in is not the one that it was measured beside.
"""
import glob
import hashlib
import json
import os
import re
import sys


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.blake2b(f.read(), digest_size=16).hexdigest()


def library_of(source):
    beside = os.path.splitext(source)[0] + '.json'
    if not os.path.exists(beside):
        return None
    with open(beside) as f:
        return json.load(f).get('library')


def flags_of(source):
    """The extra flags that the heading names, as the judge reads them (gate_heading_flags)."""
    with open(source) as f:
        heading = f.read().split('*/')[0]
    found = re.search(r'extra flags (-.*?)\.?\s*$', heading, re.S)
    return found.group(1).replace('*', ' ').split() if found else []


def champions(folder):
    for source in sorted(glob.glob(os.path.join(folder, '*.c'))):
        won = library_of(source)
        if won:
            print(os.path.splitext(os.path.basename(source))[0], won['isa'], *flags_of(source))


def rows_of(symbol, won):
    """Y(champion, words of the class, its lengths and threads, won)"""
    for row in won['over']['rows']:
        sq, skv = re.search(r' s(\d+)(?:/(\d+))? ', row['class']).groups()
        words, threads = re.sub(r' s\d\S*', '', row['class']).rsplit(' t', 1)
        yield f'    Y({symbol}, "{words}", {sq}, {skv or sq}, {threads}, {int(row["ratio"]["low"] > 1)})'


def main(out, *words):
    lines, rows, hashes = [], [], {}
    groups = [words[i:i + 4] for i in range(0, len(words), 4)]
    for symbol, family, isa, source in groups:
        hashes[family] = digest(source)
    for symbol, family, isa, source in groups:
        won = library_of(source)
        over, cpu = (won['over']['kernel'], won['cpu']) if won else ('', '')
        lines.append(f'    X({symbol}, "{family}", "{isa}", "{hashes[family]}", "{over}", "{cpu}")')
        if won and hashes.get(over) == won['over']['source']:
            rows += rows_of(symbol, won)
        elif won:
            print(f'{family} is linked in but not chosen: {over} has changed since they raced; '
                  f'bench/evolve-champions --again measures anew')
    text = '/* Made by mkregistry.py; do not edit.\n' \
           ' * X(symbol, family, isa, hash of the source, of a champion: the family it was measured beside, the CPU)\n' \
           ' * Y(champion, words of a class, query rows, key rows, threads, whether it won there) */\n'
    text += '#define REGISTRY_LIST(X) \\\n' + ' \\\n'.join(lines) + '\n'
    text += '#define CHAMPION_ROWS(Y) \\\n' + ' \\\n'.join(rows) + '\n'
    with open(out, 'w') as f:
        f.write(text)


if sys.argv[1] == '--champions':
    champions(sys.argv[2])
else:
    main(*sys.argv[1:])
