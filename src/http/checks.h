/* What a request may say: URLs, directories, names, header fields for the origin. Pure. `field` is
 * what the request calls it; false: `message` says what is wrong. Texts are valid UTF-8. */
#pragma once

#include <stdbool.h>

#define CHECKS_NAME_MAX    229   /* bytes: a number and the part file's suffix fit behind it */
#define CHECKS_LOGIN_MAX   1024
#define CHECKS_LABEL_MAX   255
#define CHECKS_HEADERS_MAX 16384 /* bytes of all fields that go along with one task */

bool check_url(const char *field, const char *url, char message[static 512]);
bool check_directory(const char *field, const char *path, char message[static 512]);
/* A file name; whether it may begin with '.' is the manager's to say. */
bool check_name(const char *field, const char *name, char message[static 512]);
/* What a task's owner calls it. */
bool check_label(const char *field, const char *label, char message[static 512]);
/* A user name or password for an origin. */
bool check_login_text(const char *field, const char *text, char message[static 512]);
/* A header field that a client may send to an origin. */
bool check_header(const char *field, const char *name, const char *value,
                  char message[static 512]);

/* A URL as it is shown: without user name and password, and without query and fragment if not
 * `with_query`. The caller frees it; NULL: no memory. */
char *shown_url(const char *url, bool with_query);
