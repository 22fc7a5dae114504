/*
 * The test origin as a program, for `bootstrap demo`:
 *   origin                     prints its URL, serves until standard input ends
 *   origin compare FILE PATH   succeeds when FILE holds what PATH gives
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "origin.h"

static int serve(void)
{
    struct origin *origin;
    char byte;
    ssize_t got;

    int result = origin_start(&origin);
    if (result < 0) {
        fprintf(stderr, "origin: cannot listen on 127.0.0.1: %s\n", strerror(-result));
        return EXIT_FAILURE;
    }
    puts(origin_url(origin, ""));
    fflush(stdout);
    do
        got = read(STDIN_FILENO, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
    origin_stop(origin);
    return EXIT_SUCCESS;
}

static int compare(const char *file, const char *path)
{
    int result = origin_expect_file(file, path);
    if (result == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "origin: %s is not what %s gives: %s\n", file, path,
            result == -EUCLEAN ? "its bytes differ" : strerror(-result));
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "compare") == 0)
        return compare(argv[2], argv[3]);
    if (argc == 1)
        return serve();
    fprintf(stderr, "usage: origin | origin compare FILE PATH\n");
    return 2;
}
