/* Why a request is not taken: what becomes an error answer. */
#pragma once

#include <stdbool.h>

struct refusal {
    int status;
    const char *code;  /* a word for programs */
    bool close;        /* where the next request would begin cannot be told */
    unsigned allow;    /* enum http_method, or'ed; for 405 */
    unsigned retry_after; /* seconds; 0: the status's usual */
    char message[768]; /* a sentence for people */
};

/* Fills it in and returns -EBADMSG, for `return`. */
int refusal_say(struct refusal *refusal, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int refusal_no_memory(struct refusal *refusal);
/* The JSON body; the caller frees it; NULL: no memory. */
char *refusal_body(const char *code, const char *message);
