#!/usr/bin/env python3
"""Writes registry.h, the list of kernels that are linked in.

Usage: mkregistry.py OUT [SYMBOL FAMILY ISA SOURCE]...      in the order of the list, the reference last

Each line of the X-list carries a hash of the kernel's source (BLAKE2b, 128 bits), so that wisdom about an older
version of the file is noticed.
"""
import hashlib
import sys


def main(out, *words):
    lines = []
    for i in range(0, len(words), 4):
        symbol, family, isa, source = words[i:i + 4]
        with open(source, 'rb') as f:
            digest = hashlib.blake2b(f.read(), digest_size=16).hexdigest()
        lines.append(f'    X({symbol}, "{family}", "{isa}", "{digest}")')
    text = '/* Made by mkregistry.py; do not edit. X(symbol, family, isa, hash of the source) */\n'
    text += '#define REGISTRY_LIST(X) \\\n' + ' \\\n'.join(lines) + '\n'
    with open(out, 'w') as f:
        f.write(text)


main(*sys.argv[1:])
