/* A thread that takes calls over one pipe and reports their end over another. */
#include "evolve/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    void (*work)(void *);
    void *arg;
} call;

struct atn_desk {
    pthread_t thread;
    int calls[2], ends[2]; /* pipes */
};

static void *serve(void *p)
{
    atn_desk *d = p;
    call c;
    for (;;) {
        ssize_t n = read(d->calls[0], &c, sizeof c);
        if (n < 0 && errno == EINTR) continue;
        if (n != sizeof c) return NULL;
        c.work(c.arg);
        while (write(d->ends[1], "", 1) < 0 && errno == EINTR) {}
    }
}

atn_status desk_open(atn_desk **out, atn_error *err)
{
    atn_desk *d = atn_alloc(sizeof *d);
    sigset_t quiet, before;
    *out = NULL;
    if (pipe2(d->calls, O_CLOEXEC)) goto no_pipes;
    if (pipe2(d->ends, O_CLOEXEC)) {
        close(d->calls[0]);
        close(d->calls[1]);
        goto no_pipes;
    }
    fcntl(d->ends[0], F_SETFL, O_NONBLOCK);
    /* Signals of the user go to the thread that polls. Spawned processes get a clean mask of their own. */
    sigemptyset(&quiet);
    sigaddset(&quiet, SIGINT);
    sigaddset(&quiet, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &quiet, &before);
    int e = pthread_create(&d->thread, NULL, serve, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!e) {
        *out = d;
        return ATN_OK;
    }
    for (int i = 0; i < 2; i++) close(d->calls[i]), close(d->ends[i]);
    free(d);
    return atn_fail(err, ATN_PROCESS, "cannot start a thread for the judge: %s", strerror(e));
no_pipes:
    free(d);
    return atn_fail(err, ATN_IO, "cannot open a pipe: %s", strerror(errno));
}

void desk_start(atn_desk *d, void (*work)(void *), void *arg)
{
    call c = {work, arg};
    ATN_CHECK(write(d->calls[1], &c, sizeof c) == sizeof c);
}

int desk_fd(const atn_desk *d)
{
    return d->ends[0];
}

bool desk_done(atn_desk *d)
{
    char byte;
    return read(d->ends[0], &byte, 1) == 1;
}

void desk_close(atn_desk *d, bool abandoned)
{
    if (!d) return;
    close(d->calls[1]); /* an idle thread ends */
    if (abandoned) {
        pthread_detach(d->thread);
        return; /* it still reads and writes its pipes */
    }
    pthread_join(d->thread, NULL);
    close(d->calls[0]);
    close(d->ends[0]);
    close(d->ends[1]);
    free(d);
}
