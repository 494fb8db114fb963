#!/usr/bin/env python3
"""An evolution with the real judge over a real Slurm of four virtual nodes, which are all killed in turn (slurmd and
what runs under it), and a pilot and the controller as well, at random moments. Not part of the suite: it takes minutes.

    tests/cluster/long.py DIR [--attune build/app/attune] [-i 200] [--case 'f32 h1 s64 d64'] [--seed N] [--seconds S]
                          [--kinds]

Three runs below DIR, and what is asked of them:
  killed     N candidates while nodes, pilot and controller die. In run.db: N candidates, each with one verdict, nothing
             twice.
  answers    the same run with nobody killed, its pilot giving the answers that stand in killed/run.db: the same
             proposals in the same order, the same opponents, verdicts, incumbents and cells. So the deaths changed
             nothing but the time.
  anew       all sources of `killed` judged once more over the same Slurm with nobody killed (--proposer replay). Right
             or wrong, and why, must be the same for each; how fast they are is measured anew, so races and cells may
             differ.

With --kinds, instead, one run over two kinds of machine: two nodes where gcc builds and two that have only clang, N
candidates each, from a flash_qvec.c with poor knobs. Each kind must have its own archive, incumbents and portfolio,
race against its own alone, and take in the other's champion as a candidate that it builds and races itself.

With --seconds it ends after that time, exit status 75, and the same command goes on from there; the controller is
killed for it, which the run must survive too."""

import argparse, collections, json, os, random, re, shutil, signal, sqlite3, subprocess, sys, time

from processes import read, table

here = os.path.dirname(os.path.abspath(__file__))
NODES = 4
TIMED = 'slower', 'not_better', 'unconfirmed', 'ok'  # reasons that say how fast, not whether right


class Later(Exception):
    pass


# ---- the pilot of `answers`: a real worker says what this machine is, the database of `killed` says the rest ----


