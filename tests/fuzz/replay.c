/*
 * Runs a fuzzer over files instead of libFuzzer: those named, or all of its corpus; each as it is,
 * and cut short at some places. Speaks TAP; a fuzzer that aborts has said what does not hold.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "fuzz.h"

#define CUTS 32

/* Not each fuzzer has one. */
#pragma weak LLVMFuzzerInitialize

/* The caller frees it. */
static uint8_t *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    uint8_t *data = NULL;
    size_t size = 0, n = 1;
    MUST(file);
    while (n) {
        data = realloc(data, size + 4096);
        MUST(data);
        n = fread(data + size, 1, 4096, file);
        size += n;
    }
    fclose(file);
    *ret_size = size;
    return data;
}

/* With memory of exactly that size, so that reading on is seen. */
static void run(const uint8_t *data, size_t size)
{
    _cleanup_free_ uint8_t *input = malloc(size);
    MUST(input || !size);
    if (size)
        memcpy(input, data, size);
    LLVMFuzzerTestOneInput(input, size);
}

static void replay(const char *path)
{
    static unsigned number;
    size_t size;
    printf("# %s\n", path);
    fflush(stdout);
    _cleanup_free_ uint8_t *data = read_file(path, &size);
    run(data, size);
    size_t step = size / CUTS + 1;
    for (size_t cut = 0; cut < size; cut += step)
        run(data, cut);
    printf("ok %u - %s\n", ++number, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_corpus(void)
{
    const char *source = getenv("AUTODL_SOURCE");
    char directory[4096], path[8192];
    snprintf(directory, sizeof directory, "%s/tests/fuzz/corpus/%s", source ? source : ".",
             strchr(program_invocation_short_name, '_') + 1);
    struct dirent **entries;
    int count = scandir(directory, &entries, not_hidden, alphasort);
    if (count <= 0) {
        printf("Bail out! nothing is in %s\n", directory);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        replay(path);
        free(entries[i]);
    }
    free(entries);
    printf("1..%d\n", count);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    if (argc == 1)
        return replay_corpus();
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    return EXIT_SUCCESS;
}
