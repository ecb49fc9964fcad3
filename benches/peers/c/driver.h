/* What every C peer begins with: rounds of work, asked for on standard input.
 *
 * Each line holds a number of operations. The peer does so many and answers with a line. Whoever asked reads the
 * peer's processor time before and after, so that no peer measures itself.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* Ends the program where a call failed. */
static inline void must(int status, const char *what) {
  if (status < 0) {
    fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
    exit(1);
  }
}

/* Memory, or the end of the program. */
static inline void *room_for(size_t count, size_t size) {
  void *room = calloc(count, size);
  if (room == NULL) {
    fprintf(stderr, "no memory for %zu times %zu bytes\n", count, size);
    exit(1);
  }
  return room;
}

/* Returns the next number of operations; 0 when there are no more. */
static inline long next_round(void) {
  char line[64];
  if (fgets(line, sizeof line, stdin) == NULL) return 0;
  return strtol(line, NULL, 10);
}

static inline void round_done(void) {
  puts("done");
  fflush(stdout);
}

/* The same durations in every peer: 15 random bits of a linear congruential generator. */
static uint32_t random_state = 1;

static inline uint32_t random_bits(void) {
  random_state = random_state * 1103515245u + 12345u;
  return random_state >> 17;
}

static const uint64_t FEW_MS[5] = {1, 10, 100, 250, 500};

static inline uint64_t random_ms(void) { return 1 + random_bits() % 1000; }
static inline uint64_t few_ms(void) { return FEW_MS[random_bits() % 5]; }
static inline uint64_t far_ms(void) { return 60000 + random_bits() % 30000; }
static inline uint64_t period_ms(void) { return 20 + random_bits() % 180; }


#endif
