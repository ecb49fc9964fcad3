/* The page of an event loop in C11, for adapters of runtimes that are not in Rust. Nothing of loopscope is linked to.
 *
 * Written from docs/page.md, which says what every word is; license: MIT or Apache-2.0, at your choice. Linux.
 * Include it before other headers (it asks for _GNU_SOURCE). Make one `struct lsp_loop` per loop, on the loop's thread, which is
 * the only one that may call these functions:
 *
 *   lsp_open(&loop, &(struct lsp_facts){.name = "web", .runtime = "mine"});
 *   uint16_t site = lsp_site(&loop, LSP_TIMER, "tick", __FILE__, __LINE__);   once for each place
 *   for (;;) {
 *       lsp_park(&loop);  events = epoll_wait(...);  lsp_unpark(&loop, events);
 *       lsp_phase(&loop, 5);
 *       lsp_begin(&loop, LSP_TIMER, site);  callback();  lsp_end(&loop);
 *   }
 *   lsp_close(&loop);
 *
 * No verb allocates, locks or calls the system, except for the clock. What these functions leave at 0, and LSP_FILLS says so:
 * queues and drains, spans, expected blocks, handles, requests, the pool, named gauges. Their words are declared below.
 */
#ifndef LOOPSCOPE_PAGE_H
#define LOOPSCOPE_PAGE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t lsp_word;
_Static_assert(sizeof(lsp_word) == 8 && _Alignof(lsp_word) == 8, "a word is eight bytes");

enum lsp_kind {
    LSP_TIMER, LSP_IMMEDIATE, LSP_IO_READ, LSP_IO_WRITE, LSP_ACCEPT, LSP_CONNECT, LSP_SIGNAL, LSP_CHILD,
    LSP_ASYNC, LSP_WORK_DONE, LSP_CLOSE, LSP_IDLE, LSP_PREPARE, LSP_CHECK, LSP_TASK, LSP_OTHER,
    LSP_TICK, LSP_MICROTASK, LSP_SPAN, LSP_JOB, LSP_NONE = 31
};
enum { LSP_KINDS = 16, LSP_PHASES = 16, LSP_SITES = 512, LSP_PATHS = 2048, LSP_SLOTS = 250, LSP_WORKS = 7 };

/* The line of a description that says what these functions fill. */
#define LSP_FILLS "fills\ttime\tlag\titerations\tpoll_wait\tpoll_events\tphases\tcallbacks\terrors\n"

struct lsp_histogram { lsp_word buckets[LSP_SLOTS], sum_ns; };
struct lsp_count_histogram { lsp_word buckets[18], sum; };
struct lsp_header {
    _Alignas(128) lsp_word magic;
    lsp_word version, bytes, pid, pid_start, pid_namespace, tid, created_unix_ns, created_ticks;
    lsp_word clock_source, clock_multiplier, clock_shift, is_closed;
    lsp_word name[8], runtime[2], backend[2], thread[4], process[8], boot[2], label[10], flags, worker, group[8];
};
struct lsp_observed { lsp_word ended, busy, parked, active, idle, blocked[2], begun; };
struct lsp_control {
    _Alignas(128) lsp_word warning_ns;
    lsp_word critical_ns, tick_unix_ns, address[15], socket[15], incidents, stalls_counted, turned, retired;
    struct lsp_observed observed;
};
struct lsp_description { _Alignas(128) lsp_word text[1024]; };
struct lsp_now {
    _Alignas(128) lsp_word running;
    lsp_word busy_since, parked_since, busy_first, drain_since, drain_first, iterations;
    lsp_word drained_after;
};
struct lsp_open_span { lsp_word site, fields[12]; };
struct lsp_open {
    _Alignas(128) lsp_word ended;
    lsp_word frame, depth;
    struct lsp_open_span entries[16];
    lsp_word begun;
};
struct lsp_expected { _Alignas(128) lsp_word since; lsp_word site, ticks, busy_since, depth; };
struct lsp_tallies {
    _Alignas(128) lsp_word active_ticks;
    lsp_word idle_ticks, phase_callbacks[LSP_PHASES], errors[LSP_KINDS], submitted[LSP_KINDS], cancelled[LSP_KINDS];
    lsp_word drained_jobs[2], queue_depth_max[2][2], blocked[2], handles[16], handles_referenced, requests_active;
    lsp_word timers_pending, wakes_coalesced;
    struct lsp_histogram lag, iteration, poll_wait, blocked_duration, work_delivery, operation, completed, drain[2];
    struct lsp_histogram phase[LSP_PHASES], run[LSP_KINDS], wait[LSP_KINDS];
    struct lsp_count_histogram drain_jobs[2], poll_events;
};
struct lsp_pool {
    _Alignas(128) lsp_word threads;
    lsp_word running, queued, queued_max, oldest, saturated_since, saturated_ticks, busy_ticks, busy_as_of;
    lsp_word jobs_now[32][2], submitted[LSP_WORKS], completed[LSP_WORKS], failed[LSP_WORKS], cancelled[LSP_WORKS];
    struct lsp_histogram wait[LSP_WORKS], run[LSP_WORKS];
};
struct lsp_gauge { lsp_word meta, name[5], kind[3], value; };
struct lsp_gauge_histogram { lsp_word name[5], kind[3]; struct lsp_histogram values; };
struct lsp_gauges {
    _Alignas(128) struct lsp_gauge gauges[32];
    lsp_word histograms_in_use, refused;
    struct lsp_gauge_histogram histograms[8];
};
struct lsp_iterations { lsp_word count, entries[1024][4]; };
struct lsp_jobs { lsp_word count, entries[1024][4]; };
struct lsp_site { lsp_word meta, name[8], file[15]; };
struct lsp_sites { lsp_word length, overflow; struct lsp_site entries[LSP_SITES]; };
struct lsp_path { lsp_word meta, calls, ticks, longest[2]; };
struct lsp_paths { lsp_word length, overflow; struct lsp_path nodes[LSP_PATHS]; };
struct lsp_page {
    _Alignas(4096) struct lsp_header header;
    struct lsp_control control;
    struct lsp_description description;
    struct lsp_now now;
    struct lsp_open open;
    struct lsp_expected expected;
    struct lsp_tallies tallies;
    struct lsp_pool pool;
    struct lsp_gauges gauges;
    lsp_word record_count, records[4096][4];
    struct lsp_iterations iterations;
    struct lsp_jobs jobs;
    struct lsp_sites sites;
    struct lsp_paths paths;
};

