/* A loop in C with a page: `loopscope ls` shows it, its callbacks and its stalls. The example for adapters in other languages.
 *
 *   cc -std=c11 -I deploy/include examples/adapter.c -o adapter && ./adapter
 *
 * It waits for lines and for a timer of 50 ms. `stall MS` blocks the loop for so long; `hold` blocks it until the next line comes;
 * `quit` ends it in order. After each it prints the line that it has done. */
#include "loopscope-page.h"
#include <poll.h>

/* What the runtime says of itself: one phase of its own beside the poll's, and its words for people. */
static const char DESCRIPTION[] =
    "phase\t0\tmain\n"
    "phase\t5\tpoll\n"
    "phase\t8\tdeadlines\n"
    "word\tcallback\thandler\thandlers\n"
    "word\titeration\tturn\tturns\n"
    "remedy\tcomputing\ta thread of its own\n"
    "frames\truntime\tfile\texamples/adapter.c\n" LSP_FILLS;

static int read_line(char *line, size_t room) {
    size_t length = 0;
    while (length + 1 < room && read(0, line + length, 1) == 1 && line[length] != '\n') length++;
    line[length] = 0;
    return length > 0;
}

static void block(unsigned long ms) {
    uint64_t end = lsp_clock(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;
    while (lsp_clock(CLOCK_MONOTONIC) < end) {}
}

static int on_line(void) {
    char line[64], next[64];
    if (!read_line(line, sizeof line) || !strcmp(line, "quit")) return 0;
    if (!strncmp(line, "stall ", 6)) block(strtoul(line + 6, NULL, 10));
    if (!strcmp(line, "hold")) {
        puts("holding");
        fflush(stdout);
        if (!read_line(next, sizeof next)) return 0;
    }
    printf("done %s\n", line);
    fflush(stdout);
    return 1;
}

int main(void) {
    struct lsp_loop loop;
    struct lsp_facts facts = {.name = "lines", .runtime = "poll-c", .backend = "poll", .thread = "main",
        .process = "adapter", .description = DESCRIPTION};
    int error = lsp_open(&loop, &facts), runs = 1;
    if (error) fprintf(stderr, "no page: %s\n", strerror(error));
    uint16_t line_site = lsp_site(&loop, LSP_IO_READ, "on_line", __FILE__, __LINE__);
    uint16_t timer_site = lsp_site(&loop, LSP_TIMER, "on_timer", __FILE__, __LINE__);
    puts("ready");
    fflush(stdout);
    while (runs) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        lsp_park(&loop);
        int events = poll(&input, 1, 50);
        lsp_unpark(&loop, events > 0 ? (unsigned)events : 0);
        if (events == 0) {
            lsp_phase(&loop, 8);
            lsp_begin(&loop, LSP_TIMER, timer_site);
            block(1);
            lsp_end(&loop);
        } else if (events > 0) {
            lsp_phase(&loop, 5);
            lsp_begin(&loop, LSP_IO_READ, line_site);
            runs = on_line();
            lsp_end(&loop);
        }
        lsp_phase(&loop, 0);
    }
    lsp_close(&loop);
    return 0;
}
