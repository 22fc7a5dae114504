/* File names: from URLs, numbered, unique. Pure but for getrandom(2). All results are valid UTF-8
 * without '/', NUL or control characters, and neither "." nor ".."; at most 229 bytes, so that a
 * number (240 bytes then) and the part file's suffix fit into API_NAME_MAX. The caller frees them;
 * NULL: no memory. */
#pragma once

#include <stdbool.h>

/* The last segment of the URL's path, percent-decoded, without query and fragment ("index.html"
 * when there is none, or it is "." or ".."). What must not stand in a name (control characters,
 * '/', bytes that are not UTF-8, bidi controls) stays percent-encoded; a leading '.' (unless
 * `allow_hidden`) or '-' becomes '_'; too long: cut at a UTF-8 boundary, the extension kept. */
char *naming_from_url(const char *url, bool allow_hidden);

/* "stem-XXXXXXXX.ext" with 8 random letters (as the 2017 system did with unique names); "Unknown"
 * is the stem when the URL gives no name. */
char *naming_unique(const char *url, bool allow_hidden);

/* The n-th candidate for a name that is taken: 0 is the name itself, then "stem-1.ext", ... The
 * extension is what follows the last '.', unless that is the first character. A valid name of up to
 * API_NAME_MAX bytes is fine; from n = 1 on the stem is cut where needed. */
char *naming_numbered(const char *name, unsigned n);

/* The file name in a Content-Disposition header (RFC 6266: filename* in UTF-8 or ISO-8859-1 before
 * filename), made fit as above: only what follows the last '/' or '\\' counts, control and bidi
 * characters are dropped, what is not UTF-8 is taken as ISO-8859-1. NULL: it gives none (or no
 * memory). */
char *naming_from_disposition(const char *value, bool allow_hidden);
