#!/usr/bin/env python3
"""An evolution of 200 candidates over a real Slurm of four virtual nodes: all four killed one after another (slurmd with
what runs under it), pilots and the controller killed at random moments; every candidate is judged once and the archive is
that of the undisturbed run. Then batch pilots that meet the controller in a folder.

    slurm.py HARNESS FAKE_PILOT [SEED]       speaks TAP; exit status 77 where there is no Slurm
"""
import json, os, random, shutil, signal, subprocess, sys, tempfile, time

from processes import read, table

harness, pilot = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time() * 1000) % 1000000
rng = random.Random(seed)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)) # of a test that takes too long: it cleans up all the same
here = os.path.dirname(os.path.abspath(__file__))
top = tempfile.mkdtemp(prefix='attune-slurm-', dir='/tmp')
slurm = os.path.join(top, 'slurm')
env = {**os.environ, 'SLURM_CONF': os.path.join(slurm, 'slurm.conf'), 'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin'}
N, NODES = 200, 4


def up(*what):
    return subprocess.run([os.path.join(here, 'slurm_up.sh'), *what], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=90, env=env)


def start(folder, *options, slow_us=60000, resume=False, kind='slurm'):
    command = [harness, 'run', os.path.join(top, folder), str(N), '--window', '12', '--slots', '8', '--kind', kind,
               '--worker', pilot, '--lost', '3', '--launch', '', '--logs', os.path.join(top, 'logs'), *options]
    if resume:
        command.append('--resume')
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**env, 'FAKE_JUDGE_US': str(slow_us)})


def finish(p, seconds):
    out, err = p.communicate(timeout=seconds)
    assert p.returncode == 0, f'exit {p.returncode}: {err[-800:]}'
    return {**json.loads(out.splitlines()[-1]), 'notes': err}


def dump(folder):
    r = subprocess.run([harness, 'dump', os.path.join(top, folder)], capture_output=True, text=True)
    return r.stdout if r.returncode == 0 else None


def same(folder, reference):
    text = dump(folder)
    ids = [line.split()[1] for line in text.splitlines() if not line.startswith(('island', ' '))]
    assert len(ids) == len(set(ids)) == N + 1, f'{len(ids)} verdicts for {len(set(ids))} candidates'
    for a, b in zip(reference.splitlines(), text.splitlines()):
        assert a == b, f'first difference:\n  {a}\n  {b}'
    assert text == reference


def pilots():
    return [pid for pid, (_, c) in table().items() if c.startswith(pilot) and ours(pid)]


def ours(pid):
    return slurm in read(pid, 'environ')


def kill_node(i):
    """slurmd, its step daemons and what runs under them: as if the power went."""
    with open(os.path.join(slurm, f'slurmd-n{i}.pid')) as f:
        pids = [int(f.read())]
    t = table()
    pids += [pid for pid, (_, c) in t.items() if c.startswith('slurmstepd') and runs_on(pid, i)]
    pids += [pid for pid, (_, c) in t.items() if c.startswith(pilot) and runs_on(pid, i)]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return len(pids)


def runs_on(pid, i):
    return f'SLURMD_NODENAME=n{i}\0' in read(pid, 'environ') + '\0'


def undisturbed():
    t0 = time.time()
    counts = finish(start('reference'), 90)
    assert counts['started'] == 8, counts
    print(f'# {N} candidates over 8 slots in {time.time() - t0:.1f} s')
    return dump('reference')


def nodes_killed(reference):
    p = start('nodes', slow_us=400000)
    time.sleep(2.5)
    killed = 0
    for i in range(1, NODES + 1):
        time.sleep(rng.uniform(1.5, 3))
        assert p.poll() is None, 'the run was over before all nodes were killed'
        killed += kill_node(i)
        time.sleep(0.3)
        r = up('node', slurm, str(i)) # it comes back, as nodes do
        assert r.returncode == 0, r.stdout
    counts = finish(p, 150)
    print(f'# {killed} processes killed on {NODES} nodes, {counts["lost"]} pilots lost, {counts["asked_again"]} questions '
          'asked again')
    assert counts['lost'] >= NODES, counts
    same('nodes', reference)


