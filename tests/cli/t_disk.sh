# A full disk: an error that says so, exit code 2, what was judged is still there, and --resume goes on.
[ "$(id -u)" = 0 ] || skip "needs root to mount a small file system"
cp "$root/src/kernel/flash_qvec.c" start.c
mkdir small
mount -t tmpfs -o size=200k tmpfs small 2>/dev/null || skip "mounting a tmpfs is not allowed here"
trap 'cd /; umount "$folder/small"; rm -rf "$folder"' EXIT
settings="start.c --case 'f32 h2 s64 d64' --set evolve.final_seconds=0 --set evolve.control_races=0 --set evolve.shipped=false -o small/run"
eval "run evolve $settings -i 400 --minutes 3"; exits 2; says "full"; enough
mount -o remount,size=20m small
run show small/run --json; exits 0; cp out.txt before.json
before=$(python3 -c "import json; print(sum(json.load(open('before.json'))['judged'].values()))")
eval "run evolve $settings -i $((before + 2)) --resume"; exits 0
[ -s small/run/best/best_program.c ] || fail "no best_program.c after going on"
