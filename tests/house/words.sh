#!/bin/sh
# What no file of the repository may hold: machine paths, registry hosts, conflict markers, trailing blanks in code.
# Usage: words.sh SOURCE_ROOT
set -eu
cd "$1"
files=$(git ls-files 2>/dev/null | grep -Ev '^(LICENSE|tests/house/words.sh)$' || find . -type f -not -path './build*' -not -path './.git/*' -not -path './tests/house/words.sh')
bad=0
search() {
    if printf '%s\n' $files | xargs grep -nIE -- "$1" 2>/dev/null; then echo "^ $2"; bad=1; fi
}
search '(^|[^a-z])/(work|root)/[a-z]' 'machine paths do not belong in the repository'
search '(pypi\.org|deb\.debian\.org|files\.pythonhosted)' 'registry hosts do not belong in the repository'
search '^(<<<<<<<|>>>>>>>) (HEAD|main|origin)' 'a merge conflict was committed'
code=$(printf '%s\n' $files | grep -E '\.(c|h|sh|build)$' || true)
if [ -n "$code" ] && printf '%s\n' $code | xargs grep -nE '[[:blank:]]+$' 2>/dev/null | head -20 | grep .; then echo "^ trailing blanks"; bad=1; fi
[ $bad = 0 ] || { echo "rerun: sh tests/house/words.sh ."; exit 1; }
echo "no forbidden words"