def pilots_and_controller_killed(reference):
    resume, controllers, lost = False, 0, 0
    for turn in range(8):
        p = start('both', resume=resume)
        until = time.time() + rng.uniform(1.5, 3.5)
        while p.poll() is None and (time.time() < until or turn == 7):
            time.sleep(rng.uniform(0.2, 0.6))
            some = pilots()
            if some and turn < 7:
                try:
                    os.kill(rng.choice(some), signal.SIGKILL)
                    lost += 1
                except ProcessLookupError:
                    pass
        if p.poll() is not None:
            break
        p.kill()
        p.communicate()
        controllers += 1
        resume = dump('both') is not None
    assert p.wait(90) == 0, p.communicate()
    print(f'# {controllers} controllers and {lost} pilots killed')
    assert controllers >= 1 and lost >= 3, 'the test did not bite'
    same('both', reference)


def login_node_dies(reference):
    """Controller and sruns go at once, without a word: the jobs that Slurm keeps for them end all the same."""
    p = start('login', slow_us=300000)
    deadline = time.time() + 30
    while p.poll() is None and time.time() < deadline and len(pilots()) < 8:
        time.sleep(0.2) # an srun that dies before its pilot lives leaves a job that only Slurm can end (InactiveLimit)
    sruns = [pid for pid, (_, c) in table().items() if 'srun ' in c and '--job-name=attune' in c and ours(pid)]
    assert p.poll() is None and len(sruns) >= 8, f'{len(sruns)} sruns, {len(pilots())} pilots'
    p.send_signal(signal.SIGSTOP) # it must not start new ones
    for pid in sruns:
        os.kill(pid, signal.SIGKILL)
    p.kill()
    p.communicate()
    jobs = lambda: subprocess.run(['squeue', '-h', '-n', 'attune', '-t', 'RUNNING,PENDING'], capture_output=True, text=True,
                                  env=env).stdout
    deadline = time.time() + 60
    while jobs() and time.time() < deadline:
        time.sleep(0.5)
    assert not jobs(), jobs()


def batch(reference):
    """An array job of pilots, for sites that forbid long srun: they meet the controller in a folder."""
    mail, script = os.path.join(top, 'mail'), os.path.join(top, 'pilots.sbatch')
    with open(script, 'w') as f:
        f.write(f'#!/bin/sh\n#SBATCH --array=1-4\n#SBATCH -n1\n#SBATCH -o {top}/batch-%a.log\n#SBATCH --signal=TERM@20\n'
                f"FAKE_JUDGE_US=1000 exec '{pilot}' --spool '{mail}'\n")
    job = subprocess.run(['sbatch', '--parsable', script], check=True, capture_output=True, text=True, env=env).stdout.strip()
    try:
        counts = finish(start('batch', '--spool', mail, kind='spool'), 120)
        assert counts['started'] >= 4, counts
        same('batch', reference)
    finally:
        subprocess.run(['scancel', job], env=env)


def gpus_counted(reference):
    """--gres gives every pilot a device of its own, and says which."""
    out = subprocess.run(['srun', '-Q', '-n1', '-N1', '--gres=gpu:1', 'sh', '-c',
                          f"echo | '{pilot}' --stdio"], capture_output=True, text=True, env=env, timeout=60,
                         stdin=subprocess.DEVNULL).stdout
    hello = json.loads(out.splitlines()[0])
    assert hello.get('gpus') and hello['node'].startswith('n'), hello


code = 0
try:
    r = up('up', slurm, str(NODES))
    if r.returncode:
        print(r.stdout.strip() or f'skip: slurm_up.sh ended with {r.returncode}')
        sys.exit(77 if r.returncode == 77 else 1)
    tests = [nodes_killed, pilots_and_controller_killed, login_node_dies, batch, gpus_counted]
    print(f'1..{len(tests)}\n# seed {seed}', flush=True)
    reference = undisturbed()
    for i, t in enumerate(tests, 1):
        try:
            t0 = time.time()
            t(reference)
            print(f'ok {i} - {t.__name__} # {time.time() - t0:.1f} s', flush=True)
        except Exception as e:
            code = 1
            print(f'not ok {i} - {t.__name__}', flush=True)
            for line in f'{type(e).__name__}: {e}'.splitlines():
                print(f'# {line}')
            print(f'# rerun: {sys.argv[0]} {harness} {pilot} {seed}', flush=True)
finally:
    if os.path.exists(os.path.join(slurm, 'slurm.conf')):
        subprocess.run(['scancel', '-u', str(os.getuid())], env=env, stderr=subprocess.DEVNULL)
        up('down', slurm)
    shutil.rmtree(top, ignore_errors=True)
sys.exit(code)
