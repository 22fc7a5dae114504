#include "common/visible.h"

#include <stddef.h>

bool visible_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

bool visible_is_layout(uint32_t code)
{
    return code == 0x061c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

bool visible_is_hidden(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0xad,    0xad   }, /* soft hyphen */
        {0x115f,  0x1160 }, /* fillers of Hangul */
        {0x17b4,  0x17b5 },
        {0x180e,  0x180e },
        {0x200b,  0x200b }, /* zero width space */
        {0x2060,  0x2064 }, /* word joiner, invisible operators */
        {0x206a,  0x206f },
        {0x3164,  0x3164 },
        {0xfeff,  0xfeff }, /* byte order mark */
        {0xffa0,  0xffa0 },
        {0xfff9,  0xfffb },
        {0xe0000, 0xe007f}, /* tags */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}
