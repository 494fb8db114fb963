/* Finds which layers of isolation work here, by using each in a child of its own. Flags and version numbers lie: Ubuntu
 * lets unshare succeed and strips its use, containers filter some calls, kernels miss parts that they announce. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "judge/wire.h"
#include "lock.h"
#include "worker.h"

static int works(int (*test)(void))
{
    pid_t pid = fork();
    if (pid == 0) _exit(test() == 0 ? 0 : 1);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int test_seccomp(void)
{
    if (lock_no_new_privs() != 0 || lock_filter(FILTER_COMPILE) != 0) return -1;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : -1;
}

static int test_landlock(void)
{
    if (lock_no_new_privs() != 0 || lock_landlock(NULL, 0) != 0) return -1;
    return open("/", O_RDONLY | O_DIRECTORY) < 0 && open("/etc/passwd", O_RDONLY) < 0 ? 0 : -1;
}

static int test_scope(void)
{
    pid_t outside = getppid();
    if (lock_landlock_abi() < 6 || lock_no_new_privs() != 0 || lock_landlock(NULL, 0) != 0) return -1;
    return kill(outside, 0) != 0 && errno == EPERM ? 0 : -1;
}

static int test_namespaces(void)
{
    if (lock_namespaces() != 0) return -1;
    return 0;
}

static int test_uid(void)
{
    if (geteuid() != 0 || lock_uid(60578) != 0) return -1;
    return setuid(0) != 0 && geteuid() == 60578 ? 0 : -1;
}

static int test_mseal(void)
{
    void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return syscall(462, p, 4096, 0) == 0 && mprotect(p, 4096, PROT_READ | PROT_WRITE) != 0 ? 0 : -1;
}

int probe_main(void)
{
    int found = 0;
    if (works(test_seccomp)) found |= LAYER_SECCOMP;
    if (works(test_landlock)) found |= LAYER_LANDLOCK;
    if (works(test_scope)) found |= LAYER_SCOPE;
    if (works(test_namespaces)) found |= LAYER_NAMESPACES;
    if (works(test_uid)) found |= LAYER_UID;
    if (works(test_mseal)) found |= LAYER_MSEAL;
    return write(3, &found, sizeof found) == sizeof found ? 0 : 1;
}
