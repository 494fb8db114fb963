#!/usr/bin/env python3
"""Runs over real pilots while pilots and controllers are killed at random moments: every candidate is judged once, and the
archive is that of the run that nobody disturbed. The judge is synthetic; pilots, links and engine are the real ones.

    kills.py HARNESS FAKE_PILOT [SEED]      speaks TAP; a failure prints the seed that repeats its moments
"""
import json, os, random, shutil, signal, subprocess, sys, tempfile, threading, time, traceback

from processes import children, table

harness, pilot = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time() * 1000) % 1000000
rng = random.Random(seed)
top = tempfile.mkdtemp(prefix='attune-kills-')
N, WINDOW = 200, 12
exec_pilot = f"exec '{pilot}' --stdio"


def start(folder, *options, n=N, env=None, launch=exec_pilot, resume=False):
    command = [harness, 'run', os.path.join(top, folder), str(n), '--window', str(WINDOW), '--launch', launch, *options]
    if resume:
        command.append('--resume')
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})


def finish(p, seconds=60):
    out, err = p.communicate(timeout=seconds)
    assert p.returncode == 0, f'exit {p.returncode}: {err[-600:]}'
    counts = json.loads(out.splitlines()[-1])
    counts['notes'] = err
    return counts


def dump(folder):
    return subprocess.run([harness, 'dump', os.path.join(top, folder)], check=True, capture_output=True, text=True).stdout


def judged_once(text):
    ids = [line.split()[1] for line in text.splitlines() if not line.startswith(('island', ' '))]
    assert len(ids) == len(set(ids)) and len(ids) > 0, 'a candidate was judged twice'
    return len(ids)


def same(folder, reference):
    text = dump(folder)
    judged_once(text)
    if text != reference:
        for a, b in zip(reference.splitlines(), text.splitlines()):
            assert a == b, f'first difference:\n  {a}\n  {b}'
        raise AssertionError(f'{len(reference.splitlines())} lines, {len(text.splitlines())} lines')


def disturb(p, signals, pause, most=30):
    """Sends one of `signals` to a random pilot again and again, until the run ends."""
    sent = 0
    while p.poll() is None and sent < most:
        time.sleep(rng.uniform(*pause))
        pilots = children(p.pid)
        if pilots and p.poll() is None:
            try:
                os.kill(rng.choice(pilots), rng.choice(signals))
                sent += 1
            except ProcessLookupError:
                pass
    return sent


slow = {'FAKE_JUDGE_US': '15000'}


def reference_run():
    finish(start('reference', '--slots', '1'))
    text = dump('reference')
    assert judged_once(text) == N + 1
    for kind in 'screen', 'race', 'confirm':
        assert f'  {kind} case 7 against' in text, f'no pairs of a {kind} came over the line'
    assert text.count('  evidence {') > N / 2, 'no evidence came over the line'
    return text


def slots(reference):
    finish(start('slots', '--slots', '7', env=slow))
    same('slots', reference)


def pilots_killed(reference):
    p = start('killed', '--slots', '4', env=slow)
    sent = disturb(p, [signal.SIGKILL], (0.02, 0.2))
    counts = finish(p)
    assert sent >= 3 and counts['lost'] >= 3, f'{sent} kills, {counts["lost"]} lost: the test did not bite'
    same('killed', reference)


def pilots_terminated(reference):
    p = start('terminated', '--slots', '4', env=slow)
    sent = disturb(p, [signal.SIGTERM], (0.05, 0.2))
    counts = finish(p)
    assert sent >= 3 and counts['started'] > 4, 'the test did not bite'
    # A question may cross a goodbye and is asked again; whatever was answered before it counts.
    same('terminated', reference)


def pilots_silent(reference):
    p = start('silent', '--slots', '4', '--lost', '0.8', env=slow)
    sent = disturb(p, [signal.SIGSTOP], (0.3, 0.5), most=4)
    counts = finish(p)
    assert counts['lost'] >= 1 and 'fell silent' in counts['notes'], f'{sent} stopped, {counts}'
    same('silent', reference)


def broken_lines(reference):
    counts = finish(start('broken', '--slots', '3', env={'FAKE_LOSE': '23'}))
    assert counts['asked_again'] >= 3, 'the test did not bite'
    same('broken', reference)


def controllers_killed(reference):
    kills, resume = 0, False
    while True:
        p = start('controller', '--slots', '4', env=slow, resume=resume)
        try:
            p.communicate(timeout=rng.uniform(0.1, 0.5) if kills < 12 else 60)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            kills += 1
            resume = os.path.exists(os.path.join(top, 'controller', 'run.db')) and dump_or_none('controller') is not None
            continue
        assert p.returncode == 0
        break
    assert kills >= 3, 'the test did not bite'
    same('controller', reference)


def dump_or_none(folder):
    r = subprocess.run([harness, 'dump', os.path.join(top, folder)], capture_output=True, text=True)
    return r.stdout if r.returncode == 0 else None


def both_killed(reference):
    resume = False
    for _ in range(20):
        p = start('both', '--slots', '4', env=slow, resume=resume)
        t = threading.Thread(target=disturb, args=(p, [signal.SIGKILL], (0.05, 0.3)))
        t.start()
        try:
            p.communicate(timeout=rng.uniform(0.4, 1.2))
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
        t.join()
        if p.returncode == 0:
            break
        resume = dump_or_none('both') is not None
    else:
        finish(start('both', '--slots', '4', resume=True))
    same('both', reference)


