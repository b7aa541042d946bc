/* Counts like `wc`: the payload is the standard input, what is printed becomes the log, the exit code is the outcome. There is
 * nothing of Redis or Spin in it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    unsigned long lines = 0, words = 0, bytes = 0;
    int is_word = 0;
    for (int c; (c = getchar()) != EOF; bytes++) {
        lines += c == '\n';
        words += !is_word && !isspace(c);
        is_word = !isspace(c);
    }
    if (bytes == 0) {
        fputs("the message is empty\n", stderr);
        return 1; /* a failed message */
    }
    /* Where the message comes from is in the environment. */
    printf("%lu lines, %lu words, %lu bytes on %s\n", lines, words, bytes, getenv("SPINREDIS_CHANNEL"));
    return 0;
}
