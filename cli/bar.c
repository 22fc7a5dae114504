#include "bar.h"

void bar_add(struct buf *buf, int64_t done, int64_t total, unsigned width)
{
    unsigned inner = width > 2 ? width - 2 : 0;
    unsigned filled = total > 0 ? (unsigned)((double)done / (double)total * inner) : 0;

    if (filled > inner)
        filled = inner;
    buf_add_char(buf, '[');
    for (unsigned i = 0; i < inner; i++) {
        if (i < filled)
            buf_add_char(buf, i + 1 == filled && filled < inner ? '>' : '=');
        else
            buf_add_char(buf, total > 0 ? ' ' : '.');
    }
    buf_add_char(buf, ']');
}

void bar_add_sparkline(struct buf *buf, const int64_t *numbers, size_t count)
{
    int64_t most = 0;

    for (size_t i = 0; i < count; i++)
        most = numbers[i] > most ? numbers[i] : most;
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] <= 0) {
            buf_add_char(buf, ' ');
            continue;
        }
        unsigned step = (unsigned)((double)numbers[i] / (double)most * 7); /* U+2581 ... U+2588 */
        buf_printf(buf, "\xe2\x96%c", (char)(0x81 + step));
    }
}
