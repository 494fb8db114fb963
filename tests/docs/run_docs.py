"""Runs every command of pages as written, in a clean copy of the source: run_docs.py SOURCE_ROOT PAGE ...

What is a command: each line of a ```sh block, and each line that begins with "$ " or "./attune " in another block or an
indented one, without its comment. They run in one shell session in the copy's folder, page after page, as a reader would type
them, so that `export` and files of an earlier line are there for a later one; the first of them sets up and builds. Runs are short because ATTUNE_MINUTES (docs/config.md) bounds them; nothing of
a command is changed. Each must end with 0. A command is left out only by the table below, with the reason printed."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LEFT_OUT = (
    (r"^\./attune check\b", "runs this test"),
    (r"^tools/peers/install\b", "downloads 3 GB"),
    (r"^\./attune bench\b", "needs the peers that the network brings"),
    (r"^git clone\b", "needs the network"),
    (r"\bllama-cli\b", "needs llama.cpp and a model: tests/models/t_recipes.py runs it"),
    (r"\b(sudo|apt-get|meson install)\b", "changes the system"),
)
UNTIL_STOPPED = r"^\./attune serve\b(?!.*--static)"  # ends by Ctrl-C, with 0 or 130
MINUTES = "0.04"


def commands(text):
    """(line number, command) of a page."""
    fence, found = None, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fence = None if fence is not None else line[3:].strip()
            continue
        body = None
        if fence == "sh":
            body = line
        elif fence is not None and re.match(r"\$ ", line):
            body = line[2:]
        elif fence is None and re.match(r"    (\$ |\./attune )", line):
            body = line.strip().removeprefix("$ ")
        if body and body.strip() and not body.lstrip().startswith("#"):
            found.append((number, re.sub(r"\s+# .*$", "", body).rstrip()))
    return found


def clean_copy(root, to):
    names = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True)
    if names.returncode == 0:
        for name in filter(None, names.stdout.decode().split("\0")):
            source, target = os.path.join(root, name), os.path.join(to, name)
            if os.path.isfile(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
    else:  # a source archive
        shutil.copytree(root, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build*", ".git"))


def run(command, folder, env, seconds):
    """The shell's state is carried from command to command in a file of exports."""
    script = f'[ ! -f .exports ] || . ./.exports\n{command}\ncode=$?; export -p > ./.exports; exit $code'
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(["sh", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out,
                             stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = p.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGINT)
            try:
                code = p.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
                code = "no end"
        out.seek(0)
        return code, out.read().decode(errors="replace")


def main():
    root, pages = os.path.abspath(sys.argv[1]), sys.argv[2:]
    for tool in ("meson", "ninja", "cc", "pkg-config"):
        if not shutil.which(tool):
            print(f"skip: no {tool}")
            return 77
    todo = []
    for page in pages:
        found = commands(open(os.path.join(root, page)).read())
        if len(found) < 5:
            print(f"{page} holds {len(found)} commands: is it still read rightly?")
            return 1
        todo += [(f"{page}:{number}", command) for number, command in found]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ATTUNE_", "MESON", "NINJA"))}
    env.update(ATTUNE_MINUTES=MINUTES, NO_COLOR="1", TERM="dumb", LC_ALL="C")
    failed = done = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.join(scratch, "a copy")   # a path with a blank is where scripts break first
        os.mkdir(folder)
        clean_copy(root, folder)
        for where, command in todo:
            reason = next((r for p, r in LEFT_OUT if re.search(p, command)), None)
            if reason:
                print(f"left out {where}: {command}  ({reason})")
                continue
            server = re.search(UNTIL_STOPPED, command)
            start = time.monotonic()
            code, out = run(command, folder, env, 3 if server else 600)
            good = code in (0, 130, -signal.SIGINT) and "http://" in out if server else code == 0
            print(f"{'ok  ' if good else 'FAIL'} {time.monotonic() - start:5.1f} s  {where}: {command}")
            done += good
            if not good:
                failed += 1
                print(f"  ended with {code}; it said:")
                print("\n".join("  | " + line for line in out.splitlines()[-15:]))
            sys.stdout.flush()
    print(f"{done} commands of {', '.join(pages)} ran as written" + (f", {failed} failed" if failed else ""))
    if failed:
        print(f"rerun: python3 tests/docs/run_docs.py . {' '.join(pages)}")
    return 1 if failed else 0


sys.exit(main())