def recorded_pilot(attune, database):
    db = sqlite3.connect(f'file:{database}?mode=ro', uri=True)
    db.row_factory = sqlite3.Row
    known = {
        (r['sha'], r['flags']): r
        for r in db.execute(
            'select p.*, sha, flags, (select sha from proposal where id = p.incumbent) as against '
            'from program p join proposal using (id)'
        )
    }
    worker = subprocess.Popen([attune, 'worker', '--stdio'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(**o):
        print(json.dumps(o), flush=True)

    def of_worker(kind):
        for line in worker.stdout:
            if json.loads(line)['t'] == kind:
                return print(line, end='', flush=True)

    of_worker('hello')
    for line in sys.stdin:
        q = json.loads(line)
        row = known.get((q['program']['text'], q['program']['flags'])) if 'program' in q else None
        failed = row and row['stage'] in ('gate', 'build')
        if q['t'] == 'open':
            print(line, end='', file=worker.stdin, flush=True)
            of_worker('ready')
            worker.kill()
        elif q['t'] == 'beat':
            say(t='beat')
        elif q['t'] == 'build':
            say(
                t='done',
                id=q['id'],
                built=(
                    {
                        'reason': row['reason'] if failed else 'ok',
                        'stage': row['stage'] if failed else 'build',
                        'object': row['object_hash'],
                        'seconds': 0.1,
                        'evidence': row['evidence'] if failed else '',
                        'compiler': row['compiler'],
                        'flags': q['program']['flags'],
                    }
                    if row
                    else {
                        'reason': 'compile',
                        'stage': 'build',
                        'object': '',
                        'seconds': 0.1,
                        'evidence': 'not in the record',
                        'compiler': '',
                        'flags': '',
                    }
                ),
            )
        elif q['t'] == 'judge':
            answer = {'race': row['verdict'], 'seconds': 0.1}
            # It was raced against earlier incumbents before, and won, else it had not met this one.
            won = 'incumbent' in q and q['incumbent']['text'] != row['against']
            confirm = row['confirm']
            if won:
                confirm = json.dumps(
                    {
                        **json.loads(confirm or row['verdict']),
                        'reason': 'ok',
                        'correct': True,
                        'promoted': True,
                        'suite_low': 1e-3,
                    }
                )
            say(t='done', id=q['id'], **answer, **({'confirm': confirm} if confirm else {}))
        elif q['t'] == 'bye':
            return
        elif 'id' in q:
            say(t='done', id=q['id'], error='not in the record', status=1)


# ---- the cluster ----


class Slurm:
    def __init__(self, top):
        self.dir = os.path.join(top, 'slurm')
        self.env = {
            **os.environ,
            'SLURM_CONF': os.path.join(self.dir, 'slurm.conf'),
            'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin',
            'ATTUNE_LOCK': os.path.join(top, 'timing.lock'),
        }  # the nodes share a machine, so they share its timing lock

    def script(self, *what):
        r = subprocess.run(
            [os.path.join(here, 'slurm_up.sh'), *what],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=90,
            env=self.env,
        )
        if r.returncode:
            print(r.stdout.strip() or f'slurm_up.sh ended with {r.returncode}')
            sys.exit(r.returncode)

    def __enter__(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        try:
            self.script('up', self.dir, str(NODES))
        except SystemExit:
            self.sweep()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(['scancel', '-u', str(os.getuid())], env=self.env, stderr=subprocess.DEVNULL)
        self.script('down', self.dir)
        self.sweep()

    def sweep(self):
        """A slurmd waits for its steps before it ends: nothing of ours stays behind."""
        mine = 'SLURM_CONF=' + self.env['SLURM_CONF']
        daemons = 'slurmd', 'slurmctld', 'slurmstepd', 'munged'
        running = [pid for pid, (_, c) in table().items() if c.startswith(daemons)]
        kill(pid for pid in running if mine in read(pid, 'environ').split('\0'))

    def on_node(self, i):
        """slurmd, its step daemons and all that runs below them, workers and compilers included."""
        with open(os.path.join(self.dir, f'slurmd-n{i}.pid')) as f:
            pids = {int(f.read())}
        t = table()
        pids |= {
            pid
            for pid, (_, c) in t.items()
            if f'SLURMD_NODENAME=n{i}\0' in read(pid, 'environ') + '\0' and self.dir in read(pid, 'environ')
        }
        grown = 0
        while grown != len(pids):
            grown = len(pids)
            pids |= {pid for pid, (parent, _) in t.items() if parent in pids}
        return pids

    def pilots(self):
        """pid -> node"""
        found = {}
        for pid, (_, c) in table().items():
            node = (
                re.search('SLURMD_NODENAME=(n[0-9]+)', read(pid, 'environ'))
                if c.rstrip().endswith('worker --stdio')
                else None
            )
            if node and not c.startswith(('srun', 'slurmstepd')) and self.dir in read(pid, 'environ'):
                found[pid] = node.group(1)
        return found

    def kill_node(self, i):
        if f'n{i}' not in self.pilots().values():
            return None  # one that has nothing to lose is no test: a moment later
        pids = self.on_node(i)
        kill(pids)
        time.sleep(0.3)
        self.script('node', self.dir, str(i))  # it comes back, as nodes do
        return f'n{i}, {len(pids)} processes'

    def kill_pilot(self, rng):
        pilots = self.pilots()
        if not pilots:
            return None
        pid = rng.choice(sorted(pilots))
        kill([pid])
        return f'pilot {pid} on {pilots[pid]}'


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


# ---- runs ----


def query(folder, sql):
    try:
        db = sqlite3.connect(f'file:{folder}/run.db?mode=ro', uri=True, timeout=10)
        rows = db.execute(sql).fetchall()
        db.close()
        return rows
    except sqlite3.OperationalError:
        return []


def judged(folder):
    rows = query(folder, "select count(*) from program join proposal using (id) where proposer != 'start'")
    return rows[0][0] if rows else 0


class Run:
    """`attune evolve` into a folder, started again with --resume until its end. The state of a piece is on disk."""

    def __init__(self, o, name, slurm, *more):
        self.o, self.name, self.slurm, self.more = o, name, slurm, more
        self.folder = os.path.join(o.dir, name)
        self.path = self.folder + '.json'
        self.state = {'seconds': 0, 'controllers': 0, 'kills': [], 'done': False}
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.state = json.load(f)

    def save(self):
        with open(self.path + '.new', 'w') as f:
            json.dump(self.state, f)
        os.replace(self.path + '.new', self.path)

    def start(self):
        o = self.o
        words = [
            o.attune,
            'evolve',
            '--json',
            '-o',
            self.folder,
            '-i',
            str(o.iterations),
            '--case',
            o.case,
            '--seed',
            str(o.seed),
            '--slots',
            '4',
            '--set',
            'evolve.control_races=0',
            '--set',
            'evolve.final_seconds=5',
            '--set',
            'executor.window=9',
            *self.more,
        ]
        if query(self.folder, "select 1 from proposal"):
            words.append('--resume')
        self.log = open(self.folder + '.log', 'a')
        self.p = subprocess.Popen(words, stdout=self.log, stderr=self.log, env=self.slurm.env)
        self.state['controllers'] += 1

    def go(self, plan=()):
        """plan: [(judged, what, function)], in order; each is done once, when that many have their verdict."""
        if self.state['done']:
            return
        self.start()
        began = time.time()
        try:
            while self.p.poll() is None:
                time.sleep(0.1)
                done = len(self.state['kills'])
                n = judged(self.folder)
                if done < len(plan) and n >= plan[done][0]:
                    time.sleep(
                        random.Random(self.o.seed + done).uniform(0, 2)
                    )  # at no particular moment of a judgement
                    said = plan[done][2](self)
                    if said:
                        self.state['kills'].append(f'after {n}: {plan[done][1]} ({said})')
                        print(f'# {self.state["kills"][-1]}', flush=True)
                        self.save()
                if time.time() > self.o.deadline:
                    self.p.kill()
                    raise Later(f'{self.name}: {judged(self.folder)} of {self.o.iterations} judged')
            assert self.p.returncode == 0, f'{self.name}: exit {self.p.returncode}, see {self.folder}.log'
            self.state['done'] = True
        finally:
            self.p.kill()
            self.p.wait()
            self.log.close()
            self.state['seconds'] += time.time() - began
            self.save()

    def kill_controller(self):
        self.p.kill()
        self.p.wait()
        self.log.close()
        self.start()
        return 'and --resume'


def plan_of(o, slurm):
    rng = random.Random(o.seed)
    what = [(f'node n{i}', lambda run, i=i: slurm.kill_node(i)) for i in range(1, NODES + 1)]
    what += [('pilot', lambda run: slurm.kill_pilot(rng)), ('controller', Run.kill_controller)]
    rng.shuffle(what)
    step = o.iterations * 0.8 / len(what)
    return [(int(o.iterations * 0.08 + step * (k + rng.uniform(0, 0.9))), *w) for k, w in enumerate(what)]


# ---- what is asked of them ----


def judged_once(folder, n):
    new = query(
        folder,
        "select count(*), count(distinct id), count(distinct seq) from program join proposal using (id) "
        "where proposer != 'start'",
    )[0]
    assert new == (n, n, n), f'{folder}: verdicts, candidates, places in order are {new}, not {n}'
    proposals = query(folder, "select count(*), (select count(*) from program) from proposal")[0]
    assert proposals[0] == proposals[1], f'{folder}: {proposals[0]} proposals, {proposals[1]} verdicts'
    twice = query(
        folder,
        "select program, kind, case_index from race where kind in ('screen','race','confirm') "
        "group by program, against, kind, case_index having count(*) > 1",
    )
    assert not twice, f'{folder}: stored twice: {twice[:5]}'
    twice = query(
        folder,
        "select sha, flags from program join proposal using (id) where same_as is null or same_as = 0 "
        "group by sha, flags having count(*) > 1",
    )
    assert not twice, f'{folder}: one source was judged twice: {twice[:5]}'
    assert not query(
        folder, "select 1 from measurement where kind = 'demotion'"
    ), f'{folder}: a program that had been right failed later'


def run_as_text(folder):
    lines = [
        ' '.join(map(str, r))
        for r in query(
            folder,
            "select seq, id, proposer, origin, island, parent1, parent2, sha, flags, incumbent, same_as, state, stage, "
            "reason, promoted, "
            "score, score_low, cell from program join proposal using (id) order by seq",
        )
    ]
    lines += [' '.join(map(str, r)) for r in query(folder, 'select seq, island, key, program from cell order by n')]
    lines += [
        ' '.join(map(str, r))
        for r in query(folder, 'select seq, from_island, to_island, program from migration order by n')
    ]
    return lines


def same_run(a, b):
    x, y = run_as_text(a), run_as_text(b)
    for i, (p, q) in enumerate(zip(x, y)):
        assert p == q, f'line {i + 1} of {len(x)} differs:\n  {p}\n  {q}'
    assert len(x) == len(y), f'{len(x)} lines, {len(y)} lines'
    return len(x)


def same_words(a, b):
    """Right or wrong, and why, by source; of right ones only that."""

    def words(folder):
        return {
            (sha, flags): 'right' if correct else f'{stage} {reason}'
            for sha, flags, correct, stage, reason in query(
                folder,
                'select sha, flags, correct, stage, reason from program join proposal using (id) order by seq desc',
            )
        }

    x, y = words(a), words(b)
    assert set(x) == set(y), f'{len(set(x) ^ set(y))} sources stand in one run only'
    other = {k: (x[k], y[k]) for k in x if x[k] != y[k]}
    assert not other, f'{len(other)} verdicts differ: {list(other.values())[:5]}'
    return collections.Counter(x.values())


# ---- two kinds ----


def kinds(o, slurm):
    only_clang, worker, initial = (os.path.join(o.dir, name) for name in ('only-clang', 'worker.sh', 'poor.c'))
    clang = shutil.which('clang')
    if not clang or not shutil.which('gcc'):
        print('skip: two kinds want gcc and clang')
        sys.exit(77)
    os.makedirs(only_clang, exist_ok=True)
    if not os.path.lexists(os.path.join(only_clang, 'clang')):
        os.symlink(clang, os.path.join(only_clang, 'clang'))
    with open(worker, 'w') as f:
        f.write(f'#!/bin/sh\ncase $SLURMD_NODENAME in n3|n4) PATH={only_clang} ;; esac\nexec {o.attune} "$@"\n')
    os.chmod(worker, 0o755)
    with open(os.path.join(here, '../../src/kernel/flash_qvec.c')) as f:
        text = f.read()
    for knob, value in ('QV', 6), ('KU', 2), ('PU', 2), ('BK', 16), ('PACK_MIN', 99), ('EXP_DEG', 6):
        text = re.sub(rf'#define {knob} +[0-9]+', f'#define {knob} {value}', text)
    with open(initial, 'w') as f:
        f.write(text)
    run = Run(
        o,
        'kinds',
        slurm,
        '--executor',
        'slurm',
        '--set',
        'executor.options=--exclusive',
        '--set',
        f'executor.worker={worker}',
        '--set',
        'evolve.shipped=false',
        initial,
    )
    run.go()
    others = os.listdir(os.path.join(run.folder, 'machines'))
    assert len(others) == 1, others
    folders = [run.folder, os.path.join(run.folder, 'machines', others[0])]
    compilers, champions, met = [], [], []
    for folder in folders:
        judged_once(folder, o.iterations)
        ((compiler,),) = query(folder, "select value from meta where key = 'identity.compiler'")
        built_by = query(folder, "select distinct compiler from program where same_as is null or same_as = 0")
        assert built_by == [(compiler,)], f'{folder}: built by {built_by}, not {compiler} alone'
        assert not query(
            folder,
            'select 1 from program a where incumbent > 0 and not exists (select 1 from program b '
            "where b.id = a.incumbent and b.seq < a.seq and (b.promoted or b.id = 1))",
        ), f'{folder}: raced against a stranger'
        assert not query(folder, 'select 1 from race where against not in (select id from program)')
        with open(os.path.join(folder, 'portfolio', 'dispatch.txt')) as f:
            assert compiler in f.read(), f'{folder}: the portfolio is not that of {compiler}'
        compilers.append(compiler)
        champions.append(
            {
                sha
                for sha, in query(
                    folder,
                    "select sha from program join proposal using (id) where promoted and proposer != 'start' "
                    "and proposer != 'immigrant'",
                )
            }
        )
        met.append(
            {
                r[0]: r[1:]
                for r in query(
                    folder,
                    "select sha, stage, reason, incumbent, (select count(*) from race where program = p.id) "
                    "from program p join proposal using (id) where proposer = 'immigrant'",
                )
            }
        )
    assert len(set(compilers)) == 2, compilers
    for i in 0, 1:
        assert (
            set(met[i]) <= champions[1 - i]
        ), f'an immigrant of {compilers[i]} was no champion of {compilers[1 - i]}'
        print(
            f'{compilers[i]}: {o.iterations} candidates, {len(champions[i])} times a new best, '
            f'best {best(folders[i]):.2f}x; immigrants: '
            + ('; '.join(f'{m[0]} {m[1]} against #{m[2]}, {m[3]} races' for m in met[i].values()) or 'none')
        )
    assert met[0] or met[1], 'no champion travelled'
    raced = [m for side in met for m in side.values() if m[3] > 0]
    assert raced, 'no immigrant was raced'


def best(folder):
    return query(folder, "select exp(max(score)) from program where promoted or id = 1")[0][0]


def main():
    if len(sys.argv) == 4 and sys.argv[1] == 'pilot':
        return recorded_pilot(*sys.argv[2:])
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('dir')
    p.add_argument('--attune', default=os.path.join(here, '../../build/app/attune'))
    p.add_argument('-i', '--iterations', type=int, default=200)
    p.add_argument('--case', default='f32 h1 s64 d64')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--seconds', type=float, default=float('inf'))
    p.add_argument('--kinds', action='store_true')
    o = p.parse_args()
    o.dir, o.attune, o.deadline = os.path.abspath(o.dir), os.path.abspath(o.attune), time.time() + o.seconds
    os.makedirs(o.dir, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    over_slurm = '--executor', 'slurm', '--set', 'executor.options=--exclusive'
    try:
        with Slurm(o.dir) as slurm:
            if o.kinds:
                return kinds(o, slurm)
            killed = Run(o, 'killed', slurm, *over_slurm)
            plan = plan_of(o, slurm)
            killed.go(plan)
            answers = Run(
                o,
                'answers',
                slurm,
                '--executor',
                'exec',
                '--set',
                f"executor.options=exec '{sys.executable}' '{__file__}' pilot "
                f"'{o.attune}' '{killed.folder}/run.db'",
            )
            answers.go()
            anew = Run(o, 'anew', slurm, *over_slurm, '--proposer', 'replay', '--set', f'replay.run={killed.folder}')
            anew.go()
    except Later as e:
        print(f'{e}; the same command goes on')
        sys.exit(75)
    assert len(killed.state['kills']) == len(plan), f'only {killed.state["kills"]} before the run was over'
    judged_once(killed.folder, o.iterations)
    print(
        f'killed: {o.iterations} candidates, each with one verdict, nothing stored twice; '
            f'{killed.state["controllers"]} controllers in '
        f'{killed.state["seconds"]:.0f} s; best {best(killed.folder):.2f}x'
    )
    for text in killed.state['kills']:
        print(f'  {text}')
    judged_once(answers.folder, o.iterations)
    print(
        f'answers: the same run line by line with nobody killed '
            f'({same_run(killed.folder, answers.folder)} lines of programs, cells, migrations)'
    )
    judged_once(anew.folder, o.iterations)
    words = same_words(killed.folder, anew.folder)
    print(
        f'anew: the same words for each source: {", ".join(f"{n} {w}" for w, n in words.most_common())}; '
        f'{anew.state["seconds"]:.0f} s; best {best(anew.folder):.2f}x'
    )


main()
