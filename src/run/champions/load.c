/* Champions: kernels as shared objects, found and checked by the hash of their bytes.
 *
 * The bytes that were hashed are the bytes that run: they are read once, hashed, put in a sealed memory file and loaded
 * from there. The hash guards against stale and damaged files; against hostile ones stands that the file must
 * belong to this user or root and that nobody else may write to it. Objects stay loaded: plans point into them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "run/run_int.h"

enum { OBJECT_MAX = 64 << 20 };

typedef struct loaded {
    struct loaded *next;
    char hash[33];
    const atn_kernel *table;
    const char *judged;
} loaded;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards both */
static loaded *all;
static int n_loaded;

/* ---- reading ---- */

static atn_status read_object(const char *path, char **data, size_t *n, char hash[33], atn_error *err)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return atn_fail(err, errno == ENOENT ? ATN_NOT_FOUND : ATN_IO, "cannot open kernel '%s': %s", path,
                        strerror(errno));
    atn_status st = ATN_OK;
    char *bytes = NULL;
    size_t got = 0;
    if (fstat(fd, &s) != 0) st = atn_fail(err, ATN_IO, "cannot examine kernel '%s': %s", path, strerror(errno));
    else if (!S_ISREG(s.st_mode) || s.st_size < 64 || s.st_size > OBJECT_MAX)
        st = atn_fail(err, ATN_FORMAT, "'%s' is not a kernel: it must be a shared object of at most %d bytes", path,
                      OBJECT_MAX);
    else if ((s.st_uid != geteuid() && s.st_uid != 0) || s.st_mode & 022)
        st = atn_fail(err, ATN_UNSUPPORTED,
                      "will not load kernel '%s': others may change it; own it and 'chmod go-w' it", path);
    else if (!(bytes = malloc((size_t)s.st_size)))
        st = atn_fail(err, ATN_MEMORY, "no memory for kernel '%s' (%lld bytes)", path, (long long)s.st_size);
    while (st == ATN_OK && got < (size_t)s.st_size) {
        ssize_t more = read(fd, bytes + got, (size_t)s.st_size - got);
        if (more > 0) got += (size_t)more;
        else if (more == 0 || errno != EINTR)
            st = atn_fail(err, ATN_IO, "cannot read kernel '%s': %s", path, more ? strerror(errno) : "it shrank");
    }
    close(fd);
    if (st) {
        free(bytes);
        return st;
    }
    hash_hex(bytes, got, hash);
    *data = bytes;
    *n = got;
    return ATN_OK;
}

/* ---- loading ---- */

