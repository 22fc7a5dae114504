/* What a request's head must be like before anything looks at the request: sound framing, a Host
 * that is ours, no foreign web page behind it. Pure, but for asking a socket for its own address.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/api.h"
#include "core/settings.h"
#include "http/refusal.h"

/* --- the names that this service answers to --- */

struct head_names;

/* The host's own names and the settings' host-names. 0 or -ENOMEM. */
int head_names_create(const struct settings *settings, struct head_names **ret_names);
void head_names_destroy(struct head_names *names); /* NULL is fine */
/* The name at `index`, counted from 0; NULL: there are no more. */
const char *head_names_at(const struct head_names *names, size_t index);

/* --- the head --- */

struct head {            /* all zero before the first field; strings are borrowed */
    const char *version; /* "HTTP/1.1" */
    const char *broken;  /* what is wrong with a field or the target, as a sentence; NULL: nothing */
    const char *authority; /* that the target names, not ended by a NUL; NULL: none */
    size_t authority_len;
    const char *host;
    const char *content_type;
    const char *authorization;
    const char *length_text;
    unsigned hosts, lengths, codings, origins; /* how many there were */
    const char *coding;                        /* Transfer-Encoding */
    const char *origin;
    bool has_tls;         /* the connection; set beforehand */
    bool has_body;        /* one is to come; its length may be unknown */
    bool from_other_site; /* by Sec-Fetch-Site */
    uint64_t length;      /* of the body, set by head_check; 0: none, or unknown */
};

/* Takes up one field of the head. The value may be NULL. */
void head_field(struct head *head, const char *name, size_t name_len, const char *value,
                size_t value_len);
/* Takes up the request's target, "/path?query" or "http://authority/path?query" (RFC 9112, 3.2); the
 * path and query, which may be part of `target`. */
const char *head_target(struct head *head, const char *target);
/* 0; -EBADMSG: answer with `ret_refusal`. `socket`: connected, where the request came. */
int head_check(struct head *head, const struct head_names *names, int socket,
               struct refusal *ret_refusal);
/* Name and password in an Authorization field of the Basic scheme (RFC 7617). The caller wipes the
 * password. 0 or -EINVAL: not that, or too long, or a NUL in it. */
int head_basic(const char *authorization, char ret_user[static API_USER_MAX + 1],
               char ret_password[static API_PASSWORD_MAX + 1]);
/* Wipes the Authorization field where the HTTP library has it, and forgets it. */
void head_wipe(struct head *head);