/* Who a loop is. `name` and `runtime` are needed. `label` is the name, made unique among the loops of the process; without it,
 * readers do that. `description` is the text of the page; without it, the loop has libuv's phases and fills LSP_FILLS. */
struct lsp_facts { const char *name, *runtime, *backend, *thread, *process, *label, *description; };

/* One loop. Its members are these functions' own. */
struct lsp_loop {
    struct lsp_page *page;
    int file, phase;
    char path[PATH_MAX];
    uint64_t last, created, poll_since, busy_since, events, phase_since, phase_first, frame;
    uint64_t lag_ms, lag_next, random, bounds[LSP_SLOTS - 1];
    uint16_t nodes[LSP_PHASES][LSP_SITES];
};

static inline uint64_t lsp_get(lsp_word *word) { return atomic_load_explicit(word, memory_order_relaxed); }
static inline void lsp_set(lsp_word *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_relaxed); }
static inline void lsp_publish(lsp_word *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_release); }
static inline void lsp_add(lsp_word *word, uint64_t amount) { lsp_set(word, lsp_get(word) + amount); }
static inline void lsp_fence(void) { atomic_thread_fence(memory_order_release); }

static inline uint64_t lsp_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Stores text in so many words, cut off between two characters: at its end, or at its front where `keep_end`. */
static inline void lsp_text(lsp_word *words, size_t count, const char *text, int keep_end) {
    size_t length = text ? strlen(text) : 0, room = count * 8;
    if (length > room && keep_end) {
        text += length - room;
        length = room;
        while (length && (*text & 0xc0) == 0x80) text++, length--;
    } else if (length > room) {
        for (length = room; length && (text[length] & 0xc0) == 0x80;) length--;
    }
    for (size_t at = 0; at < count; at++) {
        char bytes[8] = {0};
        uint64_t word;
        if (at * 8 < length) memcpy(bytes, text + at * 8, length - at * 8 < 8 ? length - at * 8 : 8);
        memcpy(&word, bytes, 8);
        lsp_set(&words[at], word);
    }
}

/* The bound of a slot in nanoseconds: 10^9 * 2^(slot/8 - 24), by parts of 32 bits. */
static inline uint64_t lsp_bound(unsigned slot) {
    static const uint64_t roots[8] = {0, 0x172b83c7d517adcd, 0x306fe0a31b7152de, 0x4bfdad5362a271d4,
        0x6a09e667f3bcc908, 0x8ace5422aa0db5ba, 0xae89f995ad3ad5e8, 0xd5818dcfba48725d};
    uint64_t low = (roots[slot % 8] & 0xffffffff) * 1000000000u;
    uint64_t high = (roots[slot % 8] >> 32) * 1000000000u + (low >> 32);
    uint64_t whole = 1000000000u + (high >> 32), part = high << 32 | (low & 0xffffffff);
    int octave = (int)(slot / 8) - 24;
    return octave <= 0 ? whole >> -octave : whole << octave | part >> (64 - octave);
}

