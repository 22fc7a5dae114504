#include "help.h"

#include "common/log.h"
#include "common/units.h"

static void on_response(void *data, int status)
{
    struct engine *engine = data;
    stats_response(engine->stats, status, units_now_boottime());
}

void help_run(struct engine *engine, struct worker_tools *tools, const struct helping_place *place)
{
    struct team *team = active_find_team(engine->active, place->row);
    if (!team) /* it has just ended */
        return;
    const struct transfer_help help = {
        .hands = place->hands,
        .leave = &place->leave,
        .lost = &tools->lost,
        .on_response = on_response,
        .data = engine,
    };
    int64_t patience = transfer_help(tools->transfer, team, &help);
    team_unref(team);
    if (patience == 0)
        return;
    log_info("uid=%u a server wants no more connections for %lld ms; its downloads go on with those "
             "they have",
             place->uid, (long long)patience);
    queue_spare_host(engine->queue, place->host, units_now_boottime() + patience);
}
