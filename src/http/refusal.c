#include "http/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"

#define BODY_MAX 16384

int refusal_say(struct refusal *refusal, int status, const char *code, const char *format, ...)
{
    *refusal = (struct refusal){.status = status, .code = code};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

int refusal_no_memory(struct refusal *refusal)
{
    return refusal_say(refusal, 503, "unavailable", "the service is out of memory; try again");
}

/* What a message quotes may be cut inside a character, or be no text at all: U+FFFD stands for it,
 * since half a surrogate pair (json_add_string's way) is not taken by every reader of JSON. */
static void add_text(struct buf *text, const char *message)
{
    for (size_t len = strlen(message), n; len; message += n, len -= n) {
        uint32_t code;
        bool valid = (n = json_utf8_char(message, len, &code)) > 0;
        n = valid ? n : 1;
        buf_add(text, valid ? message : "\xef\xbf\xbd", valid ? n : 3);
    }
}

char *refusal_body(const char *code, const char *message)
{
    _cleanup_(buf_release) struct buf body, text;
    buf_init(&body, BODY_MAX);
    buf_init(&text, BODY_MAX);
    add_text(&text, message);
    if (text.error)
        return NULL;
    buf_add_string(&body, "{\"code\": ");
    json_add_string(&body, code);
    buf_add_string(&body, ", \"message\": ");
    json_add_string(&body, text.data ? text.data : "");
    buf_add_string(&body, "}");
    return buf_take(&body);
}
