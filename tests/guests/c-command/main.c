/* The matrix guest without an SDK, in C: a WASI command, a core module with `_start`. The payload comes on stdin, the context
 * in the environment, and the exit code is the outcome. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const context[] = {
    "SPINREDIS_CHANNEL", "SPINREDIS_PATTERN",     "SPINREDIS_ADDRESS",
    "SPINREDIS_ATTEMPT", "SPINREDIS_RECEIVED_MS", "SPINREDIS_DEADLINE_MS",
};

/* Takes memory until refused, then traps. Without `volatile` the compiler sees that nobody reads what is taken, and leaves the
 * taking out. */
static void take_memory(void) {
    static void *volatile taken;
    while ((taken = malloc(1 << 20))) memset(taken, 1, 1 << 20);
    abort();
}

int main(void) {
    static char start[8192];
    size_t length = fread(start, 1, sizeof start - 1, stdin);
    if (strcmp(start, "ok") == 0) {
        puts("handled ok");
    } else if (strcmp(start, "error") == 0) {
        fputs("asked to fail\n", stderr);
        return 1;
    } else if (strcmp(start, "trap") == 0) {
        abort();
    } else if (strcmp(start, "loop") == 0) {
        for (volatile int forever = 1; forever;) {
        }
    } else if (strcmp(start, "memory") == 0) {
        take_memory();
    } else if (strcmp(start, "context") == 0) {
        for (size_t i = 0; i < sizeof context / sizeof *context; i++) {
            const char *value = getenv(context[i]);
            printf("%s=%s\n", context[i], value ? value : "");
        }
    } else {
        for (size_t more; (more = fread(start, 1, sizeof start, stdin));) length += more;
        printf("got %zu bytes\n", length);
    }
    return 0;
}
