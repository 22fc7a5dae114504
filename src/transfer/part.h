/*
 * A part of a file, asked for with Range and If-Range (RFC 9110, 13.1.5, 14.2): what helpers do,
 * and the lead once its first request has come to the end of its range. The answer decides: a part
 * that is exactly the one asked for, of the same version, or nothing.
 */
#pragma once

#include <stdbool.h>

#include "transfer/download.h"
#include "transfer/gather.h"
#include "transfer/team.h"

#define PART_REFUSED (-EREMOTE) /* the answer is something else: of no use to the team */

struct part_tools { /* borrowed for the call */
    struct downloader *downloader;
    struct gather *gather; /* with the member */
    void (*on_response)(void *data, int status);
    bool (*cancelled)(void *data);
    void *data;
};

/* Blocks. 0: the part is here, or what became of it when others took some; PART_REFUSED;
 * -ECANCELED; the errno of writing; or -EIO: `ret_result` says why. What came is written. */
int part_fetch(const struct part_tools *tools, const struct team_part *part,
               struct download_result *ret_result);
