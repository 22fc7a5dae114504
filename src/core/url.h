/*
 * URLs as far as they have to be understood before libcurl does: where the host is, and the login
 * in front of it. Pure text; whether it is a good URL is judged elsewhere.
 */
#pragma once

#include <stdbool.h>

/* Where host and port begin: behind "://" and the login. NULL: there is no "://". */
const char *url_host(const char *url);
bool url_has_login(const char *url);
/*
 * Takes the login out of a URL: `ret_bare` is the rest; `ret_username` and `ret_password` are
 * percent-decoded, NULL where there is none. The caller frees them. 0, -ENOMEM, or -EINVAL: the
 * login is not text (control characters, NUL).
 */
int url_take_login(const char *url, char **ret_bare, char **ret_username, char **ret_password);
/* Whether a user name or password is text on one line. */
bool url_is_login_text(const char *text);
