#include "content.h"

uint64_t content_seed(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash;
}

static uint64_t eight_bytes(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void content_fill(uint64_t seed, uint64_t pos, char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t value = eight_bytes(seed, (pos + i) / 8);
        for (unsigned k = (pos + i) % 8; k < 8 && i < len; k++, i++)
            data[i] = (char)(value >> (8 * k));
    }
}
