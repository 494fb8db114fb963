#!/usr/bin/env python3
"""Writes registry.h, the list of kernels that are linked in; or lists the champions that are.

Usage: mkregistry.py OUT [SYMBOL FAMILY ISA SOURCE]...      in the order of the list, the reference last
       mkregistry.py --champions FOLDER                     one line each: NAME ISA FLAGS...

Each line of the X-list carries a hash of the kernel's source (BLAKE2b, 128 bits), so that wisdom about an older
version of the file is noticed. A champion is a source with a .json beside it whose "library" says what it won:

    "library": {"isa": "avx512", "dtype": "f32", "work": "prefill", "cpu": "Intel(R) Xeon(R) Processor",
                "over": {"kernel": "flash_qvec", "source": "<hash>", "ratio": {"median": ...}}}

It is fresh, and so goes before the families, while the kernel it beat is the one that is linked in.
"""
import glob
import hashlib
import json
import os
import re
import sys

TYPES = {'f32': 0, 'f16': 1, 'bf16': 2}


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


def main(out, *words):
    lines, hashes = [], {}
    groups = [words[i:i + 4] for i in range(0, len(words), 4)]
    for symbol, family, isa, source in groups:
        hashes[family] = digest(source)
    for symbol, family, isa, source in groups:
        won = library_of(source)
        if won:
            over = won['over']
            fresh = int(hashes.get(over['kernel']) == over['source'])
            what = f'{TYPES[won["dtype"]]}, "{won["work"]}", "{won["cpu"]}", {fresh}'
        else:
            what = '-1, "", "", 0'
        lines.append(f'    X({symbol}, "{family}", "{isa}", "{hashes[family]}", {what})')
    text = '/* Made by mkregistry.py; do not edit.\n' \
           ' * X(symbol, family, isa, hash of the source, and of champions: dtype, work, cpu, fresh) */\n'
    text += '#define REGISTRY_LIST(X) \\\n' + ' \\\n'.join(lines) + '\n'
    with open(out, 'w') as f:
        f.write(text)


if sys.argv[1] == '--champions':
    champions(sys.argv[2])
else:
    main(*sys.argv[1:])
