# The launcher of a checkout on a machine without tools, for somebody who is neither root nor may become it: says what is
# missing and what to type, installs nothing, ends with 2.
mkdir bin copy
for tool in sh dirname uname cat tail rm mktemp; do ln -s "$(command -v $tool)" bin/; done
printf '#!/bin/sh\necho 1000\n' >bin/id
printf '#!/bin/sh\necho called >>"%s/apt.txt"\n' "$folder" >bin/apt-get
chmod +x bin/id bin/apt-get
cp "$root/attune" copy/attune
launch() {
    command="./attune $*"
    (cd copy && PATH="$folder/bin" ./attune "$@") >out.txt 2>err.txt </dev/null
    code=$?
    out=$(cat out.txt) err=$(cat err.txt)
}
launch evolve;  exits 2; says "missing: a C compiler"; says "no sudo"; says "apt-get install gcc"
launch check;   exits 2; says "missing: a C compiler"
[ ! -e apt.txt ] || fail "apt-get was called without the right to install"
# with sudo, through it: what it says when it fails is shown
printf '#!/bin/sh\necho "user is not in the sudoers file"\nexit 1\n' >bin/sudo
chmod +x bin/sudo
launch evolve;  exits 2; says "through sudo"; says "not in the sudoers file"
