/* Locking a process down: rlimits, private uid, namespaces, Landlock, seccomp. Each returns 0, or -1 with errno set. */
#ifndef ATN_WORKER_LOCK_H
#define ATN_WORKER_LOCK_H

#include <stdint.h>

/* A path that the compiler may read (and execute), or also write. */
typedef struct {
    const char *path;
    int writable;
} lock_path;

typedef enum {
    FILTER_COMPILE, /* files, memory, child processes; anything else fails with EPERM */
    FILTER_LOAD,    /* what dlopen needs; anything else raises SIGSYS */
    FILTER_RUN,     /* futex, exit, and protecting memory without making it executable; anything else raises SIGSYS */
} lock_filter_kind;

int lock_no_new_privs(void);
void lock_close_from(int fd); /* closes fd and all above */
/* Only the given paths stay reachable; no TCP, no signals or abstract sockets to the outside where Landlock knows them.
 */
int lock_landlock(const lock_path *paths, int n);
int lock_landlock_abi(void);            /* 0: none */
int lock_filter(lock_filter_kind kind); /* on all threads of the process */
int lock_namespaces(void);
int lock_uid(int uid); /* and gid, no groups */
int lock_limit(int resource, uint64_t value);
/* Dies when the parent does; fails where it is gone already. After lock_uid, which clears it. */
int lock_with_parent(int parent);

#endif
