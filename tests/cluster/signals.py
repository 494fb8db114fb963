#!/usr/bin/env python3
"""What a batch system does to a job that it ends: SIGCONT and SIGTERM to every process of it, compilers and candidates
included, then SIGKILL; or it stops them all for a while. A pilot ends its judgement or leaves without one; it never says that
the candidate failed.

    signals.py ATTUNE INITIAL_PROGRAM [SEED]       speaks TAP; a failure prints the seed that repeats its moments
"""
import json, os, random, signal, subprocess, sys, time

from processes import tree

attune, program = os.path.abspath(sys.argv[1]), sys.argv[2]
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time() * 1000) % 1000000
rng = random.Random(seed)
with open(program) as f:
    source = f.read()


def send_all(pid, *signals):
    for s in signals:
        for one in tree(pid):
            try:
                os.kill(one, s)
            except ProcessLookupError:
                pass


class Pilot:
    def __init__(self):
        self.p = subprocess.Popen([attune, 'worker', '--stdio'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  bufsize=1)
        self.get('hello')
        self.send(t='open', suite=['f32 h8 s256 d64 causal'], threads=1, tolerance=1.0, beat_s=30)
        ready = self.get('ready')
        assert 'error' not in ready, ready

    def send(self, **message):
        self.p.stdin.write(json.dumps(message) + '\n')

    def get(self, kind):
        for line in self.p.stdout:
            message = json.loads(line)
            if message['t'] == kind:
                return message
        return None

    def judge(self, number, text):
        self.send(t='text', key=f'k{number}', data=text)
        self.send(t='judge', id=number, program={'text': f'k{number}', 'flags': '', 'original': ''}, timed=True)

    def rest(self):
        """What it still says, until it is gone."""
        said = [json.loads(line) for line in self.p.stdout]
        self.p.wait(60)
        self.p.stdin.close()
        self.p.stdout.close()
        return said


def fresh():
    return f'{source}\n// {rng.random()}\n'


def verdict_of(said):
    done = [m for m in said if m['t'] == 'done']
    assert len(done) <= 1 and not any('error' in m for m in done), done
    return json.loads(done[0]['race']) if done else None


def how_long():
    p = Pilot()
    t0 = time.time()
    p.judge(1, fresh())
    v = json.loads(p.get('done')['race'])
    assert v['correct'] and v['reason'] == 'ok', v
    p.send(t='bye')
    p.rest()
    return time.time() - t0


def told_to_leave(signals):
    answered, moments = 0, 3
    for i in range(moments):
        p = Pilot()
        p.judge(1, fresh())
        time.sleep(usual * (i + rng.random()) / moments)
        send_all(p.p.pid, *signals)
        said = p.rest()
        v = verdict_of(said)
        assert v is None or v['correct'] and v['reason'] == 'ok', v
        assert p.p.returncode == 0 and any(m['t'] == 'leaving' for m in said), (p.p.returncode, said)
        answered += v is not None
    print(f'# {answered} of {moments} judgements ended before their pilot left')


def term():
    told_to_leave([signal.SIGTERM])


def cont_term():
    told_to_leave([signal.SIGCONT, signal.SIGTERM])


def resumed():
    """Suspended and resumed, as gang scheduling does: what was measured meanwhile is torn."""
    told_to_leave([signal.SIGSTOP, signal.SIGCONT])


def killed():
    for i in range(3):
        p = Pilot()
        p.judge(1, fresh())
        time.sleep(usual * (i + rng.random()) / 3)
        send_all(p.p.pid, signal.SIGKILL)
        v = verdict_of(p.rest())
        assert v is None or v['correct'], v


code = 0
usual = how_long()
tests = [term, cont_term, resumed, killed]
print(f'1..{len(tests)}\n# seed {seed}; a judgement takes {usual:.1f} s')
for i, t in enumerate(tests, 1):
    try:
        t0 = time.time()
        t()
        print(f'ok {i} - {t.__name__} # {time.time() - t0:.1f} s', flush=True)
    except Exception as e:
        code = 1
        print(f'not ok {i} - {t.__name__}\n# ' + f'{type(e).__name__}: {e}'.replace('\n', '\n# '))
        print(f'# rerun: {sys.argv[0]} {attune} {program} {seed}', flush=True)
sys.exit(code)
