/* The matrix guest in C: the synchronous handler by the canonical ABI of the component model, written by hand. The result is
 * a core module whose section `component-type` says what component it is, as bindings generators for C leave it.
 *
 * handle-message: func(message: list<u8>) -> result<_, error>; arguments are where the payload is and how long, the result
 * is where the result lies: byte 0 is 0 for ok and 1 for an error, byte 1 the case of the enum {success, error}. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component_type.h"

static uint8_t result[2];

/* What the caller takes memory with. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    if (size == 0) return (void *)align;
    void *memory = realloc(old, size);
    if (!memory) abort();
    return memory;
}

static int is(const char *text, const uint8_t *payload, size_t length) {
    return length == strlen(text) && memcmp(text, payload, length) == 0;
}

/* Takes memory until refused, then traps. Without `volatile` the compiler sees that nobody reads what is taken, and leaves the
 * taking out. */
static void take_memory(void) {
    static void *volatile taken;
    while ((taken = malloc(1 << 20))) memset(taken, 1, 1 << 20);
    abort();
}

__attribute__((export_name("fermyon:spin/inbound-redis#handle-message"))) uint8_t *handle_message(uint8_t *payload, size_t length) {
    memset(result, 0, sizeof result);
    if (is("ok", payload, length)) {
        puts("handled ok");
    } else if (is("error", payload, length)) {
        memset(result, 1, sizeof result);
    } else if (is("trap", payload, length)) {
        abort();
    } else if (is("loop", payload, length)) {
        for (volatile int forever = 1; forever;) {
        }
    } else if (is("memory", payload, length)) {
        take_memory();
    } else {
        printf("got %zu bytes\n", length);
    }
    fflush(stdout);
    free(payload);
    return result;
}
