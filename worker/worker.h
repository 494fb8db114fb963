/* The modes of attune-worker. Each returns an exit status, or does not return. */
#ifndef ATN_WORKER_H
#define ATN_WORKER_H

int compile_main(int argc, char **argv);
int run_main(void);
int probe_main(void);

#endif
