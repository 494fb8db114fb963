/* Answers to the questions of a run's mailbox (evolve/propose/mailbox.c): the only thing that the dashboard may write.
 *
 * Invariant: an answer appears whole under mailbox/<number>/answer.md or not at all, only for a question that is open
 * and has none, and nothing is ever overwritten or written through a link. */
#ifndef ATN_SERVE_MAIL_H
#define ATN_SERVE_MAIL_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* {"folder":true|false,"state":"open","waits":true|false,"refused":"..."}: what stands in the folder of a question. */
void mail_state(const char *run, int64_t number, atn_text *json);

/* Hands the answer in. The HTTP status: 200; 400 not an answer; 404 no such question; 409 closed, or answered already;
 * 413 too long; 500 the disk. *why (never NULL) says it in words for the reader. */
int mail_answer(const char *run, int64_t number, const char *text, size_t n, const char **why);

size_t mail_answer_max(void);

#endif
