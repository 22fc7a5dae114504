#include "http/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

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

char *refusal_body(const char *code, const char *message)
{
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    buf_add_string(&body, "{\"code\": ");
    json_add_string(&body, code);
    buf_add_string(&body, ", \"message\": ");
    json_add_string(&body, message);
    buf_add_string(&body, "}");
    return buf_take(&body);
}