static inline unsigned lsp_slot(const struct lsp_loop *loop, uint64_t ns) {
    unsigned from = 0, to = LSP_SLOTS - 1;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (ns <= loop->bounds[middle]) to = middle; else from = middle + 1;
    }
    return from;
}

static inline void lsp_count(const struct lsp_loop *loop, struct lsp_histogram *histogram, uint64_t ns) {
    lsp_add(&histogram->buckets[lsp_slot(loop, ns)], 1);
    lsp_add(&histogram->sum_ns, ns);
}

static inline void lsp_count_number(struct lsp_count_histogram *histogram, uint64_t number) {
    unsigned slot = 0;
    while (slot < 17 && number > (uint64_t)1 << slot) slot++;
    lsp_add(&histogram->buckets[slot], 1);
    lsp_add(&histogram->sum, number);
}

static inline void lsp_push(lsp_word *count, lsp_word (*entries)[4], uint64_t length, const uint64_t entry[4]) {
    uint64_t number = lsp_get(count);
    lsp_fence();
    for (int word = 0; word < 4; word++) lsp_set(&entries[number % length][word], entry[word]);
    lsp_publish(count, number + 1);
}

/* The packed word: what runs since `since`. */
static inline uint64_t lsp_running(int phase, unsigned kind, unsigned site, uint64_t since) {
    return site | (uint64_t)phase << 12 | (uint64_t)kind << 16 | since >> 5 << 23;
}
static inline void lsp_between(struct lsp_loop *loop, uint64_t since) {
    lsp_set(&loop->page->now.running, lsp_running(loop->phase, LSP_NONE, 0, since));
}

/* Raises one of a pair of maxima, by epochs of 30 s. */
static inline void lsp_raise(const struct lsp_loop *loop, lsp_word pair[2], uint64_t value) {
    uint64_t epoch = (loop->last - loop->created) / 30000000000u & 0xfffff, most = ((uint64_t)1 << 44) - 1;
    uint64_t kept = lsp_get(&pair[epoch & 1]);
    if (value > most) value = most;
    if (kept >> 44 != epoch || (kept & most) < value) lsp_set(&pair[epoch & 1], epoch << 44 | value);
}

/* The node of a site in a phase; 17 is what all share when the tree is full. */
static inline uint16_t lsp_node(struct lsp_loop *loop, int phase, unsigned site) {
    struct lsp_paths *paths = &loop->page->paths;
    uint16_t *node = &loop->nodes[phase][site];
    uint64_t length = lsp_get(&paths->length);
    if (!*node && length == LSP_PATHS) {
        lsp_add(&paths->overflow, 1);
        return 17;
    }
    if (!*node) {
        lsp_set(&paths->nodes[length].meta, (uint64_t)(phase + 1) | (uint64_t)site << 16);
        lsp_publish(&paths->length, length + 1);
        *node = (uint16_t)length;
    }
    return *node;
}

/* Counts the events of the milliseconds until `end`, of which one comes in each: they have waited, or waited 0. */
static inline void lsp_lag(struct lsp_loop *loop, uint64_t end, int was_busy) {
    uint64_t whole = was_busy ? 0 : (end - loop->created) / 1000000;
    if (whole > loop->lag_ms) {
        lsp_add(&loop->page->tallies.lag.buckets[0], whole - loop->lag_ms);
        loop->lag_ms = whole;
        loop->lag_next = loop->created + whole * 1000000 + loop->random % 1000000;
    }
    while (loop->lag_next <= end) {
        lsp_count(loop, &loop->page->tallies.lag, was_busy ? end - loop->lag_next : 0);
        loop->random ^= loop->random << 13;
        loop->random ^= loop->random >> 7;
        loop->random ^= loop->random << 17;
        loop->lag_next = loop->created + ++loop->lag_ms * 1000000 + loop->random % 1000000;
    }
}

/* A busy period that ended at `end`, where it was a stall. */
static inline void lsp_stall(struct lsp_loop *loop, uint64_t end) {
    struct lsp_page *page = loop->page;
    uint64_t warning = lsp_get(&page->control.warning_ns), critical = lsp_get(&page->control.critical_ns);
    uint64_t turned = lsp_get(&page->control.turned), since = loop->busy_since > turned ? loop->busy_since : turned;
    uint64_t length = end > since ? end - since : 0;
    if (length <= (warning ? warning : 100000000u)) return;
    lsp_add(&page->tallies.blocked[0], 1);
    lsp_add(&page->tallies.blocked[1], length > (critical ? critical : 1000000000u));
    lsp_count(loop, &page->tallies.blocked_duration, length);
}