def spool(reference):
    """Pilots that somebody else started, found in a folder; the controller is killed and the next one meets them again."""
    folder = os.path.join(top, 'mail')
    pilots = [subprocess.Popen([pilot, '--spool', folder], env={**os.environ, **slow}) for _ in range(3)]
    try:
        p = start('spool', '--kind', 'spool', '--slots', '3', '--spool', folder)
        time.sleep(rng.uniform(2.5, 4))
        pilots.pop().kill()
        p.kill()
        p.communicate()
        before = dump_or_none('spool')
        counts = finish(start('spool', '--kind', 'spool', '--slots', '3', '--spool', folder, resume=before is not None))
        assert counts['started'] >= 2, counts
        same('spool', reference)
    finally:
        for q in pilots:
            q.terminate()
        for q in pilots:
            q.wait()
    left = [f for f in os.listdir(folder) if f.endswith('.out')]
    assert len(left) <= 1, f'pilots that left leave nothing: {left}'


def noisy_node(reference):
    launch = f"SLURMD_NODENAME=n$((ATTUNE_SLOT % 2)) {exec_pilot}"
    counts = finish(start('noisy', '--slots', '4', launch=launch, env={**slow, 'FAKE_NOISY': 'n1'}))
    assert 'n1 is noisy' in counts['notes'], counts['notes']
    assert counts['notes'].count('n1 is noisy') == 1 and 'n0 is noisy' not in counts['notes']
    same('noisy', reference)


def classes(reference):
    """Two kinds of machine: two runs, two archives, one idea."""
    launch = f"FAKE_ISA=avx$((ATTUNE_SLOT % 2 ? 2 : 512)) {exec_pilot}"
    counts = finish(start('classes', '--slots', '4', launch=launch, env=slow))
    assert counts['classes'] == 2, counts
    others = os.listdir(os.path.join(top, 'classes', 'machines'))
    assert len(others) == 1 and ('avx2' in others[0] or 'avx512' in others[0]), others
    for folder in 'classes', os.path.join('classes', 'machines', others[0]):
        assert judged_once(dump(folder)) == N + 1
        assert os.path.exists(os.path.join(top, folder, 'best', 'best_program.c'))
    import sqlite3
    immigrants, isas = 0, set()
    for folder in 'classes', os.path.join('classes', 'machines', others[0]):
        db = sqlite3.connect(os.path.join(top, folder, 'run.db'))
        immigrants += db.execute("select count(*) from proposal where proposer = 'immigrant'").fetchone()[0]
        isas.add(db.execute("select value from meta where key = 'isa'").fetchone()[0])
        # Whoever was raced was raced against somebody of this very archive, who was judged before.
        strange = db.execute('select count(*) from program a where incumbent > 0 and not exists '
                             '(select 1 from program b where b.id = a.incumbent and b.seq < a.seq)').fetchone()[0]
        assert strange == 0, f'{strange} programs of {folder} were raced against a stranger'
        db.close()
    assert immigrants >= 1, 'no champion travelled'
    assert isas == {'avx2', 'avx512'}, isas
    # Resumed with the kinds coming in the other order: each goes on where it was. Whoever comes first takes 2 s, so that
    # the other is there before the end.
    launch = f"sleep 0.$((ATTUNE_SLOT % 2 ? 0 : 3)); FAKE_ISA=avx$((ATTUNE_SLOT % 2 ? 2 : 512)) {exec_pilot}"
    counts = finish(start('classes', '--slots', '4', n=N + 40, launch=launch, env={'FAKE_JUDGE_US': '100000'},
                          resume=True))
    for folder in 'classes', os.path.join('classes', 'machines', others[0]):
        n = judged_once(dump(folder))
        assert n == N + 41, f'{n} programs in {folder}, not {N + 41}: {counts}'


def incumbent_fails(reference):
    """The best program turns out to fail beside candidates: the next best takes its place, and a resumed run knows it."""
    for name, env in ('beside', {}), ('alone', {'FAKE_FAILS_ALONE': '1'}):
        counts = finish(start(name, '--slots', '2', n=N // 2, env={'FAKE_FAILS': '30', **env}))
        assert 'demoted: ' in counts['notes'], counts
        counts = finish(start(name, '--slots', '2', resume=True))
        assert judged_once(dump(name)) == N + 1, counts


def nobody(reference):
    p = start('nobody', '--slots', '2', launch='echo no such partition >&2; exit 1', n=5)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 1 and 'no pilot came up' in err, err


def left_over():
    parents = 1, os.getpid()
    return [pid for pid, (parent, command) in table().items() if parent in parents and command.startswith(pilot)]


tests = [slots, pilots_killed, pilots_terminated, pilots_silent, broken_lines, controllers_killed, both_killed, spool,
         noisy_node, classes, incumbent_fails, nobody]
only = os.environ.get('KILLS_ONLY')
failed = 0
print(f'1..{len(tests)}\n# seed {seed}')
reference = reference_run()
for i, t in enumerate(tests, 1):
    if only and t.__name__ != only:
        print(f'ok {i} - {t.__name__} # SKIP not asked for', flush=True)
        continue
    try:
        t0 = time.time()
        t(reference)
        print(f'ok {i} - {t.__name__} # {time.time() - t0:.1f} s', flush=True)
    except Exception:
        failed += 1
        print(f'not ok {i} - {t.__name__}', flush=True)
        for line in traceback.format_exc().splitlines():
            print(f'# {line}')
        print(f'# rerun: KILLS_ONLY={t.__name__} {sys.argv[0]} {harness} {pilot} {seed}', flush=True)
deadline = time.time() + 8
while left_over() and time.time() < deadline:
    time.sleep(0.1)
shutil.rmtree(top, ignore_errors=True)
sys.exit(1 if failed else 0)
