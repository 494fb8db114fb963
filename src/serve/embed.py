"""Writes the files of web/ as one C array each: embed.py OUTPUT.c FILE..."""
import os
import sys

TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8'}

with open(sys.argv[1], 'w', encoding='ascii') as out:
    out.write('/* Made by embed.py from web/. */\n#include "serve/web.h"\n')
    table = []
    for i, path in enumerate(sys.argv[2:]):
        data = open(path, 'rb').read()
        out.write(f'static const unsigned char file_{i}[] = {{')
        for at in range(0, len(data), 24):
            out.write('\n' + ','.join(str(b) for b in data[at:at + 24]) + ',')
        out.write('};\n')
        name = os.path.basename(path)
        table.append(f'    {{"{name}", "{TYPES[os.path.splitext(name)[1]]}", file_{i}, {len(data)}}},\n')
    out.write('const web_file web_files[] = {\n' + ''.join(table) + '};\n')
    out.write(f'const int web_file_count = {len(table)};\n')
