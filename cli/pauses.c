#include "pauses.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "human.h"
#include "output.h"

const char *pauses_length(struct json_object *pause, char text[static PAUSES_TEXT])
{
    struct json_object *until = NULL;
    char time[HUMAN_MAX];
    int64_t ms;

    text[0] = '\0';
    json_object_object_get_ex(pause, "until", &until);
    if (until && units_parse_moment(json_object_get_string(until), &ms) == 0)
        snprintf(text, PAUSES_TEXT, " until %s", human_time(ms, time));
    return text;
}

static void say(struct json_object *pauses, const char *scope, const char *which,
                const char *option)
{
    struct json_object *pause = NULL;
    char length[PAUSES_TEXT];

    json_object_object_get_ex(pauses, scope, &pause);
    if (pause)
        output_note("%s downloads are paused%s: none starts; autodl resume%s ends it", which,
                    pauses_length(pause, length), option);
}

void pauses_say(struct json_object *stats)
{
    struct json_object *pauses = NULL;

    json_object_object_get_ex(stats, "pauses", &pauses);
    say(pauses, "own", "your", "");
    say(pauses, "all", "all", " --all");
}

void pauses_shout(const struct command_call *call)
{
    struct client_answer answer;

    client_send(call->client, &(struct client_request){.path = "/v1/stats"}, &answer);
    output_flush();
    if (!answer.error && answer.status == 200)
        pauses_say(answer.json);
}
