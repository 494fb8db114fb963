"""Is a run slowed by those who watch it? Candidates a minute of one run with and without ten watchers, in turns.

    python3 tests/serve/watchers.py ATTUNE [--pieces N] [--seconds S] [--watchers W] [--window S] [--record FILE]

A piece is a run of its own (--seconds in all), served by `attune serve`. Once it evolves, windows with and without watchers take
turns, the order within each pair drawn by lot. A watcher does what the page does: it holds the event stream and fetches the run
and the new programs after each verdict. Candidates are counted in parts (a verdict that took 2 s, half of it in the window, is
half a candidate). Printed: the ratio of rates with its 95 % interval (bootstrap over pairs), and what the server took of a core.
--record keeps the pairs in a file and adds those of earlier calls, so that a long measurement can be made in short pieces."""
import argparse
import http.client
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from processes import cpu_seconds  # noqa: E402


class Watcher(threading.Thread):
    def __init__(self, port, cookie, before):
        super().__init__(daemon=True)
        self.port, self.cookie, self.over, self.fetched, self.events = port, cookie, False, 0, 0
        self.last, self.after = (before.last, before.after) if before else (0, 0)  # it goes on, as a page does
        self.connection = None

    def get(self, connection, path):
        connection.request('GET', path, headers={'Cookie': self.cookie})
        return connection.getresponse().read()

    def news(self, connection):
        self.get(connection, '/api/run?run=0')
        rows = json.loads(self.get(connection, f'/api/programs?run=0&after={self.last}'))['rows']
        self.last = rows[-1][0] if rows else self.last
        self.fetched += 1

    def run(self):
        try:
            other = http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
            self.news(other)
            self.connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
            self.connection.request('GET', f'/api/events?run=0&after={self.after}', headers={'Cookie': self.cookie})
            stream = self.connection.getresponse()
            while not self.over:
                line = stream.readline()
                if not line:
                    break
                if line.startswith(b'id: '):
                    self.events += 1
                    self.after = int(line[4:])
                    if b'"judged"' in stream.readline():
                        self.news(other)
            other.close()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # the stream was cut, by us

    def stop(self):
        self.over = True
        try:
            self.connection.sock.shutdown(2)
        except (OSError, AttributeError):
            pass


def candidates(times, start, end):
    """Verdicts between start and end, each spread evenly over the time since the one before."""
    n = 0.0
    for a, b in zip(times, times[1:]):
        if b > a:
            n += max(0.0, min(b, end) - max(a, start)) / (b - a)
    return n


def piece(o, seed):
    folder = tempfile.mkdtemp(prefix='attune-watchers-')
    run = subprocess.Popen([o.attune, 'evolve', '--json', '--minutes', str(o.seconds / 60), '--seed', str(seed), '-o', folder, '--case', o.case,
                            '--set', 'evolve.final_seconds=0', '--set', 'evolve.control_races=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    verdicts, going, offset = [], threading.Event(), [float('inf')]

    def read():
        for line in run.stdout:
            now = time.monotonic()
            try:
                e = json.loads(line)
            except ValueError:
                continue
            if 'event' not in e:
                continue
            offset[0] = min(offset[0], now - e['t'])
            if e['event'] == 'judged':
                verdicts.append(e['t'])
            if e['event'] == 'phase' and e.get('text') == 'evolving':
                going.set()
    threading.Thread(target=read, daemon=True).start()
    windows, server, lot, last = [], None, random.Random(seed), [None] * o.watchers
    try:
        if not going.wait(o.seconds):
            return []
        server = subprocess.Popen([o.attune, 'serve', '--quiet', folder], stdout=subprocess.PIPE, text=True)
        url = server.stdout.readline().strip()
        port, token = int(url.split(':')[2].split('/')[0]), url.split('token=')[1]
        while True:
            order = [True, False]
            lot.shuffle(order)
            if offset[0] + o.seconds - time.monotonic() < 2 * o.window + 1:
                break
            for watched in order:
                began, cpu, own = time.monotonic(), cpu_seconds(server.pid), time.process_time()
                crowd = [Watcher(port, f'attune_{port}={token}', before) for before in last if watched]
                last = crowd or last
                for w in crowd:
                    w.start()
                time.sleep(o.window)
                for w in crowd:
                    w.stop()
                end = time.monotonic()
                windows.append((watched, began, end, (cpu_seconds(server.pid) - cpu) / (end - began), sum(w.events for w in crowd),
                                (time.process_time() - own) / (end - began)))
        run.wait(60)
    finally:
        run.kill()
        if server:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    times = [t + offset[0] for t in verdicts]
    pairs = []
    for a, b in zip(windows[::2], windows[1::2]):
        on, off = (a, b) if a[0] else (b, a)
        if times and max(on[2], off[2]) <= times[-1]:  # the last verdict may be long before the end
            pairs.append([candidates(times, on[1], on[2]) / (on[2] - on[1]) * 60, candidates(times, off[1], off[2]) / (off[2] - off[1]) * 60, on[3], on[4], on[5]])
    return pairs


def main():
    p = argparse.ArgumentParser()
    p.add_argument('attune')
    p.add_argument('--pieces', type=int, default=1)
    p.add_argument('--seconds', type=float, default=45)
    p.add_argument('--window', type=float, default=3)
    p.add_argument('--watchers', type=int, default=10)
    p.add_argument('--case', default='f32 h4 s64 d64 causal')
    p.add_argument('--record')
    o = p.parse_args()
    pairs = []
    if o.record and os.path.exists(o.record):
        with open(o.record) as f:
            pairs = json.load(f)
    for _ in range(o.pieces):
        pairs += piece(o, len(pairs) + 1)
    if o.record:
        with open(o.record, 'w') as f:
            json.dump(pairs, f)
    if len(pairs) < 4:
        print(f'{len(pairs)} pairs of windows: too few to say anything')
        return 1

    def ratio(sample):
        return sum(x[0] for x in sample) / max(1e-9, sum(x[1] for x in sample))
    lot, many = random.Random(7), []
    for _ in range(4000):
        many.append(ratio([lot.choice(pairs) for _ in pairs]))
    many.sort()
    on, off = sum(x[0] for x in pairs) / len(pairs), sum(x[1] for x in pairs) / len(pairs)
    print(f'{len(pairs)} pairs of windows of {o.window:g} s, {o.watchers} watchers, {sum(x[3] for x in pairs)} events delivered')
    print(f'candidates a minute: {on:.1f} watched, {off:.1f} not')
    print(f'ratio {ratio(pairs):.3f}, 95 % interval [{many[100]:.3f}, {many[3899]:.3f}]')
    print(f'while watched, of a core: the server {100 * sum(x[2] for x in pairs) / len(pairs):.2f} %, the watchers themselves '
          f'{100 * sum(x[4] for x in pairs) / len(pairs):.2f} %')
    return 0 if not math.isnan(on) else 1


sys.exit(main())
