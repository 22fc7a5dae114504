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

void pauses_say(struct json_object *stats)
{
    struct json_object *pauses = NULL, *scope = NULL;
    char length[PAUSES_TEXT];

    json_object_object_get_ex(stats, "pauses", &pauses);
    size_t count =
        json_object_is_type(pauses, json_type_array) ? json_object_array_length(pauses) : 0;
    for (size_t i = 0; i < count; i++) {
        struct json_object *pause = json_object_array_get_idx(pauses, i);
        json_object_object_get_ex(pause, "scope", &scope);
        bool all = scope && strcmp(json_object_get_string(scope), "all") == 0;
        pauses_length(pause, length);
        output_note("%s downloads are paused%s: none starts; autodl resume%s ends it",
                    all ? "all" : "your", length, all ? " --all" : "");
    }
}

void pauses_shout(const struct command_call *call)
{
    struct client_answer answer;

    client_send(call->client, &(struct client_request){.path = "/v1/stats"}, &answer);
    output_flush();
    if (!answer.error && answer.status == 200)
        pauses_say(answer.json);
}
