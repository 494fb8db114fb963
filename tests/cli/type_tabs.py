"""Types lines with a Tab at their ends into an interactive bash, and prints what stands there then, up to a |.

type_tabs.py COMPLETION"""
import os
import pty
import re
import select
import sys

LINES = ("attune eval names/my", "attune eval names/a", "attune eval names/it", "attune evolve --set judge.tol", "attune evolve --suite re")


def until(fd, mark, seconds=20):
    text = ""
    while mark not in text:
        if not select.select([fd], [], [], seconds)[0]:
            sys.exit(f"bash does not go on after: {text!r}")
        text += os.read(fd, 65536).decode()
    return text


pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PS1="", INPUTRC="/dev/null", HISTFILE="/dev/null")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
# what stands in the line is shown by a key of our own, whatever the terminal prints meanwhile
os.write(fd, f"PS1=; . ./{sys.argv[1]}; show() {{ printf '<%s>\\n' \"$READLINE_LINE\"; READLINE_LINE=; }}; "
             "bind 'set enable-bracketed-paste off'; bind -x '\"\\C-g\": show'; printf 'rea''dy\\n'\n".encode())
until(fd, "ready")
for line in LINES:
    os.write(fd, line.encode() + b"\t\007")
    print(re.search(r"<(attune [^>]*)>", until(fd, ">"))[1] + "|")
os.write(fd, b"exit\n")
os.waitpid(pid, 0)