/* The loop will poll: the busy period ends. Nothing where the loop is in its poll, as a new one is. */
static inline void lsp_park(struct lsp_loop *loop) {
    struct lsp_page *page = loop->page;
    if (!loop->busy_since) return;
    uint64_t now = lsp_clock(CLOCK_MONOTONIC), length = now - loop->busy_since;
    lsp_add(&page->now.iterations, 1);
    lsp_lag(loop, now, 1);
    lsp_set(&page->now.parked_since, now);
    lsp_publish(&page->now.busy_since, 0);
    lsp_fence();
    lsp_add(&page->tallies.active_ticks, length);
    lsp_count(loop, &page->tallies.iteration, length);
    lsp_push(&page->iterations.count, page->iterations.entries, 1024,
        (uint64_t[4]){loop->busy_since, now, loop->events, lsp_get(&page->now.busy_first)});
    lsp_stall(loop, now);
    loop->last = loop->poll_since = now;
    loop->busy_since = 0;
}

/* The poll returned with so many events: a busy period begins. */
static inline void lsp_unpark(struct lsp_loop *loop, unsigned events) {
    struct lsp_page *page = loop->page;
    uint64_t now = lsp_clock(CLOCK_MONOTONIC);
    lsp_lag(loop, now, 0);
    lsp_set(&page->now.busy_first, lsp_get(&page->record_count));
    lsp_between(loop, now);
    lsp_publish(&page->now.busy_since, now);
    lsp_fence();
    lsp_add(&page->tallies.idle_ticks, now - loop->poll_since);
    lsp_count(loop, &page->tallies.poll_wait, now - loop->poll_since);
    lsp_count_number(&page->tallies.poll_events, events);
    loop->last = loop->busy_since = loop->phase_since = now;
    loop->phase_first = lsp_get(&page->record_count);
    loop->events = events;
}

/* A phase below 16 begins; the one before ends. */
static inline void lsp_phase(struct lsp_loop *loop, int phase) {
    struct lsp_page *page = loop->page;
    uint64_t count = lsp_get(&page->record_count);
    if (count != loop->phase_first) lsp_count(loop, &page->tallies.phase[loop->phase], loop->last - loop->phase_since);
    loop->phase = phase;
    loop->phase_first = count;
    loop->phase_since = loop->last;
    lsp_between(loop, loop->last);
}

/* A callback of one of the first 16 kinds begins, where the last one ended or the poll returned. */
static inline void lsp_begin(struct lsp_loop *loop, enum lsp_kind kind, uint16_t site) {
    loop->frame = (uint64_t)1 << 63 | (uint64_t)loop->phase << 40 | (uint64_t)kind << 32 | site;
    lsp_set(&loop->page->now.running, lsp_running(loop->phase, kind, site, loop->last));
}

/* The callback that runs has failed. Before lsp_end. */
static inline void lsp_failed(struct lsp_loop *loop) {
    if (loop->frame) lsp_add(&loop->page->tallies.errors[loop->frame >> 32 & 15], 1);
}

/* The callback that began last returns. */
static inline void lsp_end(struct lsp_loop *loop) {
    struct lsp_page *page = loop->page;
    uint64_t now = lsp_clock(CLOCK_MONOTONIC), run = now - loop->last;
    if (!loop->frame) return;
    lsp_push(&page->record_count, page->records, 4096, (uint64_t[4]){loop->frame, 0, loop->last, now});
    lsp_between(loop, now);
    loop->last = now;
    lsp_count(loop, &page->tallies.run[loop->frame >> 32 & 15], run);
    lsp_add(&page->tallies.phase_callbacks[loop->phase], 1);
    struct lsp_path *path = &page->paths.nodes[lsp_node(loop, loop->phase, loop->frame & 511)];
    lsp_add(&path->calls, 1);
    lsp_add(&path->ticks, run);
    lsp_raise(loop, path->longest, run);
    loop->frame = 0;
}

static inline void lsp_write_site(struct lsp_site *site, unsigned kind, const char *name, const char *file, unsigned line) {
    lsp_set(&site->meta, kind | (uint64_t)line << 32);
    lsp_text(site->name, 8, name, 0);
    lsp_text(site->file, 15, file, 1);
}

/* Adds a place in the program, and returns its number for lsp_begin. Once for each: it does not look for equal ones. */
static inline uint16_t lsp_site(struct lsp_loop *loop, enum lsp_kind kind, const char *name, const char *file, unsigned line) {
    struct lsp_sites *sites = &loop->page->sites;
    uint64_t length = lsp_get(&sites->length);
    if (length == LSP_SITES - 1) {
        lsp_add(&sites->overflow, 1);
        return LSP_SITES - 1;
    }
    lsp_write_site(&sites->entries[length], kind, name, file, line);
    lsp_publish(&sites->length, length + 1);
    return (uint16_t)length;
}

#include "loopscope-page-file.h"
#endif
