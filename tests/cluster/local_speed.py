"""Is an evolution on this machine as fast as with another build of attune? Candidates a minute, and what the engine takes of a core.

    python3 tests/cluster/local_speed.py OLD NEW [--pairs N] [--seconds S] [--jobs J] [--case CASE]

A pair is one run of each of the two programs with the same seed, one after the other, the order drawn by lot; --jobs pairs go on
at once, each on two CPUs and with a timing lock of its own. The engine's time is that of its process alone, without compilers and
workers. Printed: medians of both, and the median ratio NEW over OLD with its 95 % interval (bootstrap over pairs)."""
import argparse
import concurrent.futures
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

from processes import cpu_seconds


def run(o, program, seed, cpus):
    """Candidates a minute and the engine's share of a core, from the first verdict to the last."""
    folder = tempfile.mkdtemp(prefix='attune-local-')
    words = [program, 'evolve', '--json', '--minutes', str(o.seconds / 60), '--seed', str(seed), '-o', folder + '/run', '--case', o.case,
             '--set', 'evolve.final_seconds=0', '--set', 'evolve.control_races=0']
    if cpus:
        words = ['taskset', '-c', ','.join(map(str, cpus))] + words
    p = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ, ATTUNE_LOCK=folder + '/lock'))
    verdicts = []
    try:
        for line in p.stdout:
            try:
                e = json.loads(line)
            except ValueError:
                continue
            if e.get('event') == 'judged':
                verdicts.append((e['t'], cpu_seconds(p.pid)))
        p.wait()
    finally:
        p.kill()
        shutil.rmtree(folder, ignore_errors=True)
    if len(verdicts) < 3:
        sys.exit(f'local_speed: {program} judged {len(verdicts)} candidates in {o.seconds:g} s: too few; give it more --seconds')
    span = verdicts[-1][0] - verdicts[0][0]
    return (len(verdicts) - 1) / span * 60, (verdicts[-1][1] - verdicts[0][1]) / span


def pair(o, number, cpus):
    order = [0, 1]
    random.Random(number).shuffle(order)
    result = [None, None]
    for side in order:
        result[side] = run(o, o.programs[side], number, cpus)
    return result


def ratio_with_interval(ratios):
    lot = random.Random(7)
    many = sorted(statistics.median(lot.choices(ratios, k=len(ratios))) for _ in range(4000))
    return f'{statistics.median(ratios):.3f}, 95 % interval [{many[100]:.3f}, {many[3899]:.3f}]'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('programs', nargs=2, metavar='PROGRAM')
    p.add_argument('--pairs', type=int, default=6)
    p.add_argument('--seconds', type=float, default=45)
    p.add_argument('--jobs', type=int, default=1)
    p.add_argument('--case', default='f32 h4 s64 d64 causal')
    o = p.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    if o.jobs > 1 and len(allowed) < 2 * o.jobs:
        sys.exit(f'local_speed: {o.jobs} pairs at once want {2 * o.jobs} CPUs, here are {len(allowed)}; give fewer --jobs')
    lanes = [allowed[2 * i:2 * i + 2] if o.jobs > 1 else None for i in range(o.jobs)]
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        def lane(i):
            return [pair(o, n + 1, lanes[i]) for n in range(i, o.pairs, o.jobs)]
        pairs = [x for some in pool.map(lane, range(o.jobs)) for x in some]
    for name, i, unit in (('candidates a minute', 0, ''), ('engine, of a core', 1, ' %')):
        old, new = [x[0][i] for x in pairs], [x[1][i] for x in pairs]
        scale = 100 if unit else 1
        print(f'{name}: old {scale * statistics.median(old):.2f}{unit}, new {scale * statistics.median(new):.2f}{unit}; '
              f'ratio {ratio_with_interval([b / a for a, b in zip(old, new) if a > 0])}')
    print(f'{len(pairs)} pairs of runs of {o.seconds:g} s, {o.jobs} at once, case {o.case}')
    return 0


sys.exit(main())
