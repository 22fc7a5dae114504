/*
 * Who the service is told is asking: a name, and over https, where nobody else vouches for it, a
 * password. Passwords come from AUTODL_PASSWORD, netrc(5) or a prompt, and go nowhere but over
 * https.
 */
#pragma once

#include "address.h"
#include "common/api.h"

struct login {
    char *user;     /* NULL: the kernel says */
    char *password; /* NULL: none */
};

/* `user`: whom to act for; NULL: over TCP the process's own user. On failure the reason was said,
 * and nothing is to be released. */
enum api_exit login_find(const struct address *address, const char *user, struct login *ret_login);
/* The password of `user` at the origin `host`, for the service to log in with: from netrc(5), or a
 * prompt. The caller wipes and frees it. */
enum api_exit login_find_origin(const char *host, const char *user, char **ret_password);
void login_release(struct login *login); /* wipes the password */
