#!/bin/sh
# libattune as a host finds it: installed into a prefix, found by pkg-config, the numbered examples compiled and run,
# and a C++ program linked. No file of the source tree but the examples is used.
# Usage: installed.sh BUILD_ROOT SOURCE_ROOT FOLDER
set -eu
build=$1 source=$2 folder=$3
rerun="rerun: sh $0 $*"
fail() { echo "$*"; echo "$rerun"; exit 1; }
rm -rf "$folder"
mkdir -p "$folder/run"
folder=$(cd "$folder" && pwd)
# below the folder, so that nothing of the machine is touched
DESTDIR="$folder/root" meson install -C "$build" --no-rebuild --tags devel,runtime > "$folder/install.log" 2>&1 || {
    tail -20 "$folder/install.log"
    fail "meson install failed"
}
pc=$(find "$folder/root" -name attune.pc)
[ -n "$pc" ] || fail "no attune.pc was installed"
export PKG_CONFIG_PATH="${pc%/*}"
prefix="$folder/root$(sed -n 's/^prefix=//p' "$pc")"
pkg() { pkg-config "--define-variable=prefix=$prefix" "$@" attune; }
[ "$(pkg --modversion)" = "$(sed -n "s/^project(.*version: *'\([0-9.]*\)'.*/\1/p" "$source/meson.build" | head -1)" ] \
    || fail "attune.pc has another version than meson.build"
libs=$(pkg --variable=libdir)
export LD_LIBRARY_PATH="$libs" ATTUNE_WISDOM=
cd "$folder/run"
count=0
for example in "$source"/examples/0[1-5]_*.c; do
    name=$(basename "$example" .c)
    # shellcheck disable=SC2046
    ${CC:-cc} -std=gnu17 -Wall -Wextra -Werror -O1 "$example" -o "$name" $(pkg --cflags --libs) -lm -lpthread \
        || fail "$name does not compile"
    ./"$name" "$folder/run/wisdom.txt" > "$name.out" 2>&1 || { cat "$name.out"; fail "$name failed"; }
    sed "s/^/$name: /" "$name.out"
    count=$((count + 1))
done
[ "$count" = 5 ] || fail "$count examples instead of 5"

# Into the program itself: of libattune.a and nothing of ours at run time. The host has a function of a helper's name.
if [ -e "$libs/libattune.a" ]; then
    echo 'int text_add(void) { return 1; }' > helper.c
    # shellcheck disable=SC2046
    ${CC:-cc} -std=gnu17 -O1 "$source/examples/02_threads.c" helper.c -o static $(pkg --cflags) \
        $(pkg --static --libs | sed 's/-lattune/-l:libattune.a/') || fail "no program links with libattune.a"
    env -u LD_LIBRARY_PATH ./static > static.out 2>&1 || { cat static.out; fail "the static program failed"; }
    echo "02_threads ran with libattune.a inside"
else
    echo "no objcopy: libattune.a was not built and is not tested"
fi

cat > host.cc <<'END'
#include <attune/attune.h>
#include <attune/plan.h>
#include <attune/wisdom.h>
#include <cstdio>
#include <vector>
int main()
{
    std::vector<float> q(3 * 32, 1), v(3 * 32, 2), o(3 * 32);
    atn_args a;
    atn_args_init(&a);
    a.Hq = 1, a.Sq = a.Skv = 3, a.D = 32;
    a.q.ptr = a.k.ptr = q.data(), a.v.ptr = v.data(), a.o.ptr = o.data();
    atn_planned *plan = nullptr;
    atn_error err;
    atn_plan_options options = {};
    if (atn_plan_create(&a, &options, &plan, &err) != ATN_OK || atn_execute(plan, &a, nullptr, &err) != ATN_OK)
        return std::printf("%s\n", err.text), 1;
    atn_plan_free(plan);
    return !(o[5] > 1.999f && o[5] < 2.001f);
}
END
if command -v c++ > /dev/null; then
    c++ -std=c++17 -Wall -Wextra -Werror host.cc -o host $(pkg --cflags --libs) || fail "the C++ host does not compile"
    ./host || fail "the C++ host failed"
else
    echo "no C++ compiler: the C++ host was skipped"
fi
echo "5 examples and a C++ host ran against $libs"
