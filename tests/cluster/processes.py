"""Who runs here, as /proc tells it; what ends while we look is left out."""
import os


def read(pid, what):
    try:
        with open(f'/proc/{pid}/{what}', errors='replace') as f:
            return f.read()
    except OSError:
        return ''


def cpu_seconds(pid):
    """Of its threads, without its children; nan when it has ended."""
    fields = read(pid, 'stat').rsplit(')', 1)[-1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK') if fields else float('nan')


def table():
    """pid -> (parent, command line) of all but the dead that nobody has reaped."""
    found = {}
    for name in os.listdir('/proc'):
        fields = read(name, 'stat').rsplit(')', 1)[-1].split() if name.isdigit() else []
        if fields and fields[0] != 'Z':
            found[int(name)] = (int(fields[1]), read(name, 'cmdline').replace('\0', ' '))
    return found


def children(pid):
    return [child for child, (parent, _) in table().items() if parent == pid]


def tree(pid):
    """Its descendants and itself, children first: the worst order in which to kill them."""
    all_of_them = table()

    def under(one):
        return [p for child, (parent, _) in all_of_them.items() if parent == one for p in under(child)] + [one]
    return under(pid)
