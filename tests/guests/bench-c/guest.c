/* The benchmark's guest in C: what an app with an SDK does for a small message, and no output. The payload is taken over,
 * copied as a string, and looked at; all memory comes from the allocator of wasi-libc. Its memory starts with 17 pages: 1 MiB
 * of stack, and the data. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../c/component_type.h"

static uint8_t result[2];
static volatile uint32_t seen;

/* What the caller takes memory with. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    if (size == 0) return (void *)align;
    void *memory = realloc(old, size);
    if (!memory) abort();
    return memory;
}

__attribute__((export_name("fermyon:spin/inbound-redis#handle-message"))) uint8_t *handle_message(uint8_t *payload, size_t length) {
    char *text = malloc(length + 1);
    if (!text) abort();
    memcpy(text, payload, length);
    text[length] = 0;
    uint32_t sum = 0;
    for (size_t at = 0; at < length; at++) sum = sum * 31 + (uint8_t)text[at];
    seen = sum;
    free(text);
    free(payload);
    memset(result, 0, sizeof result);
    return result;
}