static int sealed_copy(const char *data, size_t n)
{
#ifdef MFD_ALLOW_SEALING
    int fd = memfd_create("attune-kernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    while (n) {
        ssize_t put = write(fd, data, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            close(fd);
            return -1;
        }
        data += put;
        n -= (size_t)put;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    return fd;
#else
    (void)data, (void)n;
    return -1;
#endif
}

/* The dynamic linker knows objects by their name and would give an old one back for a descriptor number used again:
 * so each name is written with one more "./" than the last. */
static void *open_copy(int fd, int unique)
{
    char path[2 * 512 + 64];
    int n = snprintf(path, sizeof path, "/proc/self/fd/");
    for (int i = 0; i < unique; i++) n += snprintf(path + n, sizeof path - (size_t)n, "./");
    snprintf(path + n, sizeof path - (size_t)n, "%d", fd);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static atn_status load_bytes(const char *path, const char *data, size_t n, loaded *out, atn_error *err)
{
    if (n_loaded >= 500)
        return atn_fail(err, ATN_UNSUPPORTED, "500 kernels are loaded already; '%s' would be one too many", path);
    if (memcmp(data, "\177ELF", 4) != 0) return atn_fail(err, ATN_FORMAT, "'%s' is not a shared object", path);
    const int fd = sealed_copy(data, n);
    if (fd < 0) return atn_fail(err, ATN_IO, "cannot make a memory file for kernel '%s': %s", path, strerror(errno));
    void *so = open_copy(fd, n_loaded++);
    close(fd);
    if (!so) return atn_fail(err, ATN_FORMAT, "cannot load kernel '%s': %s", path, dlerror());
    const atn_kernel *k = dlsym(so, "attune_kernel");
    const char *fault = !k                         ? "it has no symbol attune_kernel"
                        : k->abi != ATN_KERNEL_ABI ? "it is of another kernel ABI; compile it anew"
                        : !k->name || !k->can_run || !k->plan || !k->run ? "its table has holes"
                                                                         : NULL;
    if (fault) {
        dlclose(so);
        return atn_fail(err, ATN_FORMAT, "kernel '%s' cannot be used: %s", path, fault);
    }
    out->table = k;
    out->judged = dlsym(so, "attune_judged");
    return ATN_OK;
}

static const atn_kernel *find_loaded(const char *hash)
{
    for (const loaded *l = all; l; l = l->next)
        if (!strcmp(l->hash, hash)) return l->table;
    return NULL;
}

/* With the lock held. again: a copy of its own, that nobody finds by its hash. */
static atn_status load_locked(const char *path, const char *want, bool again, const atn_kernel **out, atn_error *err)
{
    char *data, hash[33];
    size_t n;
    if (want && (*out = find_loaded(want)) != NULL) return ATN_OK;
    atn_status st = read_object(path, &data, &n, hash, err);
    if (st) return st;
    if (want && strcmp(hash, want) != 0) {
        free(data);
        return atn_fail(err, ATN_MISMATCH, "kernel '%s' is not what wisdom measured: its hash is %s, not %s", path,
                        hash, want);
    }
    const atn_kernel *k = again ? NULL : find_loaded(hash);
    loaded *l = k ? NULL : malloc(sizeof *l);
    if (!k && !l) st = atn_fail(err, ATN_MEMORY, "no memory for kernel '%s'", path);
    if (l) {
        *l = (loaded){.next = all};
        if (!again) memcpy(l->hash, hash, sizeof l->hash);
        st = load_bytes(path, data, n, l, err);
        k = l->table;
        if (st) free(l);
        else all = l;
    }
    free(data);
    if (st == ATN_OK) *out = k;
    return st;
}

atn_status atn_kernel_load(const char *path, const char *hash, const atn_kernel **out, atn_error *err)
{
    if (!path || !out) return atn_fail(err, ATN_USAGE, "no path or no place for the kernel was given");
    struct stat s;
    if (!hash && stat(path, &s) == 0 && S_ISDIR(s.st_mode)) return portfolio_load(path, out, err);
    return kernel_load(path, hash, false, out, err);
}

atn_status kernel_load(const char *path, const char *hash, bool again, const atn_kernel **out, atn_error *err)
{
    const atn_kernel *k = NULL;
    pthread_mutex_lock(&lock);
    atn_status st = load_locked(path, hash, again, &k, err);
    pthread_mutex_unlock(&lock);
    if (st == ATN_OK) *out = k;
    return st;
}

char *kernel_object(const char *program)
{
    const size_t n = strlen(program), stem = n > 2 && !strcmp(program + n - 2, ".c") ? n - 2 : n;
    return atn_format("%.*s.so", (int)stem, program);
}

const char *kernel_judged(const atn_kernel *table)
{
    const char *judged = NULL;
    pthread_mutex_lock(&lock);
    for (const loaded *l = all; l; l = l->next)
        if (l->table == table) judged = l->judged;
    pthread_mutex_unlock(&lock);
    return judged;
}

/* ---- the champions' folder ---- */

static atn_status champion_path(const char *hash, char *out, size_t room, atn_error *err)
{
    const char *wisdom = wisdom_path(), *slash = strrchr(wisdom, '/');
    if (!*wisdom)
        return atn_fail(err, ATN_NOT_FOUND,
                        "there is no champions' folder: ATTUNE_WISDOM is empty, or HOME is not set");
    const int n = snprintf(out, room, "%.*schampions/%s%s", slash ? (int)(slash - wisdom) + 1 : 0, wisdom, hash,
                           *hash ? ".so" : "");
    return n < (int)room ? ATN_OK : atn_fail(err, ATN_USAGE, "the path of wisdom is too long");
}

atn_status champion_load(const char *hash, const atn_kernel **out, atn_error *err)
{
    char path[4200];
    atn_status st = champion_path(hash, path, sizeof path, err);
    return st ? st : atn_kernel_load(path, hash, out, err);
}

atn_status champion_keep(const char *from, char hash[33], atn_error *err)
{
    char *data, path[4200], digits[33];
    size_t n;
    atn_status st = read_object(from, &data, &n, digits, err);
    if (st) return st;
    st = champion_path("", path, sizeof path, err);
    if (st == ATN_OK) st = file_mkdirs(path, err);
    if (st == ATN_OK) st = champion_path(digits, path, sizeof path, err);
    if (st == ATN_OK) st = file_write(path, data, n, err);
    if (st == ATN_OK && chmod(path, 0644) != 0)
        st = atn_fail(err, ATN_IO, "cannot chmod '%s': %s", path, strerror(errno));
    if (st == ATN_OK) memcpy(hash, digits, sizeof digits);
    free(data);
    return st;
}
