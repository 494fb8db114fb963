#!/usr/bin/env python3
"""The ssh executor over a real sshd on a high port of this machine, with keys of its own; two hosts, one of them gone in the
middle. Where no sshd is installed, over a stand-in that takes ssh's arguments and runs the command here.

    ssh.py HARNESS FAKE_PILOT [SEED]
"""
import json, os, random, shutil, signal, socket, subprocess, sys, tempfile, time

import processes

harness, pilot = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time() * 1000) % 1000000
rng = random.Random(seed)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)) # of a test that takes too long: it cleans up all the same
top = tempfile.mkdtemp(prefix='attune-ssh-')
N = 200
env = {**os.environ, 'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin', 'FAKE_JUDGE_US': '10000', 'ATTUNE_TEST': top}


def real_sshd():
    """(process, options) of an sshd that lets this user in, or None with the reason."""
    sshd = shutil.which('sshd', path=env['PATH'])
    if not sshd or not shutil.which('ssh') or not shutil.which('ssh-keygen'):
        return None, 'there is no sshd (Debian: openssh-server)'
    for name in 'host', 'user':
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', f'{top}/{name}'], check=True)
    shutil.copy(f'{top}/user.pub', f'{top}/authorized')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with open(f'{top}/sshd_config', 'w') as f:
        f.write(f'Port {port}\nListenAddress 127.0.0.1\nHostKey {top}/host\nAuthorizedKeysFile {top}/authorized\n'
                f'StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nMaxStartups 50\n'
                f'SetEnv FAKE_JUDGE_US=10000 ATTUNE_TEST={top}\n')
    if os.getuid() == 0:
        os.makedirs('/run/sshd', exist_ok=True)
    p = subprocess.Popen([sshd, '-D', '-e', '-f', f'{top}/sshd_config'], stderr=open(f'{top}/sshd.log', 'w'))
    options = (f'-p {port} -i {top}/user -oStrictHostKeyChecking=accept-new -oUserKnownHostsFile={top}/known '
               '-oIdentitiesOnly=yes')
    for _ in range(50):
        time.sleep(0.1)
        r = subprocess.run(['ssh', '-oBatchMode=yes', *options.split(), '127.0.0.1', 'echo', 'in'], capture_output=True,
                           text=True, env=env)
        if r.stdout.strip() == 'in':
            return p, options
        if p.poll() is not None:
            break
    p.kill()
    return None, 'sshd would not let us in: ' + (r.stderr.strip().splitlines() or ['?'])[-1]


def stand_in():
    os.makedirs(f'{top}/bin')
    with open(f'{top}/bin/ssh', 'w') as f:
        f.write('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nshift\nexec sh -c "exec $*"\n')
    os.chmod(f'{top}/bin/ssh', 0o755)
    env['PATH'] = f'{top}/bin:' + env['PATH']


def run(folder, *options, disturb=False):
    p = subprocess.Popen([harness, 'run', os.path.join(top, folder), str(N), '--window', '12', '--kind', 'ssh', '--worker',
                          pilot, '--lost', '2', '--logs', f'{top}/logs', *options],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    while disturb and p.poll() is None:
        time.sleep(rng.uniform(0.3, 0.6))
        mine = [pid for pid, (_, command) in processes.table().items() if command.startswith(pilot)
                and f'ATTUNE_TEST={top}\0' in processes.read(pid, 'environ') + '\0'] # ours, no other test's
        if mine and p.poll() is None:
            try:
                os.kill(rng.choice(mine), signal.SIGKILL)
            except ProcessLookupError:
                pass
    out, err = p.communicate(timeout=90)
    assert p.returncode == 0, err[-800:]
    counts = json.loads(out.splitlines()[-1])
    text = subprocess.run([harness, 'dump', os.path.join(top, folder)], check=True, capture_output=True, text=True).stdout
    return counts, text


code, daemon = 0, None
try:
    daemon, options = real_sshd()
    print('1..2')
    if not daemon:
        print(f'# {options}: a stand-in instead')
        stand_in()
        options = '-p22'
    counts, reference = run('reference', '--launch', options, '--host', '127.0.0.1*3', '--host', 'localhost')
    assert counts['started'] == 4, counts
    print(f'ok 1 - two hosts, four pilots', flush=True)
    counts, text = run('killed', '--launch', options, '--host', '127.0.0.1*3', '--host', 'localhost', disturb=True)
    assert text == reference, 'another archive'
    assert counts['lost'] >= 1, counts
    print(f'ok 2 - pilots killed at the far end # {counts["lost"]} lost')
except Exception as e:
    code = 1
    print('not ok - ' + str(e).replace('\n', '\n# '))
    print(f'# rerun: {sys.argv[0]} {harness} {pilot} {seed}')
finally:
    if daemon:
        daemon.terminate()
        daemon.wait()
    shutil.rmtree(top, ignore_errors=True)
sys.exit(code)
