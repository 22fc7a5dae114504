/* Passwords in netrc(5) files, as ftp and curl read them. */
#pragma once

/* The password of `user` at `host`: of the first entry for that machine (or the default entry) with
 * that login, or with none. 0, -ENOENT (no file, or no such entry) or another negative errno. The
 * caller wipes and frees it. */
int netrc_find(const char *path, const char *host, const char *user, char **ret_password);
